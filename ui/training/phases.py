"""The phases of a recipe as tables that can be changed: one row a phase, and one column a part for rates by name."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields as fields_of
from typing import Any

import pandas as pd
import streamlit as st

from learner.recipe import Phase, Recipe
from learner.wording import rate_text
from ui import state
from ui.names import plain
from ui.training.fields import HELP, PHASE_NAMES, Fields, key

AUTO = "auto"
LOW, HIGH = "lr of lowest stage", "lr"
"""Columns that stand for a phase's learning rate."""
LOW_NAME, HIGH_NAME = "lr, lowest stage", "lr, head"
USUAL = ["name", "trainable", "epochs", LOW, HIGH, "schedule", "weight_decay"]
SWITCHES = ["solve", "average", "interpolate"]
MORE = ["optimizer", "momentum", "image_size", "patience", *SWITCHES]
ONLY = "only "
"""Begins the names of parts that learn without those above them, as the table shows a list of them."""
PHASE = "phase"
"""Column of the second table that names the phase."""
WHOLE = ("epochs", "image_size", "patience")

Rows = list[dict[str, Any]]
DEFAULT: Rows = Recipe("any").to_dict()["phases"]
"""They use what stands under *More columns*, and need no look at it."""


def edit_phases(stages: Sequence[str], phases: Rows, fields: Fields, before: int) -> tuple[Rows, list[str]]:
    """The phases as they stand in `phases`, to be changed; returns them with what is wrong with them.

    `before` counts phases that stand above the table and cannot be changed.
    """
    place = fields.at("phases")
    with place:
        more = st.toggle(
            "More columns",
            value=phases != DEFAULT and any(phase[name] != _usual(name) for phase in phases for name in MORE),
            key=key("more_columns"),
            help="Optimizer, momentum, image size, patience (early stopping), solving the head, averages of weights, "
            "and the best point between a phase's start and end.",
        )
        rows = _edit_table(stages, phases, more)
        rates = _edit_rates(stages, phases, [row["name"] for row in rows])
    problems = [] if rows else [_no_phase(before)]
    read = []
    for number, (row, by_part) in enumerate(zip(rows, rates, strict=True), start=before + 1):
        phase, wrong = read_row(row, by_part)
        read.append(phase)
        problems += [f"Phase {number} ({row['name'] or 'no name'}), {text}" for text in wrong]
    for problem in problems:
        place.error(plain(problem))
    return read, problems


def read_row(row: dict[str, Any], by_part: dict[str, float]) -> tuple[dict[str, Any], list[str]]:
    """A phase as a recipe has it, from a row of each table, with what is wrong with its rates in the page's words."""
    values = {name: value for name, value in row.items() if name not in (LOW, HIGH) and not pd.isna(value)}
    values |= {name: int(values[name]) for name in WHOLE if name in values}
    values |= {name: bool(values[name]) for name in SWITCHES if name in values}
    values.setdefault("epochs", AUTO)
    if values.get("trainable", "").startswith(ONLY):
        values["trainable"] = values["trainable"].removeprefix(ONLY).split(", ")
    low, high = (None if pd.isna(row[name]) else float(row[name]) for name in (LOW, HIGH))
    wrong = []
    if by_part and (low is not None or high is not None):
        wrong.append(f"{LOW_NAME} or {HIGH_NAME}: leave both empty, as this phase has rates part by part.")
    elif low is not None and high is None:
        wrong.append(f"{HIGH_NAME}: give it too, as the lowest stage has a rate of its own.")
    elif low is not None and high is not None and low > high:
        wrong.append(
            f"{LOW_NAME}: {rate_text(low)} is more than the head's {rate_text(high)}; the lowest stage is to learn "
            "slowest."
        )
    else:
        values["lr"] = by_part or (AUTO if high is None else high if low is None else [low, high])
    return values, wrong


def show_fixed(phases: Sequence[Phase]) -> None:
    """Phases that are another run's and stay, as text."""
    for number, phase in enumerate(phases, start=1):
        rates = (
            "rates by themselves"
            if phase.lr == AUTO
            else f"rate {' to '.join(rate_text(r) for r in phase.rates(True))}"
        )
        st.markdown(
            f"{number}. **{plain(phase.name)}**, {phase.length_text}: {plain(phase.learning_text)} learned, {rates}"
        )


def _no_phase(before: int) -> str:
    return "There is no phase after those above. Add a row to the table." if before else "There is no phase. Add a row."


def _usual(name: str) -> Any:
    return next(field.default for field in fields_of(Phase) if field.name == name)


def _given(name: str, shape: Hashable, first: Callable[[], pd.DataFrame], carry: Callable) -> pd.DataFrame:
    """What a table's widget is given.

    The widget keeps edits as differences to it, and forgets them when the page is left or its columns change: so it is
    the same as long as the widget lives, then `first` of a visit, or what `carry` makes of the table as it was.
    """
    tables = st.session_state.setdefault(state.DRAFT_TABLES, {})
    kept = tables.get(name)
    if name not in st.session_state or kept is None:
        tables[name] = {"shape": shape, "given": first()}
    elif kept["shape"] != shape:
        tables[name] = {"shape": shape, "given": carry(kept["shown"])}
    return tables[name]["given"]


def _remember(name: str, shown: pd.DataFrame) -> pd.DataFrame:
    st.session_state[state.DRAFT_TABLES][name]["shown"] = shown
    return shown


