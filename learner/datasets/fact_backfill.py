"""Pictures that were brought in before Thaw measured what comes in: measured now, and compared with each other."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import update

from learner.datasets.exclusions import ImageRow
from learner.datasets.files import bring_files
from learner.datasets.finalizing import finalize_rows
from learner.datasets.images import examining
from learner.datasets.importing import STOPPED, THREADS, ImportProgress, Report
from learner.datasets.rows import rows_of
from learner.errors import ImageError, ImportCancelled
from learner.store import Image, Store, VersionInfo

_AT_ONCE = 64


def measure_missing(
    store: Store,
    version: VersionInfo,
    progress: Report = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Measure every picture of `version` that never was, and mark near duplicates; returns how many there were.

    The rows keep what a person decides of them; clusters only follow from the pictures. Raises ImportCancelled; what
    was measured by then is kept.
    """
    from learner.datasets.facts import measure

    rows = rows_of(store, version)
    known = store.datasets.contents(version.id)
    missing = list({row.sha256: row for row in rows if row.sha256 not in known}.values())
    if not missing:
        return 0
    folder = bring_files(store, version.name, (row.file for row in missing))

    def measured(row: ImageRow) -> dict | None:
        try:
            file = folder / row.file
            with examining(file) as examined:
                return measure(examined, row.sha256, file.stat().st_size)
        except (ImageError, OSError):  # it is gone or damaged; training says so
            return None

    started, done = time.monotonic(), 0
    with ThreadPoolExecutor(THREADS) as pool:
        for some in (missing[at : at + _AT_ONCE] for at in range(0, len(missing), _AT_ONCE)):
            if cancelled():
                raise ImportCancelled(STOPPED)
            store.datasets.add_contents([content for content in pool.map(measured, some) if content])
            done += len(some)
            left = (time.monotonic() - started) / done * (len(missing) - done)
            progress(ImportProgress(done, len(missing), "Measuring pictures that came in before Thaw did so.", left))
    settled = finalize_rows(rows, set(), store.datasets.contents(version.id))
    with store.datasets.session() as session, session.begin():
        for row in settled:
            if row.cluster:
                change = update(Image).where(Image.version_id == version.id, Image.sha256 == row.sha256)
                session.execute(change.values(cluster=row.cluster))
    return len(missing)
