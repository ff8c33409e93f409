"""One run's process, `python -m learner.training.process ID`, and how it ends whatever happens. Needs no torch."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from learner.atomic import replacing_only_where
from learner.errors import (
    DatabaseAway,
    FilesAway,
    ProcessLost,
    RunStopped,
    RunTakenOver,
    StoreError,
    ThawError,
    is_disk_full,
    is_out_of_memory,
)
from learner.jobs.device import acquired_device
from learner.jobs.memory import retain_memory
from learner.jobs.process import CLAIM_VARIABLE, GIVEN_VARIABLE, NICENESS, RANK_VARIABLE, WORKER_ENDED
from learner.logs import set_up_logs
from learner.store import Store
from learner.store.claims import HEARTBEAT_S
from learner.training.progress import Listener, ProgressReporter
from learner.training.trackers import tracked

log = logging.getLogger(__name__)

WAIT_TO_KEEP_S = 20.0
"""How long a run that has failed tries to send its files to an object store that does not answer."""
WAIT_S = 1.0
"""How often a run that waits for the device looks whether it is to stop."""


def execute(
    store: Store, run_id: int, listener: Listener | None = None, requeue: bool = False, claim: str | None = None
) -> str:
    """Train a claimed run in this process and write how it ended; returns its status.

    A KeyboardInterrupt ends the run as `interrupted`, or (`requeue`) puts it back into the queue, and is raised again.
    `claim` is that of the process which started this one; without, this process has claimed the run itself. Once
    another process holds the run, nothing of it is written any more, and the status is returned that it has by then.
    One run at a time uses a device: this waits until the one before it is done. Where the database is locked or away
    it waits for that too, and goes on from the last resume point.
    """
    retain_memory()
    over = threading.Event()
    try:
        store.runs.take(run_id, claim)
        threading.Thread(target=_beat, args=(store, run_id, over), daemon=True).start()
        with tracked(store, run_id, listener) as listener:
            while not _trained(store, run_id, listener):
                _wait_for_database(store, run_id)
    except KeyboardInterrupt:
        if requeue:
            store.runs.requeue(run_id, WORKER_ENDED, died=False)
        else:
            reason = f"The training process was told to end. Go on with: python -m learner runs resume {run_id}"
            store.runs.end(run_id, "interrupted", reason)
        raise
    except RunTakenOver as error:
        log.warning("%s", error)
    except ProcessLost as error:
        store.runs.requeue(run_id, str(error))
    except RunStopped as error:
        _end(store, run_id, "stopped", str(error))
    except FilesAway as error:
        log.error("%s", error)
        store.runs.end(run_id, "failed", str(error))
    except ThawError as error:
        log.error("%s", error)
        _end(store, run_id, "failed", _message(error))
    except Exception as error:
        log.exception("Run %d failed", run_id)
        _end(store, run_id, "failed", _in_words(error))
    finally:
        over.set()
        store.files.let_go(run_id)
    return store.runs.get(run_id).status


def _end(store: Store, run_id: int, status: str, reason: str) -> None:
    """The end of a run that did not come to a good one; what it has learnt is kept where that works."""
    try:
        store.files.keep(run_id, lambda text: None, patience_s=WAIT_TO_KEEP_S)
    except (StoreError, RunTakenOver, OSError) as error:
        log.warning("%s", error)
    store.runs.end(run_id, status, reason)


def _trained(store: Store, run_id: int, listener: Listener | None) -> bool:
    """Train the run from its last resume point to its end; False where the database went away meanwhile."""
    try:
        with _device_to_itself(store, run_id), _files_to_itself(store, run_id):
            from learner.training.run import train

            status = train(store, run_id, listener)
            store.files.keep(run_id, ProgressReporter(store, run_id, listener).say)
            store.runs.end(run_id, status)
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


@contextmanager
def _device_to_itself(store: Store, run_id: int) -> Iterator[None]:
    if os.environ.get(GIVEN_VARIABLE):
        yield
        return
    progression = None
    while (lock := acquired_device(store.workspace)) is None:
        progression = progression or ProgressReporter(store, run_id)
        progression.say("Waiting until the run before it is done with this machine")
        if progression.stops_now:
            raise RunStopped("The run was stopped before anything was learnt.")
        time.sleep(WAIT_S)
    try:
        yield
    finally:
        lock.release()


def _files_to_itself(store: Store, run_id: int) -> AbstractContextManager[None]:
    """No file of the run is replaced once another process holds the run."""
    return replacing_only_where(lambda: store.runs.require(run_id), store.workspace.run_folder(run_id))


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


def _help() -> None:
    """Take part in a run that another process leads; of its store and its folder nothing is touched."""
    retain_memory()
    from learner.training.data_parallel import help_leader

    try:
        help_leader()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except RuntimeError as error:  # a connection that broke, mostly, or memory that ran out
        log.warning("%s", str(error).partition("\n")[0])
        code = 1
    except Exception:
        log.exception("Run %s lost a process", sys.argv[1])
        code = 1
    logging.shutdown()
    os._exit(code)  # torch's threads may abort a process that ends after its connections broke


def _interrupt(_signal, _frame):
    raise KeyboardInterrupt


def main() -> None:
    """Execute the run whose id is the argument, by the claim of the process that starts this one.

    Ctrl-C and SIGTERM end it with exit code 130; it can go on later.
    """
    set_up_logs(run=int(sys.argv[1]))
    signal.signal(signal.SIGTERM, _interrupt)
    os.nice(NICENESS)
    if os.environ.get(RANK_VARIABLE, "0") != "0":
        _help()
        return
    try:
        execute(Store(), int(sys.argv[1]), requeue=True, claim=os.environ.get(CLAIM_VARIABLE))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
