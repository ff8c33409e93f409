"""Folders say which class and split an image belongs to, under any of their usual names."""

from collections import Counter

import pytest

from learner.datasets.layouts import Choice, place
from tests.learner.datasets.piles import CLASSES, best, labels, listing, placed


def test_one_folder_a_class():
    assert best(CLASSES).choice == Choice("folders")
    assert best(CLASSES).reason == "The images lie in one folder for each of 2 classes (cats, dogs)."
    assert placed(CLASSES) == [(path, path.split("/")[0], "") for path in CLASSES]


def test_class_folders_may_lie_several_folders_down_beside_a_loose_file():
    assert placed([f"export/photos/{path}" for path in CLASSES]) == placed(CLASSES)
    assert place(listing(["a/b/cats/1.jpg", "a/b/dogs/1.jpg"]), Choice()).placed[0].source_path == "a/b/cats/1.jpg"
    beside = labels([*(f"export/photos/{path}" for path in CLASSES), "export/cover.jpg"])
    assert beside["export/photos/cats/1.jpg"] == ("cats", "")
    assert beside["export/cover.jpg"] == ("", "")


def test_folders_inside_a_class_folder_belong_to_it():
    deep = [*CLASSES, "cats/2019/old/3.jpg", "dogs/puppies/3.jpg"]
    assert labels(deep)["cats/2019/old/3.jpg"] == ("cats", "")
    assert labels(deep)["dogs/puppies/3.jpg"] == ("dogs", "")


def test_the_innermost_folder_is_the_class_where_the_outer_ones_are_numbered_and_hold_the_same():
    paths = [f"site {site}/{path}" for site in (1, 2) for path in CLASSES]
    assert best(paths).title == "The innermost folder is the class"
    assert set(labels(paths).values()) == {("cats", ""), ("dogs", "")}
    by_year = [f"{path.split('/')[0]}/{year}/1.jpg" for year in (2019, 2020) for path in CLASSES]
    assert set(labels(by_year).values()) == {("cats", ""), ("dogs", "")}


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "VALIDATION", "Testing"),
        ("TRAIN", "val", "Test"),
        ("train_sep", "valid_sep", "test_sep"),
        ("train_set", "val_set", "test_set"),
        ("trn", "dev", "tst"),
        ("tr", "eval", "holdout"),
        ("train_images", "val_images", "test_images"),
        ("seg_train", "seg_val", "seg_test"),
        ("dataset_train", "dataset_validation", "dataset_test"),
        ("Training Set", "Validation Set", "Test Set"),
        ("TrainData", "ValidData", "TestData"),
        ("train2017", "val2017", "test2017"),
    ],
)
@pytest.mark.parametrize("around", ["", "archive/", "archive/data/v1/"])
def test_train_valid_and_test_folders_under_their_usual_names_and_nested(train, valid, test, around):
    paths = [f"{around}{split}/{path}" for split in (train, valid, test) for path in CLASSES]
    assert best(paths).choice == Choice("splits")
    assert labels(paths) == {
        path: (path.split("/")[-2], split)
        for path, split in zip(paths, ["train"] * 4 + ["valid"] * 4 + ["test"] * 4, strict=True)
    }
    assert {path for path, _, _ in placed(paths)} == {path.removeprefix(around) for path in paths}


def test_a_split_folder_within_the_same_split_folder_is_looked_through():
    paths = [f"seg_{split}/seg_{split}/{path}" for split in ("train", "test") for path in CLASSES]
    paths += ["seg_pred/seg_pred/1.jpg", "seg_pred/seg_pred/2.jpg"]
    found = labels(paths)
    assert Counter(found.values()) == {
        ("cats", "train"): 2, ("dogs", "train"): 2, ("cats", "test"): 2, ("dogs", "test"): 2, ("", ""): 2,
    }  # fmt: skip
    inside = [f"{split}/images/{path}" for split in ("train", "test") for path in CLASSES]
    assert {label for label, _ in labels(inside).values()} == {"cats", "dogs"}


