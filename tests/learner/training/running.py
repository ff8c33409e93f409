"""Train a run in this process, to whatever end or to a good one."""

from pathlib import Path

from learner.recipe import Recipe
from learner.store import Store
from learner.training.process import execute
from learner.training.progress import Listener
from learner.workspace import Workspace
from tests.samples import copy_workspace

RATES = [1e-4, 1e-2]


def run(store: Store, recipe: Recipe, listener: Listener | None = None) -> int:
    run_id = store.submit(recipe, running=True)
    execute(store, run_id, listener)
    return run_id


def run_well(store: Store, recipe: Recipe, listener: Listener | None = None) -> int:
    run_id = run(store, recipe, listener)
    ended = store.runs.get(run_id)
    assert ended.status == "finished", ended.reason
    return run_id


def with_whole_run(home: Path, to: Path, recipe: Recipe) -> Path:
    """Copy the workspace `home` to `to` and train the recipe there, without trouble; returns `to`."""
    copy_workspace(home, to)
    run_well(Store(Workspace(to)), recipe)
    return to
