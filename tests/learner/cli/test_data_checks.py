"""`data check`, `data split`, `data card`: what is doubtful and mended, what is learnt from, what it looks like."""

import csv
import json
import shutil

import pytest
from PIL import Image

from learner.datasets import add_dataset
from learner.datasets.editing import edits_of
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.cli.shell import ONE_EPOCH
from tests.samples import make_photos


@pytest.fixture
def messy(store, tmp_path) -> Store:
    """12 cats, 12 dogs and 4 `Dog`s; one cat is there again, twice the size."""
    photos = make_photos(tmp_path / "pets", {"cat": 12, "dog": 12})
    make_photos(photos, {"Dog": 4, "x": 0}, seed=7)
    with Image.open(photos / "cat" / "cat_003.jpg") as photo:
        photo.resize((128, 96)).save(photos / "cat" / "larger.jpg")
    add_dataset(store, photos, "pets")
    return store


# Checks


def test_what_is_doubtful_is_told_with_its_remedy_which_is_added_to_the_edits(messy, thaw):
    said = thaw("data", "check", "pets")
    assert said.out.startswith("pets, version 1: ")
    assert "near: 1 near duplicate in 1 group\n" in said.out
    assert "  Set this image aside: --fix near\n  Found in:\n    cat/cat_003.jpg\n    cat/larger.jpg\n" in said.out
    assert "  Merge into dog: --fix names\n" in said.out
    assert edits_of(messy, "pets") == []

    fixed = thaw("data", "check", "pets", "--fix", "names", "--fix", "near", "--json").json
    findings = {finding["key"]: finding for finding in fixed["findings"]}
    assert findings["near"]["groups"] == [["cat/cat_003.jpg", "cat/larger.jpg"]]
    assert findings["few"]["serious"] is False
    assert (fixed["fixed"], fixed["saved"]) == (["Dog renamed to dog", "1 image set aside"], None)
    assert [edit.action for edit in edits_of(messy, "pets")] == ["rename", "exclude"]

    after = thaw("data", "check", "pets", "--save").out
    assert after.startswith("pets, version 1 with 2 edits not saved: ")
    assert "near:" not in after and "names:" not in after and "few:" not in after
    assert "pets, version 2. Images: 1 set aside, 4 relabelled.\n" in after
    assert thaw("data", "show", "pets", "--json").json["counts"] == {"cat": {"": 12}, "dog": {"": 16}}


def test_a_network_doubts_a_wrong_label_and_its_suggestion_is_taken(store, thaw, tmp_path):
    photos = make_photos(tmp_path / "pets", {"cat": 15, "dog": 15}, size=(96, 72))
    shutil.move(photos / "cat" / "cat_004.jpg", photos / "dog" / "really a cat.jpg")
    add_dataset(store, photos, "pets")
    assert thaw("data", "check", "pets", "--fix", "wrong_label").code == 2
    said = thaw("data", "check", "pets", "--labels", "--fix", "wrong_label", "--save")
    assert said.code == 0, said.err
    assert "looked at 30 images and foretold the class of" in said.err
    assert "wrong_label: " in said.out and "dog/really a cat.jpg: dog → cat" in said.out
    changed = thaw("data", "diff", "pets", "--json").json
    assert changed["relabelled"]["dog/really a cat.jpg"] == ["dog", "cat"]


def test_a_data_set_without_faults_says_so(store, thaw, tmp_path):
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 10, "dog": 10}), "pets")
    assert thaw("data", "check", "pets").out == "pets, version 1: nothing doubtful was found\n"
    assert thaw("data", "check", "pets", "--json").json["findings"] == []
    said = thaw("data", "check", "pets", "--fix", "near")
    assert said.err == "Error: No finding 'near' that has a remedy was made. Nothing here has a remedy.\n"


# Splits


def test_a_split_keeps_twins_together_and_can_be_written_down(messy, thaw, tmp_path):
    said = thaw("data", "split", "pets", "--csv", tmp_path / "sides.csv")
    table = [line.split() for line in said.out.splitlines()[1:4]]
    assert table[0] == ["Side", "Images", "Classes"]
    assert (table[1][::2], int(table[1][1]) + int(table[2][1])) == (["train", "3"], 29)
    assert "2 images in 1 group stay together (near duplicates or declared)." in said.out
    assert "In a recipe: --set seed=42 --set valid_fraction=0.2" in said.out
    with (tmp_path / "sides.csv").open() as file:
        sides = {row["path"]: row["side"] for row in csv.DictReader(file)}
    assert len(sides) == 29 and sides["cat/cat_003.jpg"] == sides["cat/larger.jpg"]

    told = [thaw("data", "split", "pets", "--seed", seed, "--json").json["splits"][0] for seed in range(6)]
    seed = [split["prevented"] for split in told].index(1)
    assert "Grouping prevents 1 leak: " in thaw("data", "split", "pets", "--seed", seed).out
    assert all(split["torn"] == 0 and len(split["train"]) + len(split["valid"]) == 29 for split in told)
    assert edits_of(messy, "pets") == []


