"""Runs: taking the next one, what a running one reports, and how it ends."""

import os
import socket
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, case, delete, false, func, insert, literal, select, update
from sqlalchemy.orm import Session

from learner.errors import RunError, StoreError
from learner.store.database import give_up_early
from learner.store.tables import Dataset, DatasetVersion, Epoch, Run, Step, TestLook

HEARTBEAT_S = 3.0
"""How often a running run and a worker say that they are alive."""
SILENT_AFTER_S = 20.0
"""A heartbeat older than this means that the process is gone."""
LISTING_PATIENCE_S = 0.5
"""How long a list of runs waits for another writer before it is shown as it is."""

ACTIVE = ("queued", "running")
ENDED = ("finished", "stopped", "interrupted", "failed")
RESUMABLE = ("paused", "stopped", "interrupted", "failed")
REQUESTS = ("stop", "stop_after_epoch", "pause")
MOST_DEATHS = 3
"""A run whose process died so often without finishing an epoch is not tried again by itself."""
UNDO_S = 24 * 3600
"""How long a deleted run can be had back."""


DIED = "The training process ended without a word: it was killed, ran out of memory, or the machine restarted."
GIVEN_UP = (
    f"That happened {MOST_DEATHS} times without an epoch between, so it is not tried again by itself. What it has "
    "learnt is kept: resume it, or use a smaller batch or image size if memory is short."
)
PLACE = func.coalesce(Run.position, Run.id)
"""In the queue, from the front."""
_VERBS = {"stop": "stop", "stop_after_epoch": "stop", "pause": "pause"}


