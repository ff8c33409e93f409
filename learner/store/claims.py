"""Running runs: which process may write of one, what it reports, how the run ends or goes back into the queue.

Whoever begins to work on a run claims it with a random text that nobody else has, kept in the run's row. All that is
written of the run asks for it, so that a process whose run went to another while it was paused or cut off changes
nothing any more. Names of hosts and numbers of processes would not do: containers share both.
"""

import os
import socket
import uuid
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, case, delete, false, func, select, true, update
from sqlalchemy.orm import Session

from learner.errors import RunTakenOver, StoreError
from learner.store.clock import now
from learner.store.database import give_up_early
from learner.store.tables import Epoch, Run, Step

HEARTBEAT_S = 3.0
"""How often a running run and a worker say that they are alive."""
SILENT_AFTER_S = 20.0
"""A heartbeat older than this means that the process is gone."""
LISTING_PATIENCE_S = 0.5
"""How long a list of runs waits for another writer before it is shown as it is."""
MOST_DEATHS = 3
"""A run whose process died so often without finishing an epoch is not tried again by itself."""

DIED = "The training process ended without a word: it was killed, ran out of memory, or the machine restarted."
GIVEN_UP = (
    f"That happened {MOST_DEATHS} times without an epoch between, so it is not tried again by itself. What it has "
    "learnt is kept: resume it, or use a smaller batch or image size if memory is short."
)
PLACE = func.coalesce(Run.position, Run.id)
"""In the queue, from the front."""

_held: deque[str] = deque(maxlen=1000)
"""Claims that this process made or was given. It works on one run at a time, so the oldest are long over."""


def new_claim() -> dict[str, Any]:
    """What the row of a run says that this process works on from now on."""
    claim = uuid.uuid4().hex
    _held.append(claim)
    return {"claim": claim, "heartbeat_at": now(), **whereabouts()}


