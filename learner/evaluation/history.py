"""What watching many runs, or a long one, takes from the store: one query each, few rows. Needs no torch."""

from collections.abc import Sequence

from sqlalchemy import func, select

from learner.store import Epoch, Step, Store

MOST_STEPS = 400
"""Samples of a curve; more than a screen has room for."""


def accuracies(store: Store, run_ids: Sequence[int]) -> dict[int, list[tuple[int, float]]]:
    """Index of the phase and accuracy of every epoch, by run, in order; nothing for a run that has none yet."""
    found: dict[int, list[tuple[int, float]]] = {}
    query = select(Epoch.run_id, Epoch.phase, Epoch.accuracy).where(Epoch.run_id.in_(run_ids))
    with store.runs.session() as session:
        for run_id, phase, accuracy in session.execute(query.order_by(Epoch.run_id, Epoch.epoch)):
            found.setdefault(run_id, []).append((phase, accuracy))
    return found


def thinned_steps(store: Store, run_id: int, most: int = MOST_STEPS) -> list[Step]:
    """At most `most` steps of a run, evenly spread; the newest is always among them."""
    place = func.row_number().over(order_by=Step.id.desc()).label("place")  # 1 for the newest
    numbered = select(Step.id, place).where(Step.run_id == run_id).subquery()
    number = select(func.count()).select_from(Step).where(Step.run_id == run_id)
    with store.runs.session() as session:
        every = -(-(session.scalar(number) or 0) // most) or 1
        kept = select(numbered.c.id).where(numbered.c.place % every == 1 % every)
        return list(session.scalars(select(Step).where(Step.id.in_(kept)).order_by(Step.id)))
