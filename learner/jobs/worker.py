"""The worker: takes queued runs, one at a time, and gives each a fresh process."""

import logging
import signal
import subprocess
import threading
import time

from filelock import Timeout
from sqlalchemy.exc import SQLAlchemyError

from learner.errors import StoreError
from learner.housekeeping import tidy
from learner.store import Store
from learner.store.runs import HEARTBEAT_S, SILENT_AFTER_S
from learner.training.process import device_lock, start_local

log = logging.getLogger(__name__)

POLL_S = 0.5
TIDY_S = 600
"""How often what grows is brought back within its bounds."""
GRACE_S = 20
"""How long a run's process may take to write its ending when the worker stops."""


class Worker:
    """`run` works until `stop` is called from a signal handler or another thread."""

    def __init__(self, store: Store):
        self._store = store
        self._stopping = threading.Event()
        self._process: subprocess.Popen | None = None
        self._run_id: int | None = None
        self._tidy_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        worker_id = self._store.runs.worker_started()
        over = threading.Event()
        threading.Thread(target=self._beat, args=(worker_id, over), daemon=True).start()
        log.info("Ready for runs. Everything is kept in %s", self._store.workspace.root)
        try:
            while not self._stopping.is_set():
                try:
                    self._look()
                except StoreError as error:  # it may be away for a moment
                    log.warning("%s", error)
                except SQLAlchemyError:
                    log.exception("The queue could not be read")
                self._stopping.wait(POLL_S)
        finally:
            try:
                self._end_process()
                over.set()
                self._store.runs.worker_ended(worker_id)
            except StoreError as error:  # whoever looks next finds the run silent, and queues it again
                log.warning("%s", error)
            finally:
                over.set()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._close()
        if self._process is None and self._is_device_free():
            self._run_id = self._store.runs.claim()
            if self._run_id is not None:
                log.info("Run %d begins", self._run_id)
                self._process = start_local(self._run_id, self._store.workspace)

    def _is_device_free(self) -> bool:
        """Whether no other process trains here, such as a command, or the run of a worker that was killed."""
        lock = device_lock(self._store.workspace)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        lock.release()
        return True

    def _close(self) -> None:
        """The run's process has ended; where it could not say how, the run goes on from its last resume point."""
        code = self._process.returncode
        ending = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._store.runs.requeue(self._run_id, f"The training process ended {ending} before the run was done.")
        log.info("Run %d is %s", self._run_id, self._store.runs.get(self._run_id).status)
        self._process = self._run_id = None

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _beat(self, worker_id: int, over: threading.Event) -> None:
        written_at = time.monotonic()
        while not over.is_set():
            try:
                self._store.runs.worker_beat(worker_id)
                silent_s, written_at = time.monotonic() - written_at, time.monotonic()
                if silent_s < SILENT_AFTER_S / 2:  # else the database was away, and runs could not be heard either
                    self._clear_up()
            except StoreError as error:
                log.warning("%s", error)
            except SQLAlchemyError:
                log.exception("The worker's heartbeat could not be written")
            over.wait(HEARTBEAT_S)

    def _clear_up(self) -> None:
        for run_id in self._store.runs.requeue_silent():
            log.warning("Run %d was silent for too long: its process is gone", run_id)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_S
            tidy(self._store)


def main() -> None:
    """Work until Ctrl-C or SIGTERM."""
    worker = Worker(Store())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
