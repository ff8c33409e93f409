"""Edits wait in a draft, can be undone, and become a new version that can be compared and restored."""

import json
import subprocess
import sys

import pytest

from learner.datasets import add_dataset
from learner.datasets.card import card_of
from learner.datasets.checks import facts_of
from learner.datasets.editing import (
    Edit,
    add_edit,
    difference,
    discard,
    edited,
    edits_of,
    redo,
    restore,
    save,
    undo,
    undone_of,
)
from learner.datasets.exclusions import ImageRow
from learner.datasets.rows import rows_of
from learner.errors import DatasetError
from learner.store import Store
from tests.patience import GIVE_UP_S
from tests.samples import ROOT


def row(path: str, label: str = "cat", **changes) -> ImageRow:
    return ImageRow(path, "", label, changes.pop("split", ""), path, 10, 10, **changes)


ROWS = [row("cat/1.jpg"), row("cat/2.jpg"), row("dog/1.jpg", "dog")]


def after(*edits: Edit, rows=ROWS) -> dict[str, ImageRow]:
    return {row.path: row for row in edited(rows, edits)}


def newest(store: Store) -> dict[str, ImageRow]:
    return {row.path: row for row in rows_of(store, store.datasets.version("pets"))}


def test_an_image_set_aside_is_kept_with_its_reason_and_can_come_back():
    out = Edit("exclude", ("cat/1.jpg",), to="It is blurred.")
    assert (after(out)["cat/1.jpg"].excluded, after(out)["cat/1.jpg"].reason) == (True, "It is blurred.")
    assert after(Edit("exclude", ("cat/1.jpg",)))["cat/1.jpg"].reason == "Set aside by hand."
    assert after(out, Edit("include", ("cat/1.jpg",))) == after()


def test_a_new_class_takes_an_image_in():
    waiting = [row("1.jpg", "", excluded=True, reason="It has no class yet."), *ROWS]
    assert after(Edit("relabel", ("1.jpg",), to="owl"), rows=waiting)["1.jpg"] == row("1.jpg", "owl")
    with pytest.raises(DatasetError, match=r"1\.jpg has no class yet"):
        after(Edit("include", ("1.jpg",)), rows=waiting)


def test_two_classes_renamed_to_one_are_merged():
    merged = after(Edit("rename", classes=("cat", "dog"), to="pet"))
    assert {row.label for row in merged.values()} == {"pet"}
    assert Edit("rename", classes=("cat", "dog"), to="pet").in_words() == "cat and dog merged into pet"
    assert Edit("rename", classes=("cat",), to="Cat").in_words() == "cat renamed to Cat"


def test_one_edit_may_give_each_image_another_value():
    relabelled = after(Edit("relabel", ("cat/1.jpg", "dog/1.jpg"), each=("owl", "cat")))
    assert [row.label for row in relabelled.values()] == ["owl", "cat", "cat"]
    moved = after(Edit("move", ("cat/1.jpg", "cat/2.jpg"), each=("train", "valid")))
    assert [row.split for row in moved.values()] == ["train", "valid", ""]
    assert Edit("relabel", ("a", "b"), each=("x", "y")).in_words() == "2 images relabelled, 2 values"
    sides = Edit("move", ("a", "b", "c"), each=("train", "valid", "train"))
    assert sides.in_words() == "3 images moved, 2 to train and 1 to valid"
    with pytest.raises(DatasetError, match="There is a test set already"):
        tested = [row("cat/1.jpg", split="test"), *ROWS[1:]]
        after(Edit("move", ("cat/2.jpg", "dog/1.jpg"), each=("test", "train")), rows=tested)


def test_a_test_set_once_made_neither_loses_nor_gains_images():
    tested = [row("cat/1.jpg", split="test"), *ROWS[1:]]
    with pytest.raises(
        DatasetError, match=r"cat/1\.jpg is in the test set, which stays the same.*Give up the test set"
    ):
        after(Edit("move", ("cat/1.jpg",), to="train"), rows=tested)
    with pytest.raises(DatasetError, match="There is a test set already"):
        after(Edit("move", ("cat/2.jpg",), to="test"), rows=tested)
    free = after(Edit("give_up_test"), Edit("move", ("cat/2.jpg",), to="test"), rows=tested)
    assert {path: row.split for path, row in free.items()} == {"cat/1.jpg": "", "cat/2.jpg": "test", "dog/1.jpg": ""}


