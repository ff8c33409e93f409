"""Studies: the runs that answer one question together."""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, delete, exists, select, update
from sqlalchemy.orm import Session

from learner.errors import StudyError
from learner.store.runs import UNDO_S, Runs
from learner.store.tables import Run, Study


class Studies:
    """Their rows, and which runs belong to which. Safe to use from several processes at once."""

    def __init__(self, engine: Engine, runs: Runs):
        self._engine, self._runs = engine, runs

    def create(self, version_id: int, design: dict[str, Any], recipes: Sequence[tuple[int, dict[str, Any]]]) -> int:
        """Write a study and queue its runs, all or none; returns its id.

        `recipes` are pairs of a variant's number and what it trains, in the order in which they will be taken.
        """
        study = Study(dataset_version_id=version_id, created_at=time.time(), design=design)
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.add(study)
            session.flush()
            for variant, recipe in recipes:
                session.add(self._runs.new(recipe, version_id, study=study.id, variant=variant))
                session.flush()  # ids are given in this order, and the queue goes by them
        return study.id

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

    def delete(self, study_id: int) -> None:
        """Hide a study and its runs; `undelete` brings them back for `UNDO_S`. Raises StudyError while one trains."""
        running = [run.id for run in self.runs_of(study_id) if run.status == "running"]
        if running:
            raise StudyError(f"Run {running[0]} of study {study_id} is running. Stop the study first.")
        self._hide(study_id, time.time())

    def undelete(self, study_id: int) -> None:
        """Raises StudyError when the study was not deleted, or is gone for good."""
        deleted_at = self.get(study_id).deleted_at
        if deleted_at is None:
            raise StudyError(f"Study {study_id} is not deleted.")
        self._hide(study_id, None, at=deleted_at)

    def purge(self) -> None:
        """Forget studies that were deleted over `UNDO_S` ago, once their runs are gone."""
        old = Study.deleted_at < time.time() - UNDO_S
        with self._engine.begin() as connection:
            connection.execute(delete(Study).where(old, ~exists().where(Run.study == Study.id)))

    def _hide(self, study_id: int, deleted_at: float | None, at: float | None = None) -> None:
        """Set when it was deleted, for the study and those of its runs for which that was `at` until now."""
        runs = Run.deleted_at.is_(None) if at is None else Run.deleted_at == at
        with self._engine.begin() as connection:
            connection.execute(update(Study).where(Study.id == study_id).values(deleted_at=deleted_at))
            connection.execute(update(Run).where(Run.study == study_id, runs).values(deleted_at=deleted_at))
