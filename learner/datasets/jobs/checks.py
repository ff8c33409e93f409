"""The check that needs a network (`learner.advice.label_issues`): which labels are doubtful, which images strange."""

import os
from collections.abc import Callable
from typing import Any

from learner.datasets.importing import Report
from learner.datasets.jobs import processes
from learner.datasets.jobs.processes import AT_WORK, Job
from learner.datasets.measuring import measure_missing
from learner.datasets.names import plural
from learner.store import Store, VersionInfo
from learner.workspace import Workspace

KIND = "check"


def start_check(workspace: Workspace, version: VersionInfo) -> str:
    """Start checking `version`, unless its data set is being checked; returns the job's id."""
    running = check_of(workspace, version.name)
    if running and running.status in AT_WORK:
        return running.id
    if running:
        processes.remove(running)
    return processes.start(workspace, KIND, name=version.name, version=version.number)


def check_of(workspace: Workspace, name: str) -> Job | None:
    """The newest check of a data set that was not dismissed."""
    return next((job for job in processes.every(workspace, KIND) if job.request["name"] == name), None)


def stop_check(job: Job) -> None:
    """It stops within a second or two; what it has seen of the images is kept for the next one."""
    processes.ask_to_stop(job)


def dismiss_check(job: Job) -> None:
    """Forget a check that has ended; its result stays."""
    processes.remove(job)


# In the job's own process


def what(job: Job) -> str:
    return f"The check of {job.request['name']}"


def run(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
    from learner.training.process import PATIENT_THREADS

    os.environ.update({**PATIENT_THREADS, **os.environ})  # before torch is loaded
    from learner.advice.label_issues import suspect

    store = Store(job.workspace)
    version = store.datasets.version(job.request["name"], job.request["version"])
    measure_missing(store, version, tell, cancelled)
    found = suspect(store, version, tell, cancelled)
    message = f"{plural(len(found.labels), 'label')} doubted, {plural(len(found.outliers), 'image')} unlike the others."
    return {"status": "done", "message": message}


def clear(job: Job, end: dict[str, Any], lost: bool) -> None:
    """Nothing to remove: the cache keeps whole parts only."""
