"""A search that Ray Tune steers: the same space and the same trials. Optuna picks them, and ASHA says which to pause.

Ray is loaded here only. Each of Tune's trials is an actor of the cluster that queues one run and tells Tune the
validation loss of each of its epochs; it computes nothing itself. So the runs need workers; with `EXECUTOR=ray` these
train in the cluster, too. ASHA: Li et al. 2020, MLSys.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from ray import init, shutdown, tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from learner.errors import RunError
from learner.store import ACTIVE, Store
from learner.studies.search import FIRST_EPOCHS, pause_trial, queue_trial
from learner.studies.space import asked_for
from learner.studies.trials import Search
from learner.workspace import Workspace

LOOK_S = 0.5
LONGEST = 1000
"""Epochs after which Tune would end a trial; a recipe's own end comes first."""
MEMORY = 2**28
"""Bytes that an actor takes of its node; it takes no CPU, which runs need."""
WORST = 1e9
"""What Tune hears of a trial that failed."""


class _Trial(tune.Trainable):
    """One run of the search, as Tune sees it."""

    def setup(self, config: dict[str, Any], study_id: int = 0, home: str = "") -> None:  # Tune gives both
        self._store, self._study_id = Store(Workspace(Path(home))), study_id
        self._number, self._run_id = queue_trial(self._store, study_id, config)
        self._told = 0

    def step(self) -> dict[str, Any]:
        """The best loss so far, once another epoch is done."""
        while True:
            ended = self._store.runs.get(self._run_id).status not in ACTIVE
            losses = self._store.studies.losses_of(self._study_id).get(self._run_id, {})
            if ended or len(losses) > self._told:
                self._told = len(losses)
                return {"loss": min(losses.values(), default=WORST), "done": ended}
            time.sleep(LOOK_S)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        """Tune wants one when it ends a trial; the run has its own."""
        return {"run": self._run_id}

    def cleanup(self) -> None:
        """Tune ends a trial that has fallen behind."""
        if self._store.runs.get(self._run_id).status in ACTIVE:
            with suppress(RunError):  # it has just ended
                pause_trial(self._store, self._study_id, self._number)


class _Asked(tune.Stopper):
    """Ends all of it when a person stops the study."""

    def __init__(self, study_id: int, home: str):
        self._study_id, self._home = study_id, home

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.stop_all()

    def stop_all(self) -> bool:
        return not Store(Workspace(Path(self._home))).studies.get(self._study_id).design["searching"]


def search_with_tune(store: Store, study_id: int, folder: Path) -> None:
    """Steer a search until it is over, in this process; `folder` is for what Tune writes.

    The cluster is that of `RAY_ADDRESS`, or one that Ray starts on this machine.
    """
    search = Search.from_dict(store.studies.get(study_id).design)
    home = str(store.workspace.root)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    init(os.environ.get("RAY_ADDRESS") or None, ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
    try:
        first = asked_for(search.recipe, search.space)
        picks = OptunaSearch(
            {key: one.distribution() for key, one in search.space.items()},
            metric="loss",
            mode="min",
            points_to_evaluate=[first] if first else None,
            seed=search.recipe.seed % 2**32,
        )
        at_once = search.at_once or max(1, len(store.workers.alive()))
        watching = tune.with_resources(
            tune.with_parameters(_Trial, study_id=study_id, home=home), {"cpu": 0, "memory": MEMORY}
        )
        tune.Tuner(
            watching,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                search_alg=ConcurrencyLimiter(picks, max_concurrent=at_once),
                scheduler=ASHAScheduler(max_t=LONGEST, grace_period=FIRST_EPOCHS + 1),
                num_samples=search.trials,
            ),
            run_config=tune.RunConfig(
                name=f"study-{study_id}", storage_path=str(folder), stop=_Asked(study_id, home), verbose=0
            ),
        ).fit()
    finally:
        shutdown()
    with store.studies.changing_design(study_id) as (design, _):
        design["searching"] = False
