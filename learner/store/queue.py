"""The queue: the runs that wait, in the order in which workers will take them."""

from sqlalchemy import func, select, update

from learner.errors import RunError
from learner.store.claims import PLACE
from learner.store.runs import Runs
from learner.store.tables import Run


class Queue:
    """The order of waiting runs. `Runs.claim` takes the first."""

    def __init__(self, runs: Runs):
        self._runs = runs

    def waiting(self) -> list[Run]:
        """The runs that wait, in the order in which they will be taken."""
        query = select(Run).where(Run.status == "queued", Run.deleted_at.is_(None)).order_by(PLACE, Run.id)
        with self._runs.session() as session:
            return list(session.scalars(query))

    def move(self, run_id: int, places: int, seen: list[int] | None = None) -> None:
        """Move a waiting run so many places back in the queue; a negative number brings it forward.

        `seen` is the order of ids that whoever asks has seen. Raises RunError when the queue has another by now, or the
        run does not wait.
        """
        waiting = self.waiting()
        order = [run.id for run in waiting]
        if run_id not in order:
            raise RunError(
                f"Run {run_id} does not wait in the queue ({self._runs.get(run_id).status}), so it has no place."
            )
        if seen not in (None, order):
            raise RunError("The queue has changed meanwhile. Look at it again.")
        at = order.index(run_id)
        order.insert(max(0, min(at + places, len(order) - 1)), order.pop(at))
        places_now = sorted(run.id if run.position is None else run.position for run in waiting)
        with self._runs.session() as session, session.begin():
            for place, moved in zip(places_now, order, strict=True):
                session.execute(update(Run).where(Run.id == moved).values(position=place))

    def waiting_before(self, run_id: int) -> int:
        """How many runs will be done before this queued one begins."""
        order = [run.id for run in self.waiting()]
        ahead = order.index(run_id) if run_id in order else 0
        with self._runs.session() as session:
            running = session.scalar(
                select(func.count()).select_from(Run).where(Run.status == "running", Run.deleted_at.is_(None))
            )
        return ahead + (running or 0)
