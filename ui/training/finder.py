"""Learning rates that are found by trying them: a button a phase, and what came of it. Trying is another process's."""

from functools import partial

import altair as alt
import pandas as pd
import streamlit as st

from learner.questions.process import ask
from learner.questions.rates import RateFind, Rates, rates_file, read_rates, with_rates
from learner.recipe import Recipe
from learner.store import Store
from learner.wording import duration, rate_text
from ui import drafts, state
from ui.charts import INKS
from ui.drawing import show_chart
from ui.names import plain
from ui.questions import show_question

MAX_RISE = 1.3
"""The drawing ends so many times above where the loss began; what explodes leaves it."""


def show_finder(store: Store, settled: Recipe) -> None:
    """An expander with a button for each phase of the recipe that the page shows, settled; none while a run goes on."""
    if drafts.parent():
        return
    box = st.expander("Find learning rates", on_change="rerun", key="find_rates")
    if not box.open:
        return
    with box:
        st.caption(
            "Tries rates from very low to very high on a copy of the network, a hundred steps of training, and looks "
            "at the loss. It takes from half a minute to some minutes, the longer the more stages learn. For when "
            "learning is slow or jumpy; the rates that Thaw chooses by itself are a safe beginning."
        )
        for index, phase in enumerate(settled.phases):
            if not phase.solve:
                _show_phase(store, settled, index)


def _show_phase(store: Store, recipe: Recipe, index: int) -> None:
    name = recipe.phases[index].name
    found = read_rates(store.workspace, recipe, index)
    if found is None:
        file = rates_file(store.workspace, recipe, index)
        show_question(
            file,
            partial(ask, store, "rates", file, recipe, index),
            f"Find a rate for {plain(name)}",
            key=f"find_rate {index}",
            doing=f"Finding a rate for **{plain(name)}**.",
        )
        return
    st.markdown(f"**{plain(name)}**")
    show_chart(find_chart, found, state.is_dark(), width="stretch")
    used = recipe.phases[index].lr == found.lr
    st.caption(" ".join([plain(found.why), *map(plain, found.notes), f"Found in {duration(found.seconds)}."]))
    st.button(
        f"{in_short(found.lr)} is used" if used else f"Use {in_short(found.lr)}",
        on_click=_use,
        args=(index, found.lr),
        key=f"use_rate {index}",
        disabled=used,
    )


def _use(index: int, lr: Rates) -> None:
    drafts.put_on_train(with_rates(Recipe.from_dict(st.session_state[state.DRAFT]), index, lr))


def in_short(lr: Rates) -> str:
    """`0.0023`, or the lowest part's rate and the highest."""
    rates = list(lr.values()) if isinstance(lr, dict) else lr if isinstance(lr, list) else [lr]
    low, high = min(rates), max(rates)
    return rate_text(high) if low == high else f"{rate_text(low)} to {rate_text(high)}"


def find_chart(found: RateFind, dark: bool = False) -> alt.LayerChart | alt.FacetChart:
    """Loss over the rate, which is logarithmic; suggestions are named, the chosen one is bold."""
    ink = INKS[dark]
    top = MAX_RISE * max(found.losses[: max(1, len(found.losses) // 3)])
    rows = pd.DataFrame({"rate": found.rates, "loss": found.losses})
    marks = sorted(found.suggestions.items(), key=lambda pair: pair[1])
    x = alt.X(
        "rate:Q",
        title="Learning rate" + (" of the part that learns fastest" if not isinstance(found.lr, float) else ""),
        scale=alt.Scale(type="log", domain=[found.rates[0], found.rates[-1]], nice=False),
        axis=alt.Axis(format=".0e", grid=False, labelOverlap=True, tickCount=8),
    )
    y = alt.Y("loss:Q", title="Loss", scale=alt.Scale(domain=[0, top], nice=False))
    tooltip = [alt.Tooltip("rate:Q", format=".2e", title="Rate"), alt.Tooltip("loss:Q", format=".3f", title="Loss")]
    line = alt.Chart(rows).mark_line(clip=True, color=ink.valid, strokeWidth=2.2).encode(x=x, y=y, tooltip=tooltip)
    named = [_mark(row, name, rate, name == found.chosen, ink.text) for row, (name, rate) in enumerate(marks)]
    told = f"The loss against the learning rate; {found.chosen} suggests {_rounded(found.suggestions[found.chosen])}."
    return alt.layer(line, *named).properties(height=240, description=told)


def _mark(row: int, name: str, rate: float, chosen: bool, ink: str) -> alt.LayerChart | alt.FacetChart:
    """A suggestion: a line with its name at its top, which begins below the names that stand to its left."""
    told = alt.Chart(pd.DataFrame([{"rate": rate, "name": f"{name} {_rounded(rate)}"}])).encode(x=alt.X("rate:Q"))
    top = alt.YValue(4 + 16 * row)
    rule = told.mark_rule(color=ink, strokeWidth=2 if chosen else 1, strokeDash=[1, 0] if chosen else [3, 3])
    text = told.mark_text(
        align="left", baseline="top", dx=4, fontSize=12, color=ink, fontWeight="bold" if chosen else "normal"
    )
    return alt.layer(
        rule.encode(y=top, y2=alt.Y2Value("height"), tooltip=alt.Tooltip("name:N", title="Suggestion")),
        text.encode(y=top, text=alt.Text("name:N")),
    )


def _rounded(rate: float) -> str:
    return rate_text(float(f"{rate:.2g}"))
