"""A process of Thaw's: how much of the machine it may take, and what it is started with."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from learner.workspace import Workspace

Tell = Callable[[str], None]
"""Takes a sentence on how far a long work is."""

RANK_VARIABLE, PROCESSES_VARIABLE, MEETING_VARIABLE = "THAW_RANK", "THAW_PROCESSES", "THAW_MEETING"
"""Environment variables of a run that has several processes: this one's number from 0, how many there are, and the
address of the first one as torch reads it. Not torch's own names: fastai would take these for its own distribution."""

NICENESS = 10
"""Training gives way to the pages: with both on two cores, a page would otherwise wait for its turn."""

CLAIM_VARIABLE = "THAW_CLAIM"
"""Environment variable that hands a worker's claim of a run to the run's process."""

GIVEN_VARIABLE = "THAW_DEVICE_GIVEN"
"""Environment variable that tells a run's process that a scheduler gave it its device, so that it locks none itself."""

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


TRAINING = "learner.training.process"
"""The module of a run's process."""


def start_run(
    run_id: int, claim: str, workspace: Workspace, module: str = TRAINING, settings: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """Start a fresh process for a run that was claimed, with more `settings`; all it prints goes to the run's log."""
    folder = workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(run_id)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment(workspace), **(settings or {}), CLAIM_VARIABLE: claim},
            start_new_session=True,  # a Ctrl-C in the terminal reaches the worker, which passes it on
        )


def sentence_of(code: int, where: str = "") -> str:
    """Why a run goes on later whose process ended with that exit code, or (negative) by that signal."""
    ending = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"The training process ended {ending}{where} before the run was done."
