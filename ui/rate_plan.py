"""The learning rates that a recipe plans, drawn over all phases. Plain values in, a chart out."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

import altair as alt
import pandas as pd

from learner.recipe import Phase
from learner.wording import rate_text
from ui.charts import INKS, phase_bands

POINTS = 48
"""Of one line in one phase."""
WARM_UP, FLAT = 0.25, 0.75
START_DIVISOR, END_DIVISOR = 25.0, 1e5
"""As fastai's `fit_one_cycle` and `fit_flat_cos` have them."""
ROOM_BELOW = 30
"""The axis ends so many times below the lowest peak; what falls lower leaves the drawing."""

ROOM_FOR_NAMES = 0.2
"""Share of all epochs that a phase in the middle has when names fit into it."""


def rate_at(schedule: str, peak: float, done: float) -> float:
    """The rate when a share `done` (0 to 1) of the phase is over; `peak` is the phase's rate for that part.

    Source: https://docs.fast.ai/callback.schedule.html
    """
    if schedule == "constant":
        return peak
    if schedule == "flat_cos":
        return peak if done <= FLAT else _cosine(peak, 0.0, (done - FLAT) / (1 - FLAT))
    if done <= WARM_UP:
        return _cosine(peak / START_DIVISOR, peak, done / WARM_UP)
    return _cosine(peak, peak / END_DIVISOR, (done - WARM_UP) / (1 - WARM_UP))


def _cosine(start: float, end: float, done: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * done)) / 2


def rate_rows(phases: Sequence[Phase], stages: Sequence[str], batch_norm: bool) -> list[dict[str, Any]]:
    """Epoch (over all phases), rate and part, for every part that learns; parts with the same rate share a line."""
    rows, start = [], 0
    for number, phase in enumerate(phases):
        for part, peak in _lines(phase, stages, batch_norm).items():
            for step in range(POINTS + 1):
                rate = rate_at(phase.schedule, peak, step / POINTS)
                if rate > 0:  # a logarithmic axis has no place for 0
                    epoch = start + phase.length * step / POINTS
                    rows.append({"epoch": epoch, "rate": rate, "part": part, "line": f"{number} {part}"})
        start += phase.length
    return rows


def _lines(phase: Phase, stages: Sequence[str], batch_norm: bool) -> dict[str, float]:
    """Peak rate by the name of a line, lowest part first."""
    parts: dict[float, list[str]] = {}
    for part, rate in zip([*stages, "head"], phase.group_rates(list(stages), batch_norm), strict=True):
        if rate and not phase.solve:  # a solved head has no rate
            parts.setdefault(rate, []).append(part)
    return {names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}": rate for rate, names in parts.items()}


def rate_chart(
    phases: Sequence[Phase], stages: Sequence[str], batch_norm: bool, dark: bool = False
) -> alt.LayerChart | alt.FacetChart:
    """One line a part on a logarithmic axis, over a band a phase; the highest and the lowest are named."""
    ink = INKS[dark]
    rows = pd.DataFrame(rate_rows(phases, stages, batch_norm))
    peaks = [rate for phase in phases for rate in _lines(phase, stages, batch_norm).values()]
    low, high = min(peaks) / ROOM_BELOW, max(peaks) * 4
    powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    epochs = sum(phase.length for phase in phases)
    x = alt.X(
        "epoch:Q",
        axis=alt.Axis(title="Epoch", tickMinStep=1, format="d", grid=False),
        scale=alt.Scale(domain=[0, epochs], nice=False),
    )
    y = alt.Y(
        "rate:Q",
        title="Learning rate",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(format=".0e", values=powers),
    )
    tooltip = [
        alt.Tooltip("part:N", title="Part"),
        alt.Tooltip("epoch:Q", format=".2~f", title="Epoch"),
        alt.Tooltip("rate:Q", format=".2e", title="Rate"),
    ]
    lines = (
        alt.Chart(rows)
        .mark_line(clip=True, color=ink.valid, strokeWidth=1.6)
        .encode(x=x, y=y, detail=alt.Detail("line:N"), tooltip=tooltip)
    )
    places: tuple[tuple[str, Literal["bottom", "top"], int], ...] = (("above", "bottom", -4), ("below", "top", 5))
    named = alt.Chart(pd.DataFrame(_names(phases, stages, batch_norm)))
    names = [
        named.transform_filter(f"datum.place == '{place}'")
        .mark_text(color=ink.text, fontSize=11, baseline=baseline, dy=dy)
        .encode(x=alt.X("epoch:Q"), y=alt.Y("rate:Q"), text=alt.Text("name:N"))
        for place, baseline, dy in places
    ]
    return alt.layer(*_bands(phases, ink.text), lines, *names).properties(height=280)


def _names(phases: Sequence[Phase], stages: Sequence[str], batch_norm: bool) -> list[dict[str, Any]]:
    """The highest part and the lowest, at their peak; in a phase in the middle only where there is room."""
    rows, start, epochs = [], 0, sum(phase.length for phase in phases)
    for number, phase in enumerate(phases):
        lines = list(_lines(phase, stages, batch_norm).items())
        peak = WARM_UP if phase.schedule == "one_cycle" else 0.4
        if lines and (number in (0, len(phases) - 1) or phase.length >= ROOM_FOR_NAMES * epochs):
            ends = {"below": lines[0], "above": lines[-1]} if len(lines) > 1 else {"above": lines[0]}
            for place, (name, rate) in ends.items():
                told = {"name": f"{name} {rate_text(rate)}", "place": place}
                rows.append({"epoch": start + peak * phase.length, "rate": rate} | told)
        start += phase.length
    return rows


def _bands(phases: Sequence[Phase], ink: str) -> list[alt.Chart]:
    """Ice while only the head learns, amber once stages do, as behind every curve; named above."""
    ends = list(accumulate((phase.length for phase in phases), initial=0))
    spans = [(index, *span) for index, span in enumerate(pairwise(ends))]
    base = alt.Chart(pd.DataFrame(phase_bands(spans, phases)))
    bands = base.mark_rect(opacity=0.22).encode(
        x=alt.X("start:Q"),
        x2=alt.X2("end:Q"),
        color=alt.Color("tint:N", scale=None),
        tooltip=alt.Tooltip("name:N", title="Phase"),
    )
    names = [
        base.transform_filter(f"datum.row == {row}")
        .mark_text(align="left", baseline="bottom", dx=2, dy=-5 - 15 * row, fontSize=12, color=ink)
        .encode(x=alt.X("start:Q"), y=alt.YValue(0), text=alt.Text("name:N"))
        for row in (0, 1)
    ]
    return [bands, *names]
