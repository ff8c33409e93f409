"""What the process of a check does that needs a network: which labels are doubtful, which images strange.

Needs no torch.
"""

from collections.abc import Callable
from typing import Any

from learner.datasets.fact_backfill import measure_missing
from learner.datasets.importing import Report
from learner.datasets.jobs.processes import Job
from learner.datasets.names import plural
from learner.jobs.process import use_patient_threads
from learner.store import Store


def what(job: Job) -> str:
    """`The check of pets`."""
    return f"The check of {job.request['name']}"


def run(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Measure what was not measured yet, then look for doubted labels and odd images; what was found is kept."""
    use_patient_threads()
    from learner.advice.label_issues import find_label_issues

    store = Store(job.workspace)
    version = store.datasets.version(job.request["name"], job.request["version"])
    measure_missing(store, version, tell, cancelled)
    found = find_label_issues(store, version, tell, cancelled)
    message = f"{plural(len(found.labels), 'label')} doubted, {plural(len(found.outliers), 'image')} unlike the others."
    return {"status": "done", "message": message}


def clear(job: Job, end: dict[str, Any], lost: bool) -> None:
    """Nothing to remove: the cache keeps whole parts only."""