def test_split_folders_inside_the_class_folders():
    paths = [
        f"{label}/{split}/{number}.jpg" for label in ("cats", "dogs") for split in ("train", "val") for number in (1, 2)
    ]
    assert best(paths).choice == Choice("splits")
    assert "inside the class folders" in best(paths).reason
    assert labels(paths)["cats/val/1.jpg"] == ("cats", "valid")
    assert labels(paths)["dogs/train/2.jpg"] == ("dogs", "train")


def test_class_folders_with_test_inside_as_in_knifey_spoony():
    paths = [
        f"knifey-spoony/{label}/{sub}{number}.jpg"
        for label in ("forky", "spoony")
        for sub in ("", "test/")
        for number in (1, 2, 3)
    ]
    assert labels(paths)["knifey-spoony/forky/test/1.jpg"] == ("forky", "test")
    assert labels(paths)["knifey-spoony/forky/1.jpg"] == ("forky", "train")
    assert "the" in best(paths).reason
    assert best(paths).counts == {"forky": {"train": 3, "test": 3}, "spoony": {"train": 3, "test": 3}}


def test_a_train_folder_alone_leaves_the_split_to_the_seed():
    assert {split for _, _, split in placed([f"train/{path}" for path in CLASSES])} == {""}


@pytest.mark.parametrize(
    "paths",
    [
        ["train/1.jpg", "train/2.jpg", "bus/1.jpg", "bus/2.jpg"],
        ["bullet train/1.jpg", "bullet train/2.jpg", "test tube/1.jpg", "test tube/2.jpg"],
        ["vehicles/train/1.jpg", "vehicles/train/2.jpg", "vehicles/bus/1.jpg"],
        ["signs/tr/1.jpg", "signs/en/1.jpg", "signs/tr/2.jpg"],
    ],
)
def test_words_for_splits_may_be_the_names_of_classes(paths):
    assert best(paths).choice == Choice("folders")
    assert set(labels(paths).values()) == {(path.split("/")[-2], "") for path in paths}


def test_a_short_word_for_a_split_counts_only_beside_another():
    by_language = [f"{label}/{language}/1.jpg" for label in ("stop", "go") for language in ("tr", "en")]
    assert labels(by_language)["stop/tr/1.jpg"] == ("stop", "")
    assert labels([f"{label}/{split}/1.jpg" for label in ("a", "b") for split in ("tr", "dev")])["a/tr/1.jpg"] == (
        "a",
        "train",
    )


def test_images_in_no_class_folder_come_in_without_a_class():
    assert labels([*CLASSES, "cover.jpg"])["cover.jpg"] == ("", "")
    train = [f"train/{path}" for path in CLASSES] + ["valid/cats/1.jpg"]
    found = labels([*train, "valid/2.jpg", "test/1.jpg", "extra/x/1.jpg"])
    assert (found["valid/2.jpg"], found["test/1.jpg"]) == (("", "valid"), ("", "test"))
    assert found["extra/x/1.jpg"] == ("", "")
    reasons = {item.path: item.reason for item in place(listing([*train, "valid/2.jpg", "x/1.jpg"]), Choice()).placed}
    assert reasons["valid/2.jpg"] == "It lies directly in valid, so its class is not known."
    assert reasons["x/1.jpg"] == "It lies beside train and valid, so its class and its split are not known."


def test_two_folders_for_one_split_count_together_and_it_is_said():
    proposal = best(["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "dev/b/1.jpg"])
    assert proposal.counts == {"a": {"train": 1, "valid": 1}, "b": {"train": 1, "valid": 1}}
    assert proposal.notes == ["The folders dev and val both count as valid."]


def test_validation_and_test_folders_without_training_are_told():
    [note] = best(["valid/cats/1.jpg", "valid/dogs/1.jpg", "test/cats/1.jpg"]).notes
    assert note.startswith("It has no train folder, so there is nothing to learn from yet.")
