"""A process of Thaw's: how much of the machine it may take, and what it is started with."""

import os
from collections.abc import Callable

from learner.workspace import Workspace

Tell = Callable[[str], None]
"""Takes a sentence on how far a long work is."""

NICENESS = 10
"""Training gives way to the pages: with both on two cores, a page would otherwise wait for its turn."""

CLAIM_VARIABLE = "THAW_CLAIM"
"""Environment variable that hands a worker's claim of a run to the run's process."""

WORKER_ENDED = "The worker was ended; the run goes on when one is started."
"""Why a run waits again whose worker was told to end."""

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP's threads sleep while they wait for each other. Spinning, as they do else, made training about seven times
slower whenever something else kept one of two cores busy (measured: docs/benchmarks.md)."""


def environment(workspace: Workspace) -> dict[str, str]:
    """The environment of a process that computes for `workspace`; what the caller's own says of threads goes first."""
    return {**PATIENT_THREADS, **os.environ, "THAW_HOME": str(workspace.root)}


def use_patient_threads() -> None:
    """The same for this process, before it loads torch; a person's own setting stays."""
    os.environ.update({**PATIENT_THREADS, **os.environ})
