"""Who computes on which device of this machine: one training at a time on each GPU, or on the CPU where there is none.

A device is named as all that runs on the machine sees it, in whichever container: a GPU by its UUID, the CPU by the
number that Linux draws when it starts. Its lock lies in the workspace, which is what they all share.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from learner.errors import RunError
from learner.workspace import Workspace

VISIBLE = "CUDA_VISIBLE_DEVICES"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LISTING_PATIENCE_S = 60
"""How long `nvidia-smi` may take; a first call wakes the driver."""
_GPU = re.compile(r"^GPU \d+: .*\(UUID: (GPU-[\w-]+)\)$")
_PART = re.compile(r"^\s+MIG .*\(UUID: (MIG-[\w/-]+)\)$")


def devices() -> list[str]:
    """UUIDs of the GPUs that this process may use, a divided one by its parts; else the CPU's name alone."""
    parts = _parts_of_gpus()
    visible = os.environ.get(VISIBLE)
    if visible is None:
        found = [uuid for gpu in parts.values() for uuid in gpu]
    else:
        found = _chosen(visible, list(parts), parts)
    return found or [_cpu()]


def has_gpu() -> bool:
    """Whether this process may use one."""
    return devices() != [_cpu()]


def _chosen(visible: str, gpus: list[str], parts: dict[str, list[str]]) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` names, by number or the beginning of a UUID, up to the first that is not there."""
    found: list[str] = []
    for name in filter(None, map(str.strip, visible.split(","))):
        if name.isdecimal():
            named = parts[gpus[int(name)]] if int(name) < len(gpus) else []
        else:
            named = [uuid for gpu in gpus for uuid in (gpu, *parts[gpu]) if uuid.startswith(name)][:1]
        if not named:
            break
        found += named
    return found


@cache
def _parts_of_gpus() -> dict[str, list[str]]:
    """By the UUID of each GPU, in the driver's order, what a process can use of it: itself, or the parts (MIG)."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LISTING_PATIENCE_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    gpus: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if gpu := _GPU.match(line):
            gpus[gpu[1]] = []
        elif gpus and (part := _PART.match(line)):
            gpus[next(reversed(gpus))].append(part[1])
    return {gpu: parts or [gpu] for gpu, parts in gpus.items()}


def _cpu() -> str:
    try:
        return f"cpu-{BOOT_ID.read_text('ascii').strip()}"
    except OSError:  # only Linux has it
        return f"cpu-{socket.gethostname()}"


def _lock(workspace: Workspace, device: str) -> FileLock:
    """Held by the process that computes on it. The system frees it when that process ends, however it ends."""
    folder = workspace.top.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{device.replace('/', '-')}.lock")


def is_device_free(workspace: Workspace) -> bool:
    """Whether nothing computes on some device that this process may use."""
    free = _acquired(workspace)
    if free is not None:
        free[1].release()
    return free is not None


def acquired_device(workspace: Workspace) -> FileLock | None:
    """The lock of a device that was free, which this process holds from now on; None where none is.

    A GPU is the only one that torch will find in this process, unless it has looked for them before.
    """
    free = _acquired(workspace)
    if free is None:
        return None
    device, lock = free
    if device != _cpu():
        os.environ[VISIBLE] = device
    return lock


def _acquired(workspace: Workspace) -> tuple[str, FileLock] | None:
    for device in devices():
        lock = _lock(workspace, device)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return device, lock
    return None


@contextmanager
def exclusive_device(workspace: Workspace) -> Iterator[None]:
    """Keep runs from a device meanwhile. Raises RunError when runs are training on all of this machine."""
    lock = acquired_device(workspace)
    if lock is None:
        raise RunError(
            "This machine is training. Trying something beside it would be slow, and would slow the run. Try again "
            "once the run has ended."
        )
    try:
        yield
    finally:
        lock.release()
