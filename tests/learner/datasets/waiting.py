"""Waiting for jobs as a person would: looking again and again."""

import psutil

from learner.datasets import jobs
from tests.patience import until


def rested(workspace, job_id: str) -> jobs.ImportJob:
    """The job once it has no process at work: found, done, failed or cancelled."""
    return until(lambda: not (found := jobs.job(workspace, job_id)).working and found)


def process_of(job_id: str) -> psutil.Process | None:
    """The job's process, found as an operator would find it."""
    for process in psutil.process_iter(["cmdline"]):
        if any(job_id in part for part in process.info["cmdline"] or []):
            return process
    return None
