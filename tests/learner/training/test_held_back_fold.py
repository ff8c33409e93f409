"""A fold that only judges: nothing is learnt from it, nothing is chosen by it, and the finished model is asked."""

from collections import Counter
from dataclasses import replace

import pytest

from learner.datasets import add_dataset, dataset_folder, held_back_by, split_by
from learner.evaluation.results import load_predictions, load_result
from learner.inference.predictor import Predictor
from learner.recipe import Phase, Recipe
from tests.learner.training.running import run_well
from tests.machine import keep_small_speeds
from tests.samples import make_photos, small_recipe

SOLVED = small_recipe(phases=[Phase("Solve the head", solve=True)], folds=3, fold=2, fold_is="test")


@pytest.fixture
def pets_store(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 10, "dog": 8}), "pets")
    keep_small_speeds(store.workspace)
    return store


@pytest.fixture
def images(pets_store):
    return pets_store.datasets.images(pets_store.datasets.version("pets").id)


def test_every_image_is_held_back_by_one_fold_and_has_no_other_part_there(images):
    recipes = [replace(SOLVED, fold=fold) for fold in (1, 2, 3)]
    assert Counter(image.path for recipe in recipes for image in held_back_by(recipe, images)) == Counter(
        image.path for image in images
    )
    for recipe in recipes:
        parts = [{image.path for image in part} for part in (*split_by(recipe, images), held_back_by(recipe, images))]
        assert all(parts) and sum(map(len, parts)) == len(set().union(*parts)) == len(images)


def test_a_fold_that_validates_is_not_held_back(images):
    recipe = replace(SOLVED, fold_is="valid")
    assert held_back_by(recipe, images) == []
    assert {image.path for image in split_by(recipe, images)[1]} == {
        image.path for image in held_back_by(SOLVED, images)
    }


def test_own_validation_images_take_the_folds_place(images):
    for image in images[::3]:
        image.split = "valid"
    own = {image.path for image in images if image.split == "valid"}
    assert {image.path for image in held_back_by(SOLVED, images)} == own
    train, valid = split_by(SOLVED, images)
    assert train and valid and not own & {image.path for image in (*train, *valid)}


def test_the_finished_model_is_judged_by_the_fold(pets_store, images):
    run_id = run_well(pets_store, SOLVED)
    run, folder = pets_store.runs.get(run_id), pets_store.workspace.run_folder(run_id)
    fold = held_back_by(Recipe.from_dict(run.recipe), images)
    table = load_predictions(folder, "fold")
    assert sorted(table["path"]) == sorted(image.path for image in fold)
    assert run.facts["refit"]["images"] == len(images) - len(fold)  # the model that is handed over learnt from these
    files = [dataset_folder(pets_store.workspace, "pets") / file for file in table["file"]]
    said = list(Predictor.open(str(run_id), pets_store).predict(files))
    assert [one.classes[0] for one in said] == table["predicted"].tolist()
    right = sum(one.classes[0] == label for one, label in zip(said, table["label"], strict=True))
    assert load_result(folder, "fold")["accuracy"] == pytest.approx(right / len(fold))
