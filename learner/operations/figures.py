"""Figures of a workspace for whoever watches it: the queue, workers, data, disk. Cheap: no folder is walked through."""

import shutil
import time
from dataclasses import dataclass

from sqlalchemy import func, select

from learner.datasets.uploads import uploads_under_way
from learner.store import Store
from learner.store.tables import Dataset, DatasetVersion, Image, Run

STATUSES = ("queued", "running", "paused", "finished", "stopped", "interrupted", "failed")


@dataclass(frozen=True)
class Figures:
    """As they are at one moment."""

    runs: dict[str, int]
    """Status → how many runs that were not deleted."""
    oldest_queued_s: float
    """For how many seconds the oldest of the waiting runs has been there; 0 where none waits."""
    workers: int
    """Those that are alive."""
    datasets: int
    images: int
    """Of the newest version of each data set."""
    disk_free: int
    """Bytes on the disk of the workspace, like `disk_used`."""
    disk_used: int
    uploads: int
    """Uploads that a browser has begun and not ended."""


def figures_of(store: Store) -> Figures:
    """Four small queries and two looks at the disk. Raises StoreError and OSError."""
    now = time.time()
    there = Run.deleted_at.is_(None)
    newest = select(func.max(DatasetVersion.id)).group_by(DatasetVersion.dataset_id)  # ids grow with the numbers
    with store.runs.session() as session:
        by_status = select(Run.status, func.count()).where(there).group_by(Run.status)
        counts = dict(session.execute(by_status).tuples().all())
        oldest = session.scalar(select(func.min(Run.created_at)).where(there, Run.status == "queued"))
        datasets = session.scalar(select(func.count()).select_from(Dataset)) or 0
        images = session.scalar(select(func.count()).select_from(Image).where(Image.version_id.in_(newest))) or 0
    disk = shutil.disk_usage(store.workspace.root)
    return Figures(
        runs={status: counts.get(status, 0) for status in STATUSES},
        oldest_queued_s=max(0.0, now - oldest) if oldest is not None else 0.0,
        workers=len(store.workers.alive()),
        datasets=datasets,
        images=images,
        disk_free=disk.free,
        disk_used=disk.used,
        uploads=uploads_under_way(store.workspace),
    )
