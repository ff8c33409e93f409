"""Train: choose a data set, a recipe, a backbone and the phases; see the plan; start."""

from dataclasses import replace
from typing import Any, Final

import streamlit as st

from learner.datasets import Summary, summarize
from learner.errors import DatasetError, RecipeError
from learner.recipe import Recipe, choose_image_size
from learner.store import Store
from learner.training import trackers
from learner.wording import count
from ui import drafts, state
from ui.frame import empty, next_step, page, telling_errors
from ui.names import plain
from ui.training.choosing import show_choosing
from ui.training.fields import HELP, NAMES, Fields, in_words, key
from ui.training.phases import edit_phases, show_fixed
from ui.training.picker import show_picker
from ui.training.plan import show_plan
from ui.training.previews import show_preview
from ui.training.recommend import show_recommendation
from ui.training.settings import edit_more
from ui.training.study import show_asking, show_searching
from ui.training.weights import Chosen, choose_weights

AUTO: Final = "auto"
SIZES = [96, 128, 150, 160, 192, 224, 256, 320, 384]
VERY_UNEQUAL = 3
"""Times the smallest class that the largest may be before the page suggests to balance them."""


def show_page() -> None:
    store = state.get_store()
    names = store.datasets.names()
    if not names:
        empty(
            "**There is nothing to train on yet.** First bring labelled photos, or use the sample.",
            "data",
            "Add a data set",
        )
        return
    parent = drafts.parent()
    fields = Fields()
    above = st.container()
    first, second, third = st.columns(3)
    name = state.choose_dataset(names, first, disabled=parent is not None)
    with above:
        if parent is None:
            show_choosing(store, name)
        show_picker(name)
        if parent is None:
            show_recommendation(store, name)
    draft = drafts.draft(name)
    versions = [info.number for info in store.datasets.versions(name)]
    number = st.session_state.get(key("version"), draft["version"])
    version = store.datasets.version(name, number if number in versions else None)
    try:
        store.datasets.require_trainable(version)
    except DatasetError as error:
        st.error(plain(str(error)))
        next_step("data", f"Clean {plain(name)}")
        return
    summary = summarize(store, version)
    first.caption(
        f"Version {summary.version.number}: {count(summary.images, 'image')} in "
        f"{count(len(summary.classes), 'class', 'classes')}"
    )
    weights = choose_weights(store, draft, fields, second, third, st.container(), fixed=parent is not None)
    settings = edit_common(draft, fields, summary)
    settings |= edit_more(draft, fields, versions, fixed_head=parent is not None)
    suggest_balance(summary, settings["balance"])

    st.subheader("Phases")
    st.caption(
        "A phase is a stretch of training in which some stages learn and the others stay frozen. First only the new "
        "head learns: solved at once, or by steps. Then stages thaw, the lowest with the smallest learning rate (lr). "
        "Rates that are left empty are chosen to suit the backbone; the drawing below shows them."
    )
    stages = list(weights.known.stages) if weights.known else []
    kept = show_parent(store, parent) if parent else []
    phases, wrong = edit_phases(stages, draft["phases"][len(kept) :], fields, before=len(kept))
    values = settings | {"backbone": weights.backbone, "weights": weights.weights, "phases": [*kept, *phases]}
    recipe, problems = read_page(name, values, stages, wrong)
    fields.tell([problem for problem in problems if problem not in wrong])
    if recipe is None:
        told = "".join(f"\n- {problem if problem in wrong else in_words(problem)}" for problem in problems)
        st.error(f"Training can start once this is put right:{told}")
        st.button(start_label(1), type="primary", disabled=True)
        return
    drafts.keep(recipe)
    exact = replace(recipe, backbone=weights.arch or recipe.backbone, weights=weights.settled_weights)
    if weights.arch:
        with telling_errors():
            show_preview(store, exact)
    if weights.known is not None:
        show_plan(store, exact, weights.known, len(summary.classes))
    start(store, recipe, parent, weights)
    if parent is None and weights.known is not None:
        show_asking(store, recipe, weights.known.arch)
        show_searching(store, recipe, weights.known.arch)
    show_as_file(recipe, parent)


