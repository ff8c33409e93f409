"""One run's process, `python -m learner.training.process ID`, and how it ends whatever happens."""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from learner.errors import DatabaseAway, RunStopped, ThawError, is_disk_full, is_out_of_memory
from learner.store import Store
from learner.store.runs import HEARTBEAT_S
from learner.training.progress import Listener, Progression, RunTakenOver
from learner.workspace import Workspace

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

WAIT_S = 1.0
"""How often a run that waits for the device looks whether it is to stop."""
NICENESS = 10
"""Training gives way to the pages: with both on two cores, a page would otherwise wait for its turn."""

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP's threads sleep while they wait for each other. Spinning, as they do else, made training about seven times
slower whenever something else kept one of two cores busy (measured: docs/benchmarks.md)."""


def start_local(run_id: int, workspace: Workspace) -> subprocess.Popen:
    """Start a fresh, niced process for the run; all it prints goes to the run's log."""
    folder = workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "learner.training.process", str(run_id)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**PATIENT_THREADS, **os.environ, "THAW_HOME": str(workspace.root)},
            start_new_session=True,  # a Ctrl-C in the terminal reaches the worker, which passes it on
        )


def execute(store: Store, run_id: int, listener: Listener | None = None, goes_on: bool = False) -> str:
    """Train a claimed run in this process and write how it ended; returns its status.

    A KeyboardInterrupt ends the run as `interrupted`, or (`goes_on`) puts it back into the queue, and is raised again.
    One run at a time uses a device: this waits until the one before it is done. Where the database is locked or away
    it waits for that too, and goes on from the last resume point.
    """
    _keep_memory()
    over = threading.Event()
    store.runs.take(run_id)
    threading.Thread(target=_beat, args=(store, run_id, over), daemon=True).start()
    try:
        while not _trained(store, run_id, listener):
            _wait_for_database(store, run_id)
    except KeyboardInterrupt:
        if goes_on:
            store.runs.requeue(run_id, "The worker was ended; the run goes on when one is started.", died=False)
        else:
            reason = f"The training process was told to end. Go on with: python -m learner runs resume {run_id}"
            store.runs.end(run_id, "interrupted", reason)
        raise
    except RunTakenOver as error:
        log.warning("%s", error)
    except RunStopped as error:
        store.runs.end(run_id, "stopped", str(error))
    except ThawError as error:
        log.error("%s", error)
        store.runs.end(run_id, "failed", _message(error))
    except Exception as error:
        log.exception("Run %d failed", run_id)
        store.runs.end(run_id, "failed", _in_words(error))
    finally:
        over.set()
    return store.runs.get(run_id).status


def _trained(store: Store, run_id: int, listener: Listener | None) -> bool:
    """Train the run from its last resume point to its end; False where the database went away meanwhile."""
    try:
        with _device_to_itself(store, run_id):
            from learner.training.run import train

            store.runs.end(run_id, train(store, run_id, listener))
    except DatabaseAway as error:
        log.warning("%s", error)
        return False
    return True


def _wait_for_database(store: Store, run_id: int) -> None:
    """Until the run's heartbeat can be written again."""
    while True:
        try:
            return store.runs.beat(run_id)
        except DatabaseAway:
            time.sleep(WAIT_S)


def device_lock(workspace: Workspace) -> FileLock:
    """Held by the process that trains on this machine. The system frees it when that process ends, however it ends."""
    folder = workspace.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{socket.gethostname()}.lock")


@contextmanager
def _device_to_itself(store: Store, run_id: int) -> Iterator[None]:
    lock = device_lock(store.workspace)
    progression = None
    while not _acquired(lock):
        progression = progression or Progression(store, run_id)
        progression.say("Waiting until the run before it is done with this machine")
        if progression.stops_now:
            raise RunStopped("The run was stopped before anything was learnt.")
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        return False
    return True


def _keep_memory() -> None:
    """Let glibc keep the memory of large activations for the next batch.

    Giving it back and asking for it again, as it does otherwise, costs over a quarter of the time of training VGG16
    (measured: docs/benchmarks.md). Other C libraries have no such call.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def give_memory_back() -> None:
    """Return what is free to the system, which `_keep_memory` put off: after memory ran out, others need it."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _message(error: ThawError) -> str:
    """The error's own sentence: torch wraps an error of its loading processes into a traceback that ends with it."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if "Original Traceback" in text else text


def _in_words(error: Exception) -> str:
    if is_out_of_memory(error):
        return "Memory ran out, even with the smallest batch. Use a smaller image size, or let fewer stages learn."
    if is_disk_full(error):
        return "The disk is full. Free some space and resume the run: it goes on from its last resume point."
    return f"Something went wrong inside Thaw ({type(error).__name__}). The run's log has the details."


def _beat(store: Store, run_id: int, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_S):
        try:
            store.runs.beat(run_id)
        except DatabaseAway as error:  # it must not end the heartbeat
            log.warning("%s", error)
        except Exception:
            log.exception("The heartbeat of run %d could not be written", run_id)


def _interrupt(_signal, _frame):
    raise KeyboardInterrupt


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    signal.signal(signal.SIGTERM, _interrupt)
    os.nice(NICENESS)
    try:
        execute(Store(), int(sys.argv[1]), goes_on=True)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