def whereabouts() -> dict[str, Any]:
    """Host and number of this process, for people."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def change_held(session: Session, run_id: int, **values: Any) -> None:
    """Change the row of a run that this process holds, and keep others from it until the transaction ends.

    Raises RunTakenOver where another process holds it, or none.
    """
    mine = update(Run).where(Run.id == run_id, _is_mine()).values(heartbeat_at=now(), **values).returning(Run.id)
    if session.scalar(mine, execution_options={"synchronize_session": False}) is None:
        raise _taken_over(run_id)


def _taken_over(run_id: int) -> RunTakenOver:
    return RunTakenOver(f"Run {run_id} is not this process's any more: it was silent for too long.")


def _is_mine() -> ColumnElement[bool]:
    return Run.claim.in_(list(_held))


def _is_running_here() -> ColumnElement[bool]:
    return and_(Run.status == "running", _is_mine())


class ClaimedRuns:
    """What processes that work on runs do with them. `Runs` is this, and what people do."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def session(self) -> Session:
        """A session whose rows stay readable after it is closed."""
        return Session(self._engine, expire_on_commit=False)

    def claim(self, but: Collection[int] = ()) -> int | None:
        """Take the next queued run that is not among `but` for this process, in one transaction; None without one."""
        first = (
            select(Run.id)
            .where(Run.status == "queued", Run.deleted_at.is_(None), Run.id.not_in(but))
            .order_by(PLACE, Run.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        take = (
            update(Run)
            .where(Run.id == first.scalar_subquery(), Run.status == "queued")
            .values(
                status="running",
                started_at=func.coalesce(Run.started_at, now()),
                finished_at=None,
                progress={},  # of a process that is gone
                **new_claim(),
            )
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            return connection.execute(take).scalar()

    def claim_of(self, run_id: int) -> str:
        """The claim by which this process holds a run, to be handed to one that does the work (`take`).

        Raises RunTakenOver.
        """
        with self.session() as session:
            claim = session.scalar(select(Run.claim).where(Run.id == run_id, _is_mine()))
        if claim is None:
            raise _taken_over(run_id)
        return claim

    def take(self, run_id: int, claim: str | None = None) -> None:
        """Say that this process executes the run from now on, by its own claim or one that it was given.

        Raises RunTakenOver where that claim does not hold any more.
        """
        if claim is not None:
            _held.append(claim)
        with self.session() as session, session.begin():
            change_held(session, run_id, **whereabouts())

    # Reports of a running run. Those that return nothing raise RunTakenOver once this process does not hold it any more

    def require(self, run_id: int) -> None:
        """That this process holds the run: what it asks before it replaces one of the run's files."""
        self.claim_of(run_id)

    def add_facts(self, run_id: int, **facts: Any) -> None:
        """Say what the run decided, or replace parts of it."""
        with self.session() as session, session.begin():
            change_held(session, run_id)
            run = session.get_one(Run, run_id)
            run.facts = run.facts | facts

    def decide_recipe(self, run_id: int, recipe: dict[str, Any]) -> None:
        """Put the recipe that a search chose in the place of the one that asked for the search."""
        with self.session() as session, session.begin():
            change_held(session, run_id, recipe=recipe)

    def forget(self, run_id: int) -> None:
        """Take a run that this process holds out of the store, as if it had never been."""
        with self._engine.begin() as connection:
            connection.execute(delete(Run).where(Run.id == run_id, _is_mine()))

    def add_step(self, run_id: int, **figures: Any) -> None:
        """Append one sample inside an epoch (the columns of `Step`)."""
        with self.session() as session, session.begin():
            change_held(session, run_id)
            session.add(Step(run_id=run_id, **figures))

    def add_epoch(self, run_id: int, is_best: bool, **figures: Any) -> None:
        """Append the figures of one epoch (the columns of `Epoch`)."""
        best = {"best_accuracy": figures["accuracy"], "best_epoch": figures["epoch"]} if is_best else {}
        with self.session() as session, session.begin():
            change_held(session, run_id, deaths=0, **best)
            session.add(Epoch(run_id=run_id, **figures))

    def rewind(self, run_id: int, at: float, best_accuracy: float | None, best_epoch: int | None) -> None:
        """Forget what was written after position `at` (in epochs over all phases): it will be done again."""
        with self.session() as session, session.begin():
            change_held(session, run_id, best_accuracy=best_accuracy, best_epoch=best_epoch)
            session.execute(delete(Epoch).where(Epoch.run_id == run_id, Epoch.epoch > at))
            session.execute(delete(Step).where(Step.run_id == run_id, Step.at > at))

    def report(self, run_id: int, progress: dict[str, Any]) -> str | None:
        """Write where training stands; returns what somebody asked of the run (`REQUESTS`, or an empty text).

        None: the run is no longer this process's, which must not go on.
        """
        change = (
            update(Run)
            .where(Run.id == run_id, _is_running_here())
            .values(progress=progress, heartbeat_at=now())
            .returning(Run.asked)
        )
        with self._engine.begin() as connection:
            return connection.execute(change).scalar()

    def beat(self, run_id: int) -> None:
        """Say that its process is alive; nothing happens where it is another's."""
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.id == run_id, _is_running_here()).values(heartbeat_at=now()))

    # The end, and processes that die

    def end(self, run_id: int, status: str, reason: str = "") -> None:
        """Close a run that this process works on; one that has ended already keeps its first ending."""
        self._end(Run.id == run_id, status, reason)

    def end_own(self, status: str, reason: str) -> None:
        """Close what this process has claimed and not ended."""
        self._end(_is_mine(), status, reason)

    def _end(self, which: ColumnElement[bool], status: str, reason: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                update(Run)
                .where(which, _is_running_here())
                .values(status=status, reason=reason, asked="", deaths=0, finished_at=now())
            )

    def requeue(self, run_id: int, reason: str, died: bool = True, claim: str | None = None) -> None:
        """Put a run that this process holds back at the head of the queue, to go on from its last checkpoint.

        One whose process has died `MOST_DEATHS` times since its last epoch is interrupted instead. With `claim` nothing
        happens where the run has another by now, also one of this process.
        """
        held = _is_mine() if claim is None else Run.claim == claim
        self._requeue(and_(Run.id == run_id, held), reason, died)

    def requeue_all(self, reason: str) -> list[int]:
        """The same with every running run, whoever holds it, as for rows without processes; returns their ids."""
        return self._requeue(true(), reason, died=False)

    def requeue_silent(self) -> list[int]:
        """Requeue every running run whose process has not been heard of for `SILENT_AFTER_S`; returns their ids.

        Whoever lists runs calls this first, so where the database cannot be written it is left out.
        """
        silent = Run.heartbeat_at < now() - SILENT_AFTER_S
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
                finished_at=case((last_try, now()), else_=None),
                reason=case((last_try, f"{reason} {GIVEN_UP}"), else_=reason),
                deaths=Run.deaths + int(died),
                position=0.0,
                claim=None,
            )
            .returning(Run.id)
        )
        with self._engine.begin() as connection:
            if patience_s is not None:
                give_up_early(connection, patience_s)
            return list(connection.execute(change).scalars())
