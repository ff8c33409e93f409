"""Images of data sets in the object store: sent when a version is written, fetched when they are needed.

A fetched image lies in the cache under its SHA-256, and where a data set's image would lie is a link to it. The images
that came in on this machine lie there themselves.
"""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from learner.atomic import written_whole
from learner.errors import StoreError
from learner.store.objects import PATIENCE_S
from learner.store.pieces import THREADS, Pieces, Sent
from learner.workspace import Workspace

CACHE_VARIABLE, BOUND_VARIABLE = "THAW_CACHE_DIR", "THAW_FILES_CACHE_GB"
DEFAULT_GB = 50.0
FRESH_S = 24 * 3600.0
"""What was used since is never removed, even where the cache is over its bound: a run may be reading it."""

Tell = Callable[[str], None]


class ImageCache:
    """The images of one workspace, by their files, which are named after their SHA-256."""

    def __init__(self, workspace: Workspace, pieces: Pieces):
        self._pieces = pieces
        self.folder = workspace.fetched_images

    def keep(self, files: Iterable[Path], sent: Sent = lambda done, total: None) -> None:
        """Send those that the store does not have; one that is not here came from there. Raises StoreError."""
        images = {file.stem: (file.stat().st_size, file.read_bytes) for file in files if file.exists()}
        self._pieces.keep(images, sent, PATIENCE_S)

    def bring(self, files: Iterable[Path], tell: Tell = lambda text: None) -> None:
        """Have them here, each checked. Raises StoreError."""
        missing = []
        for file in files:
            if not file.exists():
                missing.append(file)
            elif file.is_symlink():
                os.utime(file)
        if not missing:
            return
        with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
            try:
                for done, _ in enumerate(pool.map(self._fetch, missing), start=1):
                    if done % 50 == 0 or done == len(missing):
                        tell(f"Fetched {done:,} of {len(missing):,} images from the store")
            finally:
                pool.shutdown(cancel_futures=True)

    def _fetch(self, file: Path) -> None:
        cached = self.folder / file.stem[:2] / file.name
        try:
            if not cached.exists():
                data = self._pieces.fetch(file.stem)
                with written_whole(cached) as temporary:
                    temporary.write_bytes(data)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)  # a link to what is gone
            file.symlink_to(cached)
        except FileExistsError:  # another process was faster
            return
        except OSError as error:
            told = (
                f"{cached} cannot be written ({error.strerror}). Make room, or set {CACHE_VARIABLE} to another folder."
            )
            raise StoreError(told) from error

    def make_room(self) -> None:
        """Remove what was used longest ago, until the cache is within its bound."""
        bound = float(os.environ.get(BOUND_VARIABLE) or DEFAULT_GB) * 1e9
        found = []
        for file in self.folder.glob("*/*"):
            try:
                stat = file.stat()
            except OSError:
                continue
            found.append((stat.st_mtime, stat.st_size, file))
        total, fresh = sum(size for _, size, _ in found), time.time() - FRESH_S
        for used_at, size, file in sorted(found):
            if total <= bound or used_at > fresh:
                return
            file.unlink(missing_ok=True)
            total -= size
