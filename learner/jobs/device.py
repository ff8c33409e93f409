"""Who has this machine to itself: one training at a time."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from learner.errors import RunError
from learner.workspace import Workspace


def device_lock(workspace: Workspace) -> FileLock:
    """Held by the process that trains on this machine. The system frees it when that process ends, however it ends."""
    folder = workspace.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{socket.gethostname()}.lock")


def is_device_free(workspace: Workspace) -> bool:
    """Whether nothing trains on this machine."""
    lock = device_lock(workspace)
    if not acquired(lock, timeout_s=0):
        return False
    lock.release()
    return True


def acquired(lock: FileLock, timeout_s: float) -> bool:
    """Whether the lock could be had within that time; then this process holds it."""
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    return True


@contextmanager
def exclusive_device(workspace: Workspace) -> Iterator[None]:
    """Keep runs waiting meanwhile. Raises RunError when one is training on this machine."""
    lock = device_lock(workspace)
    if not acquired(lock, timeout_s=0):
        raise RunError(
            "This machine is training. Trying something beside it would be slow, and would slow the run. Try again "
            "once the run has ended."
        )
    try:
        yield
    finally:
        lock.release()
