"""Which class and split an image belongs to is read from its path, and anything unclear is said, not guessed."""

import pytest

from learner.datasets.layout import find_layout
from learner.errors import DatasetError


def placed(paths: list[str]) -> list[tuple[str, str, str]]:
    return [(item.path, item.label, item.split) for item in find_layout(paths, "pets").placed]


def set_aside(paths: list[str]) -> dict[str, str]:
    return dict(find_layout(paths, "pets").set_aside)


CLASSES = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]


def test_one_folder_a_class():
    assert placed(CLASSES) == [(path, path.split("/")[0], "") for path in CLASSES]


def test_class_folders_may_lie_several_folders_down():
    deep = placed([f"export/photos/{path}" for path in CLASSES])
    assert deep == placed(CLASSES)
    assert find_layout(["a/b/cats/1.jpg", "a/b/dogs/1.jpg"], "pets").placed[0].source_path == "a/b/cats/1.jpg"


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "VALIDATION", "Testing"),
        ("TRAIN", "val", "Test"),
        ("train", "dev", "test"),
    ],
)
def test_train_valid_and_test_folders_under_their_usual_names(train, valid, test):
    paths = [f"{split}/{path}" for split in (train, valid, test) for path in CLASSES]
    found = placed([f"pets/{path}" for path in paths])
    assert {(path.split("/")[0], split) for path, _, split in found} == {
        (train, "train"),
        (valid, "valid"),
        (test, "test"),
    }
    assert {label for _, label, _ in found} == {"cats", "dogs"}


def test_a_train_folder_alone_leaves_the_split_to_the_seed():
    assert {split for _, _, split in placed([f"train/{path}" for path in CLASSES])} == {""}


def test_train_may_be_the_name_of_a_class():
    assert placed(["train/1.jpg", "bus/1.jpg"]) == [("bus/1.jpg", "bus", ""), ("train/1.jpg", "train", "")]


def test_classes_come_in_natural_order():
    assert [path for path, _, _ in placed(["10/a.jpg", "9/a.jpg", "9/b10.jpg", "9/b9.jpg"])] == [
        "9/a.jpg",
        "9/b9.jpg",
        "9/b10.jpg",
        "10/a.jpg",
    ]


def test_é_written_by_a_mac_and_by_others_is_one_class():
    assert {label for _, label, _ in placed(["caf\u00e9/1.jpg", "cafe\u0301/2.jpg"])} == {"café"}


def test_what_lies_beside_or_too_deep_is_set_aside_with_the_reason():
    rows = set_aside([*CLASSES, "cover.jpg", "cats/old/3.jpg", "cats/list.txt", "cats/4.HEIC", "more.zip", "README"])
    assert rows == {
        "cover.jpg": "It lies beside the class folders, so its class is not known.",
        "cats/old/3.jpg": "It lies in a folder inside cats. Move it up into the class folder.",
        "cats/list.txt": "It is not an image file (.txt).",
        "cats/4.HEIC": "HEIC photos cannot be read here. Export them as JPEG.",
        "more.zip": "It is an archive inside the source. Unpack it first.",
        "README": "It is not an image file (no suffix).",
    }


def test_unlabelled_test_images_and_strangers_beside_train_are_set_aside():
    rows = set_aside([*(f"train/{path}" for path in CLASSES), "test/1.jpg", "extra/x/1.jpg", "valid/cats/1.jpg"])
    assert rows == {
        "test/1.jpg": "It lies beside the train and valid folders, in none of them.",
        "extra/x/1.jpg": "It lies beside the train and valid folders, in none of them.",
    }
    assert set_aside([*(f"train/{path}" for path in CLASSES), "valid/cats/1.jpg", "valid/2.jpg"]) == {
        "valid/2.jpg": "It lies directly in valid, so its class is not known."
    }


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([], "pets holds no images: nothing found"),
        (["a/1.txt", "2.txt", "3.pdf"], r"pets holds no images: 3 files \(2 \.txt, 1 \.pdf\) found"),
        (["1.jpg", "2.jpg"], r"no class folders: 2 images in no folder, such as 1\.jpg"),
        (["x/cats/t/1.jpg", "y/dogs/t/1.jpg"], r"no class folders: 2 images 3 folders deep, such as x/cats/t/1\.jpg"),
        (["valid/cats/1.jpg", "test/cats/1.jpg"], "has test and valid but no train folder"),
    ],
)
def test_any_other_layout_is_refused_with_what_was_found_and_what_is_expected(paths, found):
    with pytest.raises(DatasetError, match=found) as refused:
        find_layout(paths, "pets")
    assert "photos/cats/1.jpg" in str(refused.value)
    assert "photos/train/cats/1.jpg" in str(refused.value)


def test_two_folders_for_one_split_are_refused():
    with pytest.raises(DatasetError, match=r"The folders dev and val both mean valid\. Put their images into one"):
        find_layout(["train/a/1.jpg", "val/a/1.jpg", "dev/a/1.jpg"], "pets")
