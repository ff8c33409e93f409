"""What a person asks of a run: pause, stop, resume, more epochs, another way from a phase's end."""

from dataclasses import replace
from pathlib import Path

import pytest

import learner.training.progress
from learner.datasets import add_dataset
from learner.errors import RecipeError, RunError
from learner.recipe import Head, Phase, Recipe
from learner.store import Store
from learner.store.tables import Run
from learner.training.process import execute
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests.learner.killing import left_behind
from tests.machine import keep_small_speeds
from tests.samples import copy_workspace, make_photos, small_recipe

PHASES = [
    Phase("Warm-up", epochs=2, lr=0.01),
    Phase("Fine-tuning", "layer3", epochs=2, lr=[1e-4, 1e-3]),
    Phase("All", "all", epochs=1, lr=[1e-4, 1e-3], schedule="constant"),
]
RECIPE = small_recipe(phases=PHASES, batch_size=4, precision="fp32")


@pytest.fixture(autouse=True)
def every_report_counts(monkeypatch):
    monkeypatch.setattr(learner.training.progress, "REPORT_EVERY_S", 0)


class Asks(Listener):
    """Asks something of the run at a place of it."""

    def __init__(self, store: Store, run_id: int, request: str, phase: int, epoch: int, batch: int):
        self.store, self.run_id, self.request, self.where = store, run_id, request, (phase, epoch, batch)

    def on_progress(self, progress) -> None:
        if (progress.phase, progress.epoch, progress.batch) == self.where:
            self.store.runs.ask(self.run_id, self.request)
            self.where = None


def trained(store: Store, recipe: Recipe = RECIPE, parent: tuple[int, int] | None = None) -> int:
    run_id = store.submit(recipe, running=True, parent=parent)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return run_id


def resumed(store: Store, run_id: int) -> Run:
    store.runs.resume(run_id, running=True)
    execute(store, run_id)
    return store.runs.get(run_id)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A workspace with photos for four batches of an epoch, and two more to check it."""
    folder = tmp_path_factory.mktemp("home")
    make_photos(folder / "photos" / "train", {"cat": 8, "dog": 8}, seed=1)
    make_photos(folder / "photos" / "valid", {"cat": 4, "dog": 4}, seed=2)
    store = Store(Workspace(folder / "thaw"))
    add_dataset(store, folder / "photos", "pets")
    keep_small_speeds(store.workspace)
    return store.workspace.root


@pytest.fixture
def pets(home, store) -> Store:
    copy_workspace(home, store.workspace.root)
    return store


@pytest.fixture(scope="module")
def undisturbed(home, tmp_path_factory) -> tuple[Store, int]:
    """A run of RECIPE that nobody asked anything, and its store; for reading only."""
    root = tmp_path_factory.mktemp("undisturbed")
    copy_workspace(home, root)
    store = Store(Workspace(root))
    return store, trained(store)


@pytest.fixture
def parent(undisturbed, store) -> int:
    """That run, in the test's own workspace."""
    copy_workspace(undisturbed[0].workspace.root, store.workspace.root)
    return undisturbed[1]


@pytest.mark.parametrize(
    ("request_", "where", "status", "epochs"),
    [
        ("pause", (0, 1, 2), "paused", 1),
        ("pause", (0, 2, 3), "paused", 2),  # the next phase begins after the pause
        ("pause", (1, 1, 3), "paused", 3),
        ("stop_after_epoch", (1, 1, 1), "stopped", 3),
        ("stop", (1, 2, 3), "stopped", 4),  # within an epoch
        ("stop", (0, 1, 1), "stopped", 1),
    ],
)
def test_a_run_that_was_asked_to_rest_goes_on_as_if_it_had_not(pets, undisturbed, request_, where, status, epochs):
    run_id = pets.submit(RECIPE, running=True)
    assert execute(pets, run_id, Asks(pets, run_id, request_, *where)) == status
    assert len(pets.runs.epochs(run_id)) == epochs
    assert pets.runs.get(run_id).asked == ""
    assert resumed(pets, run_id).status == "finished"
    assert left_behind(pets, run_id) == left_behind(*undisturbed)


