"""One backup, or one restore, of a workspace at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from learner.errors import BackupError
from learner.workspace import Workspace


@contextmanager
def alone(workspace: Workspace, work: str, told: str) -> Iterator[None]:
    """Raises BackupError, which says `told`, where another process does that work on this workspace."""
    folder = workspace.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{work}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BackupError(told) from None
    try:
        yield
    finally:
        lock.release()
