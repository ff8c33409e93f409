"""Altair charts of the Results page. Plain values in, a chart out."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import altair as alt
import pandas as pd

from ui.charts import INKS, LINES

CELL = "cell"
"""Name of the selection in the confusion matrix: the true and the predicted class of a clicked cell."""
FEW_CLASSES = 8
"""Classes below which the matrix does not take the page's width."""
MOST_NUMBERED = 20
"""Classes up to which the cells carry figures."""
MOST_NAMED = 60
"""Classes up to which the axes carry names: beyond, the tooltip tells them."""
STRENGTH_FIGURES = {"accuracy": ("Accuracy", ".1%", ".0%"), "log_loss": ("Log loss", ".3f", ".2f")}
"""Of a solved head: name, format of a figure, format of the axis."""


def confusion(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], as_percent: bool
) -> alt.LayerChart | alt.FacetChart:
    """Rows are the true classes, columns what was predicted; shaded by the share of the true class.

    A click on a cell selects it (`CELL`).
    """
    rows: list[dict[str, Any]] = []
    for true, counts in zip(classes, matrix, strict=True):
        total = sum(counts)
        for predicted, number in zip(classes, counts, strict=True):
            if number or len(classes) <= MOST_NAMED:
                share = number / total if total else 0.0
                rows.append({"true": true, "predicted": predicted, "images": number, "share": share})
    angle = -45 if max(map(len, classes)) > 3 else 0
    few = len(classes) < FEW_CLASSES
    side = max(220, min(340, 120 + 44 * len(classes))) if few else min(640, 44 * len(classes))  # names take 120
    named = len(classes) <= MOST_NAMED
    scale = alt.Scale(domain=list(classes))
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            "predicted:N",
            scale=scale,
            title="Predicted",
            axis=alt.Axis(
                labelAngle=angle,
                labelLimit=90,
                labels=named,
                ticks=named,
                labelOverlap=False if few else alt.Undefined,  # Vega leaves out every second name otherwise
            ),
        ),
        y=alt.Y("true:N", scale=scale, title="True", axis=alt.Axis(labelLimit=110, labels=named, ticks=named)),
        tooltip=[
            alt.Tooltip("true:N", title="True"),
            alt.Tooltip("predicted:N", title="Predicted"),
            alt.Tooltip("images:Q", title="Images"),
            alt.Tooltip("share:Q", title="Of the true class", format=".1%"),
        ],
    )
    picked = alt.selection_point(name=CELL, fields=["true", "predicted"], on="click", empty=False)
    cells = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=["#fbf9fc", "#4a2a5e"]), legend=None)
    )
    # On top, so that a click on a figure is one on its cell.
    frames = (
        base.mark_rect(fillOpacity=0, fill="#fbf9fc", cursor="pointer")
        .encode(
            stroke=alt.condition(picked, alt.value("#15232c"), alt.value("#8a979f")),
            strokeWidth=alt.condition(picked, alt.value(3), alt.value(0.4)),
        )
        .add_params(picked)
    )
    size = {"height": side, "width": side} if few else {"height": side}
    if len(classes) > MOST_NUMBERED:
        return alt.layer(cells, frames).properties(**size)
    text = alt.Text("share:Q", format=".0%") if as_percent else alt.Text("images:Q")
    ink = alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value("#15232c"))
    figures = base.transform_filter("datum.images > 0").mark_text(fontSize=13).encode(text=text, color=ink)
    return alt.layer(cells, figures, frames).properties(**size)


