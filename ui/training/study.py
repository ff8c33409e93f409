"""The Train page's recipe as a study, did unfreezing help?, and as a search: how long each takes, and one button."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st

from learner.planning.estimate import resolve_recipe
from learner.recipe import Recipe
from learner.store import Store
from learner.studies.design import FOLDS, SEEDS, Design, create_study, folds_for, unfreezing
from learner.studies.search import MOST_TRIALS, create_search
from learner.studies.space import usual_space
from learner.studies.trials import TRIALS, Search
from learner.wording import count, duration
from ui import state
from ui.frame import telling_errors
from ui.live.studies import show_study
from ui.names import plain
from ui.training.plan import expect


def show_asking(store: Store, recipe: Recipe, arch: str) -> None:
    """`recipe` as the page has it; `arch` is the backbone that its runs will have, one that is known by name."""
    _folded("Did unfreezing help? Ask with a study", "study-asking", partial(_show, store, recipe, arch))


def show_searching(store: Store, recipe: Recipe, arch: str) -> None:
    """The same for a search over depth, rates, head and augmentation."""
    _folded("Search for a better recipe", "searching", partial(_show_search, store, recipe, arch))


def _folded(label: str, key: str, show: Callable[[], None]) -> None:
    with st.expander(label, key=key, on_change="rerun") as opened:
        if opened.open:
            with telling_errors():
                show()


def _show(store: Store, recipe: Recipe, arch: str) -> None:
    variants = unfreezing(replace(recipe, repeats=1), arch)
    names = ", ".join(f"*{one.name}*" for one in variants)
    st.markdown(
        f"One run can be luck. A study trains this recipe in {len(variants)} ways: {names}. Each photo judges each "
        "of them once for a seed, in a run that did not learn from it. You get the differences, how sure they are, and "
        "what is not proven."
    )
    version = store.datasets.version(recipe.dataset, recipe.version)
    left, right, _ = st.columns(3)
    has_folds = folds_for(store, version.id, FOLDS) > 1
    seeds = int(left.number_input("Seeds", 1, 20, SEEDS if has_folds else 5, key="study-seeds", help=SEEDS_HELP))
    folds = int(right.number_input("Folds", 2, 20, FOLDS, key="study-folds", disabled=not has_folds, help=FOLDS_HELP))
    design = Design(variants, seeds, folds if has_folds else 1)
    if not has_folds:
        st.caption(f"{plain(recipe.dataset)} has validation photos of its own: these judge every run.")
    st.caption(f"{count(design.number_of_runs, 'run')}. {_cost(store, design)}")
    if st.button("Start the study", key="start-study"):
        show_study(create_study(store, design))
        st.switch_page("pages/runs.py", query_params={state.VIEW: "studies"})


def _show_search(store: Store, recipe: Recipe, arch: str) -> None:
    base, space = usual_space(replace(recipe, repeats=1), arch)
    st.markdown(
        "Whole runs, one after another: the first trains this recipe, the next ones change how deep it thaws, the "
        "learning rates, the head and the augmentation, where the last ones did best. Trials that fall behind are "
        "paused. In the end you get the best recipe, and one button asks whether it is better or was chance."
    )
    left, _, _ = st.columns(3)
    trials = int(left.number_input("Trials", 2, MOST_TRIALS, TRIALS, key="search-trials-number", help=TRIALS_HELP))
    plan = expect(store, resolve_recipe(store, base))
    cost = (
        "How long they take can be told once this machine is measured (above)."
        if plan is None
        else f"About **{duration(trials * plan.expected_s)}** with one worker if all take as long as this recipe does."
    )
    st.caption(f"Up to {count(trials, 'run')}. {cost}")
    if st.button("Start the search", key="start-search"):
        show_study(create_search(store, Search(base, space, trials)))
        st.switch_page("pages/runs.py", query_params={state.VIEW: "studies"})


TRIALS_HELP = "How many runs the search may train. Ten show whether there is something to be had; fifty look closely."
SEEDS_HELP = "How often all of it is done, each time with other folds. More seeds show smaller differences."
FOLDS_HELP = "Parts of the photos, each of which is held back once for a seed and judges the finished models."


def _cost(store: Store, design: Design) -> str:
    """How long its runs are expected to take, one after another."""
    plans = [expect(store, resolve_recipe(store, one.recipe)) for one in design.variants]
    if any(plan is None for plan in plans):
        return "How long they take can be told once this machine is measured (above)."
    seconds = design.seeds * design.folds * sum(plan.expected_s for plan in plans if plan is not None)
    return f"About **{duration(seconds)}** with one worker, or less, as runs share what frozen stages give."
