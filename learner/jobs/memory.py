"""Memory that a process takes for large things: how much at once, what is kept, and what goes back to the system."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of this process's container: version 2 and version 1."""
WORTH_GIVING_BACK = 128 * 2**20
"""Bytes; giving back takes some milliseconds, and less than this is soon used again."""


class Budget:
    """So many bytes for all threads of a process together; who wants more than are left waits.

    What wants more than the whole budget goes alone. A thread must not ask for more while it has some.
    """

    def __init__(self, total_bytes: int):
        self.total_bytes = total_bytes
        self._taken = 0
        self._changed = threading.Condition()
        self._in_line = threading.Lock()
        """Held by the one that waits, so that small ones do not pass a large one for ever."""

    @contextmanager
    def taken(self, num_bytes: int) -> Iterator[None]:
        """For as long as the block runs; then what it freed goes back to the system."""
        with self._in_line, self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + num_bytes <= self.total_bytes)
            self._taken += num_bytes
        try:
            yield
        finally:
            if num_bytes >= WORTH_GIVING_BACK:
                release_memory()
            with self._changed:
                self._taken -= num_bytes
                self._changed.notify_all()


def total_memory() -> int:
    """Bytes that this machine has, or fewer where a container may not use all of them."""
    total: int = psutil.virtual_memory().total
    for limit in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # not Linux, the other version of cgroups, or `max`
            total = min(total, int(limit.read_text("ascii")))
    return total


def retain_memory() -> None:
    """Let glibc keep the memory of large activations for the next batch.

    Giving it back and asking for it again, as it does otherwise, costs over a quarter of the time of training VGG16
    (measured: docs/benchmarks.md). Other C libraries have no such call.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def release_memory() -> None:
    """Return freed memory to the system. The GNU C library keeps it otherwise; others do so by themselves."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