def test_a_test_set_and_a_split_are_kept_for_good(messy, thaw):
    said = thaw("data", "split", "pets", "--test", "0.25", "--keep", "--seed", "3")
    assert "images moved to test." in said.out and "python -m learner data save pets" in said.out
    test, split = edits_of(messy, "pets")  # so that one undo takes the whole split back
    assert (test.to, set(split.each)) == ("test", {"train", "valid"})
    assert set(test.paths).isdisjoint(split.paths)
    thaw("data", "save", "pets")
    kept = thaw("data", "split", "pets", "--seed", "8", "--json").json
    assert kept["fixed"] and kept["splits"] == thaw("data", "split", "pets", "--json").json["splits"]
    assert all(kept["splits"][0][side] for side in ("train", "valid", "test"))
    assert "so every recipe uses those, whatever its seed and folds." in thaw("data", "split", "pets").out


def test_every_image_validates_in_one_fold_and_a_run_uses_the_fold_it_is_told(messy, thaw, tmp_path):
    told = thaw("data", "split", "pets", "--folds", "3", "--csv", tmp_path / "folds.csv", "--json").json
    valid = [split["valid"] for split in told["splits"]]
    assert sorted(path for fold in valid for path in fold) == sorted(
        path for side in ("train", "valid") for path in told["splits"][0][side]
    )
    with (tmp_path / "folds.csv").open() as file:
        assert {row["path"] for row in csv.DictReader(file) if row["side"] == "fold 2"} == set(valid[1])
    assert "--set seed=42 --set folds=3 --set fold=1" in thaw("data", "split", "pets", "--folds", "3").out

    run = thaw("train", "--dataset", "pets", *ONE_EPOCH, "--set", "folds=3", "--set", "fold=2", "--json").json
    with (Workspace.current().run_folder(run["run"]) / "predictions.csv").open() as file:
        assert {row["path"] for row in csv.DictReader(file)} == set(valid[1])


# The card


def test_the_card_tells_figures_and_draws_them(messy, thaw, tmp_path):
    thaw("data", "edit", "pets", "rename", "dog", "--to", "dog $x_{$ 犬")  # matplotlib reads $ as a formula
    said = thaw("data", "card", "pets", "--png", tmp_path / "card.png")
    lines = [line.strip() for line in said.out.splitlines()]
    assert lines[0] == "pets, version 1 with 1 edit not saved"
    assert {("64 × 48 px", "28"), ("128 × 96 px", "1")} <= {tuple(line.rsplit(None, 1)) for line in lines}
    assert "Typically 64 × 48 px; 2 sizes in all." in said.out
    assert said.err == ""
    with Image.open(tmp_path / "card.png") as picture:
        assert picture.format == "PNG" and picture.width == 1200

    told = thaw("data", "card", "pets", "--json").json
    assert told["counts"] == {"cat": {"": 13}, "Dog": {"": 4}, "dog $x_{$ 犬": {"": 12}}
    assert told["sizes"] == [{"width": 64, "height": 48, "images": 28}, {"width": 128, "height": 96, "images": 1}]
    assert sum(part["images"] for part in told["brightness"]) == 29


def test_the_card_says_how_deep_greys_are_shown(store, thaw, tmp_path):
    photos = make_photos(tmp_path / "scans", {"sound": 3, "torn": 3})
    levels = Image.frombytes(
        "I;16", (64, 48), b"".join((300 + place).to_bytes(2, "little") for place in range(64 * 48))
    )
    levels.save(photos / "torn" / "scan.png")
    add_dataset(store, photos, "scans")
    assert "1 image of more than 8 bits. The first: Grey levels 3" in thaw("data", "card", "scans").out
    assert thaw("data", "card", "scans", "--json").json["treated"]["images"] == 1


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("check nosuch", "There is no data set 'nosuch'"),
        (
            "check pets --fix dirt",
            "No finding 'dirt' that has a remedy was made. There are remedies for: near, names, few",
        ),
        ("check pets --fix near --fix imbalance", "No finding 'imbalance' that has a remedy"),
        ("split nosuch", "There is no data set 'nosuch'"),
        ("split pets --valid 1.5", "The share of validation images is 1.5"),
        ("split pets --folds 1", "Use 2 folds or more"),
        ("split pets --folds 40", "less than or equal to 20"),
        ("split pets --folds 3 --keep", "--keep writes one split down, but --folds draws several"),
        ("split pets --test 0", "it must lie between 0 and 1"),
        ("split pets --csv /no/such/sides.csv", "The folder /no/such does not exist"),
        ("split pets --keep --csv FOLDER", "cannot be written: Is a directory"),
        ("card nosuch", "There is no data set 'nosuch'"),
        ("card pets --png /no/such/card.png", "The folder /no/such does not exist"),
        ("card pets --png FOLDER", "cannot be written: Is a directory"),
        ("table pets FOLDER", "cannot be written: Is a directory"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(messy, thaw, tmp_path, words, message):
    said = thaw("data", *(str(tmp_path) if word == "FOLDER" else word for word in words.split()))
    assert (said.code, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith("Error: ") and message in line
    assert edits_of(messy, "pets") == []


def test_a_test_set_is_drawn_once(messy, thaw):
    thaw("data", "split", "pets", "--test", "0.2")
    said = thaw("data", "split", "pets", "--test", "0.2")
    assert said.code == 2 and "There is a test set already" in said.err
    assert json.loads(thaw("data", "edits", "pets", "--json").out)["edits"][0]["to"] == "test"
