"""Whatever files are called and tables hold: no image is lost, none counts twice, and errors are sentences."""

import csv
import io
import json
import unicodedata

from hypothesis import assume, given, settings
from hypothesis import strategies as some

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.layouts import KINDS, Choice, Listing, Proposal, Table, place, recognise
from learner.datasets.layouts.placing import MAX_LABEL_LENGTH
from learner.datasets.layouts.tables import FileIndex, read_table
from learner.errors import DatasetError

words = some.sampled_from(
    [
        "train",
        "val",
        "Test",
        "seg_train",
        "seg_test",
        "cats",
        "dogs",
        "images",
        "café",
        "cafe\u0301",
        "猫",
        "1",
        "site 2",
    ]
)
parts = words | some.text(some.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="/"), min_size=1)
names = some.builds("{}{}{}".format, parts, some.sampled_from(["", "_1", "_2", " (3)", "-0"]), some.sampled_from(
    [".jpg", ".png", ".JPG", ".txt", "", ".csv"]
))  # fmt: skip
paths = some.builds(lambda folders, name: "/".join([*folders, name]), some.lists(parts, max_size=4), names)
piles = some.lists(paths, unique=True, max_size=25).filter(
    lambda pile: not any(part in (".", "..") for path in pile for part in path.split("/"))
)
cells = some.text(
    some.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters=",;|\t"), max_size=12
)


def is_image(path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(name.lower().endswith(suffix) and len(name) > len(suffix) for suffix in IMAGE_SUFFIXES)


def check(listing: Listing, choice: Choice) -> None:
    layout = place(listing, choice)
    images = [path for path in listing.paths if is_image(path)]
    assert sorted(item.source_path for item in layout.placed) == sorted(images)
    assert len({item.path for item in layout.placed}) == len(images)
    for item in layout.placed:
        assert item.source_path.endswith(item.path)
        assert item.label == unicodedata.normalize("NFC", item.label)
        assert len(item.label) <= MAX_LABEL_LENGTH
        assert item.split in ("", "train", "valid", "test")
    assert len(layout.set_aside) <= len(listing.paths) - len(images) + 1


@settings(deadline=None, max_examples=150)
@given(piles)
def test_every_proposal_for_any_pile_of_files_holds_every_image_once(pile):
    listing = Listing("pile", pile)
    if not any(map(is_image, pile)):
        try:
            recognise(listing)
        except DatasetError:
            return
        raise AssertionError("a pile without images was taken")
    proposals = recognise(listing)
    assert Choice("unlabelled") in [proposal.choice for proposal in proposals]
    for proposal in proposals:
        assert sum(sum(counts.values()) for counts in proposal.counts.values()) == proposal.images
        kept = Proposal.from_dict(json.loads(json.dumps(proposal.to_dict())))
        assert kept == proposal
        check(listing, kept.choice)


@settings(deadline=None, max_examples=150)
@given(piles, some.sampled_from(sorted(set(KINDS) - {"table"})), some.text(max_size=12), some.integers(-1, 5))
def test_any_choice_gives_every_image_a_place_or_is_refused_in_words(pile, kind, pattern, per_class):
    listing = Listing("pile", pile)
    try:
        check(listing, Choice(kind, pattern=pattern, per_class=per_class, group_pattern=pattern))
    except DatasetError as error:
        assert str(error)


@settings(deadline=None, max_examples=150)
@given(
    some.lists(some.lists(cells, min_size=3, max_size=3).filter(any), min_size=1, max_size=8),
    some.sampled_from(",;\t|"),
    some.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    some.sampled_from(["\n", "\r\n"]),
)
def test_what_a_program_writes_as_csv_is_read_as_it_was(rows, delimiter, encoding, line_end):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows([["file", "label", "x"], *rows])
    table = read_table("t.csv", file.getvalue().encode(encoding))
    assert table.columns == ["file", "label", "x"]
    assert table.rows == rows


@settings(deadline=None, max_examples=100)
@given(some.binary(max_size=400), some.sampled_from(["t.csv", "t.tsv"]))
def test_any_bytes_are_a_table_or_are_refused_in_words(data, name):
    read_or_refused(data, name)


@settings(deadline=None, max_examples=12)
@given(some.binary(max_size=400))
def test_any_bytes_are_an_excel_file_or_are_refused_in_words(data):
    """Each is read in a process of its own."""
    read_or_refused(data, "t.xlsx")


def read_or_refused(data: bytes, name: str) -> None:
    try:
        table = read_table(name, data, ["1.jpg"])
    except DatasetError as error:
        assert str(error)
    else:
        assert len(set(table.columns)) == len(table.columns)
        assert all(len(row) == len(table.columns) for row in table.rows)


@settings(deadline=None, max_examples=150)
@given(piles, some.data())
def test_a_table_that_lists_every_file_in_full_labels_every_file(pile, data):
    images = [path for path in pile if is_image(path)]
    assume(len(images) > 1)
    # Names that differ in nothing but case, letter form or a missing suffix may mean each other's file.
    assume(len({unicodedata.normalize("NFC", path).casefold().rpartition(".")[0] for path in images}) == len(images))
    listed = {path: data.draw(some.sampled_from(["cat", "dog"])) for path in images}
    table = Table(["file", "label"], [[path, label] for path, label in listed.items()])
    choice = Choice("table", table="t.csv", file_column="file", label_column="label")
    layout = place(Listing("pile", pile, {"t.csv": table}), choice)
    matched = FileIndex(images).match(images)
    for item in layout.placed:
        if item.source_path in matched:
            assert item.label == listed[item.source_path]
    assert set(matched) <= {*images, ""}
