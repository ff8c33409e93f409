"""Runs: the queue, what a running one reports, and how it ends."""

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from learner.errors import RunError
from learner.store.tables import Dataset, DatasetVersion, Epoch, Run, Step, Worker

HEARTBEAT_S = 3.0
"""How often a running run and a worker say that they are alive."""
SILENT_AFTER_S = 20.0
"""A heartbeat older than this means that the process is gone."""

ACTIVE = ("queued", "running")
ENDED = ("finished", "stopped", "interrupted", "failed")


class Runs:
    """Everything that is kept about runs. Safe to use from several processes at once."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def session(self) -> Session:
        """A session whose rows stay readable after it is closed."""
        return Session(self._engine, expire_on_commit=False)

    # The queue

    def submit(self, recipe: dict[str, Any], dataset_version_id: int, running: bool = False) -> int:
        """Write a run and return its id: queued for a worker, or (`running`) claimed by this process at once."""
        now = time.time()
        run = Run(
            status="running" if running else "queued",
            reason="",
            recipe=recipe,
            dataset_version_id=dataset_version_id,
            created_at=now,
            started_at=now if running else None,
            heartbeat_at=now if running else None,
            stop_requested=False,
            host=socket.gethostname() if running else "",
            pid=os.getpid() if running else None,
            progress={},
            facts={},
        )
        with self.session() as session, session.begin():
            session.add(run)
        return run.id

    def claim(self) -> int | None:
        """Take the oldest queued run for this process, in one transaction; None when nothing waits."""
        now = time.time()
        oldest = (
            select(Run.id).where(Run.status == "queued").order_by(Run.id).limit(1).with_for_update(skip_locked=True)
        )
        take = (
            update(Run)
            .where(Run.id == oldest.scalar_subquery(), Run.status == "queued")
            .values(status="running", started_at=now, heartbeat_at=now, host=socket.gethostname(), pid=os.getpid())
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            return connection.execute(take).scalar()

    def request_stop(self, run_id: int) -> str:
        """Ask a run to stop; a queued one ends at once. Returns its status after that.

        Raises RunError when there is no such run or it has ended already.
        """
        with self._engine.begin() as connection:
            ended = connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.status == "queued")
                .values(
                    status="stopped", stop_requested=True, finished_at=time.time(), reason="Taken out of the queue."
                )
            )
            asked = connection.execute(
                update(Run).where(Run.id == run_id, Run.status == "running").values(stop_requested=True)
            )
        if ended.rowcount:
            return "stopped"
        if asked.rowcount:
            return "running"
        raise RunError(f"Run {run_id} has ended already ({self.get(run_id).status}); there is nothing to stop.")

    # Reports of a running run

    def started(self, run_id: int, facts: dict[str, Any]) -> None:
        """Say which process executes the run, and what it decided at the start."""
        self._set(run_id, pid=os.getpid(), host=socket.gethostname(), facts=facts, heartbeat_at=time.time())

    def add_facts(self, run_id: int, **facts: Any) -> None:
        """Add to what `started` wrote, or replace parts of it."""
        self._set(run_id, facts=self.get(run_id).facts | facts)

    def beat(self, run_id: int) -> None:
        self._set(run_id, heartbeat_at=time.time())

    def report(self, run_id: int, progress: dict[str, Any]) -> bool:
        """Write where training stands; returns whether somebody asked the run to stop."""
        change = (
            update(Run)
            .where(Run.id == run_id)
            .values(progress=progress, heartbeat_at=time.time())
            .returning(Run.stop_requested)
        )
        with self._engine.begin() as connection:
            return bool(connection.execute(change).scalar())

    def add_step(self, run_id: int, at: float, train_loss: float | None, lrs: Sequence[float]) -> None:
        with self.session() as session, session.begin():
            session.add(Step(run_id=run_id, at=at, train_loss=train_loss, lrs=list(lrs)))

    def add_epoch(self, run_id: int, is_best: bool, **figures: Any) -> None:
        """Append the figures of one epoch (the columns of `Epoch`)."""
        with self.session() as session, session.begin():
            session.add(Epoch(run_id=run_id, **figures))
            if is_best:
                session.execute(
                    update(Run)
                    .where(Run.id == run_id)
                    .values(best_accuracy=figures["accuracy"], best_epoch=figures["epoch"])
                )

    def end(self, run_id: int, status: str, reason: str = "") -> None:
        """Close a run that is running; one that has ended already keeps its first ending."""
        with self._engine.begin() as connection:
            connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.status == "running")
                .values(status=status, reason=reason, finished_at=time.time())
            )

    def mark_silent_as_interrupted(self) -> list[int]:
        """End every running run whose process has not been heard of for `SILENT_AFTER_S`; returns their ids."""
        silent = (
            update(Run)
            .where(Run.status == "running", Run.heartbeat_at < time.time() - SILENT_AFTER_S)
            .values(
                status="interrupted",
                finished_at=time.time(),
                reason="The training process ended without a word: it was killed, ran out of memory, or the machine "
                "restarted. The best checkpoint so far is kept.",
            )
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            return list(connection.execute(silent).scalars())

    # Reading

    def get(self, run_id: int) -> Run:
        """Raises RunError when there is no such run."""
        with self.session() as session:
            run = session.get(Run, run_id)
        if run is None:
            raise RunError(f"There is no run {run_id}. `python -m learner runs` lists them.")
        return run

    def all(self) -> list[Run]:
        """Every run, newest first."""
        with self.session() as session:
            return list(session.scalars(select(Run).order_by(Run.id.desc())))

    def dataset_of(self, run: Run) -> tuple[str, int]:
        """Name and version number of the data set a run used."""
        query = (
            select(Dataset.name, DatasetVersion.number)
            .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
            .where(DatasetVersion.id == run.dataset_version_id)
        )
        with self.session() as session:
            name, number = session.execute(query).one()
        return name, number

    def epochs(self, run_id: int) -> list[Epoch]:
        with self.session() as session:
            return list(session.scalars(select(Epoch).where(Epoch.run_id == run_id).order_by(Epoch.epoch)))

    def steps(self, run_id: int) -> list[Step]:
        with self.session() as session:
            return list(session.scalars(select(Step).where(Step.run_id == run_id).order_by(Step.id)))

    def waiting_before(self, run_id: int) -> int:
        """How many runs will be taken before this queued one."""
        with self.session() as session:
            return session.scalar(select(func.count()).where(Run.status.in_(ACTIVE), Run.id < run_id)) or 0

    # Workers

    def worker_started(self) -> int:
        now = time.time()
        worker = Worker(host=socket.gethostname(), pid=os.getpid(), started_at=now, heartbeat_at=now)
        with self.session() as session, session.begin():
            session.execute(delete(Worker).where(Worker.heartbeat_at < now - 3600))
            session.add(worker)
        return worker.id

    def worker_beat(self, worker_id: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=time.time()))

    def worker_ended(self, worker_id: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(Worker).where(Worker.id == worker_id))

    def workers(self) -> list[Worker]:
        """The workers that are alive."""
        with self.session() as session:
            return list(session.scalars(select(Worker).where(Worker.heartbeat_at > time.time() - SILENT_AFTER_S)))

    def _set(self, run_id: int, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.id == run_id).values(**values))
