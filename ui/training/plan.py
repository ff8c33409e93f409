"""What a recipe plans: one frost strip a phase, the rates over all of them, the layers, and what it will cost here."""

import json
from dataclasses import replace

import streamlit as st

from learner.errors import ThawError
from learner.features.arrays import Budget
from learner.planning.cost import RunPlan, Workload
from learner.planning.estimate import expected_plan, resolve_recipe, workload_of
from learner.recipe import Recipe
from learner.recipe.backbones import KnownBackbone
from learner.store import Store
from ui import plans, state
from ui.components import show_strip
from ui.drawing import show_chart
from ui.names import plain
from ui.rate_plan import rate_chart
from ui.training.finder import show_finder
from ui.training.layers import show_layers
from ui.training.measuring import show_measuring


def show_plan(store: Store, recipe: Recipe, known: KnownBackbone, classes: int) -> None:
    """All of it, for a recipe whose backbone and weights are named."""
    stages = list(known.stages)
    trouble, settled, plan = "", None, None
    try:
        settled = resolve_recipe(store, recipe)
        plan = expect(store, settled)
    except ThawError as error:
        trouble = str(error)
    phases = (settled or recipe).phases
    for index, phase in enumerate(phases):
        cost = plan.phases[index] if plan else None
        st.markdown(
            f"**{plain(phase.name)}**, {phase.length_text}" + (f": {plans.about(cost.expected_s)}" if cost else "")
        )
        show_strip(stages, phase.group_rates(stages, known.batch_norm), phase)
        if cost:
            st.caption(plans.cache_text(cost))
    if recipe.refits:
        about = plans.about(sum(phase.expected_s for phase in plan.refit)) if plan else ""
        st.markdown("**Once more on all images**" + (f": {about}" if about else ""))
        st.caption("With the validation images to learn from, too. The figures stay those of the model before.")
    has_rates = any(not phase.solve for phase in phases)
    if has_rates:
        with st.expander("Learning rates over all phases"):
            show_chart(rate_chart, phases, stages, known.batch_norm, state.is_dark(), width="stretch")
            st.caption(
                "Logarithmic: each step down is a tenth. What falls below the drawing is next to nothing; one_cycle "
                "ends at a hundred-thousandth of its highest rate."
            )
    if settled:
        if has_rates:
            show_finder(store, settled)
        show_layers(store, settled, stages, classes)
    st.subheader("What this will cost")
    if plan:
        show_cost(plan, recipe.repeats)
    elif trouble:
        st.warning(f"That cannot be told. {plain(trouble)}")
    elif settled:
        show_measuring(store, settled)


def show_cost(plan: RunPlan, repeats: int) -> None:
    st.markdown(plans.total_text(plan) + (f" For each of {repeats} runs, one after another." if repeats > 1 else ""))
    st.caption(
        f"{plans.precision_text(plan)} Expected for {plan.device}, with nothing else to do; loading and the last "
        "check come on top. Less where the cache has something from an earlier run already."
    )


@state.cached(st.cache_data, ttl="10m", max_entries=200, show_spinner=False)
def workload_for(recipe: str) -> Workload:
    """How much there is to do for a settled recipe (JSON). Kept, as it times the reading of some images."""
    return workload_of(state.get_store(), Recipe.from_dict(json.loads(recipe)))


def expect(store: Store, settled: Recipe) -> RunPlan | None:
    """The plan of a settled recipe, or None until this machine was measured for it."""
    plain = Recipe(
        settled.dataset,
        version=settled.version,
        image_size=settled.image_size,
        seed=settled.seed,
        valid_fraction=settled.valid_fraction,
        grouped=settled.grouped,
        folds=settled.folds,
        fold=settled.fold,
        fold_is=settled.fold_is,
    )
    amounts = replace(workload_for(json.dumps(plain.to_dict())), room=Budget(store.workspace.features).room())
    return expected_plan(store, settled, amounts)
