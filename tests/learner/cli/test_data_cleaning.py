"""`data edit` and the draft: edits are said, undone, saved as versions, compared and brought back."""

import io
import shutil

import pytest
from PIL import ExifTags, Image

from learner.datasets import add_dataset
from learner.datasets.editing import Edit, add_edit, edits_of
from learner.datasets.files import import_lock
from learner.datasets.rows import rows_of
from learner.store import Store
from learner.workspace import Workspace
from tests.samples import make_photos


@pytest.fixture
def zoo(store, tmp_path) -> Store:
    """Five cats and five dogs without a split, and one owl, which alone is no class."""
    add_dataset(store, make_photos(tmp_path / "zoo", {"cat": 5, "dog": 5, "owl": 1}), "zoo")
    return store


def rows(store: Store) -> dict:
    """The newest version's images by path."""
    return {row.path: row for row in rows_of(store, store.datasets.version("zoo"))}


def test_edits_wait_are_undone_and_become_a_version_that_can_be_compared_and_left_again(zoo, thaw):
    aside = thaw("data", "edit", "zoo", "exclude", "cat/*_00[12].jpg", "dog/dog_004.jpg", "--reason", "Blurred.")
    assert aside.out == "3 images set aside.\nNot saved yet. Make it a version: python -m learner data save zoo\n"
    assert thaw("data", "edit", "zoo", "relabel", "dog", "cat/cat_000.jpg").out.startswith("1 image relabelled as dog.")
    assert thaw("data", "edit", "zoo", "include", "dog/*").out.startswith("1 image taken back in.")
    assert thaw("data", "undo", "zoo").out == "Undone: 1 image taken back in.\n"
    assert thaw("data", "edits", "zoo").out.splitlines()[:3] == [
        "1. 3 images set aside",
        "2. 1 image relabelled as dog",
        "Undone, and redo does it again: 1 image taken back in",
    ]
    told = thaw("data", "edits", "zoo", "--json").json
    assert [one["words"] for one in told["edits"]] == ["3 images set aside", "1 image relabelled as dog"]
    assert told["undone"][0]["paths"] == ["dog/dog_004.jpg"]
    assert thaw("data", "redo", "zoo").out == "Done again: 1 image taken back in.\n"
    assert thaw("data", "show", "zoo", "--json").json["version"] == 1

    saved = thaw("data", "save", "zoo", "--note", "A first look")
    assert saved.out == "zoo, version 2. A first look. Images: 2 set aside, 1 relabelled.\n"
    assert thaw("data", "save", "zoo").out == "zoo has no edits to save; version 2 is the newest.\n"
    assert rows(zoo)["cat/cat_001.jpg"].reason == "Blurred."

    assert thaw("data", "diff", "zoo").out.splitlines() == [
        "zoo, version 1 to 2. Images: 2 set aside, 1 relabelled.",
        "2 images set aside:",
        "  cat/cat_001.jpg",
        "  cat/cat_002.jpg",
        "1 image relabelled:",
        "  cat/cat_000.jpg: cat → dog",
    ]
    back = thaw("data", "diff", "zoo", 2, 1, "--json").json
    assert (back["old"], back["new"], back["included"]) == (2, 1, ["cat/cat_001.jpg", "cat/cat_002.jpg"])
    assert back["relabelled"] == {"cat/cat_000.jpg": ["dog", "cat"]}

    assert thaw("data", "restore", "zoo", 1).out == "Version 1 of zoo is back, as version 3.\n"
    assert thaw("data", "restore", "zoo", 3).out == "Version 3 is the newest of zoo already.\n"
    assert thaw("data", "diff", "zoo", 1).out == "zoo, version 1 to 3. Nothing changed.\n"
    versions = thaw("data", "versions", "zoo", "--json").json["versions"]
    assert [(one["number"], one["parent"]) for one in versions] == [(3, 1), (2, 1), (1, None)]
    listed = thaw("data", "versions", "zoo").out
    assert listed.splitlines()[0].split() == ["Version", "Made", "From", "Note"]
    assert "A first look." in listed and "import" in listed and "version 1" in listed


