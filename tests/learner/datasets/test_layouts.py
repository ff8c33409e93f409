"""Which class and split an image belongs to is read from paths, tables and .mat files; anything unclear is said."""

import hashlib
from collections import Counter

import pytest

from learner.datasets.layouts import Choice, Listing, Proposal, Table, place, preview, recognise
from learner.errors import DatasetError

CLASSES = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]


def listing(paths: list[str], **more) -> Listing:
    return Listing("pets", paths, **more)


def best(paths: list[str], **more) -> Proposal:
    return recognise(listing(paths, **more))[0]


def placed(paths: list[str], choice: Choice | None = None, **more) -> list[tuple[str, str, str]]:
    return [(item.path, item.label, item.split) for item in place(listing(paths, **more), choice or Choice()).placed]


def labels(paths: list[str], choice: Choice | None = None, **more) -> dict[str, tuple[str, str]]:
    items = place(listing(paths, **more), choice or Choice()).placed
    return {item.source_path: (item.label, item.split) for item in items}


# Folders


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


# Common to all


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
