"""Workers: which processes take queued runs, and whether they are alive."""

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from learner.store.claims import SILENT_AFTER_S, whereabouts
from learner.store.clock import now
from learner.store.tables import Worker

FORGOTTEN_AFTER_S = 3600
"""A worker that was silent for so long is not kept."""


class Workers:
    """The workers of all machines that share this database."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def start(self) -> int:
        """Write this process down as a worker; returns its id."""
        worker = Worker(**whereabouts(), started_at=now(), heartbeat_at=now(), declined={})
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.execute(delete(Worker).where(Worker.heartbeat_at < now() - FORGOTTEN_AFTER_S))
            session.add(worker)
        return worker.id

    def beat(self, worker_id: int) -> None:
        """Say that it is alive."""
        with self._engine.begin() as connection:
            connection.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=now()))

    def decline(self, worker_id: int, lacks: dict[int, str]) -> None:
        """Say which waiting runs it cannot take, and what it lacks for each, a few words."""
        declined = {str(run_id): lack for run_id, lack in lacks.items()}
        with self._engine.begin() as connection:
            connection.execute(update(Worker).where(Worker.id == worker_id).values(declined=declined))

    def end(self, worker_id: int) -> None:
        """It takes no more runs."""
        with self._engine.begin() as connection:
            connection.execute(delete(Worker).where(Worker.id == worker_id))

    def lacks(self, run_id: int) -> list[str]:
        """What those that are alive lack for that run, each lack once; empty where one of them can take it."""
        found = [worker.declined.get(str(run_id)) for worker in self.alive()]
        return sorted({lack for lack in found if lack}) if all(found) else []

    def alive(self) -> list[Worker]:
        """Those that were heard of within `SILENT_AFTER_S`."""
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(select(Worker).where(Worker.heartbeat_at > now() - SILENT_AFTER_S)))
