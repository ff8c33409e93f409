"""Train: choose a data set, a backbone and the phases; see the plan; start."""

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from learner.datasets import summarize
from learner.errors import DatasetError, RecipeError, ThawError, WeightsError
from learner.expecting import amounts_of, expected_plan, settle
from learner.recipe import Recipe, choose_image_size
from learner.rows import Budget
from learner.speed import Amounts, RunPlan
from learner.store import Store
from learner.weights import KNOWN_BACKBONES, KnownBackbone, WeightsSource, choose_backbone
from learner.words import count
from ui import plans, state
from ui.components import show_strip
from ui.frame import empty, next_step, page, telling_errors
from ui.measuring import get_measuring
from ui.previews import show_preview
from ui.settings import HELP, edit_more, in_words

AUTO = "auto"
LABELS = {known.arch: known.label for known in KNOWN_BACKBONES}
SIZES = [AUTO, 96, 128, 160, 192, 224, 256, 320, 384]
VGG16_FILE = "vgg16.safetensors"
PHASES = "phases"
LOW, HIGH = "lr of lowest stage", "lr"
"""Columns of the phases' table that stand for a recipe's `lr`."""
LOOK_AGAIN_S = 1.0
"""While this machine is measured."""


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
    chosen = state.current_dataset(names)
    first, second = st.columns([1, 1])
    name = first.selectbox("Data set", names, index=names.index(chosen))
    st.session_state[state.DATASET] = name
    version = store.datasets.version(name)
    try:
        store.datasets.require_trainable(version)
    except DatasetError as error:
        st.error(str(error))
        next_step("data", f"Clean {name}")
        return
    summary = summarize(store, version)
    first.caption(
        f"Version {summary.version.number}: {count(summary.images, 'image')} in "
        f"{count(len(summary.classes), 'class', 'classes')}"
    )
    draft = st.session_state.get(state.DRAFT) or Recipe(dataset=name).to_dict()
    backbones = [AUTO, *LABELS]
    backbone = second.selectbox(
        "Backbone (the pretrained network)",
        backbones,
        index=backbones.index(draft["backbone"]),
        format_func=backbone_label,
        help=HELP["backbone"],
        key="backbone",
    )
    arch = show_weights(second, backbone)
    first, second = st.columns([1, 1])
    automatic = choose_image_size(AUTO, max(summary.median_width, summary.median_height))
    image_size = first.selectbox(
        "Image size (pixels a side)",
        SIZES,
        index=SIZES.index(draft["image_size"]),
        format_func=lambda size: f"Automatic ({automatic})" if size == AUTO else str(size),
        help=HELP["image_size"],
        key="image_size",
    )
    batch_size = second.number_input(
        "Batch size (images a step)", 2, 1024, draft["batch_size"], help=HELP["batch_size"], key="batch_size"
    )
    settings = {"backbone": backbone, "image_size": image_size, "batch_size": int(batch_size), **edit_more(draft)}

    st.subheader("Phases")
    st.caption(
        "A phase is a stretch of training in which some stages learn and the others stay frozen. Warm-up: only the new "
        "head learns. Then stages thaw, the lowest with the smallest learning rate (lr). Rates that are left empty are "
        "chosen to suit the backbone; the drawing below shows them."
    )
    known = next((known for known in KNOWN_BACKBONES if known.arch == arch), None)
    stages = list(known.stages) if known else []
    table = edit_phases(stages, draft["phases"])
    recipe = read_page(name, settings, table, stages)
    if recipe is None:
        st.button("Start training", type="primary", disabled=True)
        return
    st.session_state[state.DRAFT] = recipe.to_dict()
    with telling_errors():
        show_preview(store, recipe)
    if known is not None:
        show_plan(store, recipe, known)
    start(recipe, can_start=arch is not None)
    with st.expander("The same as a file or a command"):
        st.caption("The recipe: everything that decides the result.")
        st.code(recipe.to_yaml(), language="yaml")
        st.caption("The equivalent command, from the project's folder:")
        st.code(recipe.command("--queue"), language="bash", wrap_lines=True)


