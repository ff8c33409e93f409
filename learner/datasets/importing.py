"""Bring a folder or an archive in as a data set: every image decoded once, nothing half-made left behind."""

import errno
import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy.exc import OperationalError

from learner.datasets.disk import why_not_kept
from learner.datasets.exclusions import ImageRow, SetAsideRows, exclude_doubtful, exclude_small_classes, require_any
from learner.datasets.files import Incoming, clear_unfinished, import_lock
from learner.datasets.finalizing import finalize_rows
from learner.datasets.grouping import bursts
from learner.datasets.images import examining
from learner.datasets.layouts import Choice, Layout, Placed, Proposal, listing_of, place, preview
from learner.datasets.names import check_name, dataset_folder, first_free, natural_key, plural, sentence
from learner.datasets.rows import fingerprint_of, rows_of
from learner.datasets.sources import Entry, Source, open_source
from learner.errors import DatasetError, ImageError, ImportCancelled
from learner.store import Content, Store, VersionInfo
from learner.wording import file_size

Mode = Literal["replace", "add"]
"""Whether the next version holds just what comes in, or that and everything the newest version holds."""
THREADS = 2
"""Pillow decodes outside Python's interpreter lock, so two threads fill two cores; each holds one decoded image."""
STOPPED = "The import was stopped; nothing of it was kept. Start it again whenever you like."
_REPORT_EVERY_S = 0.2


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
    choice: Choice | None = None,
    mode: Mode = "replace",
) -> VersionInfo:
    """Import `source`, a folder, an archive or an image, as the next version of the data set `name`.

    `choice` says how classes are read; without one, the layout that fits best is taken. With mode `add` everything in
    the newest version stays as it is, and pictures that are in it already are left out. In both modes a picture that
    was a test image stays one.

    Returns the newest version unchanged when it holds the same already. Images that can be read become rows, those
    that cannot be used excluded with a reason each; other files are set aside with a reason. `progress` is called in
    this thread, a few times a second; `cancelled` is asked between images.

    Raises DatasetError when the name, the source or its layout cannot be used, no image can be read or the disk is
    full, ImportCancelled when `cancelled` said so. After either, files and tables are as they were before.
    """
    return import_from(store, lambda: open_source(source), name, progress, cancelled, note, choice, mode)


def import_from(
    store: Store,
    open_: Callable[[], Source],
    name: str,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    note: str = "",
    choice: Choice | None = None,
    mode: Mode = "replace",
) -> VersionInfo:
    """`add_dataset` for any kind of source; `open_` is called once and what it returns is closed."""
    name = check_name(name)
    if mode not in get_args(Mode):
        raise DatasetError(f"There is no way to import called {mode!r}. Use replace or add.")
    telling = _Telling(progress or (lambda _: None), cancelled or (lambda: False))
    telling.now(ImportProgress(0, 0, "Looking through the files."))
    try:
        with closing(open_()) as source:
            listing = listing_of(source, telling.check)
            proposal = preview(listing, choice or Choice())
            layout = place(listing, proposal.choice)
            layout.set_aside += listing.set_aside
            with import_lock(store.workspace, name, telling.wait):
                return _import(store, source, name, _Plan(proposal, layout, mode, note), telling)
    except OSError as error:
        raise DatasetError(about_disk(error, store.workspace.root)) from error
    except OperationalError as error:
        if "disk is full" in str(error) or "disk I/O" in str(error):
            raise DatasetError(about_disk(OSError(errno.ENOSPC, ""), store.workspace.root)) from error
        raise


@dataclass(frozen=True)
class _Plan:
    """What is to come in and how."""

    proposal: Proposal
    layout: Layout
    mode: Mode
    note: str


def _import(store: Store, source: Source, name: str, plan: _Plan, telling: "_Telling") -> VersionInfo:
    incoming = Incoming(store, name)
    try:
        newest = store.datasets.version(name) if name in store.datasets.names() else None
        earlier = rows_of(store, newest) if newest else []
        taken, unreadable = _take_all(source, plan.layout.placed, incoming, telling)
        taken = _with_bursts(taken, incoming, plan.proposal.choice.group_seconds)
        set_aside = plan.layout.set_aside + unreadable
        require_any(taken, set_aside, source.name)
        kept = earlier if newest and plan.mode == "add" else []
        rows, notes = _together(kept, taken)

        total = len(plan.layout.placed)
        telling.now(ImportProgress(total, total, "Comparing the images with each other."))
        rows = finalize_rows(
            rows, {row.sha256 for row in earlier if row.split == "test"}, _contents(store, newest, incoming)
        )
        telling.now(ImportProgress(total, total, "Writing the data set down.", 0.0))
        fingerprint = fingerprint_of(rows)
        if newest is None or newest.fingerprint != fingerprint:
            incoming.move_in([row.file for row in rows])
            _send(store, name, rows, telling)
            store.datasets.add_contents(incoming.contents)
            newest = store.datasets.add_version(
                name,
                [vars(row) for row in rows],
                _all_set_aside(store, newest if kept else None, set_aside),
                " ".join(filter(None, [sentence(plan.note), plan.proposal.reason, *plan.layout.notes, *notes])),
                fingerprint,
                newest.number if newest and kept else None,
            )
        incoming.close()
        return newest
    except BaseException:
        clear_unfinished(store, name)
        raise


