"""Correct photos that a run got wrong, and train again with the same recipe and seed, to see what it brought.

Needs no torch.
"""

from dataclasses import replace

from learner.datasets import split_by
from learner.datasets.editing import Edit, add_edit, edited, edits_of, redo, save, undo
from learner.datasets.rows import rows_of
from learner.datasets.splits import has_own_split
from learner.errors import DatasetError, RunError
from learner.recipe import Recipe
from learner.store import Run, Store
from learner.wording import count


def correct(store: Store, run_id: int, *edits: Edit) -> None:
    """Put `edits` into the draft of the run's data set.

    Where the data set has no split of its own, the run's is written into it first: else the next version might be
    split another way, and nothing could be compared. Raises DatasetError when an edit cannot be done.
    """
    name, _ = store.runs.dataset_of(store.runs.get(run_id))
    add_edit(store, name, *pinned(store, run_id), *edits)


def revert(store: Store, dataset: str) -> None:
    """Undo the last correction; with the first one goes the split that was written for its sake."""
    undo(store, dataset)
    if is_pin_alone(edits_of(store, dataset)):
        undo(store, dataset)


def reapply(store: Store, dataset: str) -> None:
    """Redo what `revert` took back last."""
    redo(store, dataset)
    if is_pin_alone(edits_of(store, dataset)):
        redo(store, dataset)


def retrain(store: Store, run_id: int, running: bool = False) -> int:
    """Save the draft as a new version, and submit the run's recipe on it, to be compared with the run.

    Returns the new run's id. A newest version that differs from the run's will do where there is no draft. Raises
    RunError when nothing was corrected, DatasetError when the version cannot be trained on.
    """
    run = store.runs.get(run_id)
    name, number = store.runs.dataset_of(run)
    edits = edits_of(store, name)
    if edits:
        version = save(store, name, f"Corrected after run {run_id}: {count(len(edits), 'edit')}.")
    else:
        version = store.datasets.version(name)
    if version.number == number:
        raise RunError(
            f"Nothing has changed in {name} since run {run_id}, so training again would prove nothing. Relabel, set "
            "aside or move some photos first."
        )
    recipe = replace(_as_decided(run), version=version.number, repeats=1)
    return store.submit(recipe, running, baseline=run_id)


def _as_decided(run: Run) -> Recipe:
    """The run's recipe with what it decided by itself, such as the precision: another one would be a difference too."""
    asked = Recipe.from_dict(run.recipe)
    return replace(Recipe.from_dict(run.facts["recipe"]), phases=asked.phases) if "recipe" in run.facts else asked


def is_pin_alone(edits: list[Edit]) -> bool:
    """Whether nothing but a whole split is left."""
    return len(edits) == 1 and edits[0].action == "move" and bool(edits[0].each)


def pinned(store: Store, run_id: int) -> list[Edit]:
    """An edit that writes the run's split into its data set; none where it has one, in a version or in its draft."""
    run = store.runs.get(run_id)
    name, _ = store.runs.dataset_of(run)
    rows = edited(rows_of(store, store.datasets.version(name)), edits_of(store, name))
    if has_own_split(row for row in rows if not row.excluded):
        return []
    train, valid = split_by(Recipe.from_dict(run.recipe), store.datasets.images(run.dataset_version_id))
    split_of = {image.path: "train" for image in train} | {image.path: "valid" for image in valid}
    moved = [row.path for row in rows if row.path in split_of and row.split != split_of[row.path]]
    if not moved:
        raise DatasetError(f"The photos of run {run_id} are gone from {name}, so there is nothing to correct.")
    return [Edit("move", tuple(moved), each=tuple(split_of[path] for path in moved))]
