"""Runs: submitting them, what people ask of them, and all that is read of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from learner.errors import RunError
from learner.store.claims import ClaimedRuns, new_claim
from learner.store.clock import now
from learner.store.tables import Dataset, DatasetVersion, Epoch, Run, Step, TestLook

ACTIVE = ("queued", "running")
ENDED = ("finished", "stopped", "interrupted", "failed")
RESUMABLE = ("paused", "stopped", "interrupted", "failed")
REQUESTS = ("stop", "stop_after_epoch", "pause")
UNDO_S = 24 * 3600
"""How long a deleted run can be had back."""
QUEUED_AGAIN: dict[str, Any] = {
    "status": "queued",
    "asked": "",
    "reason": "",
    "deaths": 0,
    "finished_at": None,
    "claim": None,
}
"""What a run's row says that somebody puts back into the queue."""
_VERBS = {"stop": "stop", "stop_after_epoch": "stop", "pause": "pause"}


class Runs(ClaimedRuns):
    """Everything that is kept about runs. Safe to use from several processes at once."""

    def submit(
        self,
        recipe: dict[str, Any],
        dataset_version_id: int,
        running: bool = False,
        series: int | None = None,
        parent: tuple[int, int] | None = None,
        baseline: int | None = None,
        trackers: Sequence[str] = (),
    ) -> int:
        """Write a run and return its id: queued for a worker, or (`running`) claimed by this process at once.

        `parent` is a run and the index of its phase from whose end this one begins; its epochs until then are copied.
        `baseline` is the run that this one is to be compared with. `trackers` are what it is written for, too.
        """
        run = self.new(recipe, dataset_version_id, series=series, baseline=baseline)
        if running:
            for column, value in {"status": "running", "started_at": now(), **new_claim()}.items():
                setattr(run, column, value)
        if trackers:
            run.facts = {"trackers": list(trackers)}
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
            created_at=now(),
            asked="",
            host="",
            progress={},
            facts={},
            deaths=0,
            **columns,
        )

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
            taken_out = {"status": "stopped", "finished_at": now(), "reason": "Taken out of the queue."}
            if stops and connection.execute(unbegun.values(asked=request, **taken_out)).rowcount:
                return "stopped"
            if not stops and change("queued", status="paused", reason="Paused by hand."):
                return "paused"
            if stops and change("queued", asked="stop"):
                return "queued"
            if stops and change("paused", status="queued", asked="stop", reason="", claim=None):
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
        values = QUEUED_AGAIN
        if running:
            values = (
                QUEUED_AGAIN | {"status": "running", "started_at": func.coalesce(Run.started_at, now())} | new_claim()
            )
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
                .values(**QUEUED_AGAIN, recipe=recipe)
            )
        if not changed.rowcount:
            raise RunError(f"Run {run_id} is {self.get(run_id).status}. Only a finished run can be given more epochs.")

    def delete(self, run_id: int) -> None:
        """Hide a run; `undelete` brings it back for `UNDO_S`. Raises RunError for one that is running."""
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(Run).where(Run.id == run_id, Run.status != "running").values(deleted_at=now())
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
            gone = delete(Run).where(Run.deleted_at < now() - UNDO_S).returning(Run.id)
            return list(connection.execute(gone).scalars())

    # Looks at test images

    def add_test_look(self, run_id: int, dataset: str, accuracy: float, images: int) -> None:
        """Count a look at the test images of that data set."""
        with self.session() as session, session.begin():
            look = {"run_id": run_id, "dataset": dataset, "accuracy": accuracy, "images": images}
            session.add(TestLook(at=now(), **look))

    def test_looks(self, dataset: str) -> list[TestLook]:
        """Every look at the test images of that data set, by whichever run, the first first."""
        with self.session() as session:
            return list(session.scalars(select(TestLook).where(TestLook.dataset == dataset).order_by(TestLook.id)))

    # Reading

    def seconds_since_start(self, run_id: int) -> float:
        """How long ago the run was begun first; 0 for one that was not."""
        with self.session() as session:
            return session.scalar(select(now() - Run.started_at).where(Run.id == run_id)) or 0.0

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
