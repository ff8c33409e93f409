"""The map of a run's photos: each has a place in the plane, near to those that the model finds alike.

Needs no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from learner.errors import RunError
from learner.evaluation.results import SplitName, load_result
from learner.inference.batches import model_key
from learner.questions.answers import answer_file, read_answer
from learner.store import Run, Store

FORMAT = 1
COLUMNS = ("path", "label", "predicted", "probability", "split", "wrong", "x", "y", "sha256")
"""Of the table that `results map` writes."""


@dataclass
class PhotoMap:
    """Lists have one entry a photo, in the same order."""

    run: int
    dataset: str
    version: int
    classes: list[str]
    left_out: int
    """Photos beyond `learner.evaluation.map_layout.MOST`, and such as cannot be read."""
    seconds: float
    path: list[str]
    sha256: list[str]
    label: list[str]
    split: list[str]
    """`train`, `valid`, `test` or `fold`: what the photo was for in this run."""
    predicted: list[str]
    probability: list[float]
    x: list[float]
    """0 to 1, as `y`; near means alike, and nothing else has a meaning."""
    y: list[float]

    def __len__(self) -> int:
        return len(self.path)

    def rows(self) -> Iterator[tuple]:
        """One row a photo, as `COLUMNS` names them."""
        for index in range(len(self)):
            values = {field.name: getattr(self, field.name) for field in fields(self)}
            row = {
                name: column[index] for name, column in values.items() if isinstance(column, list) and name in COLUMNS
            }
            row["wrong"] = int(row["label"] != row["predicted"])
            yield tuple(row[name] for name in COLUMNS)


def map_file(store: Store, run: Run) -> Path:
    """Where the map of a run, by its model as it is now, stands once it was made. Raises DatasetError without model."""
    model = model_key(run.id, model_of(store, run.id))
    return answer_file(store.workspace, "maps", [FORMAT, model, run.dataset_version_id, *judged(store, run.id)])


def model_of(store: Store, run_id: int) -> Path:
    """The model that the run's figures are of: with a refit, the one before it."""
    checkpoint = store.checkpoint(run_id)
    checked = store.workspace.checked_model(run_id)
    return checked if checked.exists() else checkpoint


def judged(store: Store, run_id: int) -> list[SplitName]:
    """Which images beside those of training and validation the run has looked at: a map must not be one more look."""
    folder = store.run_folder(run_id)
    others: tuple[SplitName, ...] = ("test", "fold")
    return [split for split in others if load_result(folder, split) is not None]


def read_map(file: Path) -> PhotoMap | None:
    """None where none was made yet."""
    return read_answer(file, PhotoMap)


def require_ended(run: Run) -> None:
    """Raises RunError for a run that trains or is about to."""
    if run.status in ("running", "queued"):
        raise RunError(f"Run {run.id} is {run.status}; its map can be made when it has ended.")
