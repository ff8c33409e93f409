"""Studies: the runs that answer one question together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from sqlalchemy import Engine, delete, exists, false, func, not_, select, update
from sqlalchemy.orm import Session

from learner.errors import StudyError
from learner.store.clock import now
from learner.store.runs import UNDO_S, Runs
from learner.store.tables import Epoch, Run, Study

AddRun = Callable[[int, dict[str, Any]], None]


class Studies:
    """Their rows, and which runs belong to which. Safe to use from several processes at once."""

    def __init__(self, engine: Engine, runs: Runs):
        self._engine, self._runs = engine, runs

    def create(self, version_id: int, design: dict[str, Any], recipes: Sequence[tuple[int, dict[str, Any]]]) -> int:
        """Write a study and queue its runs, all or none; returns its id.

        `recipes` are pairs of a variant's number and what it trains, in the order in which they will be taken.
        """
        study = Study(dataset_version_id=version_id, created_at=now(), design=design)
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.add(study)
            session.flush()
            for variant, recipe in recipes:
                session.add(self._runs.new(recipe, version_id, study=study.id, variant=variant))
                session.flush()  # ids are given in this order, and the queue goes by them
        return study.id

    def searching(self) -> list[int]:
        """The searches (`learner.studies.search`) whose trials workers are to ask for, oldest first."""
        going, elsewhere = (Study.design[key].as_boolean() for key in ("searching", "tuned"))
        query = select(Study.id).where(Study.deleted_at.is_(None), going, not_(func.coalesce(elsewhere, false())))
        with self._runs.session() as session:
            return list(session.scalars(query.order_by(Study.id)))

    @contextmanager
    def changing_design(self, study_id: int) -> Iterator[tuple[dict[str, Any], AddRun]]:
        """A study's design, to be changed in place while no other process does, and what queues one more of its runs.

        That takes a variant's number and what the run trains. All is written when the context is left without an error.
        """
        lock = update(Study).where(Study.id == study_id).values(created_at=Study.created_at)
        with Session(self._engine) as session, session.begin():
            session.execute(lock, execution_options={"synchronize_session": False})
            study = session.get_one(Study, study_id)
            design = deepcopy(study.design)

            def add(variant: int, recipe: dict[str, Any]) -> None:
                session.add(self._runs.new(recipe, study.dataset_version_id, study=study_id, variant=variant))

            yield design, add
            study.design = design

    def get(self, study_id: int) -> Study:
        """Raises StudyError when there is no such study."""
        with self._runs.session() as session:
            study = session.get(Study, study_id)
        if study is None:
            raise StudyError(f"There is no study {study_id}. `python -m learner study` lists them.")
        return study

    def all(self) -> list[Study]:
        """Every study that was not deleted, newest first."""
        with self._runs.session() as session:
            return list(session.scalars(select(Study).where(Study.deleted_at.is_(None)).order_by(Study.id.desc())))

    def deleted(self) -> list[Study]:
        """Studies that can be had back, the one deleted last first."""
        query = select(Study).where(Study.deleted_at.is_not(None)).order_by(Study.deleted_at.desc())
        with self._runs.session() as session:
            return list(session.scalars(query))

    def runs_of(self, study_id: int) -> list[Run]:
        """Its runs in the order in which they were queued, but for those that were deleted by themselves."""
        query = select(Run).where(Run.study == study_id, Run.deleted_at.is_(None)).order_by(Run.id)
        with self._runs.session() as session:
            return list(session.scalars(query))

    def losses_of(self, study_id: int) -> dict[int, dict[int, float]]:
        """The validation loss of every epoch of its runs, by run and epoch, where it is a number."""
        query = select(Epoch.run_id, Epoch.epoch, Epoch.valid_loss).join(Run).where(Run.study == study_id)
        found: dict[int, dict[int, float]] = {}
        with self._runs.session() as session:
            for run_id, epoch, loss in session.execute(query):
                if loss is not None:
                    found.setdefault(run_id, {})[epoch] = loss
        return found

    def delete(self, study_id: int) -> None:
        """Hide a study and its runs; `undelete` brings them back for `UNDO_S`. Raises StudyError while one trains."""
        running = [run.id for run in self.runs_of(study_id) if run.status == "running"]
        if running:
            raise StudyError(f"Run {running[0]} of study {study_id} is running. Stop the study first.")
        with self._runs.session() as session:
            moment = session.scalar(select(now()))
        self._hide(study_id, moment)

    def undelete(self, study_id: int) -> None:
        """Raises StudyError when the study was not deleted, or is gone for good."""
        deleted_at = self.get(study_id).deleted_at
        if deleted_at is None:
            raise StudyError(f"Study {study_id} is not deleted.")
        self._hide(study_id, None, at=deleted_at)

    def purge(self) -> None:
        """Forget studies that were deleted over `UNDO_S` ago, once their runs are gone."""
        old = Study.deleted_at < now() - UNDO_S
        with self._engine.begin() as connection:
            connection.execute(delete(Study).where(old, ~exists().where(Run.study == Study.id)))

    def _hide(self, study_id: int, deleted_at: float | None, at: float | None = None) -> None:
        """Set when it was deleted, for the study and those of its runs for which that was `at` until now."""
        runs = Run.deleted_at.is_(None) if at is None else Run.deleted_at == at
        with self._engine.begin() as connection:
            connection.execute(update(Study).where(Study.id == study_id).values(deleted_at=deleted_at))
            connection.execute(update(Run).where(Run.study == study_id, runs).values(deleted_at=deleted_at))
