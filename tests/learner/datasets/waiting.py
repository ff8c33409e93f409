"""Waiting for jobs as a person would: looking again and again."""

import json

import psutil

from learner.datasets import jobs
from tests.patience import until


def rested(workspace, job_id: str) -> jobs.ImportJob:
    """The job once it has no process at work: found, done, failed or cancelled."""
    return until(lambda: not (found := jobs.job(workspace, job_id)).working and found)


def process_of(workspace, job_id: str) -> psutil.Process:
    """The process of a job at work, which says who it is."""
    state = json.loads((workspace.uploads / job_id / "state.json").read_text())
    return psutil.Process(state["pid"])
