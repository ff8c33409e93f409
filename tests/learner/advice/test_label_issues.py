"""A pretrained network doubts labels that are wrong and points at images unlike all others."""

import random
import shutil

import pytest
from PIL import Image

from learner.advice import label_issues as suspecting
from learner.advice.label_issues import find_label_issues
from learner.datasets import add_dataset
from learner.datasets.checks import LabelIssues, confirm, issue_findings
from learner.datasets.editing import Edit, edited
from learner.datasets.rows import rows_of
from learner.errors import DatasetError, ImportCancelled
from tests.samples import make_photos


@pytest.fixture
def mixed_up(store, tmp_path):
    """Three classes of 30 photos of which two stand under another class, and one image of noise."""
    photos = make_photos(tmp_path / "shapes", dict.fromkeys("abc", 30), size=(120, 90))
    shutil.move(photos / "a" / "a_003.jpg", photos / "b" / "really_a.jpg")
    shutil.move(photos / "c" / "c_004.jpg", photos / "a" / "really_c.jpg")
    Image.frombytes("RGB", (120, 90), random.Random(1).randbytes(120 * 90 * 3)).save(photos / "b" / "noise.png")
    return store, add_dataset(store, photos, "shapes")


def test_wrong_labels_are_doubted_first_and_with_the_right_suggestion(mixed_up):
    store, version = mixed_up
    rows = rows_of(store, version)
    sha256 = {row.path: row.sha256 for row in rows}
    found = find_label_issues(store, version)
    assert found.images == 91
    assert found.accuracy > 0.9
    doubts = {path: found.labels.get(sha256[path], ("", "", 0))[:2] for path in ("b/really_a.jpg", "a/really_c.jpg")}
    assert doubts == {"b/really_a.jpg": ("b", "a"), "a/really_c.jpg": ("a", "c")}
    assert len(found.labels) <= 5
    finding = issue_findings(rows, found)[0]
    assert finding.key == "wrong_label"
    assert set(finding.paths[:3]) >= {"b/really_a.jpg", "a/really_c.jpg"}


def test_what_was_relabelled_or_set_aside_is_doubted_no_more(mixed_up):
    store, version = mixed_up
    rows = rows_of(store, version)
    found = find_label_issues(store, version)
    before = issue_findings(rows, found)[0]
    assert issue_findings(edited(rows, before.remedy.edits), found)[:1] != [before]
    aside = Edit("exclude", before.paths)
    assert [finding.key for finding in issue_findings(edited(rows, [aside]), found)] in ([], ["outlier"])


def test_what_a_person_found_right_is_doubted_no_more_by_later_checks_either(mixed_up):
    store, version = mixed_up
    rows = rows_of(store, version)
    wrong = [row for row in rows if row.path == "b/really_a.jpg"]
    find_label_issues(store, version)
    confirm(store.workspace, "shapes", wrong)
    for _ in range(2):
        doubted = issue_findings(rows, LabelIssues.load(store.workspace, "shapes"))[0].paths
        assert "b/really_a.jpg" not in doubted
        assert "a/really_c.jpg" in doubted
        find_label_issues(store, version)
    relabelled = edited(rows, [Edit("relabel", ("b/really_a.jpg",), to="c")])
    assert "b/really_a.jpg" not in issue_findings(relabelled, LabelIssues.load(store.workspace, "shapes"))[0].paths


def test_a_second_check_looks_at_new_images_only(mixed_up, monkeypatch):
    store, version = mixed_up
    first = find_label_issues(store, version)
    assert LabelIssues.load(store.workspace, "shapes") == first
    looked = []
    real = suspecting._features
    monkeypatch.setattr(suspecting, "_features", lambda *args: looked.extend(args[2]) or real(*args))
    assert find_label_issues(store, version) == first
    assert looked == []


def test_an_image_that_is_gone_is_left_out(mixed_up, workspace):
    store, version = mixed_up
    gone = next(workspace.datasets.glob("*/images/*/*.jpg"))
    gone.unlink()
    assert find_label_issues(store, version).images == 90


def test_a_check_that_is_stopped_ends_soon_and_leaves_no_result(mixed_up):
    store, version = mixed_up
    with pytest.raises(ImportCancelled, match="The check was stopped"):
        find_label_issues(store, version, cancelled=lambda: True)
    assert LabelIssues.load(store.workspace, "shapes") is None


def test_too_few_images_to_doubt_anything_are_told(store, tmp_path):
    version = add_dataset(store, make_photos(tmp_path / "few", {"cat": 6, "dog": 3}), "few")
    with pytest.raises(DatasetError, match=r"two classes with at least 5 images each are needed; few has 1\. Add"):
        find_label_issues(store, version)


def test_a_damaged_result_counts_as_none(store, workspace):
    LabelIssues(1, "x", 2, 0.5).save(workspace, "pets")
    assert LabelIssues.load(workspace, "pets") is not None
    next(workspace.datasets.glob("*/suspicions.json")).write_text('{"version": 1}')
    assert LabelIssues.load(workspace, "pets") is None
