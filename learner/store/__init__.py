"""What Thaw remembers: data sets, runs, metrics, the queue. SQLite in the workspace, or `$DATABASE_URL`."""

from dataclasses import replace
from pathlib import Path

from learner.errors import ModelError
from learner.recipe import Recipe
from learner.store.database import open_database
from learner.store.datasets import Datasets, VersionInfo
from learner.store.runs import ACTIVE, ENDED, Runs
from learner.store.tables import Content, Draft, Epoch, Image, Run, SetAside, Step, Worker
from learner.workspace import Workspace

__all__ = [
    "ACTIVE",
    "ENDED",
    "Content",
    "Draft",
    "Epoch",
    "Image",
    "Run",
    "SetAside",
    "Step",
    "Store",
    "VersionInfo",
    "Worker",
    "Workspace",
]


class Store:
    """The database of one workspace, opened and up to date. Several processes may each hold one."""

    def __init__(self, workspace: Workspace | None = None):
        self.workspace = workspace or Workspace.current()
        engine = open_database(self.workspace.database_url, self.workspace.root)
        self.datasets = Datasets(engine)
        self.runs = Runs(engine)

    def submit(self, recipe: Recipe, running: bool = False) -> int:
        """Check the recipe, pin its data set's version, and write a run: queued, or (`running`) this process's own.

        The page's button and the command line both call this. Returns the run's id; raises RecipeError or DatasetError.
        """
        recipe.check()
        version = self.datasets.version(recipe.dataset, recipe.version)
        self.datasets.require_trainable(version)
        weights = recipe.weights
        if weights not in ("auto", "random"):
            weights = str(Path(weights).expanduser().resolve())  # a worker may stand in another folder
        recipe = replace(recipe, version=version.number, weights=weights)
        return self.runs.submit(recipe.to_dict(), version.id, running)

    def checkpoint(self, run_id: int) -> Path:
        """The run's best checkpoint so far, a `model.safetensors`. Raises RunError or ModelError."""
        run = self.runs.get(run_id)
        path = self.workspace.checkpoint(run_id)
        if not path.exists():
            raise ModelError(
                f"Run {run_id} ({run.status}) has no model: one is kept from the end of the first epoch on."
            )
        return path