def test_the_draft_is_the_one_that_the_page_works_on(zoo, thaw):
    add_edit(zoo, "zoo", Edit("exclude", ("cat/cat_001.jpg",)))
    assert thaw("data", "edits", "zoo").out.startswith("1. 1 image set aside\n")
    thaw("data", "edit", "zoo", "exclude", "cat/cat_002.jpg")
    assert [edit.paths for edit in edits_of(zoo, "zoo")] == [("cat/cat_001.jpg",), ("cat/cat_002.jpg",)]
    assert thaw("data", "discard", "zoo").out == "2 edits undone.\n"
    assert thaw("data", "discard", "zoo").out == "zoo has no edits.\n"
    assert edits_of(zoo, "zoo") == []


def test_classes_are_renamed_and_merged(zoo, thaw):
    assert thaw("data", "edit", "zoo", "rename", "cat", "--to", "Katze").out.startswith("cat renamed to Katze.")
    assert thaw("data", "edit", "zoo", "rename", "Katze", "dog", "--to", "pet").out.startswith(
        "Katze and dog merged into pet."
    )
    thaw("data", "save", "zoo")
    assert thaw("data", "show", "zoo", "--json").json["counts"] == {"pet": {"": 10}}


def test_images_are_moved_to_splits_and_a_test_set_is_given_up_only_when_asked(zoo, thaw, monkeypatch):
    thaw("data", "edit", "zoo", "move", "test", "*_000.jpg")
    thaw("data", "edit", "zoo", "move", "valid", "*_001.jpg", "*_002.jpg")
    assert thaw("data", "edit", "zoo", "move", "undecided", "*_002.jpg").code == 0
    thaw("data", "save", "zoo")
    splits = {path[-7:-4]: row.split for path, row in rows(zoo).items() if row.label == "cat"}
    assert splits == {"000": "test", "001": "valid", "002": "", "003": "", "004": ""}

    stays = thaw("data", "edit", "zoo", "move", "train", "cat/cat_000.jpg")
    assert stays.code == 2 and "is in the test set, which stays the same" in stays.err
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert thaw("data", "edit", "zoo", "give-up-test").out == "The test set stays.\n"
    unanswered = thaw("data", "edit", "zoo", "give-up-test")  # the input has ended
    assert unanswered.code == 2 and "The test set stays, because nobody answered" in unanswered.err
    assert edits_of(zoo, "zoo") == []
    assert thaw("data", "edit", "zoo", "give-up-test", "--yes").out.startswith("the test set given up.")
    assert thaw("data", "edit", "zoo", "give-up-test").err == "Error: zoo has no test set.\n"


def test_groups_are_declared_and_dissolved(zoo, thaw):
    assert thaw("data", "edit", "zoo", "group", "burst 1", "cat/cat_00[012].jpg").out.startswith(
        "3 images declared the group burst 1."
    )
    thaw("data", "edit", "zoo", "ungroup", "cat/cat_000.jpg")
    thaw("data", "save", "zoo")
    assert [path for path, row in rows(zoo).items() if row.group == "burst 1"] == ["cat/cat_001.jpg", "cat/cat_002.jpg"]


def test_groups_are_told_by_a_pattern_or_by_the_moment_a_photo_was_taken(store, thaw, tmp_path):
    photos = make_photos(tmp_path / "zoo", {"cat": 6, "dog": 2})
    for number, second in enumerate((0, 1, 2, 30, 31, 59)):
        file = photos / "cat" / f"cat_{number:03}.jpg"
        with Image.open(file) as photo:
            exif = Image.Exif()
            exif[ExifTags.Base.Model] = "X100"
            exif[ExifTags.Base.DateTime] = f"2024:05:01 12:00:{second:02}"
            photo.save(file, exif=exif, quality=90)
    add_dataset(store, photos, "zoo")
    assert thaw("data", "edit", "zoo", "group-by", "--seconds", "1").out.startswith("5 images grouped, 2 values.")
    thaw("data", "save", "zoo")
    first, second = "X100, 2024-05-01 12:00:00", "X100, 2024-05-01 12:00:30"
    assert [row.group for row in rows(store).values()] == [first] * 3 + [second] * 2 + [""] * 3

    thaw("data", "edit", "zoo", "group-by", "--pattern", r"dog_(\d+)")
    thaw("data", "save", "zoo")
    assert [row.group for path, row in rows(store).items() if path.startswith("dog")] == ["000", "001"]
    thaw("data", "add", photos, "--name", "apart", "--group-seconds", "1")
    apart = rows_of(store, store.datasets.version("apart"))
    assert [row.group for row in apart] == [first] * 3 + [second] * 2 + [""] * 3


