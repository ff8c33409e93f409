"""Runs that learn probabilities of classes, from a table to the result, and killed on the way."""

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import log_softmax, softmax

from learner.datasets import add_dataset
from learner.evaluation.results import load_predictions, load_result
from learner.models import logistic
from learner.models.backbones import build
from learner.recipe import Augment, Phase
from learner.store import Store
from learner.training.lr_finder import find_rates
from learner.workspace import Workspace
from tests.learner.killing import die_at_batch, left_behind, train_in_a_process
from tests.learner.training.running import run_well
from tests.machine import keep_small_speeds
from tests.samples import SMALL, make_photos, small_recipe, write_probabilities

PHASES = [
    Phase("First", trainable="layer4", epochs=1, lr=[1e-3, 1e-2], interpolate=True),
    Phase("Solve the head", solve=True),
    Phase("Everything", trainable="all", epochs=2, lr=[1e-4, 1e-3], average=True),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = make_photos(tmp_path_factory.mktemp("photos"), {"cat": 12, "dog": 10})
    write_probabilities(folder)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Pretrained ones that no seed gives."""
    torch.manual_seed(4711)
    backbone = build(SMALL, "random")
    file = tmp_path_factory.mktemp("weights") / "pretrained.safetensors"
    save_file({backbone.timm_names[name]: tensor for name, tensor in backbone.body.state_dict().items()}, file)
    return str(file)


@pytest.fixture
def fresh(tmp_path, photos):
    """Makes an empty workspace with the photos and their probabilities."""

    def make(name: str) -> Store:
        store = Store(Workspace(tmp_path / name))
        add_dataset(store, photos, "pets")
        keep_small_speeds(store.workspace)
        return store

    return make


def shares_of(store: Store, table) -> np.ndarray:
    """(images, 2): the probabilities of cat and dog of each row, from the table beside the photos."""
    probabilities = {image.path: image.probabilities for image in store.datasets.images(1)}
    rows = zip(table["path"], table["label"], strict=True)
    return np.array(
        [[(probabilities[path] or {label: 1}).get(name, 0) for name in ("cat", "dog")] for path, label in rows]
    )


def test_losses_of_a_run_and_its_result_are_against_the_probabilities(fresh):
    store = fresh("home")
    recipe = small_recipe(phases=[Phase("x", "layer4", 1, [1e-3, 1e-2])], precision="fp32")
    run_id = run_well(store, recipe)
    folder = store.workspace.run_folder(run_id)
    [epoch] = store.runs.epochs(run_id)
    result, table = load_result(folder), load_predictions(folder)
    probs, shares = table[["p(cat)", "p(dog)"]].to_numpy(), shares_of(store, table)
    assert 0 < (shares.max(axis=1) < 1).sum() < len(shares)
    logits = np.log(probs) * result["temperature"]  # but for a constant of each image
    assert epoch.valid_loss == pytest.approx(-(shares * log_softmax(logits, axis=1)).sum(axis=1).mean(), rel=1e-3)
    assert epoch.accuracy == pytest.approx((table["label"] == table["predicted"]).mean())
    learnt = load_result(folder, "train")
    table = load_predictions(folder, "train")
    probs, shares = table[["p(cat)", "p(dog)"]].to_numpy(), shares_of(store, table)
    losses = -(shares * np.log(probs)).sum(axis=1)
    assert learnt["figures"]["log_loss"]["value"] == pytest.approx(losses.mean(), rel=1e-4)
    assert learnt["brier"] == pytest.approx(((probs - shares) ** 2).sum(axis=1).mean(), rel=1e-4)
    assert learnt["accuracy"] == pytest.approx((table["label"] == table["predicted"]).mean())
    assert sum(map(sum, learnt["confusion"])) == len(table)


@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_head_is_solved_for_the_probabilities(fresh, monkeypatch, cache):
    """At the optimum what the probabilities are wrong by and the penalty pull equally strongly, in opposite ways."""
    solved = []

    def noting(views, targets, *rest, **how):
        solved.append((views[:, 0].astype(float), targets, logistic.solve(views, targets, *rest, **how)))
        return solved[0][-1]

    monkeypatch.setattr("learner.training.solve.solve", noting)
    store = fresh("home")
    run_id = run_well(
        store, small_recipe(phases=[Phase("Solve", solve=True)], refit=False, precision="fp32", cache=cache)
    )
    [(features, targets, solution)] = solved
    expected = shares_of(store, load_predictions(store.workspace.run_folder(run_id), "train"))
    np.testing.assert_allclose(np.sort(targets[:, 0]), np.sort(expected[:, 0]), rtol=1e-6)
    wrong = softmax(features @ solution.weight.T + solution.bias, axis=1) - targets
    variance = features.var(axis=0)
    deviation = np.sqrt(variance + variance.mean() / 10)
    pull = wrong.T @ ((features - features.mean(axis=0)) / deviation) / len(features)
    np.testing.assert_allclose(pull, -solution.strength * solution.weight * deviation, atol=1e-3)
    assert wrong.mean(axis=0) == pytest.approx([0, 0], abs=1e-3)


def test_the_cache_changes_nothing(fresh):
    losses = []
    for cache in ("on", "off"):
        store = fresh(cache)
        recipe = small_recipe(phases=[Phase("x", "layer4", 2, [1e-3, 1e-2])], cache=cache, precision="fp32")
        epochs = store.runs.epochs(run_well(store, recipe))
        losses.append([(epoch.train_loss, epoch.valid_loss) for epoch in epochs])
    assert losses[0] == losses[1]


def test_a_table_that_is_certain_of_everything_trains_as_folders_do(tmp_path, fresh, photos):
    """To the last bit: without a doubtful image, targets are class indices as ever."""
    results = []
    for name, every in (("certain", 1000), ("folders", 0)):
        folder = make_photos(tmp_path / f"photos {name}", {"cat": 12, "dog": 10})
        for photo in folder.rglob("*_000.jpg"):  # the only one of 1000
            photo.unlink()
        if every:
            write_probabilities(folder, every)
        store = Store(Workspace(tmp_path / name))
        version = add_dataset(store, folder, "pets")
        assert all(image.probabilities is None for image in store.datasets.images(version.id))
        keep_small_speeds(store.workspace)
        run_id = run_well(store, small_recipe(phases=[Phase("x", "all", 2, [1e-4, 1e-2])], precision="fp32"))
        results.append(left_behind(store, run_id))
    assert results[0] == results[1]


RECIPES = {
    "cached": {"augment": Augment(flip_horizontal=True), "views": 2, "phases": PHASES},
    "mixed": {"mix": "cutmix", "phases": [PHASES[2]], "balance": "weights"},
    "refit": {"phases": [PHASES[2]], "refit": True},
}


@pytest.mark.parametrize(("name", "number", "phase"), [("cached", 2, 2), ("mixed", 4, 0), ("refit", 2, 1)])
def test_a_run_that_was_killed_ends_as_one_that_was_not(fresh, weights, name, number, phase):
    left = []
    for prepare in (None, partial(die_at_batch, number, phase)):
        store = fresh("killed" if prepare else "unharmed")
        recipe = small_recipe(batch_size=4, weights=weights, precision="fp32", **RECIPES[name])
        run_id = store.submit(recipe)
        assert train_in_a_process(store, run_id, prepare=prepare) == (-9 if prepare else 0), store.runs.get(
            run_id
        ).reason
        if prepare:
            assert train_in_a_process(store, run_id) == 0
        left.append(left_behind(store, run_id))
    assert left[0] == left[1]
    assert "brier" in left[0]["result"]


def test_learning_rates_are_found_on_probabilities(fresh):
    store = fresh("home")
    recipe = small_recipe(phases=[Phase("x", "layer4", 1, "auto")], precision="fp32")
    found = find_rates(store, recipe, 0)
    # The first loss is that of a new head, near that of equal odds whatever the probabilities are.
    assert found.losses[0] == pytest.approx(np.log(2), abs=0.5)
    assert 0 < found.suggestions["valley"] < 1