def calibration(bins: Sequence[Mapping[str, float]], dark: bool) -> alt.LayerChart | alt.FacetChart:
    """How often answers were right, by how sure the model was; larger circles for more images, and the diagonal."""
    ink = INKS[dark]
    axis = alt.Axis(format=".0%", grid=False, values=[0, 0.2, 0.4, 0.6, 0.8, 1])
    whole = alt.Scale(domain=[0, 1])
    ideal = (
        alt.Chart(pd.DataFrame([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(strokeDash=[4, 4], color=ink.train, strokeWidth=1)
        .encode(x=alt.X("x:Q", scale=whole, axis=axis, title="How sure"), y=alt.Y("y:Q", scale=whole, axis=axis))
    )
    base = alt.Chart(pd.DataFrame(bins)).encode(
        x=alt.X("confidence:Q", scale=whole, axis=axis, title="How sure"),
        y=alt.Y("accuracy:Q", scale=whole, axis=axis, title="How often right"),
        tooltip=[
            alt.Tooltip("confidence:Q", title="How sure", format=".1%"),
            alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
            alt.Tooltip("images:Q", title="Images"),
        ],
    )
    points = base.mark_circle(color=ink.valid, opacity=0.9).encode(
        size=alt.Size("images:Q", scale=alt.Scale(range=[40, 500]), legend=None)
    )
    return alt.layer(ideal, base.mark_line(color=ink.valid, strokeWidth=1.5), points).properties(height=320)


def strengths(rows: Sequence[Mapping[str, Any]], figure: str, dark: bool) -> alt.LayerChart | alt.FacetChart:
    """A figure of a solved head over the strength of regularisation, with its 95 % interval; the taken one is filled.

    `rows` are `learner.evaluation.findings.checked_rows`; `figure` is one of `STRENGTH_FIGURES`.
    """
    title, exact, rough = STRENGTH_FIGURES[figure]
    ink = INKS[dark].accuracy if figure == "accuracy" else INKS[dark].valid
    low, high = f"{figure}_low", f"{figure}_high"
    powers = sorted({10 ** round(log10(row["strength"])) for row in rows})
    plain = [{key: row[key] for key in ("strength", figure, low, high, "taken")} for row in rows]
    base = alt.Chart(pd.DataFrame(plain)).encode(
        x=alt.X(
            "strength:Q",
            title="Strength of regularisation, weak to strong",
            scale=alt.Scale(type="log", padding=16),
            axis=alt.Axis(grid=False, format="~g", values=powers),
        ),
        tooltip=[
            alt.Tooltip("strength:Q", title="Strength", format=".2~g"),
            alt.Tooltip(f"{figure}:Q", title=title, format=exact),
            alt.Tooltip(f"{low}:Q", title="From", format=exact),
            alt.Tooltip(f"{high}:Q", title="To", format=exact),
        ],
    )
    scale = alt.Scale(zero=False, nice=True)
    height = alt.Y(f"{figure}:Q", title=title, scale=scale, axis=alt.Axis(format=rough, tickCount=5))
    intervals = base.mark_rule(color=ink, strokeWidth=1.5, opacity=0.6).encode(
        y=alt.Y(f"{low}:Q", title=title, scale=scale), y2=alt.Y2(f"{high}:Q")
    )
    line = base.mark_line(color=ink, strokeWidth=1, opacity=0.6).encode(y=height)
    taken = base.transform_filter("datum.taken")
    return alt.layer(
        intervals,
        line,
        base.mark_point(color=ink, size=50, filled=False).encode(y=height),
        taken.mark_point(color=ink, size=110, filled=True, opacity=1).encode(y=height),
        taken.mark_text(baseline="bottom", dy=-4, fontSize=12, color=INKS[dark].text).encode(
            y=alt.Y(f"{high}:Q", title=title, scale=scale), text=alt.TextValue("taken")
        ),
    ).properties(height=240)


def one_against_rest(
    lines: Mapping[str, tuple[Sequence[Sequence[float]], float]], is_roc: bool, dark: bool
) -> alt.LayerChart | alt.FacetChart:
    """ROC or precision–recall curves, a line a class, named in the legend with the area below it."""
    inks = LINES[dark]
    named = {name: f"{name}: {area:.3f}" for name, (_, area) in lines.items()}
    rows = [
        {"x": x, "y": y, "class": named[name], "order": index}
        for name, (points, _) in lines.items()
        for index, (x, y) in enumerate(points)
    ]
    x_title, y_title = (
        ("False positive rate (others taken for it)", "True positive rate (found)")
        if is_roc
        else ("Recall (found)", "Precision (rightly called so)")
    )
    axis = alt.Axis(format=".0%", grid=False, values=[0, 0.2, 0.4, 0.6, 0.8, 1])
    whole = alt.Scale(domain=[0, 1])
    domain = list(named.values())
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(strokeWidth=2, clip=True)
        .encode(
            x=alt.X("x:Q", scale=whole, axis=axis, title=x_title),
            y=alt.Y("y:Q", scale=whole, axis=axis, title=y_title),
            order=alt.Order("order:Q"),
            color=alt.Color(
                "class:N",
                scale=alt.Scale(domain=domain, range=[inks[index % len(inks)] for index in range(len(domain))]),
                legend=alt.Legend(title=None, orient="bottom", columns=3, labelLimit=200, symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "class:N",
                scale=alt.Scale(domain=domain, range=[[1, 0], [8, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4]]),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("class:N", title="Class"),
                alt.Tooltip("x:Q", title=x_title, format=".1%"),
                alt.Tooltip("y:Q", title=y_title, format=".1%"),
            ],
        )
    )
    if not is_roc:
        return alt.layer(chart).properties(height=420)
    chance = (
        alt.Chart(pd.DataFrame([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(strokeDash=[4, 4], color=INKS[dark].train, strokeWidth=1)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    )
    return alt.layer(chance, chart).properties(height=420)
