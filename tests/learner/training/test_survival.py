"""A run that is killed at any moment ends with the same numbers, to the last bit, as one that was not."""

import os
from functools import partial
from itertools import cycle

import pytest
import torch
from safetensors.torch import save_file

from learner.datasets import add_dataset
from learner.models.backbones import build
from learner.recipe import Augment, Phase
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.killing import die, die_at_batch, left_behind, train_in_a_process, train_under_fire
from tests.machine import keep_small_speeds
from tests.samples import SMALL, copy_workspace, make_photos, small_recipe

KILLS = int(os.environ.get("THAW_TEST_KILLS", "6"))
"""How often the random test kills; 100 takes some minutes."""
A_KILL_S = 2.0
"""Kills come up to so long after a process has begun; where the run ends before, only the kills until then count."""

RECIPE = small_recipe(
    batch_size=4,
    augment=Augment(flip_horizontal=True, rotate=10),
    views=2,
    phases=[
        Phase("Warm-up", epochs=2, lr=0.01),
        Phase("Upper half", trainable="layer3", epochs=2, lr=[1e-4, 1e-3], optimizer="ranger", schedule="flat_cos"),
        Phase("Fine-tuning", trainable="all", epochs=2, lr=[1e-4, 1e-3], optimizer="sgd"),
    ],
    cache="on",
    precision="fp32",
)
OTHER = small_recipe(
    batch_size=4,
    mix="mixup",
    accumulate=2,
    balance="oversample",
    clip_norm=1.0,
    phases=[
        Phase("Warm-up", epochs=1, lr=0.01, optimizer="rmsprop"),
        Phase("Small", trainable="layer4", epochs=6, lr=1e-2, image_size=48, patience=1, optimizer="adam"),
        Phase("Fine-tuning", trainable="all", epochs=1, lr=[1e-4, 1e-3]),
    ],
    precision="fp32",
)
SOLVED = small_recipe(
    batch_size=4,
    augment=Augment(flip_horizontal=True),
    views=2,
    refit=True,
    phases=[
        Phase("First", trainable="layer4", epochs=1, lr=[1e-3, 1e-2], interpolate=True),
        Phase("Solve the head", solve=True),
        Phase("Parts", trainable=["layer2", "head"], epochs=3, lr=[1e-4, 1e-3], average=True, interpolate=True),
    ],
    precision="fp32",
)
RECIPES = {"cached": RECIPE, "mixed": OTHER, "solved": SOLVED}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos"), {"cat": 6, "dog": 5, "owl": 4})


@pytest.fixture(scope="module", autouse=True)
def pretrained(tmp_path_factory):
    """Weights that no seed gives: a run that was killed before anything was kept has to read them again."""
    torch.manual_seed(4711)
    backbone = build(SMALL, "random")
    file = tmp_path_factory.mktemp("weights") / "pretrained.safetensors"
    save_file({backbone.timm_names[name]: tensor for name, tensor in backbone.body.state_dict().items()}, file)
    for recipe in RECIPES.values():
        recipe.weights = str(file)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, photos):
    """Makes an empty workspace with the photos, and with the same speeds, so that all plans are the same."""
    home = tmp_path_factory.mktemp("home")
    store = Store(Workspace(home))
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)

    def make() -> Store:
        folder = tmp_path_factory.mktemp("survival")
        copy_workspace(home, folder)
        return Store(Workspace(folder))

    return make


