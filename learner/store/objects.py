"""The object store that `$THAW_FILES` names: keeps bytes under their SHA-256, tries again, and checks what comes back.

fsspec and the package that speaks to the store are loaded only where that is set.
"""

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from learner.errors import FilesAway, StoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)

VARIABLE = "THAW_FILES"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
"""Between two tries; each pause is twice the one before."""
PATIENCE_S = 30.0
"""How long something is tried again while a person or a run waits for it."""
MOST_DAMAGED = 4
"""So often an object is fetched that is not what its name says."""
CONNECT_S, ANSWER_S = 10, 30
"""How long a server may take to be reached, and to go on answering."""
_SECRETS = re.compile(r"//[^/@\s]*@")
T = TypeVar("T")


def address() -> str:
    """`$THAW_FILES` without its last slash; empty where it is not set."""
    return os.environ.get(VARIABLE, "").strip().rstrip("/")


def shown_address() -> str:
    """The same as people, logs and the database may have it: without keys, passwords and options."""
    return _SECRETS.sub("//", address()).partition("?")[0]


class Objects:
    """The objects of one workspace. Safe to use from several threads."""

    def __init__(self, prefix: str):
        """`prefix` tells workspaces apart that share a store; nothing is asked of it yet."""
        self._prefix = prefix
        self._opened: tuple[AbstractFileSystem, str] | None = None

    def put(self, sha256: str, data: bytes, patience_s: float = PATIENCE_S, over: Event | None = None) -> None:
        """Keep `data`. Raises StoreError, and FilesAway where it did not work for that long or `over` is set."""

        def write() -> None:
            files, path = self._at(sha256)
            files.pipe_file(path, data)

        self._tried(write, "be written", patience_s, over)

    def get(self, sha256: str, patience_s: float = PATIENCE_S) -> bytes:
        """What was kept, checked. Raises StoreError, and FilesAway where it did not come for that long."""
        for _ in range(MOST_DAMAGED):
            data = self._tried(lambda: self._read(sha256), "be read", patience_s)
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
            log.warning("Object %s of %s came damaged, and is fetched again", sha256, shown_address())
        raise StoreError(
            f"The object {self._place(sha256)} of {shown_address()} is damaged: {MOST_DAMAGED} times it came with "
            "other bytes than its name says. Put a backup of that object there."
        )

    def remove(self, sha256: str) -> None:
        """Nothing happens where it is gone already. Raises StoreError."""

        def remove() -> None:
            files, path = self._at(sha256)
            try:
                files.rm_file(path)
            except FileNotFoundError:
                return

        self._tried(remove, "be written", PATIENCE_S)

    def check(self) -> None:
        """Write, read and remove a small object. Raises StoreError where one of them does not work."""
        data = os.urandom(32)
        sha256 = hashlib.sha256(data).hexdigest()
        self.put(sha256, data, patience_s=2)
        self.get(sha256, patience_s=2)
        self.remove(sha256)

    def _read(self, sha256: str) -> bytes:
        files, path = self._at(sha256)
        data: bytes = files.cat_file(path)
        return data

    def _place(self, sha256: str) -> str:
        return f"{self._prefix}/{sha256[:2]}/{sha256}"

    def _at(self, sha256: str) -> tuple["AbstractFileSystem", str]:
        if self._opened is None:
            self._opened = _open()
        files, root = self._opened
        return files, f"{root}/{self._place(sha256)}"

    def _tried(self, work: Callable[[], T], what: str, patience_s: float, over: Event | None = None) -> T:
        until, pause = time.monotonic() + patience_s, FIRST_PAUSE_S
        while True:
            try:
                return work()
            except StoreError:
                raise
            except Exception as error:  # what a store raises is its package's own business
                if final := _final(error, what):
                    raise final from error
                if time.monotonic() + pause > until or (over is not None and over.is_set()):
                    raise FilesAway(
                        f"The store {shown_address()} cannot {what} ({_reason(error)}). Thaw tried for "
                        f"{patience_s:.0f} s. Try again when it answers."
                    ) from error
            wait = pause * random.uniform(0.5, 1.0)  # so that many machines do not come back at once
            if over is None:
                time.sleep(wait)
            else:
                over.wait(wait)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def _open() -> tuple["AbstractFileSystem", str]:
    """The file system, and the address's path in it. Raises StoreError."""
    kind = urlsplit(address()).scheme
    try:
        from fsspec.core import url_to_fs

        options: dict[str, Any] = {}
        if kind in ("", "file", "local"):
            options = {"auto_mkdir": True}
        elif kind in ("s3", "s3a"):
            waits = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "retries": {"max_attempts": 0}}
            options = {"config_kwargs": waits, "use_listings_cache": False, "skip_instance_cache": True}
            options["max_concurrency"] = 1  # within one object: else it asks for the size of each first
        files, root = url_to_fs(address(), **options)
    except ImportError as error:
        extra = "pip install '.[s3]'" if kind in ("s3", "s3a") else "pip install what fsspec needs for it"
        raise StoreError(
            f"{VARIABLE} is {shown_address()}, and the package that speaks to {kind} is not installed. Install it: "
            f"{extra}."
        ) from error
    except Exception as error:
        raise StoreError(
            f"{VARIABLE} is {shown_address()}, which is no address that Thaw can use ({_reason(error)}). Use "
            "s3://BUCKET/FOLDER, or unset it to keep everything in the workspace."
        ) from error
    if kind in ("s3", "s3a"):
        files.retries = 1  # `_tried` does that, and can be told to end
    return files, root.rstrip("/")


def _final(error: Exception, what: str) -> StoreError | None:
    """None for what may work the next time."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, FileNotFoundError):
        if what == "be read":
            return StoreError(
                f"The store {shown_address()} does not have what the database says it holds ({_reason(error)}). Check "
                f"{VARIABLE}, or put a backup of the store there."
            )
        return StoreError(
            f"The store {shown_address()} is not there ({_reason(error)}). Make the bucket, or correct {VARIABLE}."
        )
    if isinstance(error, PermissionError) or names & {"NoCredentialsError", "PartialCredentialsError"}:
        return StoreError(
            f"The store {shown_address()} may not {what} by this user ({_reason(error)}). Give Thaw keys that may "
            "read, write and delete there: for S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if names & {"ParamValidationError", "InvalidRegionError", "NoRegionError"}:
        return StoreError(f"The store {shown_address()} cannot be used ({_reason(error)}). Correct {VARIABLE}.")
    return None


def _reason(error: Exception) -> str:
    """In one line, without what must not be seen."""
    text = _SECRETS.sub("//", " ".join(str(error).split())).rstrip(".?") or type(error).__name__
    parts = urlsplit(address())
    keys = (os.environ.get("AWS_SECRET_ACCESS_KEY"), os.environ.get("AWS_SESSION_TOKEN"))
    for secret in (parts.netloc.rpartition("@")[0], parts.query, *keys):
        if secret:
            text = text.replace(secret, "…")
    return text
