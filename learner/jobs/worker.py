"""The worker: takes queued runs of all spaces and starts a fresh process for each, one at a time or in a cluster."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from learner.errors import AccessError, RunTakenOver, StoreError
from learner.jobs.device import is_device_free
from learner.jobs.executor import Executor, chosen_executor
from learner.jobs.process import WORKER_ENDED, sentence_of, start_run
from learner.people import all_workspaces, read_people
from learner.store import Store
from learner.store.claims import HEARTBEAT_S, SILENT_AFTER_S
from learner.workspace import Workspace

log = logging.getLogger(__name__)

POLL_S = 0.5
TIDY_S = 600
"""How often what grows is brought back within its bounds."""
GRACE_S = 20
"""How long a run's process may take to write its ending when the worker stops."""


class Lack(Protocol):
    """Why this machine should not take a run (`learner.planning.needs`)."""

    @property
    def what(self) -> str: ...
    @property
    def is_final(self) -> bool: ...


@dataclass(frozen=True)
class Helpers:
    """What a worker asks of rooms that it must not import."""

    clean_up: Callable[[Store], None]
    """Brings what grows on the disk back within its bounds; called every ten minutes."""
    advance: Callable[[Store], None]
    """Takes searches further; called before a run is taken, and with each heartbeat."""
    lack_of: Callable[[dict[str, Any], Workspace], Lack | None]
    """What this machine lacks for a run of that recipe."""


@dataclass
class _Served:
    store: Store
    worker_id: int
    """Of this worker in the store."""
    declined: dict[int, str] = field(default_factory=dict)
    """What its row says of the waiting runs that it cannot take."""


@dataclass
class _UnderWay:
    """A run that this worker has begun."""

    store: Store
    run_id: int
    claim: str
    process: subprocess.Popen
    """The run's own, or the one that watches it in a cluster."""
    waits: bool = True
    """Whether no process has begun to train it, as far as was seen."""


