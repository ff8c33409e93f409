"""What Thaw remembers: data sets, runs, metrics, the queue. SQLite in the workspace, or `$DATABASE_URL`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, TypedDict

from learner.audit import note_changes
from learner.errors import ModelError, RecipeError, RunError
from learner.recipe import Recipe
from learner.recipe.backbones import known_backbone
from learner.store.database import open_database, refuse_changes
from learner.store.datasets import Datasets, VersionInfo
from learner.store.files import Files, is_of_model
from learner.store.ownership import require_no_restore, require_same_workspace
from learner.store.queue import Queue
from learner.store.runs import ACTIVE, ENDED, Runs
from learner.store.searches import Searches
from learner.store.studies import Studies
from learner.store.tables import Content, Draft, Epoch, Image, Run, SetAside, Step, Study, Worker
from learner.store.workers import Workers
from learner.wording import count
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
    "Study",
    "VersionInfo",
    "Worker",
    "Workspace",
]


class Body(TypedDict):
    """What of a recipe says where its body comes from."""

    weights: str
    backbone: NotRequired[str]


class Store:
    """The database of one workspace, opened and up to date. Several processes may each hold one.

    Raises StoreError where the database cannot be used or belongs to another workspace, or a restore is under way.
    """

    def __init__(self, workspace: Workspace | None = None, for_reading: str = "", who: str = "", most_queued: int = 0):
        """`for_reading`: why nothing may be changed through this store, as a sentence; empty where all may be.

        `who` makes the changes, for the audit log; nobody is noted where it is empty. `most_queued` runs may wait; 0 is
        no limit.
        """
        self.workspace = workspace or Workspace.current()
        require_no_restore(self.workspace)
        engine = open_database(self.workspace.database_url, self.workspace.root, self.workspace.schema)
        require_same_workspace(engine, self.workspace)
        if for_reading:
            refuse_changes(engine, for_reading)
        if who:
            note_changes(engine, self.workspace, who)
        self._most_queued = most_queued
        self.files = Files(engine, self.workspace)
        self.datasets = Datasets(engine)
        self.runs = Runs(engine)
        self.queue = Queue(self.runs)
        self.workers = Workers(engine)
        self.searches = Searches(engine)
        self.studies = Studies(engine, self.runs)

    def submit(
        self,
        recipe: Recipe,
        running: bool = False,
        parent: tuple[int, int] | None = None,
        baseline: int | None = None,
        trackers: Sequence[str] = (),
    ) -> int:
        """Check the recipe, pin its data set's version, and write a run: queued, or (`running`) this process's own.

        A recipe with `repeats` becomes as many runs, with one seed after the other; only the first can be `running`.
        `parent` is a run and the index of its phase from whose end the new one begins; `baseline` is a run that it is
        to be compared with. `trackers` (of `learner.training.trackers`) get the run's figures, too.
        The page's button and the command line both call this. Returns the (first) run's id; raises RecipeError,
        DatasetError, RunError or ModelError.
        """
        recipe, version = self.settle(recipe)
        repeats, recipe = recipe.repeats, replace(recipe, repeats=1)
        self.require_room_in_queue(repeats)
        if parent:
            self._check_parent(recipe, *parent)
        run_id = self.runs.submit(
            recipe.to_dict(), version.id, running, parent=parent, baseline=baseline, trackers=trackers
        )
        for number in range(1, repeats):
            again = replace(recipe, seed=recipe.seed + number)
            self.runs.submit(again.to_dict(), version.id, series=run_id, parent=parent, trackers=trackers)
        return run_id

    def require_room_in_queue(self, runs: int) -> None:
        """Raises RunError where with so many more the queue would be longer than it may be."""
        waiting = len(self.queue.waiting())
        if self._most_queued and waiting + runs > self._most_queued:
            raise RunError(
                f"{count(self._most_queued, 'run')} may wait in this space, and {waiting} do. Wait until some have "
                "begun, or take some out of the queue."
            )

    def settle(self, recipe: Recipe) -> tuple[Recipe, VersionInfo]:
        """A checked recipe with its version and weights pinned, and that version.

        Raises RecipeError, DatasetError, RunError or ModelError.
        """
        recipe.check()
        version = self.datasets.version(recipe.dataset, recipe.version)
        self.datasets.require_trainable(version)
        recipe = replace(recipe, version=version.number, **self.weights_of(recipe))
        known = known_backbone(recipe.backbone)
        recipe.check(list(known.stages) if known else None)  # of others, and of `auto`, the run finds out
        return recipe, version

    def weights_of(self, recipe: Recipe) -> Body:
        """`weights`, and for another run's body also `backbone`, as a worker needs them, which may stand elsewhere.

        Raises RunError or ModelError for a run that is not there or has no model, RecipeError for another backbone.
        """
        kind, _, name = recipe.weights.partition(":")
        if kind == "run":
            run = self.newest_finished(name) if not name.isdecimal() else self.runs.get(int(name))
            self.checkpoint(run.id)
            arch = run.facts["backbone"]
            if recipe.backbone not in ("auto", arch):
                raise RecipeError(
                    [f"backbone: run {run.id} trained {arch}, so its body does not fit {recipe.backbone}"]
                )
            return {"weights": f"run:{run.id}", "backbone": arch}
        if recipe.weights in ("auto", "random"):
            return {"weights": recipe.weights}
        return {"weights": str(Path(recipe.weights).expanduser().resolve())}

    def newest_finished(self, dataset: str) -> Run:
        """The newest finished run on any version of that data set. Raises RunError when there is none."""
        for run in self.runs.all():
            if run.status == "finished" and self.runs.dataset_of(run)[0] == dataset:
                return run
        raise RunError(
            f"weights: run:{dataset} needs a finished run on a data set {dataset!r}, and there is none. Train one "
            "first, or name a run by its number, such as run:12."
        )

    def _check_parent(self, recipe: Recipe, parent_id: int, phase: int) -> None:
        """That `recipe` can go on from the end of that phase: only its later phases and its settings may differ."""
        parent = self.runs.get(parent_id)
        theirs = Recipe.from_dict(parent.recipe)
        if not self.files.has(self.workspace.phase_end(parent_id, phase)):
            raise RunError(
                f"Run {parent_id} has kept nothing from the end of phase {phase + 1}, so none can begin there."
            )
        if len(recipe.phases) <= phase + 1:
            raise RecipeError([f"phases: there is nothing to train after phase {phase + 1}. Add a phase"])
        fixed = ("dataset", "backbone", "head")
        differs = [key for key in fixed if getattr(recipe, key) != getattr(theirs, key)]
        if differs:
            raise RecipeError(
                [f"{key}: it must stay as in run {parent_id}, whose model this one takes over" for key in differs]
            )

    def run_folder(self, run_id: int) -> Path:
        """The run's folder, with the small files that other machines have kept of it. Raises StoreError."""
        self.files.bring(run_id)
        return self.workspace.run_folder(run_id)

    def checkpoint(self, run_id: int) -> Path:
        """The run's best checkpoint so far, a `model.safetensors`. Raises RunError, ModelError or StoreError."""
        self.require_checkpoint(run_id)
        self.files.bring(run_id, is_of_model)
        return self.workspace.checkpoint(run_id)

    def require_checkpoint(self, run_id: int) -> None:
        """Raises RunError or ModelError where there is none, here or in the object store."""
        run = self.runs.get(run_id)
        if not self.files.has(self.workspace.checkpoint(run_id)):
            raise ModelError(
                f"Run {run_id} ({run.status}) has no model: one is kept from the end of the first epoch on."
            )