def test_a_name_with_the_signs_of_a_pattern_is_taken_as_it_is(workspace, store, thaw, tmp_path):
    photos = make_photos(tmp_path / "zoo", {"cat": 3, "dog": 3})
    shutil.move(photos / "cat" / "cat_000.jpg", photos / "cat" / "cat [1].jpg")
    add_dataset(store, photos, "zoo")
    assert thaw("data", "edit", "zoo", "exclude", "cat/cat [1].jpg").out.startswith("1 image set aside.")


def test_nothing_is_saved_while_an_import_is_under_way(zoo, thaw):
    thaw("data", "edit", "zoo", "exclude", "cat/cat_000.jpg")
    with import_lock(Workspace.current(), "zoo", wait=None):
        said = thaw("data", "save", "zoo")
    assert said.code == 2 and "zoo is being imported into" in said.err
    assert thaw("data", "save", "zoo", "--json").json["saved"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "edit zoo",
            "Say what to do with zoo: exclude, include, relabel, rename, move, group, group-by, ungroup, give-up-test.",
        ),
        ("edit zoo exclude", "PATH"),
        ("edit zoo exclude lion/1.jpg", "zoo has no image 'lion/1.jpg', and none fits it as a pattern"),
        ("edit zoo exclude cat/cat_000.jpg lion/*", "zoo has no image 'lion/*'"),
        ("edit zoo include cat/*", "That would change nothing"),
        ("edit zoo relabel cat cat/*", "That would change nothing"),
        ("edit zoo rename lion --to cat", "There is no class 'lion'. There are: cat, dog, owl."),
        ("edit zoo rename cat --to cat", "That would change nothing"),
        ("edit zoo rename cat", "--to"),
        ("edit zoo group-by", "--pattern or --seconds, one of the two"),
        ("edit zoo group-by --pattern cat --seconds 3", "--pattern or --seconds, one of the two"),
        ("edit zoo group-by --pattern lion(.)", "That puts no image into a group"),
        ("edit zoo group-by --seconds 9", "That puts no image into a group"),
        ("edit zoo move nowhere cat/*", "'nowhere' is not one of 'train', 'valid', 'test', 'undecided'"),
        ("edit zoo paint cat/*", "No such command 'paint'"),
        ("edit nosuch exclude x", "There is no data set 'nosuch'"),
        ("edits nosuch", "There is no data set 'nosuch'"),
        ("undo zoo", "zoo has no edit that could be undone"),
        ("redo zoo", "zoo has no edit that could be done again"),
        ("save nosuch", "There is no data set 'nosuch'"),
        ("discard nosuch", "There is no data set 'nosuch'"),
        ("versions nosuch", "There is no data set 'nosuch'"),
        ("diff zoo", "zoo has one version, so there is nothing to compare it to"),
        ("diff zoo 1 7", "There is no version 7 of data set 'zoo'"),
        ("restore zoo 7", "There is no version 7 of data set 'zoo'"),
        ("restore zoo first", "should be a valid integer"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(zoo, thaw, words, message):
    said = thaw("data", *words.split())
    assert (said.code, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith("Error: ") and message in line
    assert edits_of(zoo, "zoo") == [] and len(zoo.datasets.versions("zoo")) == 1


def test_edits_that_are_not_saved_keep_an_old_version_from_coming_back(zoo, thaw):
    thaw("data", "edit", "zoo", "exclude", "cat/cat_000.jpg")
    thaw("data", "save", "zoo")
    thaw("data", "edit", "zoo", "exclude", "cat/cat_001.jpg")
    said = thaw("data", "restore", "zoo", 1)
    assert said.code == 2 and "zoo has edits that are not saved" in said.err
