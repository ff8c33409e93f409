"""The worker: takes queued runs, one at a time, and starts a fresh process for each."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from learner.errors import StoreError
from learner.jobs.device import is_device_free
from learner.jobs.process import environment
from learner.store import Store
from learner.store.runs import HEARTBEAT_S, SILENT_AFTER_S
from learner.workspace import Workspace

log = logging.getLogger(__name__)

POLL_S = 0.5
TIDY_S = 600
"""How often what grows is brought back within its bounds."""
GRACE_S = 20
"""How long a run's process may take to write its ending when the worker stops."""


def start_run(run_id: int, workspace: Workspace) -> subprocess.Popen:
    """Start a fresh process for the run; all it prints goes to the run's log."""
    folder = workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "learner.training.process", str(run_id)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(workspace),
            start_new_session=True,  # a Ctrl-C in the terminal reaches the worker, which passes it on
        )


class Worker:
    """`run` works until `stop` is called from a signal handler or another thread.

    `clean_up` is called every ten minutes, to bring what grows on the disk back within its bounds.
    """

    def __init__(self, store: Store, clean_up: Callable[[Store], None]):
        self._store, self._tidy = store, clean_up
        self._stopping = threading.Event()
        self._process: subprocess.Popen | None = None
        self._run_id: int | None = None
        self._tidy_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        worker_id = self._store.workers.start()
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
                self._store.workers.end(worker_id)
            except StoreError as error:  # whoever looks next finds the run silent, and queues it again
                log.warning("%s", error)
            finally:
                over.set()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._close()
        if self._process is None and is_device_free(self._store.workspace):
            self._run_id = self._store.runs.claim()
            if self._run_id is not None:
                log.info("Run %d begins", self._run_id, extra={"run": self._run_id})
                self._process = start_run(self._run_id, self._store.workspace)

    def _close(self) -> None:
        """The run's process has ended; where it could not say how, the run goes on from its last resume point."""
        assert self._process is not None and self._run_id is not None
        code = self._process.returncode
        ending = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._store.runs.requeue(self._run_id, f"The training process ended {ending} before the run was done.")
        log.info("Run %d is %s", self._run_id, self._store.runs.get(self._run_id).status, extra={"run": self._run_id})
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
                self._store.workers.beat(worker_id)
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
            log.warning("Run %d was silent for too long: its process is gone", run_id, extra={"run": run_id})
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_S
            self._tidy(self._store)


def work(store: Store, clean_up: Callable[[Store], None]) -> None:
    """Work until Ctrl-C or SIGTERM."""
    worker = Worker(store, clean_up)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
