"""What holds for every layout: proposals, names of classes, groups, what is set aside, what is refused."""

import pytest

from learner.datasets.layouts import Choice, Proposal, Table, place, preview, recognise
from learner.errors import DatasetError
from tests.learner.datasets.piles import CLASSES, best, labels, listing, placed


def test_an_unlabelled_folder_comes_in_without_classes():
    proposals = recognise(listing(["photos/IMG_1.jpg", "photos/IMG_3.jpg", "photos/readme.txt"]))
    assert proposals[0].choice == Choice("unlabelled")
    assert proposals[0].counts == {"": {"": 2}}
    assert proposals[0].set_aside == {"It is not an image file (.txt).": 1}


def test_a_single_folder_may_be_a_class_but_is_not_taken_for_one():
    proposals = recognise(listing(["husky/IMG_1.jpg", "husky/IMG_3.jpg"]))
    assert [proposal.choice.kind for proposal in proposals] == ["unlabelled", "folders"]
    assert proposals[1].reason == "The images lie in one folder, husky."
    assert labels(["husky/IMG_1.jpg"], Choice("folders")) == {"husky/IMG_1.jpg": ("husky", "")}


def test_every_pile_of_images_has_a_proposal_and_each_comes_with_examples():
    for proposal in recognise(listing([f"archive/{path}" for path in CLASSES])):
        assert proposal.images == 4 == sum(sum(counts.values()) for counts in proposal.counts.values())
        assert proposal.examples.keys() == proposal.counts.keys()
        assert all(path.startswith("archive/") for paths in proposal.examples.values() for path in paths)
        assert Proposal.from_dict(proposal.to_dict()) == proposal


def test_classes_come_in_natural_order():
    assert [path for path, _, _ in placed(["10/a.jpg", "9/a.jpg", "9/b10.jpg", "9/b9.jpg"])] == [
        "9/a.jpg",
        "9/b9.jpg",
        "9/b10.jpg",
        "10/a.jpg",
    ]


def test_é_written_by_a_mac_and_by_others_is_one_class():
    assert {label for _, label, _ in placed(["caf\u00e9/1.jpg", "cafe\u0301/2.jpg"])} == {"café"}


def test_names_of_classes_that_differ_only_in_form_are_offered_for_merging():
    folders = ["Cat", "cat", "great dane", "Great_Dane", "greatdane ", "dog", "Ｄog", "猫", "cats"]
    proposal = best([f"{folder}/{number}.jpg" for folder in folders for number in range(2)])
    merges = [sorted(names) for names in proposal.merges]
    assert sorted(merges) == [["Cat", "cat"], ["Great_Dane", "great dane", "greatdane"], ["dog", "Ｄog"]]


def test_classes_are_renamed_and_merged_by_choice():
    choice = Choice(classes={"cats": "cat", "dogs": "cat", "unheard": "of"})
    assert {label for _, label, _ in placed(CLASSES, choice)} == {"cat"}
    assert preview(listing(CLASSES), choice).choice == Choice("folders", classes=choice.classes)


def test_a_group_pattern_says_what_belongs_together_in_any_layout():
    paths = ["cats/p1_a.jpg", "cats/p1_b.jpg", "dogs/p2_a.jpg", "dogs/x.jpg"]
    for kind in ("folders", "unlabelled", "auto"):
        layout = place(listing(paths), Choice(kind, group_pattern=r"/(p\d+)_"))
        assert [item.group for item in layout.placed] == ["p1", "p1", "p2", ""]


def test_what_is_no_image_is_set_aside_with_the_reason():
    others = ["cats/list.txt", "more.zip", "README", "cats/1.xml"]
    assert dict(place(listing([*CLASSES, *others]), Choice()).set_aside) == {
        "cats/list.txt": "It is not an image file (.txt).",
        "more.zip": "It is an archive inside the source. Unpack it first.",
        "README": "It is not an image file (no suffix).",
        "cats/1.xml": "It is not an image file (.xml).",
    }


def test_a_class_name_nobody_can_read_is_none():
    table = Table(["file", "label"], [["1.jpg", "x" * 101], ["2.jpg", "cat"]])
    choice = Choice("table", table="t.csv", file_column="file", label_column="label")
    found = place(listing(["1.jpg", "2.jpg"], tables={"t.csv": table}), choice).placed
    assert [(item.label, item.reason) for item in found] == [
        ("", "The name of its class is longer than 100 characters."),
        ("cat", ""),
    ]


@pytest.mark.parametrize(
    ("paths", "choice", "told"),
    [
        ([], Choice(), r"pets holds no images: nothing found.*photos/train/cats/1\.jpg"),
        (["a/1.txt", "2.txt", "3.pdf"], Choice(), r"pets holds no images: 3 files \(2 \.txt, 1 \.pdf\) found"),
        (["1.jpg", "2.jpg"], Choice("folders"), "has no class folders"),
        (CLASSES, Choice("splits"), "has no folders for training, validation and test"),
        (CLASSES, Choice("table", table="x.csv"), r"holds no table 'x\.csv'"),
    ],
)
def test_a_layout_that_is_not_there_is_refused_with_the_way_out(paths, choice, told):
    with pytest.raises(DatasetError, match=told):
        place(listing(paths), choice)


def test_what_was_refused_before_is_named_when_nothing_else_is_there():
    with pytest.raises(DatasetError, match=r"nothing found\. a\.jpg was set aside: It is protected by a password\."):
        recognise(listing([], set_aside=[("a.jpg", "It is protected by a password.")]))


def test_a_choice_is_kept_as_plain_values_and_unknown_ones_are_refused():
    choice = Choice("names", pattern="(a)", classes={"a": "b"})
    assert choice.to_dict() == {"kind": "names", "pattern": "(a)", "classes": {"a": "b"}}
    assert Choice.from_dict(choice.to_dict()) == choice
    with pytest.raises(DatasetError, match=r"no layout 'magic'\. Choose one of auto, folders"):
        Choice.from_dict({"kind": "magic"})
    with pytest.raises(DatasetError, match="A layout has no 'colour'"):
        Choice.from_dict({"colour": "red"})


def test_25000_paths_are_all_placed():
    paths = [f"data/{'train' if number % 5 else 'val'}/class {number % 100}/{number}.jpg" for number in range(25_000)]
    for choice in (Choice("splits"), Choice("names", pattern=r"class (\d+)/", group_pattern=r"(\d\d)\.jpg")):
        assert len(place(listing(paths), choice).placed) == 25_000
