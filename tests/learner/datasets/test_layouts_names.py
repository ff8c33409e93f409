"""Names, numbers, patterns and .mat files say which class an image belongs to."""

import hashlib

import pytest

from learner.datasets.layouts import Choice, place, preview, recognise
from learner.errors import DatasetError
from tests.learner.datasets.piles import CLASSES, best, labels, listing

# Names


def test_a_suffix_that_is_the_class_as_in_the_shenzhen_set():
    paths = [f"CXR_png/CHNCXR_{number:04}_{number % 2}.png" for number in range(1, 40)]
    assert best(paths).choice.kind == "names"
    assert labels(paths)["CXR_png/CHNCXR_0001_1.png"] == ("1", "")
    assert labels(paths)["CXR_png/CHNCXR_0002_0.png"] == ("0", "")


def test_names_before_a_number_as_in_the_pets_set():
    breeds = ("Abyssinian", "great_pyrenees", "Egyptian_Mau")
    paths = [f"images/{breed}_{number}.jpg" for breed in breeds for number in range(1, 12)]
    assert set(best(paths).counts) == set(breeds)
    assert labels(paths)["images/great_pyrenees_11.jpg"] == ("great_pyrenees", "")
    kaggle = [f"{label}.{number}.jpg" for label in ("cat", "dog") for number in range(5)]
    assert set(best(kaggle).counts) == {"cat", "dog"}
    windows = [f"{label} ({number}).jpg" for label in ("cat", "dog") for number in range(5)]
    assert set(best(windows).counts) == {"cat", "dog"}


def test_names_that_begin_with_the_class():
    paths = [f"{label}-{number * 7919:x}z.jpg" for label in ("cat", "dog") for number in range(1, 9)]
    assert set(best(paths).counts) == {"cat", "dog"}


def test_names_in_split_folders_tell_both():
    paths = [f"train/{label}_{number}.jpg" for label in ("cat", "dog") for number in range(5)] + ["test/cat_9.jpg"]
    assert best(paths).counts == {"cat": {"train": 5, "test": 1}, "dog": {"train": 5}}


@pytest.mark.parametrize(
    "name",
    [
        lambda number: f"IMG_{number:04}",
        lambda number: f"DSC{number:05}",
        lambda number: f"2019-01-{number % 28:02} 12.00.{number:02}",
        lambda number: f"IMG_201901{number % 28:02}_{number:06}",
        lambda number: hashlib.md5(str(number).encode()).hexdigest(),
    ],
)
def test_names_from_a_camera_are_not_taken_for_classes(name):
    assert best([f"{name(number)}.jpg" for number in range(3, 60)]).choice.kind == "unlabelled"


def test_any_regular_expression_with_named_groups():
    paths = ["p7/x-train-cat.jpg", "p7/x-test-dog.jpg", "p8/x-zzz-cat.jpg", "p8/other.jpg"]
    choice = Choice("names", pattern=r"(?P<group>p\d)/x-(?P<split>\w+)-(\w+)\.jpg$")
    layout = place(listing(paths), choice)
    assert [(item.label, item.split, item.group) for item in layout.placed] == [
        ("dog", "test", "p7"), ("cat", "train", "p7"), ("", "", ""), ("cat", "", "p8"),
    ]  # fmt: skip
    assert layout.placed[2].reason == "The pattern does not fit its name, so its class is not known."
    assert layout.notes == [
        "The pattern does not fit 1 name, such as p8/other.jpg; those images come in without a class."
    ]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("", "is empty"),
        (r"(\w+", r"cannot be read at character \d+: missing \)"),
        (r"a)b(c)", "cannot be read at character 2: unbalanced parenthesis"),
        (r"\w+", "has no group. Put round brackets around the part of the name that is the label"),
        ("(a)" * 200, "has 600 characters; at most 500"),
    ],
)
def test_a_regular_expression_that_cannot_be_used_is_refused_with_the_place(pattern, told):
    with pytest.raises(DatasetError, match=told):
        place(listing(CLASSES), Choice("names", pattern=pattern))
    if pattern:
        with pytest.raises(DatasetError, match=told.replace("the label", "the group")):
            place(listing(CLASSES), Choice("folders", group_pattern=pattern))


def test_a_regular_expression_that_would_run_for_ever_is_stopped():
    with pytest.raises(DatasetError, match=r"takes too long, for example on a{40}\.jpg\. Repeats within repeats"):
        place(listing(["a" * 40 + ".jpg"]), Choice("names", pattern=r"((a|a)+)+b$"))


# Numbers and .mat files


def test_a_numbered_folder_of_1360_is_flowers_17():
    paths = [f"jpg/image_{number:04}.jpg" for number in range(1, 1361)]
    assert best(paths).choice == Choice("numbered", per_class=80)
    found = labels(paths)
    assert [found[f"jpg/image_{number:04}.jpg"][0] for number in (1, 80, 81, 1360)] == ["1", "1", "2", "17"]


def test_other_numbered_folders_are_only_offered():
    paths = [f"image_{number:03}.jpg" for number in range(60)]
    kinds = [proposal.choice.kind for proposal in recognise(listing(paths))]
    assert kinds == ["unlabelled", "numbered"]
    found = labels(paths, Choice("numbered", per_class=30))
    assert (found["image_029.jpg"], found["image_030.jpg"]) == (("1", ""), ("2", ""))
    assert preview(listing(paths), Choice("numbered", per_class=25)).notes == ["1 class does not have 25 images."]
    with pytest.raises(DatasetError, match="0 images a class cannot be"):
        place(listing(paths), Choice("numbered"))


FLOWERS_102 = {
    "setid.mat": {"trnid": [1, 4], "valid": [2], "tstid": [3, 5, 6]},
    "imagelabels.mat": {"labels": [77, 77, 5, 5, 102, 5]},
}


def test_imagelabels_and_setid_are_read_as_they_are_named():
    paths = [*(f"jpg/image_{number:05}.jpg" for number in range(1, 8)), *FLOWERS_102]
    assert best(paths, mats=FLOWERS_102).choice == Choice("setid")
    layout = place(listing(paths, mats=FLOWERS_102), Choice())
    assert [(item.label, item.split) for item in layout.placed] == [
        ("77", "train"), ("77", "valid"), ("5", "test"), ("5", "train"), ("102", "test"), ("5", "test"), ("", ""),
    ]  # fmt: skip
    assert layout.placed[-1].reason == "imagelabels.mat lists no image of its number."
    assert layout.set_aside == []


def test_setid_without_imagelabels_is_refused():
    with pytest.raises(DatasetError, match=r"holds no imagelabels\.mat"):
        place(listing(["1.jpg"]), Choice("setid"))