def test_what_was_asked_in_the_last_epoch_needs_nothing_done(pets):
    run_id = pets.submit(RECIPE, running=True)
    assert execute(pets, run_id, Asks(pets, run_id, "pause", 2, 1, 2)) == "finished"


def test_a_paused_run_that_is_stopped_is_checked_and_kept(pets):
    run_id = pets.submit(RECIPE, running=True)
    execute(pets, run_id, Asks(pets, run_id, "pause", 1, 1, 1))
    assert pets.runs.ask(run_id, "stop") == "queued"
    assert pets.runs.claim() == run_id
    assert execute(pets, run_id) == "stopped"
    assert len(pets.runs.epochs(run_id)) == 3
    assert (pets.workspace.run_folder(run_id) / "learner.pkl").exists()


def test_a_finished_run_is_given_more_epochs_and_trains_only_those(store, parent):
    before = left_behind(store, parent)
    longer = replace(RECIPE, version=1, phases=[*PHASES, Phase("More epochs", "all", epochs=2, lr=1e-4)])
    store.runs.extend(parent, longer.to_dict())
    assert store.runs.claim() == parent
    assert execute(store, parent) == "finished"
    after = left_behind(store, parent)
    assert after["epochs"][:5] == before["epochs"]
    assert [epoch["phase"] for epoch in after["epochs"]] == [0, 0, 1, 1, 2, 3, 3]
    assert after["best"][0] >= before["best"][0]
    assert len(store.runs.get(parent).facts["rates"]) == 4
    # The whole recipe at once comes to the same.
    assert left_behind(store, trained(store, longer)) == after


def test_another_run_starts_from_a_phases_end_and_does_what_the_whole_run_did(store, parent):
    child = trained(store, parent=(parent, 0))
    mine, theirs = left_behind(store, child), left_behind(store, parent)
    assert mine["epochs"] == theirs["epochs"]
    assert mine["last weights"] == theirs["last weights"]
    assert "Phase 1" not in (store.runs.get(child).reason)


def test_a_changed_recipe_goes_another_way_and_needs_its_parent_no_more_once_it_has_begun(store, parent):
    gentle = replace(RECIPE, phases=[PHASES[0], replace(PHASES[1], lr=1e-6, epochs=1)])
    run_id = store.submit(gentle, running=True, parent=(parent, 0))
    execute(store, run_id, Asks(store, run_id, "pause", 1, 1, 1))
    store.runs.delete(parent)
    for file in store.workspace.phase_end(parent, 0).parent.iterdir():
        file.unlink()
    if store.runs.get(run_id).status == "paused":
        resumed(store, run_id)
    run = store.runs.get(run_id)
    assert (run.status, run.parent, run.parent_phase) == ("finished", parent, 0)
    assert [epoch.phase for epoch in store.runs.epochs(run_id)] == [0, 0, 1]


def test_a_run_cannot_start_where_nothing_was_kept_or_with_another_model(pets):
    parent = trained(pets, small_recipe())
    with pytest.raises(RunError, match=f"Run {parent} has kept nothing from the end of phase 2"):
        pets.submit(RECIPE, parent=(parent, 1))
    with pytest.raises(RecipeError, match="head: it must stay as in run"):
        pets.submit(replace(RECIPE, head=Head("linear")), parent=(parent, 0))
    with pytest.raises(RecipeError, match="there is nothing to train after phase 1"):
        pets.submit(small_recipe(), parent=(parent, 0))


def test_repeats_are_runs_of_their_own_with_one_seed_after_the_other(pets):
    first = pets.submit(replace(RECIPE, seed=5, repeats=3))
    runs = pets.queue.waiting()
    assert [run.recipe["seed"] for run in runs] == [5, 6, 7]
    assert [run.series for run in runs] == [None, first, first]
    assert {run.recipe["repeats"] for run in runs} == {1}
