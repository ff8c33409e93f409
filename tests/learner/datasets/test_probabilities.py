"""Probabilities of classes come in from a table, stay with their images, and follow every edit."""

import csv
import hashlib
from dataclasses import replace

import pytest

from learner.datasets import add_dataset
from learner.datasets.editing import Edit, add_edit, difference, edited, save
from learner.datasets.exclusions import ImageRow
from learner.datasets.layouts import Choice, Listing, Proposal, Table, place, recognise
from learner.datasets.rows import fingerprint_of, rows_of
from learner.errors import DatasetError
from tests.samples import write_probabilities

IMAGES = ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]


def listing(columns: list[str], *rows: list[str]) -> Listing:
    return Listing("cells", [*IMAGES, "labels.csv"], {"labels.csv": Table(columns, [list(row) for row in rows])})


def placed(pile: Listing, choice: Choice | None = None) -> dict[str, tuple[str, dict[str, float] | None]]:
    layout = place(pile, choice or recognise(pile)[0].choice)
    return {item.path: (item.label, item.probabilities) for item in layout.placed}


# Reading


@pytest.mark.parametrize(
    "columns", [["probability:bad", "probability:good"], ["p:bad", "P: good"], ["prob_bad", "p_good"], ["bad", "good"]]
)
def test_the_defect_probabilities_of_elpv_come_in_as_two_columns(columns):
    """0, 1/3, 2/3 and 1, however the table rounds them; a `type` of cell is no class."""
    pile = listing(
        ["file", *columns, "cell"],
        ["1.jpg", "0", "1", "mono"],
        ["2.jpg", "0.33", "0.67", "poly"],
        ["3.jpg", "0,6667", "0,3333", "mono"],
        ["4.jpg", "1", "", "poly"],
    )
    proposal = recognise(pile)[0]
    assert proposal.choice == Choice("table", table="labels.csv", file_column="file", probability_columns=columns)
    assert Proposal.from_dict(proposal.to_dict()) == proposal
    assert proposal.reason == (
        f"labels.csv names the files in file and the probabilities of 2 classes in {columns[0]} to {columns[1]}; "
        "2 classes (bad, good)."
    )
    assert placed(pile) == {
        "1.jpg": ("good", None),  # certain
        "2.jpg": ("good", {"bad": pytest.approx(0.33), "good": pytest.approx(0.67)}),
        "3.jpg": ("bad", {"bad": pytest.approx(2 / 3, abs=1e-4), "good": pytest.approx(1 / 3, abs=1e-4)}),
        "4.jpg": ("bad", None),
    }


def test_a_column_of_the_same_classes_names_them_and_one_of_others_does_not():
    rows = [[file, "0.4", "0.6", "bad", "poly"] for file in IMAGES]
    choice = recognise(listing(["file", "p:bad", "p:good", "label", "type"], *rows))[0].choice
    assert (choice.label_column, choice.probability_columns) == ("label", ["p:bad", "p:good"])
    choice = recognise(listing(["file", "p:bad", "p:good", "looks", "type"], *rows))[0].choice
    assert choice.label_column == ""
    named = placed(listing(["file", "p:bad", "p:good", "label", "type"], *rows))["1.jpg"]
    assert named == ("bad", {"bad": 0.4, "good": 0.6})  # against all odds


def test_of_equally_likely_classes_the_first_column_is_the_class():
    pile = listing(["file", "p:dog", "p:cat"], ["1.jpg", "0.5", "0.5"], ["2.jpg", "0", "1"])
    assert placed(pile)["1.jpg"] == ("dog", {"dog": 0.5, "cat": 0.5})


def test_rows_that_do_not_add_up_count_by_their_class_alone_or_are_left_out_with_the_reason():
    pile = listing(
        ["file", "label", "p:a", "p:b"],
        ["1.jpg", "a", "0.5", "0.3"],
        ["2.jpg", "", "many", "0.3"],
        ["3.jpg", "", "0.985", ""],
        ["4.jpg", "b", "", ""],
    )
    columns = {"file_column": "file", "label_column": "label", "probability_columns": ["p:a", "p:b"]}
    layout = place(pile, Choice("table", table="labels.csv", **columns))
    assert [(item.label, item.probabilities) for item in layout.placed] == [
        ("a", None),
        ("", None),
        ("", None),
        ("b", None),
    ]
    wrong = "Its probabilities in the table do not add up to 1."
    assert [item.reason for item in layout.placed] == ["", wrong, wrong, ""]
    assert layout.notes == [
        "labels.csv: the probabilities of 3 images do not add up to 1, such as those of 1.jpg. Only a class that the "
        "table names counts there."
    ]


def test_numbers_that_are_no_probabilities_are_not_taken_for_any():
    positions = listing(
        ["file", "label", "p_x", "p_y"], *([file, "ab"[n % 2], "0.9", "0.3"] for n, file in enumerate(IMAGES))
    )
    assert recognise(positions)[0].choice.probability_columns == []
    plain = listing(["file", "tail", "fur"], *([file, str(n % 2), "1"] for n, file in enumerate(IMAGES)))
    assert recognise(plain)[0].choice.probability_columns == []


def test_the_answers_that_predict_writes_give_the_first_as_the_class():
    pile = listing(
        ["file", "class_1", "prob_1", "class_2", "prob_2"],
        *([file, "ab"[n % 2], "0.8", "ba"[n % 2], "0.2"] for n, file in enumerate(IMAGES)),
    )
    assert placed(pile) == {"1.jpg": ("a", None), "2.jpg": ("b", None), "3.jpg": ("a", None), "4.jpg": ("b", None)}
    digits = listing(["file", "p:1", "p:7"], *([file, "0.8", "0.2"] for file in IMAGES))
    assert placed(digits)["1.jpg"] == ("1", {"1": 0.8, "7": 0.2})