def test_edits_are_shared_by_every_process_and_undone_in_order(pets):
    add_edit(pets, "pets", Edit("exclude", ("train/cat/cat_000.jpg",)))
    add_edit(pets, "pets", Edit("relabel", ("train/cat/cat_001.jpg",), to="dog"))
    code = (
        "from learner.store import Store; from learner.datasets.editing import edits_of; import json\n"
        "print(json.dumps([edit.action for edit in edits_of(Store(), 'pets')]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == ["exclude", "relabel"]
    undo(pets, "pets")
    assert [edit.action for edit in edits_of(pets, "pets")] == ["exclude"]
    undo(pets, "pets")
    undo(pets, "pets")  # one more than there are
    assert edits_of(pets, "pets") == []
    redo(pets, "pets")
    redo(pets, "pets")
    redo(pets, "pets")
    assert [edit.action for edit in edits_of(pets, "pets")] == ["exclude", "relabel"]
    discard(pets, "pets")
    redo(pets, "pets")
    assert [edit.action for edit in edits_of(pets, "pets")] == ["exclude"]
    add_edit(pets, "pets", Edit("exclude", ("train/dog/dog_000.jpg",)))
    assert undone_of(pets, "pets") == []


def test_many_processes_that_edit_at_once_lose_no_edit(pets):
    code = (
        "import sys; from learner.store import Store; from learner.datasets.editing import Edit, add_edit\n"
        "for n in range(5):\n"
        "    add_edit(Store(), 'pets', Edit('exclude', (f'train/{sys.argv[1]}/{sys.argv[1]}_00{n}.jpg',)))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, label], cwd=ROOT) for label in ("cat", "dog")]
    assert [process.wait(GIVE_UP_S) for process in started] == [0, 0]
    assert len(edits_of(pets, "pets")) == 10


def test_saved_edits_are_a_new_version_with_a_note_and_the_old_one_stays(pets):
    before = newest(pets)
    add_edit(pets, "pets", Edit("exclude", ("train/cat/cat_000.jpg",)))
    add_edit(pets, "pets", Edit("relabel", ("train/cat/cat_001.jpg",), to="dog"))
    version = save(pets, "pets", "Looked through the cats")
    assert (version.number, version.parent) == (2, 1)
    assert version.note == "Looked through the cats. Images: 1 set aside, 1 relabelled."
    assert edits_of(pets, "pets") == []
    changed = difference(list(before.values()), list(newest(pets).values()))
    assert changed.excluded == ["train/cat/cat_000.jpg"]
    assert changed.relabelled == {"train/cat/cat_001.jpg": ("cat", "dog")}
    assert {row.path: row for row in rows_of(pets, pets.datasets.version("pets", 1))} == before
    assert save(pets, "pets") == version  # nothing to save, so no third one


def test_an_old_version_comes_back_as_a_new_one(pets):
    before = newest(pets)
    add_edit(pets, "pets", Edit("rename", classes=("cat",), to="Katze"))
    save(pets, "pets")
    add_edit(pets, "pets", Edit("exclude", ("train/dog/dog_000.jpg",)))
    with pytest.raises(DatasetError, match=r"has edits that are not saved.*discard them"):
        restore(pets, "pets", 1)
    discard(pets, "pets")
    version = restore(pets, "pets", 1)
    assert (version.number, version.note) == (3, "Version 1 restored.")
    assert newest(pets) == before
    with pytest.raises(DatasetError, match="There is no version 9"):
        restore(pets, "pets", 9)


def test_a_restored_version_keeps_the_test_set_that_was_made_since(pets):
    add_edit(pets, "pets", Edit("move", ("train/cat/cat_000.jpg", "train/dog/dog_000.jpg"), to="test"))
    save(pets, "pets")
    add_edit(pets, "pets", Edit("exclude", ("train/cat/cat_001.jpg",)))
    save(pets, "pets")
    version = restore(pets, "pets", 1)
    assert version.note == "Version 1 restored. The test set stays as it was."
    rows = newest(pets)
    assert {path for path, row in rows.items() if row.split == "test"} == {
        "train/cat/cat_000.jpg",
        "train/dog/dog_000.jpg",
    }
    assert not rows["train/cat/cat_001.jpg"].excluded


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("relabel", ("train/cat/cat_000.jpg",), to="  "), "A class needs a name"),
        (Edit("relabel", ("train/cat/cat_000.jpg",), to="a\nb"), "A class needs a name"),
        (Edit("rename", classes=("cat",), to="x" * 101), "1 to 100 printable"),
        (Edit("move", ("train/cat/cat_000.jpg",), to="exam"), "There is no split 'exam'"),
        (Edit("move", ("train/cat/cat_000.jpg",), each=("exam",)), "There is no split 'exam'"),
        (Edit("exclude"), "No image was chosen"),
        (Edit("rename", to="pet"), "No class was chosen"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused_and_leaves_the_draft_as_it_was(pets, edit, why):
    add_edit(pets, "pets", Edit("exclude", ("train/dog/dog_000.jpg",)))
    with pytest.raises(DatasetError, match=why):
        add_edit(pets, "pets", edit)
    assert [edit.action for edit in edits_of(pets, "pets")] == ["exclude"]


def test_edits_outlive_an_import_and_change_what_is_newest_then(pets, tmp_path, photos):
    add_edit(pets, "pets", Edit("exclude", ("train/cat/cat_000.jpg", "train/cat/cat_001.jpg")))
    folder = tmp_path / "pets"
    for path in photos.rglob("*.jpg"):
        if path.name != "cat_001.jpg":
            (folder / path.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(photos)).write_bytes(path.read_bytes())
    assert add_dataset(pets, folder, "pets").number == 2
    save(pets, "pets")
    assert [path for path, row in newest(pets).items() if row.excluded] == ["train/cat/cat_000.jpg"]


def test_a_version_that_cannot_be_learnt_from_is_not_queued(pets):
    from tests.samples import small_recipe

    add_edit(pets, "pets", Edit("rename", classes=("cat",), to="dog"))
    save(pets, "pets")
    with pytest.raises(DatasetError, match=r"pets \(version 2\) has only the class dog to learn from"):
        pets.submit(small_recipe())


def test_the_whole_way_on_postgresql(workspace, postgres_database, photos, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    store = Store(workspace)
    version = add_dataset(store, photos, "pets")
    assert len(facts_of(store, version).measured) == 40
    add_edit(store, "pets", Edit("exclude", ("train/cat/cat_000.jpg",)))
    add_edit(store, "pets", Edit("relabel", ("train/cat/cat_001.jpg",), to="dog"))
    undo(store, "pets")
    saved = save(store, "pets", "One less")
    assert (saved.number, saved.parent) == (2, 1)
    assert sum(row.excluded for row in rows_of(store, saved)) == 1
    assert set(card_of(store, saved, rows_of(store, saved)).means) == {"cat", "dog"}
    assert add_dataset(store, photos, "pets", mode="add").number == 2  # nothing new came
    assert restore(store, "pets", 1).number == 3
