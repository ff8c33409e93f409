"""Bring a folder or a .zip file in as a data set: every image decoded once, nothing half-made left behind."""

import errno
import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from learner.datasets.files import Incoming, clear_unfinished, import_lock
from learner.datasets.layout import Placed, find_layout
from learner.datasets.names import check_name, natural_key, plural
from learner.datasets.problems import (
    SetAsideRows,
    Taken,
    require_enough,
    without_duplicates,
    without_small_classes,
)
from learner.datasets.sources import Entry, Source, open_source
from learner.errors import DatasetError, ImageError, ImportCancelled
from learner.images import examine
from learner.store import Store, VersionInfo

THREADS = 2
"""Pillow decodes outside Python's interpreter lock, so two threads fill two cores; each holds one decoded image."""
_REPORT_EVERY_S = 0.2
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class ImportProgress:
    """How far an import has come."""

    done: int
    total: int
    """In all; 0 while that is not known."""
    what: str
    """What is happening, a sentence."""
    seconds_left: float | None = None
    """None until there is something to estimate it from."""
    unit: str = "images"
    """What `done` and `total` count: `images`, or `bytes` of a download."""


Report = Callable[[ImportProgress], None]


def add_dataset(
    store: Store,
    source: Path,
    name: str,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    note: str = "",
) -> VersionInfo:
    """Import `source`, a folder or a .zip file, as the next version of the data set `name`.

    Returns the newest version unchanged when it holds the same images with the same paths, classes and splits.
    Files that cannot be used are set aside with a reason each. `progress` is called in this thread, a few times a
    second; `cancelled` is asked between images.

    Raises DatasetError when the name, the source or its layout cannot be used or the disk is full, ImportCancelled
    when `cancelled` said so. After either, files and tables are as they were before.
    """
    return import_from(store, lambda: open_source(source), name, progress, cancelled, note)


def import_from(
    store: Store,
    open_: Callable[[], Source],
    name: str,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    note: str = "",
) -> VersionInfo:
    """`add_dataset` for any kind of source; `open_` is called once and what it returns is closed."""
    name = check_name(name)
    telling = _Telling(progress or (lambda _: None), cancelled or (lambda: False))
    telling.now(ImportProgress(0, 0, "Looking through the files."))
    try:
        with closing(open_()) as source, import_lock(store.workspace, name, telling.wait):
            return _import(store, source, name, note, telling)
    except OSError as error:
        raise DatasetError(_about_disk(error, store.workspace.root)) from error
    except OperationalError as error:
        if "disk is full" in str(error) or "disk I/O" in str(error):
            raise DatasetError(_about_disk(OSError(errno.ENOSPC, ""), store.workspace.root)) from error
        raise


def _import(store: Store, source: Source, name: str, note: str, telling: "_Telling") -> VersionInfo:
    entries = {entry.path: entry for entry in source.entries}
    if source.set_aside and not entries:
        require_enough([], [], source.set_aside, source.name)
    layout = find_layout(list(entries), source.name)
    incoming = Incoming(store, name)
    try:
        readable, unreadable = _take_all(source, entries, layout.placed, incoming, telling)
        single, duplicates = without_duplicates(readable)
        kept, too_few, notes = without_small_classes(single)
        set_aside = source.set_aside + layout.set_aside + unreadable + duplicates + too_few
        require_enough(kept, readable, set_aside, source.name)

        total = len(layout.placed)
        telling.now(ImportProgress(total, total, "Writing the data set down.", 0.0))
        fingerprint = _fingerprint(kept)
        newest = store.datasets.version(name) if name in store.datasets.names() else None
        if newest is None or newest.fingerprint != fingerprint:
            incoming.move_in([image.file for image in kept])
            store.datasets.add_contents(incoming.contents)
            newest = store.datasets.add_version(
                name,
                [vars(image) for image in kept],
                sorted(set_aside, key=lambda row: natural_key(row[0])),
                " ".join(filter(None, [note, *_notes(kept, notes)])),
                fingerprint,
            )
        incoming.close()
        return newest
    except BaseException:
        clear_unfinished(store, name)
        raise


