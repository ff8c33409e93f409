"""Correcting photos that a run got wrong, and training again on what became of the data set."""

import pytest

from learner.advice.corrections import correct, reapply, retrain, revert
from learner.datasets import add_dataset, split_by
from learner.datasets.editing import Edit, edits_of, undo
from learner.errors import DatasetError, RunError
from learner.evaluation.paired import pair_predictions
from learner.evaluation.results import load_predictions
from learner.recipe import Recipe
from learner.store import Store
from learner.training.process import execute
from tests.samples import make_photos, small_recipe


@pytest.fixture
def run(store, tmp_path) -> tuple[Store, int]:
    """A finished run on a data set without a split of its own, one of whose cats is labelled as a dog."""
    folder = make_photos(tmp_path / "pets", {"cat": 12, "dog": 12})
    (folder / "cat" / "cat_000.jpg").rename(folder / "dog" / "cat_000.jpg")
    add_dataset(store, folder, "pets")
    run_id = store.submit(small_recipe(seed=3), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store, run_id


def sides(store: Store, run_id: int) -> tuple[set[str], set[str]]:
    """Paths of training and validation images."""
    run = store.runs.get(run_id)
    train, valid = split_by(Recipe.from_dict(run.recipe), store.datasets.images(run.dataset_version_id))
    return {image.path for image in train}, {image.path for image in valid}


def test_the_validation_images_stay_the_same_but_for_what_was_corrected(run):
    store, run_id = run
    train, valid = sides(store, run_id)
    aside, moved = sorted(valid)[:2]
    correct(store, run_id, Edit("relabel", ("dog/cat_000.jpg",), to="cat"))
    correct(store, run_id, Edit("exclude", (aside,)), Edit("move", (moved,), to="train"))
    again = retrain(store, run_id)
    train_after, valid_after = sides(store, again)
    assert valid_after == valid - {aside, moved}
    assert train_after == train | {moved}
    labels = {image.path: image.label for image in store.datasets.images(store.runs.get(again).dataset_version_id)}
    assert labels["dog/cat_000.jpg"] == "cat"


def test_the_run_is_trained_again_with_its_recipe_and_seed_and_remembers_what_to_be_compared_with(run):
    store, run_id = run
    correct(store, run_id, Edit("relabel", ("dog/cat_000.jpg",), to="cat"))
    again = store.runs.get(retrain(store, run_id))
    before = store.runs.get(run_id)
    assert again.status == "queued" and again.baseline == run_id and before.baseline is None
    assert again.recipe == before.facts["recipe"] | {"version": 2}
    decided = {"version", "precision", "backbone", "image_size"}
    assert {key for key, value in again.recipe.items() if before.recipe[key] != value} <= decided
    assert store.datasets.version("pets").note.startswith(f"Corrected after run {run_id}: 2 edits.")
    assert edits_of(store, "pets") == []


def test_the_two_runs_can_be_compared_image_by_image(run):
    store, run_id = run
    correct(store, run_id, Edit("relabel", ("dog/cat_000.jpg",), to="cat"))
    again = retrain(store, run_id, running=True)
    assert execute(store, again) == "finished"
    before, now = (load_predictions(store.workspace.run_folder(one)) for one in (run_id, again))
    found = pair_predictions(before, now)
    assert found.counts.images + found.relabelled == len(before) == len(now)


def test_the_split_is_written_once_and_undo_takes_back_the_correction_first(run):
    store, run_id = run
    correct(store, run_id, Edit("exclude", ("dog/cat_000.jpg",)))
    correct(store, run_id, Edit("exclude", ("cat/cat_001.jpg",)))
    assert [edit.action for edit in edits_of(store, "pets")] == ["move", "exclude", "exclude"]
    undo(store, "pets")
    assert [edit.paths for edit in edits_of(store, "pets")][1:] == [("dog/cat_000.jpg",)]


def test_with_the_first_correction_goes_the_split_that_was_written_for_it(run):
    store, run_id = run
    correct(store, run_id, Edit("exclude", ("dog/cat_000.jpg",)))
    revert(store, "pets")
    assert edits_of(store, "pets") == []
    reapply(store, "pets")
    assert [edit.action for edit in edits_of(store, "pets")] == ["move", "exclude"]


def test_a_split_of_the_data_sets_own_is_left_alone(trained_copy):
    store, run_id = trained_copy
    photo = sorted(sides(store, run_id)[0])[0]
    correct(store, run_id, Edit("exclude", (photo,)))
    assert [edit.action for edit in edits_of(store, "pets")] == ["exclude"]


@pytest.fixture
def trained_copy(pets):
    run_id = pets.submit(small_recipe(), running=True)
    assert execute(pets, run_id) == "finished"
    return pets, run_id


def test_without_a_correction_training_again_is_refused(run):
    store, run_id = run
    with pytest.raises(RunError, match="Nothing has changed in pets since run 1"):
        retrain(store, run_id)


def test_an_edit_that_cannot_be_done_leaves_the_draft_as_it_was(run):
    store, run_id = run
    with pytest.raises(DatasetError):
        correct(store, run_id, Edit("relabel", ("dog/cat_000.jpg",), to="c" * 500))
    assert edits_of(store, "pets") == []
