"""The run that the Results page shows, and its results on each kind of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from learner.evaluation.results import SplitName, load_curves, load_predictions, load_result, sha256_of, split_folder
from learner.inference.batches import model_key
from learner.store import Run, Store

if TYPE_CHECKING:
    import pandas as pd

SPLITS: tuple[SplitName, ...] = ("valid", "train", "test", "fold")


@dataclass(frozen=True)
class Shown:
    """A finished or stopped run with a result."""

    store: Store
    run: Run

    @property
    def folder(self) -> Path:
        return self.store.run_folder(self.run.id)

    @property
    def dataset(self) -> str:
        return self.store.runs.dataset_of(self.run)[0]

    @property
    def model(self) -> str:
        """The `batches.model_key` of its model."""
        return model_key(self.run.id, self.store.checkpoint(self.run.id))

    @property
    def splits(self) -> list[SplitName]:
        """Those that there are results on."""
        return [split for split in SPLITS if self.found(split) is not None]

    def result(self, split: SplitName = "valid") -> dict[str, Any]:
        """Figures on images of one of `splits`."""
        found = self.found(split)
        assert found is not None
        return found

    def found(self, split: SplitName) -> dict[str, Any] | None:
        """Figures on those images; None where the run has none."""
        return _result(str(self.folder), split, _stamp(self.folder, split, "result.json"))

    def curves(self, split: SplitName = "valid") -> list[dict[str, Any]] | None:
        return _curves(str(self.folder), split, _stamp(self.folder, split, "curves.json"))

    def predictions(self, split: SplitName = "valid") -> "pd.DataFrame":
        """As `evaluation.results.load_predictions` has them, with `sha256` and `own`, the probability of the label."""
        return _predictions(str(self.folder), split, _stamp(self.folder, split, "predictions.csv"))


def _stamp(folder: Path, split: SplitName, name: str) -> int:
    file = split_folder(folder, split) / name
    return file.stat().st_mtime_ns if file.exists() else 0


@st.cache_resource(max_entries=12, show_spinner=False)
def _result(folder: str, split: SplitName, stamp: int) -> dict[str, Any] | None:
    return load_result(Path(folder), split)


@st.cache_resource(max_entries=6, show_spinner=False)
def _curves(folder: str, split: SplitName, stamp: int) -> list[dict[str, Any]] | None:
    return load_curves(Path(folder), split)


@st.cache_resource(max_entries=6, show_spinner=False)
def _predictions(folder: str, split: SplitName, stamp: int) -> "pd.DataFrame":
    table = load_predictions(Path(folder), split)
    probs = table[[name for name in table.columns if name.startswith("p(")]]
    place = {name[2:-1]: index for index, name in enumerate(probs.columns)}
    values = probs.to_numpy()
    own = [values[row, place[label]] for row, label in enumerate(table["label"])]
    return table.copy().assign(own=own, sha256=table["file"].map(sha256_of))  # in one piece first: it may be wide