def _edit_table(stages: Sequence[str], phases: Rows, more: bool) -> Rows:
    name = key("phases")
    parts = ["head", "last", *reversed(stages), "all"]
    named = {_trainable_text(phase["trainable"]) for phase in phases}
    parts += sorted(name for name in named - set(parts) if name.startswith(ONLY) or not stages)
    given = _given(name, (*parts, more), lambda: as_table(phases), lambda shown: shown)
    shown = st.data_editor(
        given,
        column_config=_columns(parts),
        column_order=USUAL + MORE if more else USUAL,
        num_rows="dynamic",
        hide_index=True,
        key=name,
        placeholder="–",
        alt="The phases: name, what learns, epochs, learning rates, schedule and weight decay.",
    )
    return _remember(name, shown.reset_index(drop=True)).to_dict("records")


def as_table(phases: Rows) -> pd.DataFrame:
    rows = []
    for phase in phases:
        lr = phase["lr"]
        low, high = lr if isinstance(lr, list) else (None, lr if isinstance(lr, float) else None)
        momentum = None if phase["momentum"] == AUTO else phase["momentum"]
        epochs = None if phase["epochs"] == AUTO else phase["epochs"]
        shown = {"trainable": _trainable_text(phase["trainable"]), "epochs": epochs, "momentum": momentum}
        rows.append(phase | shown | {LOW: low, HIGH: high})
    numbers = dict.fromkeys((LOW, HIGH, "momentum", "image_size", "epochs"), float)
    return pd.DataFrame(rows, columns=USUAL + MORE).astype(numbers)


def _trainable_text(trainable: str | list[str]) -> str:
    return trainable if isinstance(trainable, str) else ONLY + ", ".join(trainable)


def _edit_rates(stages: Sequence[str], phases: Rows, names: list[str]) -> list[dict[str, float]]:
    """Rates part by part, one dictionary a phase; empty where a phase has none."""
    if not stages or not names:
        return [{} for _ in names]
    name, parts = key("rates"), [*stages, "head"]
    by_part = [phase["lr"] if isinstance(phase["lr"], dict) else {} for phase in phases]
    given = _given(
        name,
        (*parts, len(names)),
        lambda: _rates_table(by_part, [phase["name"] for phase in phases], names, parts),
        lambda shown: _rates_table(shown.drop(columns=PHASE).to_dict("records"), shown[PHASE].tolist(), names, parts),
    )
    rate = {part: st.column_config.NumberColumn(part, min_value=0.0, max_value=10.0, format="%.2g") for part in parts}
    with st.expander("Rates part by part"):
        st.caption(
            "Only where two rates, spread evenly, are not enough. A part that is left empty takes the rate of the "
            "nearest one above it; a phase that is left empty keeps the rates of the table above. Frozen parts do not "
            "learn, whatever stands here."
        )
        shown = st.data_editor(
            given.assign(**{PHASE: names}),
            column_config={PHASE: st.column_config.TextColumn("Phase", disabled=True)} | rate,
            hide_index=True,
            key=name,
            placeholder="–",
            alt="Learning rates: one row a phase, one column a part of the network.",
        )
    rows = _remember(name, shown).drop(columns=PHASE).to_dict("records")
    return [{part: float(value) for part, value in row.items() if not pd.isna(value)} for row in rows]


def _rates_table(rates: Rows, of: list[str], names: list[str], parts: list[str]) -> pd.DataFrame:
    """Rates of the phases `of`, for the phases `names`: those of the same name, each once."""
    left = list(zip(of, rates, strict=True))
    rows = []
    for name in names:
        found = next((pair for pair in left if pair[0] == name), (name, {}))
        if found in left:
            left.remove(found)
        rows.append({PHASE: name} | {part: found[1].get(part) for part in parts})
    return pd.DataFrame(rows, columns=[PHASE, *parts]).astype(dict.fromkeys(parts, float))


def _columns(parts: list[str]) -> dict[str, Any]:
    column = st.column_config

    def number(name: str, high: float, least: float = 0, **how: Any):
        return column.NumberColumn(
            PHASE_NAMES[name],
            min_value=least,
            max_value=high,
            step=1 if name in WHOLE else None,
            format=None if name in WHOLE else "%.2g",
            help=HELP[name],
            **how,
        )

    def choice(name: str, options: list[str], default: str):
        return column.SelectboxColumn(
            PHASE_NAMES[name], options=options, required=True, default=default, help=HELP[name]
        )

    def rate(label: str, words: str):
        return column.NumberColumn(label, min_value=0.0, max_value=10.0, format="%.2g", help=words)

    optimizers = ["adamw", "adam", "sgd", "rmsprop", "ranger"]
    return {
        "name": column.TextColumn(PHASE_NAMES["name"], required=True, help=HELP["name"], default="New phase"),
        "trainable": choice("trainable", parts, "head"),
        "epochs": number("epochs", 1000, 1, default=3),
        LOW: rate(
            LOW_NAME,
            "Learning rate of the lowest stage that learns. Leave it empty to give every part the head's rate.",
        ),
        HIGH: rate(
            HIGH_NAME,
            "Learning rate of the head. Try a third of it when learning is jumpy, three times as much when it is slow.",
        ),
        "schedule": choice("schedule", ["one_cycle", "flat_cos", "constant"], "one_cycle"),
        "weight_decay": number("weight_decay", 1.0, required=True, default=0.01),
        "optimizer": choice("optimizer", optimizers, "adamw"),
        "momentum": number("momentum", 0.999),
        "image_size": number("image_size", 1024, 32),
        "patience": number("patience", 1000, required=True, default=0),
        **{name: column.CheckboxColumn(PHASE_NAMES[name], help=HELP[name], default=False) for name in SWITCHES},
    }
