"""What watching many runs, or a long one, takes from the store: one query each, few rows."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select

from learner.advice.coach import Advice, advise, has_batch_norm, lost_phase, recalls_of
from learner.evaluation.results import load_result
from learner.recipe import Recipe
from learner.store import Epoch, Run, Step, Store

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
        kept = select(numbered.c.id).where(or_(numbered.c.place % every == 1, every == 1))
        return list(session.scalars(select(Step).where(Step.id.in_(kept)).order_by(Step.id)))


def advice_about(store: Store, run: Run, recipe: Recipe, epochs: Sequence[Epoch]) -> list[Advice]:
    """What the coach says of a run, from its epochs and from what it left on the disk."""
    kept = [index for index in range(len(recipe.phases)) if store.workspace.phase_end(run.id, index).exists()]
    result = load_result(store.workspace.run_folder(run.id)) if run.status == "finished" else None
    return advise(
        recipe,
        epochs,
        has_batch_norm(run.facts),
        recalls=recalls_of(result) if result else None,
        ended=run.status == "finished",
        lost_in=lost_phase(run.reason, phases_done=len(kept)) if run.status == "failed" else None,
        valid_images=run.facts.get("valid_images"),
    )