def _send(store: Store, name: str, rows: list[ImageRow], telling: "_Telling") -> None:
    """Keep the images in the object store where there is one: a version is written once they are there."""
    if store.files.is_on:

        def sent(done: int, total: int) -> None:
            told = f"Sent {file_size(done)} of {file_size(total)} to the store."
            telling.now(ImportProgress(done, total, told, unit="bytes"))

        store.files.images.keep((dataset_folder(store.workspace, name) / row.file for row in rows), sent)


def _with_bursts(taken: list[ImageRow], incoming: Incoming, seconds: float) -> list[ImageRow]:
    """`taken`, with a group for those that are in a burst and in no declared group."""
    if not seconds:
        return taken
    found = bursts({row["sha256"]: Content(**row) for row in incoming.contents}, seconds)
    return [replace(image, group=image.group or found.get(image.sha256, "")) for image in taken]


def _together(earlier: list[ImageRow], taken: list[ImageRow]) -> tuple[list[ImageRow], list[str]]:
    """The rows of the next version, those that stay first, and notes about them."""
    notes = []
    there = {row.sha256 for row in earlier}
    new = [image for image in taken if image.sha256 not in there]
    known = len(taken) - len(new)
    if known:
        were = "picture was here already and was" if known == 1 else "pictures were here already and were"
        notes.append(f"{known:,} {were} left out.")
    paths = {row.path for row in earlier}
    new = exclude_doubtful([replace(image, path=_free(image.path, paths)) for image in new])
    rows, class_notes = exclude_small_classes([*earlier, *new], frozenset(row.path for row in earlier))
    splits = {row.split for row in rows if not row.excluded}
    if "train" in splits and "valid" not in splits:
        notes.append("It has no validation images of its own; each recipe draws them by its seed.")
    return rows, [*notes, *class_notes]


def _free(path: str, taken: set[str]) -> str:
    """`path`, or one of `cats/1 (2).jpg`, `cats/1 (3).jpg` … that is not taken, which it is then."""
    start, dot, suffix = path.rpartition(".")
    ending = f"{dot}{suffix}" if start else ""

    def numbered(number: int) -> str:
        return path if number == 1 else f"{start or suffix} ({number}){ending}"

    free = first_free(numbered, taken.__contains__)
    taken.add(free)
    return free


def _contents(store: Store, newest: VersionInfo | None, incoming: Incoming) -> dict[str, Content]:
    """What was measured of every picture, now or in earlier versions, by sha256."""
    known = store.datasets.contents(newest.id) if newest else {}
    return {**{row["sha256"]: Content(**row) for row in incoming.contents}, **known}


def _all_set_aside(store: Store, newest: VersionInfo | None, set_aside: SetAsideRows) -> SetAsideRows:
    """(path, reason) of this import and of the version it adds to, each path once."""
    earlier = {row.path: row.reason for row in store.datasets.set_aside(newest.id)} if newest else {}
    return sorted({**earlier, **dict(set_aside)}.items(), key=lambda row: natural_key(row[0]))


def _take_all(
    source: Source, placed: list[Placed], incoming: Incoming, telling: "_Telling"
) -> tuple[list[ImageRow], SetAsideRows]:
    entries = {entry.path: entry for entry in source.entries}
    taken: list[ImageRow] = []
    unreadable: SetAsideRows = []
    telling.start(len(placed))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="import") as pool:
        try:
            results = _in_order(pool, lambda item: _take(source, entries[item.source_path], item, incoming), placed)
            for done, (item, result) in enumerate(results, start=1):
                if isinstance(result, ImageRow):
                    taken.append(result)
                else:
                    unreadable.append((item.path, result))
                telling.image_done(done, len(placed))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return taken, unreadable


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Placed], ImageRow | str], placed: list[Placed]
) -> Iterator[tuple[Placed, ImageRow | str]]:
    """`pool.map` with a short queue: results are taken as they come, so memory does not grow with the data set."""
    waiting: deque = deque()
    for item in placed:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) >= 4 * THREADS:
            first, future = waiting.popleft()
            yield first, future.result()
    for item, future in waiting:
        yield item, future.result()


def _take(source: Source, entry: Entry, item: Placed, incoming: Incoming) -> ImageRow | str:
    """Read, verify, measure and copy one image; returns the reason instead when it cannot be used."""
    from learner.datasets.facts import measure  # brings numpy and scipy, which pages need not wait for

    try:
        data = source.read(entry)
        sha256 = hashlib.sha256(data).hexdigest()
        with examining(io.BytesIO(data)) as examined:
            width, height = examined.width, examined.height
            file = incoming.add(data, sha256, examined.suffix, examined.image)
            incoming.contents.append(measure(examined, sha256, len(data)))
    except ImageError as error:
        return str(error)
    return ImageRow(
        item.path,
        file,
        item.label,
        item.split,
        sha256,
        width,
        height,
        group=item.group,
        weight=item.weight,
        reason="" if item.label else item.reason,
        probabilities=item.probabilities,
    )


def about_disk(error: OSError, root: Path) -> str:
    """What a person is told when nothing can be written under `root`."""
    return f"Nothing was imported. {why_not_kept('The import', error, root)}"


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
            raise ImportCancelled(STOPPED)

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