def _take_all(
    source: Source, entries: dict[str, Entry], placed: list[Placed], incoming: Incoming, telling: "_Telling"
) -> tuple[list[Taken], SetAsideRows]:
    taken: list[Taken] = []
    unreadable: SetAsideRows = []
    telling.start(len(placed))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="import") as pool:
        try:
            results = _in_order(pool, lambda item: _take(source, entries[item.source_path], item, incoming), placed)
            for done, (item, result) in enumerate(results, start=1):
                if isinstance(result, Taken):
                    taken.append(result)
                else:
                    unreadable.append((item.path, result))
                telling.image_done(done, len(placed))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return taken, unreadable


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Placed], Taken | str], placed: list[Placed]
) -> Iterator[tuple[Placed, Taken | str]]:
    """`pool.map` with a short queue: results are taken as they come, so memory does not grow with the data set."""
    waiting: deque = deque()
    for item in placed:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) >= 4 * THREADS:
            first, future = waiting.popleft()
            yield first, future.result()
    for item, future in waiting:
        yield item, future.result()


def _take(source: Source, entry: Entry, item: Placed, incoming: Incoming) -> Taken | str:
    """Read, verify, measure and copy one image; returns the reason instead when it cannot be used."""
    from learner.datasets.facts import measure  # brings numpy and scipy, which pages need not wait for

    try:
        data = source.read(entry)
        examined = examine(io.BytesIO(data))
    except ImageError as error:
        return str(error)
    sha256 = hashlib.sha256(data).hexdigest()
    file = incoming.add(data, sha256, examined.suffix, examined.image)
    incoming.contents.append(measure(examined, sha256, len(data)))
    return Taken(
        item.path,
        file,
        item.label,
        item.split,
        sha256,
        examined.width,
        examined.height,
        group=item.group,
        weight=item.weight,
    )


def _fingerprint(images: list[Taken]) -> str:
    digest = hashlib.sha256()
    for image in sorted(images, key=lambda image: image.path):
        digest.update("\0".join((image.path, image.label, image.split, image.sha256, "\n")).encode())
    return digest.hexdigest()


def _notes(kept: list[Taken], notes: list[str]) -> list[str]:
    splits = {image.split for image in kept}
    if "train" in splits and "valid" not in splits:
        return ["It has no validation images of its own; each recipe draws them by its seed.", *notes]
    return notes


def _about_disk(error: OSError, root: Path) -> str:
    if error.errno in _DISK_FULL:
        return (
            f"The disk that holds {root} is full, so nothing was imported. Free some space there, or set THAW_HOME to "
            "a folder on a larger disk, and import again."
        )
    return (
        f"The import could not write to {root}: {error.strerror or error}. Nothing was imported. Check that folder's "
        "permissions and import again."
    )


class _Telling:
    """Tells the caller how far the import is, and asks it whether to go on."""

    def __init__(self, progress: Report, cancelled: Callable[[], bool]):
        self._progress = progress
        self._cancelled = cancelled
        self._started = self._last = time.monotonic()

    def now(self, progress: ImportProgress) -> None:
        self.check()
        self._progress(progress)
        self._last = time.monotonic()

    def check(self) -> None:
        if self._cancelled():
            raise ImportCancelled("The import was stopped; nothing of it was kept. Start it again whenever you like.")

    def wait(self) -> None:
        self.now(ImportProgress(0, 0, "Waiting for another import into this data set to end."))

    def start(self, total: int) -> None:
        self._started = time.monotonic()
        self.now(ImportProgress(0, total, f"Checking {plural(total, 'image')}."))

    def image_done(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < _REPORT_EVERY_S and done < total:
            self.check()
        else:
            left = (now - self._started) / done * (total - done)
            self.now(ImportProgress(done, total, f"Checked {done:,} of {plural(total, 'image')}.", left))
