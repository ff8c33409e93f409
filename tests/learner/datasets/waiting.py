"""Waiting for jobs as a person would: looking again and again."""

import time
from collections.abc import Callable

import psutil

from learner.datasets import jobs


def wait_for(condition: Callable[[], object], seconds: float = 20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def rested(workspace, job_id: str) -> jobs.ImportJob:
    """The job once it has no process at work: found, done, failed or cancelled."""
    return wait_for(lambda: not (found := jobs.job(workspace, job_id)).working and found)


def process_of(job_id: str) -> psutil.Process | None:
    """The job's process, found as an operator would find it."""
    for process in psutil.process_iter(["cmdline"]):
        if any(job_id in part for part in process.info["cmdline"] or []):
            return process
    return None