def test_a_table_of_ones_and_zeros_is_one_of_classes():
    pile = listing(["image", "MEL", "NV"], *([file, f"{n % 2}.0", f"{1 - n % 2}.0"] for n, file in enumerate(IMAGES)))
    assert placed(pile) == {
        "1.jpg": ("NV", None),
        "2.jpg": ("MEL", None),
        "3.jpg": ("NV", None),
        "4.jpg": ("MEL", None),
    }


def test_columns_may_be_chosen_and_must_be_there():
    pile = listing(["file", "a", "b", "c"], *([file, "0.2", "0.3", "0.5"] for file in IMAGES))
    choice = Choice("table", table="labels.csv", file_column="file", probability_columns=["a", "b", "c"])
    assert placed(pile, choice)["1.jpg"] == ("c", {"a": 0.2, "b": 0.3, "c": 0.5})
    merged = replace(choice, classes={"a": "ab", "b": "ab", "c": "C"})
    assert placed(pile, merged)["1.jpg"] == ("ab", {"ab": 0.5, "C": 0.5})
    with pytest.raises(DatasetError, match="The table has no column 'd'"):
        place(pile, replace(choice, probability_columns=["a", "d"]))
    with pytest.raises(DatasetError, match="Say which column"):
        place(pile, replace(choice, probability_columns=[]))


# Edits


def row(path: str, label: str, **probabilities: float) -> ImageRow:
    return ImageRow(path, "", label, "", path, 10, 10, probabilities=probabilities or None)


ROWS = [row("1", "a", a=0.4, b=0.3, c=0.3), row("2", "b", b=0.75, c=0.25), row("3", "c")]


def after(*edits: Edit) -> list[ImageRow]:
    return edited(ROWS, edits)


def test_a_class_that_a_person_gives_is_certain():
    for label in ("b", "a"):
        changed = after(Edit("relabel", ("1",), to=label))
        assert (changed[0].label, changed[0].probabilities) == (label, None)
        assert changed[1:] == ROWS[1:]
    assert difference(ROWS, changed).in_words() == "Images: 1 given other probabilities"


def test_merged_classes_have_their_probabilities_together():
    merged = after(Edit("rename", classes=("b", "c"), to="d"))
    assert [(one.label, one.probabilities) for one in merged] == [
        ("a", {"a": 0.4, "d": pytest.approx(0.6)}),
        ("d", {"d": 1.0}),
        ("d", None),
    ]


def test_other_edits_leave_probabilities_alone():
    changed = after(Edit("move", ("1", "2"), to="valid"), Edit("exclude", ("1",)), Edit("group", ("2",), to="g"))
    assert [one.probabilities for one in changed] == [one.probabilities for one in ROWS]


# Versions


def test_probabilities_stay_with_the_images_through_versions_and_into_a_table_that_can_be_read_again(
    store, photos, tmp_path, monkeypatch
):
    from learner.cli.data.showing import table

    monkeypatch.setenv("THAW_HOME", str(store.workspace.root))
    pile = tmp_path / "pets"
    pile.mkdir()
    for file in sorted((photos / "train").rglob("*.jpg")):
        (pile / file.parent.name).mkdir(exist_ok=True)
        (pile / file.parent.name / file.name).write_bytes(file.read_bytes())
    write_probabilities(pile)
    first = add_dataset(store, pile, "pets")
    images = {image.path: image for image in store.datasets.images(first.id)}
    assert images["cat/cat_000.jpg"].probabilities == pytest.approx({"cat": 2 / 3, "dog": 1 / 3}, abs=1e-3)
    assert images["cat/cat_001.jpg"].probabilities is None
    assert {image.label for image in images.values()} == {"cat", "dog"}
    assert add_dataset(store, pile, "pets").number == 1  # the same

    add_edit(store, "pets", Edit("relabel", ("cat/cat_000.jpg",), to="cat"))
    add_edit(store, "pets", Edit("rename", classes=("dog",), to="hound"))
    saved = {one.path: one for one in rows_of(store, save(store, "pets"))}
    assert saved["cat/cat_000.jpg"].probabilities is None
    assert saved["cat/cat_002.jpg"].probabilities == pytest.approx({"cat": 2 / 3, "hound": 1 / 3}, abs=1e-3)

    table("pets", pile / "labels.csv")
    with (pile / "labels.csv").open(newline="") as file:
        lines = {line["path"]: line for line in csv.DictReader(file)}
    assert float(lines["cat/cat_002.jpg"]["probability:hound"]) == pytest.approx(1 / 3, abs=1e-3)
    assert lines["cat/cat_000.jpg"]["probability:hound"] == ""
    again = {one.path: one for one in rows_of(store, add_dataset(store, pile, "again"))}
    assert {path: one.label for path, one in again.items()} == {path: one.label for path, one in saved.items()}
    for path, one in again.items():
        assert (one.probabilities is None) == (saved[path].probabilities is None)
        assert one.probabilities is None or one.probabilities == pytest.approx(saved[path].probabilities)


def test_other_probabilities_are_another_version_and_none_leave_the_fingerprint_as_it_was():
    other = [replace(ROWS[0], probabilities={"a": 0.5, "b": 0.2, "c": 0.3}), *ROWS[1:]]
    turned = [replace(ROWS[0], probabilities={"c": 0.3, "b": 0.3, "a": 0.4}), *ROWS[1:]]
    assert fingerprint_of(other) != fingerprint_of(ROWS) == fingerprint_of(turned)
    before = "\0".join(["3", "c", "", "3", "", "None", "False"])  # as versions were told apart without probabilities
    assert fingerprint_of([ROWS[2]]) == hashlib.sha256(f"{before}\0\n".encode()).hexdigest()
