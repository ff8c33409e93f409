"""Searches: the journal of what runs with a time budget tried, entry by entry."""

from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from learner.store.claims import change_held
from learner.store.tables import SearchEntry


class Searches:
    """The journals of all runs. A run that is forgotten takes its own along."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def entries(self, run_id: int, start: int = 0) -> list[dict[str, Any]]:
        """Those of a run in their order, from that place on."""
        query = select(SearchEntry.entry).where(SearchEntry.run_id == run_id).order_by(SearchEntry.id).offset(start)
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def add(self, run_id: int, entries: list[dict[str, Any]]) -> None:
        """Write more of them, all or none. Raises RunTakenOver where this process does not hold the run any more."""
        with Session(self._engine) as session, session.begin():
            change_held(session, run_id)
            session.execute(insert(SearchEntry), [{"run_id": run_id, "entry": entry} for entry in entries])
