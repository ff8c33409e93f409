"""What a search remembers, as Optuna keeps it in the store, and what is read from that."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from learner.evaluation.intervals import Z95, wilson
from learner.recipe import Augment
from learner.recipe.backbones import known_backbone
from learner.store import Store
from learner.training.search_trials import Checked


@dataclass(frozen=True)
class Setting:
    """What decides the features that a head learns from."""

    backbone: str
    image_size: int
    changes: bool
    """Whether images are changed at random, as `augment: auto` decides it."""

    @property
    def words(self) -> str:
        """For a person."""
        known = known_backbone(self.backbone)
        changes = ", changed copies" if self.changes else ""
        return f"{known.label if known else self.backbone}, {self.image_size} px{changes}"


class Journal(BaseJournalBackend):
    """Optuna's journal of one run, in the store."""

    def __init__(self, store: Store, run_id: int):
        self._searches, self._run_id = store.searches, run_id

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The entries from that place on."""
        return self._searches.entries(self._run_id, log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write more of them."""
        self._searches.add(self._run_id, logs)


def augment_of(study: optuna.Study) -> Augment | None:
    """What `augment: auto` was decided to be; None as long as it was not."""
    kept = study.user_attrs.get("augment")
    return Augment(**kept) if kept else None


def best_of(study: optuna.Study) -> tuple[Setting, Checked]:
    """Of those that do equally well, by one standard error of the difference, the one that was tried first."""
    best: tuple[Setting, Checked] | None = None
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        kept = trial.user_attrs
        checked = Checked(np.array(kept["losses"]), np.array(kept["hits"]), kept["strength"])
        if best is not None:
            gain = best[1].losses - checked.losses
            if gain.mean() <= error_of(gain):
                continue
        best = Setting(**trial.params), checked
    assert best is not None  # one has been tried
    return best


def gain_of(study: optuna.Study) -> float:
    """The best that a trial of thawing has brought."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    return max((-trial.value for trial in done if trial.value is not None), default=0.0)


def error_of(values: np.ndarray) -> float:
    """Standard error of their mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def figures_of(checked: Checked) -> dict[str, Any]:
    """Of a trial on frozen features, as its row has them."""
    images, right = len(checked.hits), int(checked.hits.sum())
    mean, half = float(checked.losses.mean()), Z95 * error_of(checked.losses)
    return {
        "log_loss": mean,
        "log_loss_interval": [mean - half, mean + half],
        "accuracy": right / images,
        "accuracy_interval": wilson(right, images),
        "images": images,
    }
