"""The check that needs a network: starting it, stopping it. `learner.advice.label_check` is what its process does."""

from learner.datasets.jobs import processes
from learner.datasets.jobs.processes import AT_WORK, Job
from learner.store import VersionInfo
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