def backbone_label(arch: str) -> str:
    return "Automatic" if arch == AUTO else LABELS[arch]


@st.cache_data(ttl="5m", show_spinner="Looking for pretrained weights")
def find_backbone(backbone: str, workspace_root: str) -> tuple[str, WeightsSource] | str:
    """Which backbone and weights there are, or why none. Asking the hub takes up to 10 s, so it is kept a while."""
    try:
        return choose_backbone(backbone, "auto", state.get_store().workspace)
    except WeightsError as error:
        return str(error)


def show_weights(place, backbone: str) -> str | None:
    """Say which weights will be used and why; returns the architecture, or None where no weights can be had."""
    found = find_backbone(backbone, str(state.get_store().workspace.root))
    if isinstance(found, str):
        place.error(found)
        return None
    arch, source = found
    place.caption(f"**{LABELS.get(arch, arch)}.** {source.reason}" if backbone == AUTO else source.reason)
    if source.tried:
        with place.popover("Why, and how to change that", type="tertiary"):
            st.markdown(
                f"To train VGG16, put a file of its ImageNet weights, `{VGG16_FILE}`, into "
                f"`{state.get_store().workspace.weights}`, or start Thaw with a way to the internet. What was tried:"
            )
            st.text("\n".join(f"– {place_tried}" for place_tried in source.tried))
    return arch


def as_table(phases: list[dict[str, Any]]) -> pd.DataFrame:
    rows = []
    for phase in phases:
        lr = phase["lr"]
        low, high = lr if isinstance(lr, list) else (None, None if lr == AUTO else lr)
        rows.append({key: value for key, value in phase.items() if key != "lr"} | {LOW: low, HIGH: high})
    columns = ["name", "trainable", "epochs", LOW, HIGH, "schedule", "weight_decay"]
    return pd.DataFrame(rows, columns=columns).astype({LOW: float, HIGH: float})


def edit_phases(stages: list[str], draft: list[dict[str, Any]]) -> pd.DataFrame:
    """The phases as a table that can be changed, with rows added and removed.

    The widget keeps edits as differences to what it was first given, and forgets them when the page is left: so it is
    given the same table during a visit, and the draft at the start of the next one.
    """
    if PHASES not in st.session_state:
        st.session_state["draft_table"] = as_table(draft)
    config = {
        "name": st.column_config.TextColumn("Phase", required=True, help=HELP["name"], default="New phase"),
        "trainable": st.column_config.SelectboxColumn(
            "What learns",
            options=["head", *reversed(stages), "all"],
            required=True,
            default="head",
            help=HELP["trainable"],
        ),
        "epochs": st.column_config.NumberColumn(
            "Epochs", min_value=1, max_value=1000, step=1, required=True, default=3, help=HELP["epochs"]
        ),
        LOW: st.column_config.NumberColumn(
            "lr, lowest stage",
            min_value=0.0,
            max_value=10.0,
            format="%.2g",
            help="Learning rate of the lowest stage that learns. Leave it empty to give every part the head's rate.",
        ),
        HIGH: st.column_config.NumberColumn(
            "lr, head",
            min_value=0.0,
            max_value=10.0,
            format="%.2g",
            help="Learning rate of the head. Try a third of it when learning is jumpy, three times as much when it is "
            "slow.",
        ),
        "schedule": st.column_config.SelectboxColumn(
            "Schedule",
            options=["one_cycle", "flat_cos", "constant"],
            required=True,
            default="one_cycle",
            help=HELP["schedule"],
        ),
        "weight_decay": st.column_config.NumberColumn(
            "Weight decay",
            min_value=0.0,
            max_value=1.0,
            format="%.2g",
            required=True,
            default=0.01,
            help=HELP["weight_decay"],
        ),
    }
    return st.data_editor(
        st.session_state["draft_table"],
        column_config=config,
        num_rows="dynamic",
        hide_index=True,
        key=PHASES,
        placeholder="–",
        alt="The phases: name, what learns, epochs, learning rates, schedule and weight decay.",
    )


