"""Arrays on disk whose rows are found by name: decoded images and outputs of frozen stages. Knows nothing of networks.

Rows are written once, in parts. A part counts when it is whole: it is written under another name, renamed at the end,
and read only after its checksum was found right. Whatever else lies there is removed and computed again.
Needs no torch.
"""

import json
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

import numpy as np

from learner.errors import ThawError
from learner.wording import file_size
from learner.workspace import Workspace

log = logging.getLogger(__name__)

BUDGET_VARIABLE = "THAW_CACHE_GB"
USUAL_BUDGET = 20_000_000_000
PART_BYTES = 256_000_000
"""A part is closed when it has grown to this, so that a build that is killed loses little."""
ABANDONED_S = 24 * 3600
"""An unfinished part that was not written to for so long belongs to a process that is gone."""
_BLOCK = 16_000_000


class Budget:
    """How much disk the folder of all stores may take; the ones that were not used for longest go first.

    What lies in the folders of `others` counts too when room is made, and goes in its turn.
    """

    def __init__(self, root: Path, limit: int | None = None, others: Path | None = None):
        self.root = root
        self.limit = _limit() if limit is None else limit
        self._others_root = others

    @classmethod
    def of(cls, workspace: Workspace) -> "Budget":
        """Of a workspace's feature cache, together with its thumbnails, folder by folder."""
        return cls(workspace.features, others=workspace.thumbnails)

    def used(self) -> int:
        """Bytes."""
        return sum(_size(folder) for folder in self._stores())

    def room(self, keep: Iterable[Path] = ()) -> int:
        """Bytes that can be had at most when everything but `keep` goes; also bound by what is free on the disk."""
        kept = sum(_size(folder) for folder in keep)
        free = shutil.disk_usage(_existing(self.root)).free
        return max(0, min(self.limit - kept, free + self.used() - kept - free // 10))

    def make_room(self, wanted: int, keep: Iterable[Path] = ()) -> bool:
        """Remove stores until `wanted` bytes fit; False, with nothing removed, where that is not possible."""
        keep = set(keep)
        if wanted > self.room(keep):
            return False
        sizes = {folder: _size(folder) for folder in [*self._stores(), *self._others()]}
        oldest_first = sorted((folder for folder in sizes if folder not in keep), key=_last_used)
        used, free = sum(sizes.values()), shutil.disk_usage(_existing(self.root)).free
        while oldest_first and (used + wanted > self.limit or wanted > free * 0.9):
            folder = oldest_first.pop(0)
            log.info("Removing %s (%s) to make room", folder.name, file_size(sizes[folder]))
            shutil.rmtree(folder, ignore_errors=True)
            used -= sizes[folder]
            free = shutil.disk_usage(_existing(self.root)).free
        return True

    def _others(self) -> list[Path]:
        """Thumbnails lie in folders of folders."""
        return [path for path in self._others_root.glob("*/*") if path.is_dir()] if self._others_root else []

    def _stores(self) -> list[Path]:
        return [path for path in self.root.iterdir() if path.is_dir()] if self.root.is_dir() else []


class RowStore:
    """Rows of one shape and type. `shape` excludes the row's own axis; nothing is made before the first is written."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype):
        self.folder = folder
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.row_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self._parts: list[_Part] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._look()

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have no row, in their order, each once.

        Reads through every part that has some of them, once, and removes the damaged ones: their rows are missing.
        """
        names = list(dict.fromkeys(names))
        held_by = {self._places[name][0] for name in names if name in self._places}
        damaged = [part for part in map(self._parts.__getitem__, held_by) if not part.is_right()]
        for part in damaged:
            log.warning("The cache part %s is damaged and will be computed again", part.folder)
            shutil.rmtree(part.folder, ignore_errors=True)
        if damaged:
            self._look()
        return [name for name in names if name not in self._places]

    def writer(self) -> "RowWriter":
        return RowWriter(self)

    def reader(self, names: list[str]) -> "Rows":
        """The rows of `names`, by their position in that list. Raises KeyError for a name without a row."""
        (self.folder / "used").touch()
        return Rows(self, np.array([self._places[name] for name in names], dtype=np.int64).reshape(-1, 2))

    def _look(self) -> None:
        """Find the parts that are whole by their size, and throw away what was abandoned."""
        verified = {part.folder for part in self._parts if part.verified}
        self._parts, self._places = [], {}
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            if not folder.is_dir():
                continue
            if folder.name.startswith("."):
                if time.time() - _newest(folder) > ABANDONED_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            part = _Part.read(folder, self)
            if part is None:
                log.warning("The cache part %s is incomplete and will be computed again", folder)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            part.verified = folder in verified
            self._parts.append(part)
            for row, name in enumerate(part.names):
                self._places[name] = (len(self._parts) - 1, row)


class Rows:
    """Rows of a store in a fixed order, read through memory maps."""

    def __init__(self, store: RowStore, places: np.ndarray):
        self._places = places
        self._shape, self._dtype = store.shape, store.dtype
        self._maps = {int(index): store._parts[index].map(store) for index in np.unique(places[:, 0])}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """A copy of the rows at `indices`, as (len(indices), *shape)."""
        places = self._places[indices]
        rows = np.empty((len(places), *self._shape), self._dtype)
        for index in np.unique(places[:, 0]):
            here = places[:, 0] == index
            rows[here] = self._maps[int(index)][places[here, 1]]
        return rows


class DiskError(Exception):
    """Rows cannot be written. The rows of parts that were full before are whole and stay."""


class RowWriter:
    """Appends rows. What was written counts when a part is full or the context ends, also by an error.

    Raises DiskError where the disk does not take them.
    """

    def __init__(self, store: RowStore):
        self._store = store
        self._file: BufferedWriter | None = None
        self._checksum = 0
        self.bytes = 0

    def add(self, names: list[str], rows: np.ndarray) -> None:
        """`rows` is (len(names), *shape) of the store's type."""
        with self._disk_errors():
            self._add(names, rows)

    def close(self) -> None:
        """What was written so far becomes part of the store."""
        with self._disk_errors():
            self._close()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.exception("The cache in %s cannot be written", self._store.folder)
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()
                shutil.rmtree(self._folder, ignore_errors=True)
                self._file = None
            raise DiskError(f"The cache cannot be written ({error.strerror}).") from error

    def _add(self, names: list[str], rows: np.ndarray) -> None:
        file = self._file or self._open()
        data = np.ascontiguousarray(rows, self._store.dtype).reshape(len(names), -1).view(np.uint8)
        if data.nbytes != len(names) * self._store.row_bytes:
            raise ValueError(f"{rows.shape} is not {len(names)} rows of {self._store.shape}")
        file.write(data.data)
        self._checksum = zlib.crc32(data.data, self._checksum)
        self._names += names
        self.bytes += data.nbytes
        if len(self._names) * self._store.row_bytes >= PART_BYTES:
            self._close()

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        about = {
            "names": self._names,
            "crc32": self._checksum,
            "shape": self._store.shape,
            "dtype": str(self._store.dtype),
        }
        (self._folder / "part.json").write_text(json.dumps(about))
        (self._store.folder / "used").touch()
        self._folder.rename(self._store.folder / self._folder.name.removeprefix("."))
        self._file = None
        self._store._look()

    def _open(self) -> BufferedWriter:
        self._folder = self._store.folder / f".{uuid.uuid4().hex}"
        self._folder.mkdir(parents=True)
        self._file = (self._folder / "rows.bin").open("wb")
        self._names: list[str] = []
        self._checksum = 0
        return self._file


@dataclass
class _Part:
    folder: Path
    names: list[str]
    crc32: int
    verified: bool = False

    @classmethod
    def read(cls, folder: Path, store: RowStore) -> "_Part | None":
        """None where the part cannot be used."""
        try:
            about = json.loads((folder / "part.json").read_text())
            part = cls(folder, about["names"], about["crc32"])
            size = (folder / "rows.bin").stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        fits = (tuple(about.get("shape", ())), about.get("dtype")) == (store.shape, str(store.dtype))
        return part if fits and size == len(part.names) * store.row_bytes else None

    def is_right(self) -> bool:
        if not self.verified:
            checksum = 0
            try:
                with (self.folder / "rows.bin").open("rb") as file:
                    while block := file.read(_BLOCK):
                        checksum = zlib.crc32(block, checksum)
            except OSError:
                return False
            self.verified = checksum == self.crc32
        return self.verified

    def map(self, store: RowStore) -> np.ndarray:
        return np.memmap(self.folder / "rows.bin", store.dtype, "r", shape=(len(self.names), *store.shape))


def _limit() -> int:
    text = os.environ.get(BUDGET_VARIABLE, "").strip()
    if not text:
        return USUAL_BUDGET
    try:
        return int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ThawError(f"{BUDGET_VARIABLE} is {text!r}; it should be a number of gigabytes, such as 20.") from None


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # removed in the meantime
            continue
    return total


def _newest(folder: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
    except OSError:  # another process has finished the part in the meantime, and given it its name
        return time.time()


def _last_used(folder: Path) -> float:
    mark = folder / "used"
    try:
        return mark.stat().st_mtime if mark.exists() else folder.stat().st_mtime
    except OSError:  # removed in the meantime
        return 0.0
