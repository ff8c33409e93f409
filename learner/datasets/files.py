"""Where the files of data sets lie, and how they get there whole or not at all.

`$THAW_HOME/datasets/<slug>/images/<aa>/<sha256>.<suffix>` are the images, named by content and never changed.
`incoming/` beside them exists only while an import runs, or after one was killed.
"""

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from PIL import Image as Picture
from sqlalchemy import select

from learner.atomic import MAX_STEM, written_whole
from learner.datasets.images import fit_within, reading
from learner.datasets.names import dataset_folder, slug
from learner.store import Image, Store
from learner.store.objects import address
from learner.workspace import Workspace


class HasFile(Protocol):
    """An image of a version, or the row of one that is to be."""

    @property
    def file(self) -> str: ...


THUMBNAIL_SIDE = 192
"""Pixels on the longest side; twice what a page shows, for sharp screens."""
_LOCK_POLL_S = 0.2


def image_path(workspace: Workspace, dataset_name: str, image: Image) -> Path:
    """The imported copy of `image`, byte for byte what was imported."""
    return dataset_folder(workspace, dataset_name) / image.file


def bring_images(
    store: Store, dataset_name: str, images: Iterable[HasFile], tell: Callable[[str], None] = lambda text: None
) -> None:
    """Have the copies of `images` on this machine, where an object store holds them. Raises StoreError."""
    if store.files.is_on:
        bring_files(store, dataset_name, (image.file for image in images), tell)


def bring_files(
    store: Store, dataset_name: str, files: Iterable[str], tell: Callable[[str], None] = lambda text: None
) -> Path:
    """The same with their paths in the data set's folder, which is returned."""
    folder = dataset_folder(store.workspace, dataset_name)
    if store.files.is_on:
        store.files.images.bring([folder / file for file in files], tell)
    return folder


def find_picture(workspace: Workspace, dataset_name: str, sha256: str) -> Path | None:
    """The copy of a picture of that content, fetched where only an object store has it; None where there is none."""
    folder = dataset_folder(workspace, dataset_name)
    if (found := next(folder.glob(f"images/{sha256[:2]}/{sha256}.*"), None)) and found.exists():
        return found
    if not address():
        return None
    store = Store(workspace)  # not opened for what is here
    versions = [version.id for version in store.datasets.versions(dataset_name)]
    with store.datasets.session() as session:
        wanted = select(Image.file).where(Image.version_id.in_(versions), Image.sha256 == sha256).limit(1)
        file = session.scalar(wanted)
    return None if file is None else bring_files(store, dataset_name, [file]) / file


def thumbnail_path(workspace: Workspace, dataset_name: str, image: Image, side: int = THUMBNAIL_SIDE) -> Path:
    """A JPEG whose longest side is about `side` pixels, upright; made now if it is missing.

    Raises ImageError when it has to be made and the image is gone or damaged.
    """
    thumbnail = thumbnail_file(workspace, image.sha256, side)
    if not thumbnail.exists():
        with reading(image_path(workspace, dataset_name, image)) as picture:
            save_thumbnail(picture, thumbnail, side)
    return thumbnail


def thumbnail_file(workspace: Workspace, sha256: str, side: int = THUMBNAIL_SIDE) -> Path:
    """Where the thumbnail of that content lies, with its longer side of `side` pixels, once it was made."""
    return workspace.thumbnails / str(side) / sha256[:2] / f"{sha256}.jpg"


def save_thumbnail(picture: Picture.Image, thumbnail: Path, side: int = THUMBNAIL_SIDE) -> None:
    """Write `picture` as a JPEG of at most `side` pixels a side. Raises OSError where the disk is full."""
    small = fit_within(picture, side)
    jpeg = io.BytesIO()  # Pillow hides the reason when it writes to a full disk itself
    small.save(jpeg, "JPEG", quality=85)
    with written_whole(thumbnail) as temporary:
        temporary.write_bytes(jpeg.getvalue())


@contextmanager
def import_lock(workspace: Workspace, name: str, wait: Callable[[], None] | None) -> Iterator[bool]:
    """Only one import into a data set at a time. `wait` is called while another one runs, and may raise.

    Without `wait` nothing waits: yields False when another import runs.
    """
    locks = workspace.root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{slug(name)}.lock")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0 if wait is None else _LOCK_POLL_S)
        except Timeout:
            if wait is None:
                yield False
                return
            wait()
    try:
        yield True
    finally:
        lock.release()


class Incoming:
    """The files of one import on their way in; nothing of them counts before a version names them.

    For the holder of `import_lock` only.
    """

    def __init__(self, store: Store, name: str):
        clear_unfinished(store, name)
        self._workspace = store.workspace
        self._folder = dataset_folder(store.workspace, name)
        self._incoming = self._folder / "incoming"
        self._incoming.mkdir(parents=True)
        self.contents: list[dict] = []
        """Columns of `store.Content` for each picture that came in; appending is thread-safe."""

    def add(self, data: bytes, sha256: str, suffix: str, picture: Picture.Image) -> str:
        """Keep an image and its thumbnail; returns its path relative to the data set's folder. Thread-safe."""
        file = f"images/{sha256[:2]}/{sha256}{suffix}"
        kept = self._folder / file
        if not (kept.exists() and kept.stat().st_size == len(data)):
            with written_whole(self._incoming / file) as temporary:
                temporary.write_bytes(data)
        thumbnail = thumbnail_file(self._workspace, sha256)
        if not thumbnail.exists():
            save_thumbnail(picture, thumbnail)
        return file

    def move_in(self, files: list[str]) -> None:
        """Put the images that are used in their place."""
        for file in files:
            if (self._incoming / file).exists():
                (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
                (self._incoming / file).replace(self._folder / file)

    def close(self) -> None:
        """The import is complete: forget what it did not use."""
        _remove_incoming(self._folder)


def clear_unfinished(store: Store, name: str) -> None:
    """Remove what an import that failed or was killed left: its copies, and images that no version uses.

    For the holder of `import_lock` only. Does nothing where no import was left unfinished.
    """
    folder = dataset_folder(store.workspace, name)
    incoming = folder / "incoming"
    if not incoming.exists():
        return
    used = _used(store, name)
    for file in [*incoming.glob("images/*/*"), *folder.glob("images/*/*")]:
        if file.relative_to(folder).as_posix() not in used:
            thumbnail = thumbnail_file(store.workspace, file.stem)
            for made in [thumbnail, *thumbnail.parent.glob(f".{file.stem[:MAX_STEM]}.*.part")]:
                made.unlink(missing_ok=True)
            file.unlink()
    _remove_incoming(folder)


def _used(store: Store, name: str) -> set[str]:
    """The files that any version names."""
    versions = [version.id for version in store.datasets.versions(name)]
    with store.datasets.session() as session:
        return set(session.scalars(select(Image.file).where(Image.version_id.in_(versions)).distinct()))


def _remove_incoming(folder: Path) -> None:
    """`incoming/` goes last of all: as long as it is there, the next import knows that there is something to clear."""
    for empty in folder.glob("images/*"):
        with suppress(OSError):
            empty.rmdir()
    with suppress(OSError):
        (folder / "images").rmdir()
    shutil.rmtree(folder / "incoming")
    with suppress(OSError):
        folder.rmdir()