class Worker:
    """`run` works until `stop` is called from a signal handler or another thread.

    Raises ThawError where `EXECUTOR` names what is not there.
    """

    def __init__(self, store: Store, helpers: Helpers):
        self._top, self._helpers = store, helpers
        self._served: list[_Served] = []
        """Beginning with the space that was served longest ago."""
        self._stopping = threading.Event()
        self._executor: Executor = chosen_executor()
        self._under_way: list[_UnderWay] = []
        self._tidy_at = self._spaces_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        self._served = [_Served(self._top, self._top.workers.start())]
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True).start()
        log.info("Ready for runs. Everything is kept in %s", self._top.workspace.root)
        try:
            while not self._stopping.is_set():
                self._look()
                self._stopping.wait(POLL_S)
        finally:
            try:
                self._end_processes()
                over.set()
                for served in self._served:
                    served.store.workers.end(served.worker_id)
            except StoreError as error:  # whoever looks next finds the run silent, and queues it again
                log.warning("%s", error)
            finally:
                over.set()

    def _look(self) -> None:
        for run in [run for run in self._under_way if run.process.poll() is not None]:
            with going_on("How the run ended could not be written"):
                self._close(run)
        self._find_spaces()
        with going_on("The runs under way could not be read"):
            if not self._has_room():
                return
            begun = len(self._under_way)
            for served in list(self._served):
                with going_on("The queue could not be read"):  # nobody else's runs wait for that
                    self._begin_one_of(served)
                if len(self._under_way) > begun:
                    return

    def _has_room(self) -> bool:
        """Whether another run could begin. A cluster gets one more than it has begun, which waits there."""
        if not self._executor.in_cluster:
            return not self._under_way and is_device_free(self._top.workspace)
        for run in self._under_way:
            if run.waits:
                row = run.store.runs.get(run.run_id)
                run.waits = row.claim == run.claim and row.pid in (os.getpid(), run.process.pid)
        return not any(run.waits for run in self._under_way)

    def _begin_one_of(self, served: _Served) -> None:
        store = served.store
        self._helpers.advance(store)
        run_id = store.runs.claim(but=self._passed_over(served)) if may_train_more(store) else None
        if run_id is not None:
            log.info("Run %d%s begins", run_id, _of_space(store), extra={"run": run_id})
            claim = store.runs.claim_of(run_id)
            process = start_run(run_id, claim, store.workspace, self._executor.module)
            self._under_way.append(_UnderWay(store, run_id, claim, process))
            self._served.remove(served)
            self._served.append(served)

    def _passed_over(self, served: _Served) -> list[int]:
        """The waiting runs that this worker leaves to others, which is written down for all to see.

        A cluster is asked when it has the run: it may grow.
        """
        if self._executor.in_cluster:
            return []
        store = served.store
        found = {run.id: self._helpers.lack_of(run.recipe, store.workspace) for run in store.queue.waiting()}
        lacks = {run_id: lack for run_id, lack in found.items() if lack is not None}
        declined = {run_id: lack.what for run_id, lack in lacks.items()}
        if declined != served.declined:
            store.workers.decline(served.worker_id, declined)
            served.declined = declined
        others = [worker.declined for worker in store.workers.alive() if worker.id != served.worker_id] if lacks else []
        return [
            run_id for run_id, lack in lacks.items() if lack.is_final or any(str(run_id) not in one for one in others)
        ]

    def _find_spaces(self) -> None:
        """Serve those that have come since, too; looked for as often as the worker says that it is alive."""
        if time.monotonic() < self._spaces_at:
            return
        self._spaces_at = time.monotonic() + HEARTBEAT_S
        known = {served.store.workspace for served in self._served}
        for workspace in all_workspaces(self._top.workspace):
            if workspace not in known:
                with going_on("A space could not be opened"):
                    store = Store(workspace)
                    self._served.append(_Served(store, store.workers.start()))

    def _close(self, run: _UnderWay) -> None:
        """The run's process has ended; where it could not say how, the run goes on from its last resume point."""
        store, run_id = run.store, run.run_id
        store.runs.requeue(run_id, sentence_of(run.process.returncode), claim=run.claim)
        status = store.runs.get(run_id).status
        log.info("Run %d%s is %s", run_id, _of_space(store), status, extra={"run": run_id})
        self._under_way.remove(run)

    def _end_processes(self) -> None:
        for run in self._under_way:
            run.process.terminate()
        patience_ends = time.monotonic() + GRACE_S
        for run in list(self._under_way):
            try:
                run.process.wait(max(0.0, patience_ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
                # It was slow, which is no fault of the run's.
                run.store.runs.requeue(run.run_id, WORKER_ENDED, died=False, claim=run.claim)
            self._close(run)

    def _beat(self, over: threading.Event) -> None:
        written_at: dict[Store, float] = {}
        while not over.is_set():
            tidies = time.monotonic() >= self._tidy_at
            for served in list(self._served):
                store = served.store
                with going_on("The worker's heartbeat could not be written"):
                    store.workers.beat(served.worker_id)
                    self._passed_over(served)
                    silent_s = time.monotonic() - written_at.get(store, time.monotonic())
                    written_at[store] = time.monotonic()
                    if silent_s < SILENT_AFTER_S / 2:  # else the database was away, and runs could not be heard either
                        self._clear_up(store, tidies)
            if tidies:
                self._tidy_at = time.monotonic() + TIDY_S
            over.wait(HEARTBEAT_S)

    def _clear_up(self, store: Store, tidies: bool) -> None:
        for run_id in store.runs.requeue_silent():
            said = "Run %d%s was silent for too long: its process is gone"
            log.warning(said, run_id, _of_space(store), extra={"run": run_id})
        self._helpers.advance(store)
        if tidies:
            self._helpers.clean_up(store)


@contextmanager
def going_on(otherwise: str) -> Iterator[None]:
    """Goes on after an error of a database, which may be away for a moment; `otherwise` says what was not done."""
    try:
        yield
    except (StoreError, RunTakenOver) as error:
        log.warning("%s", error)
    except SQLAlchemyError:
        log.exception(otherwise)


def may_train_more(store: Store) -> bool:
    """Whether the store's space may have one more run that trains, as its quotas say."""
    if store.workspace.top == store.workspace:
        return True
    try:
        most = read_people(store.workspace.top).quotas.running
    except AccessError as error:
        log.warning("%s", error)
        return False
    return not most or sum(run.status == "running" for run in store.runs.all()) < most


def _of_space(store: Store) -> str:
    return "" if store.workspace.top == store.workspace else f" of {store.workspace.root.name}"


def work(store: Store, helpers: Helpers) -> None:
    """Work until Ctrl-C or SIGTERM."""
    worker = Worker(store, helpers)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