@pytest.fixture(scope="module")
def unharmed(fresh):
    """What each recipe leaves when nothing happens."""

    def run(recipe):
        store = fresh()
        run_id = store.submit(recipe)
        assert train_in_a_process(store, run_id) == 0, store.runs.get(run_id).reason
        assert store.runs.get(run_id).status == "finished", store.runs.get(run_id).reason
        return left_behind(store, run_id)

    return {name: run(recipe) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize(("name", "seed"), [("cached", 1), ("mixed", 2), ("solved", 3)])
def test_random_kills_change_nothing(fresh, unharmed, name, seed):
    killed, kills_each = 0, KILLS // len(RECIPES)
    while killed < kills_each:
        store = fresh()
        run_id, kills = train_under_fire(store, RECIPES[name], seed, A_KILL_S, kills_each - killed)
        killed, seed = killed + kills, seed + 1
        assert left_behind(store, run_id) == unharmed[name]


# Moments that chance may miss. Each function arms a process that is about to train.


def _before(module: str, name: str, number: int = 1) -> None:
    """Die before the `number`-th call of a function."""
    from importlib import import_module

    place = import_module(module)
    whole, calls = getattr(place, name), []

    def dying(*arguments, **how):
        calls.append(name)
        if len(calls) == number:
            die()
        return whole(*arguments, **how)

    setattr(place, name, dying)


def _half_a_checkpoint() -> None:
    """Die when half of a resume point is on the disk."""
    import torch

    whole, calls = torch.save, []

    def save(state, file):
        calls.append(state)
        if len(calls) == 3:
            whole(state, file)
            file.flush()
            os.truncate(file.fileno(), file.tell() // 2)
            die()
        whole(state, file)

    torch.save = save


def _while_rows_are_written(number: int) -> None:
    from learner.features.arrays import RowWriter

    whole, calls = RowWriter._add, []

    def add(self, names, rows):
        whole(self, names, rows)
        calls.append(names)
        if len(calls) == number:
            self._file.flush()
            die()

    RowWriter._add = add


MOMENTS = {
    "with the first batch": partial(die_at_batch, 1, 0),
    "in warm-up": partial(die_at_batch, 3, 0),
    "in fine-tuning": partial(die_at_batch, 7, 2),
    "before a phase's end is kept": partial(_before, "learner.training.trainer", "save_model", 3),
    "between phases": partial(_before, "learner.training.trainer", "prepare_phase", 2),
    "while a checkpoint is written": _half_a_checkpoint,
    "while images are decoded into the cache": partial(_while_rows_are_written, 2),
    "while features are computed": partial(_while_rows_are_written, 12),
    "before the last check": partial(_before, "learner.training.trainer", "compute_outputs"),
    "before the golden photos": partial(_before, "learner.evaluation.inspect", "save_golden"),
    "before the figures": partial(_before, "learner.evaluation.inspect", "write_split"),
    "before learner.pkl is written": partial(_before, "learner.training.trainer", "export_learner"),
    "before the resume point is removed": partial(_before, "learner.training.trainer", "remove_point"),
}


@pytest.mark.parametrize(("moment", "points_everywhere"), list(zip(MOMENTS, cycle([True, False]), strict=False)))
def test_a_kill_changes_nothing(fresh, unharmed, moment, points_everywhere):
    """Resume points are written after each batch and after each epoch, in turns."""
    store = fresh()
    run_id = store.submit(RECIPE)
    code = train_in_a_process(store, run_id, points_everywhere=points_everywhere, prepare=MOMENTS[moment])
    assert code == -9, store.runs.get(run_id).reason
    assert store.runs.get(run_id).status == "queued"
    assert train_in_a_process(store, run_id, points_everywhere=points_everywhere) == 0
    assert left_behind(store, run_id) == unharmed["cached"]


def _in_the_line(number: int) -> None:
    """Die at the `number`-th point between a phase's start and end."""
    from learner.training.averaging import Interpolate

    whole, calls = Interpolate._checked, []

    def checked(self, model):
        calls.append(model)
        if len(calls) == number:
            die()
        return whole(self, model)

    Interpolate._checked = checked


MOMENTS_OF_SOLVING = {
    "before the first phase's start is kept": partial(_before, "learner.training.trainer", "save_model"),
    "between the points of the first phase": partial(_in_the_line, 3),
    "while the head is solved": partial(_before, "learner.training.solve", "solve"),
    "with the averages of some steps": partial(die_at_batch, 2, 2),
    "between the points of the last phase": partial(_in_the_line, 9),
    "before the last phase's end is kept": partial(_before, "learner.training.trainer", "compute_outputs"),
    "between the phases of the refit": partial(_before, "learner.training.trainer", "prepare_phase", 5),
    "while the refit solves the head": partial(_before, "learner.training.solve", "solve", 2),
    "before the refit takes the place of the other": partial(_before, "learner.training.trainer", "write_model"),
    "after it has": partial(_before, "learner.training.trainer", "export_learner"),
}


@pytest.mark.parametrize("moment", MOMENTS_OF_SOLVING)
def test_a_kill_changes_nothing_of_solved_heads_averages_and_points_between(fresh, unharmed, moment):
    store = fresh()
    run_id = store.submit(SOLVED)
    code = train_in_a_process(store, run_id, points_everywhere=True, prepare=MOMENTS_OF_SOLVING[moment])
    assert code == -9, store.runs.get(run_id).reason
    assert train_in_a_process(store, run_id, points_everywhere=True) == 0
    assert left_behind(store, run_id) == unharmed["solved"]