class Runs:
    """Everything that is kept about runs. Safe to use from several processes at once."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def session(self) -> Session:
        """A session whose rows stay readable after it is closed."""
        return Session(self._engine, expire_on_commit=False)

    # The queue

    def submit(
        self,
        recipe: dict[str, Any],
        dataset_version_id: int,
        running: bool = False,
        series: int | None = None,
        parent: tuple[int, int] | None = None,
        baseline: int | None = None,
    ) -> int:
        """Write a run and return its id: queued for a worker, or (`running`) claimed by this process at once.

        `parent` is a run and the index of its phase from whose end this one begins; its epochs until then are copied.
        `baseline` is the run that this one is to be compared with.
        """
        run = self.new(recipe, dataset_version_id, series=series, baseline=baseline)
        if running:
            now = time.time()
            run.status, run.started_at, run.heartbeat_at = "running", now, now
            run.host, run.pid = socket.gethostname(), os.getpid()
        if parent:
            run.parent, run.parent_phase = parent
        with self.session() as session, session.begin():
            session.add(run)
            session.flush()
            if parent:
                _copy_epochs(session, parent, run.id)
        return run.id

    @staticmethod
    def new(recipe: dict[str, Any], dataset_version_id: int, **columns: Any) -> Run:
        """The row of a queued run, not yet written."""
        return Run(
            status="queued",
            reason="",
            recipe=recipe,
            dataset_version_id=dataset_version_id,
            created_at=time.time(),
            asked="",
            host="",
            progress={},
            facts={},
            deaths=0,
            **columns,
        )

    def claim(self) -> int | None:
        """Take the next queued run for this process, in one transaction; None when nothing waits."""
        now = time.time()
        first = (
            select(Run.id)
            .where(Run.status == "queued", Run.deleted_at.is_(None))
            .order_by(PLACE, Run.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        take = (
            update(Run)
            .where(Run.id == first.scalar_subquery(), Run.status == "queued")
            .values(
                status="running",
                started_at=func.coalesce(Run.started_at, now),
                finished_at=None,
                heartbeat_at=now,
                host=socket.gethostname(),
                pid=os.getpid(),
                progress={},  # of a process that is gone
            )
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            return connection.execute(take).scalar()

    # What a person asks

    def ask(self, run_id: int, request: str) -> str:
        """Ask a run for one of `REQUESTS`; returns its status after that.

        A waiting run that is to stop ends at once. A paused one that is to stop is queued once more, for the last
        check of what it has learnt. Raises RunError when there is no such run, or it has ended already.
        """
        stops = request != "pause"
        with self._engine.begin() as connection:

            def change(current: str, **values: Any) -> int:
                return connection.execute(
                    update(Run).where(Run.id == run_id, Run.status == current).values(**values)
                ).rowcount

            if change("running", asked=request):
                return "running"
            unbegun = update(Run).where(Run.id == run_id, Run.status == "queued", Run.started_at.is_(None))
            taken_out = {"status": "stopped", "finished_at": time.time(), "reason": "Taken out of the queue."}
            if stops and connection.execute(unbegun.values(asked=request, **taken_out)).rowcount:
                return "stopped"
            if not stops and change("queued", status="paused", reason="Paused by hand."):
                return "paused"
            if stops and change("queued", asked="stop"):
                return "queued"
            if stops and change("paused", status="queued", asked="stop", reason=""):
                return "queued"
        raise RunError(
            f"Run {run_id} is not under way ({self.get(run_id).status}); there is nothing to {_VERBS[request]}."
        )

    def withdraw(self, run_id: int) -> None:
        """Take back what was asked of a run, as long as it is running."""
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.id == run_id, Run.status == "running").values(asked=""))

    def resume(self, run_id: int, running: bool = False) -> None:
        """Queue a run that was paused, stopped, interrupted or failed, to go on from its last checkpoint.

        With `running` it is claimed by this process instead. Raises RunError in any other state.
        """
        now = time.time()
        values: dict[str, Any] = {"status": "queued", "asked": "", "reason": "", "deaths": 0, "finished_at": None}
        if running:
            values |= {"status": "running", "heartbeat_at": now, "host": socket.gethostname(), "pid": os.getpid()}
            values["started_at"] = func.coalesce(Run.started_at, now)
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.status.in_(RESUMABLE), Run.deleted_at.is_(None))
                .values(**values)
            )
        if not changed.rowcount:
            raise RunError(
                f"Run {run_id} is {self.get(run_id).status}. Only a run that is {_either(RESUMABLE)} can go on."
            )

    def extend(self, run_id: int, recipe: dict[str, Any]) -> None:
        """Queue a finished or stopped run once more with phases added to its recipe. Raises RunError otherwise."""
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.status == "finished", Run.deleted_at.is_(None))
                .values(status="queued", asked="", reason="", deaths=0, finished_at=None, recipe=recipe)
            )
        if not changed.rowcount:
            raise RunError(f"Run {run_id} is {self.get(run_id).status}. Only a finished run can be given more epochs.")

    def delete(self, run_id: int) -> None:
        """Hide a run; `undelete` brings it back for `UNDO_S`. Raises RunError for one that is running."""
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(Run).where(Run.id == run_id, Run.status != "running").values(deleted_at=time.time())
            )
        if not changed.rowcount:
            raise RunError(f"Run {run_id} is {self.get(run_id).status}. Stop it first.")

    def undelete(self, run_id: int) -> None:
        """Raises RunError when the run was not deleted, or is gone for good."""
        if self.get(run_id).deleted_at is None:
            raise RunError(f"Run {run_id} is not deleted.")
        self._set(run_id, deleted_at=None)

    def deleted(self) -> list[Run]:
        """Runs that can be had back, the one deleted last first."""
        with self.session() as session:
            return list(session.scalars(select(Run).where(Run.deleted_at.is_not(None)).order_by(Run.deleted_at.desc())))

    def purge(self) -> list[int]:
        """Forget the runs that were deleted over `UNDO_S` ago; returns their ids, whose folders can go."""
        with self._engine.begin() as connection:
            gone = delete(Run).where(Run.deleted_at < time.time() - UNDO_S).returning(Run.id)
            return list(connection.execute(gone).scalars())

    # Reports of a running run

    def take(self, run_id: int) -> None:
        """Say that this process executes the run from now on."""
        self._set(run_id, pid=os.getpid(), host=socket.gethostname(), heartbeat_at=time.time())

    def add_facts(self, run_id: int, **facts: Any) -> None:
        """Say what the run decided, or replace parts of it."""
        self._set(run_id, facts=self.get(run_id).facts | facts)

    def decide_recipe(self, run_id: int, recipe: dict[str, Any]) -> None:
        """Put the recipe that a search chose in the place of the one that asked for the search."""
        self._set(run_id, recipe=recipe)

    def beat(self, run_id: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.id == run_id, *_mine()).values(heartbeat_at=time.time()))

    def report(self, run_id: int, progress: dict[str, Any]) -> str | None:
        """Write where training stands; returns what somebody asked of the run (`REQUESTS`, or an empty text).

        None: the run is no longer this process's, which must not go on.
        """
        change = (
            update(Run)
            .where(Run.id == run_id, *_mine())
            .values(progress=progress, heartbeat_at=time.time())
            .returning(Run.asked)
        )
        with self._engine.begin() as connection:
            return connection.execute(change).scalar()

    def add_step(self, run_id: int, **figures: Any) -> None:
        """Append one sample inside an epoch (the columns of `Step`)."""
        with self.session() as session, session.begin():
            session.add(Step(run_id=run_id, **figures))

    def add_epoch(self, run_id: int, is_best: bool, **figures: Any) -> None:
        """Append the figures of one epoch (the columns of `Epoch`)."""
        with self.session() as session, session.begin():
            session.add(Epoch(run_id=run_id, **figures))
            best = {"best_accuracy": figures["accuracy"], "best_epoch": figures["epoch"]} if is_best else {}
            session.execute(update(Run).where(Run.id == run_id).values(deaths=0, **best))

    def add_test_look(self, run_id: int, dataset: str, accuracy: float, images: int) -> None:
        """Count a look at the test images of that data set."""
        with self.session() as session, session.begin():
            look = {"run_id": run_id, "dataset": dataset, "accuracy": accuracy, "images": images}
            session.add(TestLook(at=time.time(), **look))

    def test_looks(self, dataset: str) -> list[TestLook]:
        """Every look at the test images of that data set, by whichever run, the first first."""
        with self.session() as session:
            return list(session.scalars(select(TestLook).where(TestLook.dataset == dataset).order_by(TestLook.id)))

    def rewind(self, run_id: int, at: float, best_accuracy: float | None, best_epoch: int | None) -> None:
        """Forget what was written after position `at` (in epochs over all phases): it will be done again."""
        with self.session() as session, session.begin():
            session.execute(delete(Epoch).where(Epoch.run_id == run_id, Epoch.epoch > at))
            session.execute(delete(Step).where(Step.run_id == run_id, Step.at > at))
            session.execute(
                update(Run).where(Run.id == run_id).values(best_accuracy=best_accuracy, best_epoch=best_epoch)
            )

    def end(self, run_id: int, status: str, reason: str = "") -> None:
        """Close a run that is running; one that has ended already keeps its first ending."""
        self._end(Run.id == run_id, status, reason)

    def end_own(self, status: str, reason: str) -> None:
        """Close what this process has claimed and not ended."""
        self._end(and_(*_mine()), status, reason)

    def _end(self, which: ColumnElement[bool], status: str, reason: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                update(Run)
                .where(which, Run.status == "running")
                .values(status=status, reason=reason, asked="", deaths=0, finished_at=time.time())
            )

    def requeue(self, run_id: int, reason: str, died: bool = True) -> None:
        """Put a running run back at the head of the queue, to go on from its last checkpoint.

        One whose process has died `MOST_DEATHS` times since its last epoch is interrupted instead.
        """
        self._requeue(Run.id == run_id, reason, died)

    def requeue_silent(self) -> list[int]:
        """Requeue every running run whose process has not been heard of for `SILENT_AFTER_S`; returns their ids.

        Whoever lists runs calls this first, so where the database cannot be written it is left out.
        """
        silent = Run.heartbeat_at < time.time() - SILENT_AFTER_S
        with self.session() as session:
            if session.scalar(select(Run.id).where(Run.status == "running", silent).limit(1)) is None:
                return []
        with suppress(StoreError):
            return self._requeue(silent, DIED, died=True, patience_s=LISTING_PATIENCE_S)
        return []

    def _requeue(
        self, which: ColumnElement[bool], reason: str, died: bool, patience_s: float | None = None
    ) -> list[int]:
        last_try = Run.deaths + 1 >= MOST_DEATHS if died else false()
        change = (
            update(Run)
            .where(Run.status == "running", which)
            .values(
                status=case((last_try, "interrupted"), else_="queued"),
                finished_at=case((last_try, time.time()), else_=None),
                reason=case((last_try, f"{reason} {GIVEN_UP}"), else_=reason),
                deaths=Run.deaths + int(died),
                position=0.0,
            )
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            if patience_s is not None:
                give_up_early(connection, patience_s)
            return list(connection.execute(change).scalars())

    # Reading

    def get(self, run_id: int) -> Run:
        """Raises RunError when there is no such run."""
        with self.session() as session:
            run = session.get(Run, run_id)
        if run is None:
            raise RunError(f"There is no run {run_id}. `python -m learner runs` lists them.")
        return run

    def all(self) -> list[Run]:
        """Every run that was not deleted, newest first."""
        with self.session() as session:
            return list(session.scalars(select(Run).where(Run.deleted_at.is_(None)).order_by(Run.id.desc())))

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

    def _set(self, run_id: int, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.id == run_id).values(**values))


def _mine() -> tuple[ColumnElement[bool], ...]:
    """That a run is running, and in this process."""
    return Run.status == "running", Run.pid == os.getpid(), Run.host == socket.gethostname()


def _copy_epochs(session: Session, parent: tuple[int, int], run_id: int) -> None:
    """Epochs and steps of the parent until the end of that phase, as the new run's own."""
    parent_id, phase = parent
    last = select(func.max(Epoch.epoch)).where(Epoch.run_id == parent_id, Epoch.phase <= phase).scalar_subquery()
    for table, at in ((Epoch, Epoch.epoch), (Step, Step.at)):
        columns = [column for column in table.__table__.columns if column.name not in ("id", "run_id")]
        rows = select(literal(run_id), *columns).where(table.run_id == parent_id, at <= last)
        session.execute(insert(table).from_select(["run_id", *(column.name for column in columns)], rows))


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