def edit_common(draft: dict[str, Any], fields: Fields, summary: Summary) -> dict[str, Any]:
    """What is worth a look in every training: the image size and the batch size."""
    first, second, _ = st.columns(3)
    automatic = choose_image_size(AUTO, max(summary.median_width, summary.median_height))
    sizes = [AUTO, *sorted({*SIZES, *([] if draft["image_size"] == AUTO else [draft["image_size"]])})]
    size = fields.at("image_size", first).selectbox(
        NAMES["image_size"],
        sizes,
        index=sizes.index(draft["image_size"]),
        format_func=lambda size: f"Automatic ({automatic})" if size == AUTO else str(size),
        help=f"{HELP['image_size']} Any other number can be typed in.",
        accept_new_options=True,
        key=key("image_size"),
    )
    size = int(size) if str(size).isascii() and str(size).isdecimal() else size
    batch_size = fields.at("batch_size", second).number_input(
        NAMES["batch_size"], 2, 1024, draft["batch_size"], help=HELP["batch_size"], key=key("batch_size")
    )
    return {"image_size": size, "batch_size": int(batch_size)}


def suggest_balance(summary: Summary, balance: str) -> None:
    """A sentence where classes are very unequal and nothing is done about it."""
    images = {
        label: sum(number for split, number in splits.items() if split != "test")
        for label, splits in summary.counts.items()
    }
    most, least = max(images, key=images.__getitem__), min(images, key=images.__getitem__)
    if balance == "none" and images[most] > VERY_UNEQUAL * images[least]:
        st.info(
            f"Classes are very unequal: {plain(most)} has {count(images[most], 'image')}, {plain(least)} only "
            f"{images[least]:,}. Class weights keep the small ones from being ignored: *More*, Optimizer & "
            "loss, balance."
        )


def show_parent(store: Store, parent: tuple[int, int]) -> list[dict[str, Any]]:
    """From where the new run goes on, with a way out of that; returns the phases that it takes over."""
    run_id, index = parent
    phases = Recipe.from_dict(store.runs.get(run_id).recipe).phases[: index + 1]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**Starts from the end of phase {index + 1} ({plain(phases[-1].name)}) of run {run_id}.** Its data set, "
            "network and head stay.",
            width="content",
        )
        st.button("Start from the beginning instead", on_click=drafts.drop_parent, key="drop_parent")
    show_fixed(phases)
    return st.session_state[state.DRAFT]["phases"][: index + 1]


def read_page(
    dataset: str, values: dict[str, Any], stages: list[str], wrong: list[str]
) -> tuple[Recipe | None, list[str]]:
    """The recipe that the page describes, or None and what is wrong with it besides `wrong`, which is passed on."""
    try:
        recipe = Recipe.from_dict({"dataset": dataset, **values})
        recipe.check(stages or None)
    except RecipeError as error:
        # a row whose rates are wrong has been told about already
        return None, [*wrong, *(problem for problem in error.problems if not (wrong and "at least 1 item" in problem))]
    return (None, wrong) if wrong else (recipe, [])


def start_label(repeats: int) -> str:
    return f"Start {repeats} runs" if repeats > 1 else "Start training"


def start(store: Store, recipe: Recipe, parent: tuple[int, int] | None, weights: Chosen) -> None:
    if not store.workers.alive():
        st.warning(
            "No worker is running, so a run would wait. `make app` starts one with the page; by hand it is "
            "`python -m learner worker`."
        )
    chosen = choose_trackers()
    if not st.button(start_label(recipe.repeats), type="primary", disabled=weights.arch is None):
        return
    with telling_errors():
        st.session_state[state.RUN] = run_id = store.submit(recipe, parent=parent, trackers=chosen)
        st.switch_page("pages/runs.py", query_params={state.RUN: str(run_id)})


def choose_trackers() -> list[str]:
    """Where the figures go, too; nothing is shown where no tracker is installed."""
    there = trackers.installed()
    if not there:
        return []
    return st.segmented_control(
        "Write the figures for a tracker, too",
        there,
        selection_mode="multi",
        format_func=trackers.TITLES.__getitem__,
        help="TensorBoard's files lie in the run's folder. MLflow and Weights & Biases get them with the settings of "
        "the machine that trains.",
        key="trackers",
    )


def show_as_file(recipe: Recipe, parent: tuple[int, int] | None) -> None:
    with st.expander("The same as a file or a command"):
        st.caption("The recipe: everything that decides the result.")
        st.code(recipe.to_yaml(), language="yaml")
        if parent is None:
            st.caption("The equivalent command, from the project's folder:")
            st.code(recipe.command("--queue"), language="bash", wrap_lines=True)


with page("train", "Choose what learns, in which order and how fast."):
    show_page()