def read_page(dataset: str, settings: dict[str, Any], table: pd.DataFrame, stages: list[str]) -> Recipe | None:
    """The recipe that the page describes, or None after saying what is wrong with it."""
    phases = []
    for row in table.to_dict("records"):
        low, high = row.pop(LOW), row.pop(HIGH)
        values = {key: None if pd.isna(value) else value for key, value in row.items()}
        if values["epochs"] is not None:
            values["epochs"] = int(values["epochs"])
        one = AUTO if pd.isna(high) else high
        phases.append(values | {"lr": one if pd.isna(low) else [low, high]})
    try:
        recipe = Recipe.from_dict({"dataset": dataset, **settings, "phases": phases})
        recipe.check(stages or None)
    except RecipeError as error:
        st.error("The recipe cannot be used yet:\n" + "\n".join(f"- {in_words(problem)}" for problem in error.problems))
        return None
    return recipe


def show_plan(store: Store, recipe: Recipe, known: KnownBackbone) -> None:
    """One frost strip a phase, with its time; then what all of it will cost on this machine."""
    try:
        settled = settle(store, replace(recipe, backbone=known.arch))
        plan = expect(store, settled)
        trouble = ""
    except ThawError as error:
        plan, trouble = None, str(error)
    for index, phase in enumerate(recipe.phases):
        cost = plan.phases[index] if plan else None
        st.markdown(
            f"**{phase.name}**, {count(phase.epochs, 'epoch')}" + (f": {plans.about(cost.expected_s)}" if cost else "")
        )
        show_strip(known.stages, phase.group_rates(list(known.stages), known.batch_norm))
        if cost:
            st.caption(plans.cache_text(cost))
    st.subheader("What this will cost")
    if plan:
        st.markdown(plans.total_text(plan))
        st.caption(
            f"{plans.precision_text(plan)} Expected for {plan.device}, with nothing else to do; loading and the last "
            "check come on top. Less where the cache has something from an earlier run already."
        )
    elif trouble:
        st.warning(f"That cannot be told. {trouble}")
    else:
        show_measuring(store, settled)


@st.cache_data(ttl="10m", max_entries=200, show_spinner=False)
def amounts_for(recipe: str) -> Amounts:
    """How much there is to do for a settled recipe (JSON). Kept, as it times the reading of some images."""
    return amounts_of(state.get_store(), Recipe.from_dict(json.loads(recipe)))


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
    )
    amounts = replace(amounts_for(json.dumps(plain.to_dict())), room=Budget(store.workspace.features).room())
    return expected_plan(store, settled, amounts)


def show_measuring(store: Store, settled: Recipe) -> None:
    """What stands in the way of a plan: a measurement that is under way, or one that failed."""
    failure = get_measuring().failure(settled)
    if not failure:
        st.fragment(watch_measuring, run_every=LOOK_AGAIN_S)(store, settled)
        return
    st.warning(failure)
    st.button("Measure again", on_click=get_measuring().try_again, args=(settled,))


def watch_measuring(store: Store, settled: Recipe) -> None:
    with telling_errors():
        stands = get_measuring().advance(store, settled)
        if get_measuring().failure(settled) or expect(store, settled) is not None:
            st.rerun()
        st.caption(stands)


def start(recipe: Recipe, can_start: bool) -> None:
    store = state.get_store()
    if not store.runs.workers():
        st.warning(
            "No worker is running, so a run would wait. `make app` starts one with the page; by hand it is "
            "`python -m learner worker`."
        )
    if st.button("Start training", type="primary", disabled=not can_start):
        run_id = store.submit(recipe)
        st.session_state[state.RUN] = run_id
        st.switch_page("pages/runs.py", query_params={state.RUN: str(run_id)})


with page("train", "Choose what learns, in which order and how fast."):
    show_page()
