"""Altair charts of the pages. Plain values in, a chart out; nothing here reads the store."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from learner.recipe import Phase
from learner.store import Epoch, Step
from ui.components import AMBER, ICE

TRAIN, VALID, ACCURACY = "#8a979f", "#2f5f7a", "#8a4fa3"
"""Lines: readable on the light and on the dark background; never the two colours of the frost strip."""
END = {"align": "right", "dx": 4, "dy": -11, "fontSize": 12}
"""A line's name stands above its end, inside the chart, where a phone has room for it."""
START = {"align": "left", "dx": 6, "fontSize": 12}
_EPOCH_AXIS = alt.Axis(title="Epoch", tickMinStep=1, format="d", grid=False)


def phase_bands(phases: Sequence[Phase], last: float) -> alt.Chart:
    """Tinted bands behind a curve: ice while only the head learns, amber once stages do. `last` cuts the plan short."""
    rows, start = [], 0
    for phase in phases:
        end = start + phase.epochs
        if start < last:
            rows.append(
                {
                    "start": start,
                    "end": min(end, last),
                    "name": phase.name,
                    "tint": ICE if phase.trainable == "head" else AMBER,
                }
            )
        start = end
    base = alt.Chart(pd.DataFrame(rows))
    bands = base.mark_rect(opacity=0.22).encode(
        x=alt.X("start:Q"),
        x2="end:Q",
        color=alt.Color("tint:N", scale=None),
        tooltip=alt.Tooltip("name:N", title="Phase"),
    )
    names = base.mark_text(align="left", baseline="bottom", dx=2, dy=-5, fontSize=12, opacity=0.9).encode(
        x=alt.X("start:Q"), y=alt.value(0), text="name:N"
    )
    borders = base.transform_filter("datum.start > 0").mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x="start:Q")
    return bands + borders + names


def curves(epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase]) -> alt.LayerChart:
    """Loss (left) and accuracy (right) over all phases; train thin, valid bold."""
    last = max([epoch.epoch for epoch in epochs] + [step.at for step in steps])
    x = alt.X("epoch:Q", axis=_EPOCH_AXIS, scale=alt.Scale(domain=[0, max(1, last)], nice=False))
    train = pd.DataFrame([{"epoch": step.at, "loss": step.train_loss} for step in steps if step.train_loss is not None])
    valid = pd.DataFrame(
        [{"epoch": e.epoch, "loss": e.valid_loss, "accuracy": e.accuracy, "error": e.error_rate} for e in epochs]
    )
    loss_axis = alt.Y("loss:Q", title="Loss", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5))
    parts = []
    if len(train):
        parts.append(_line(train, x, loss_axis, TRAIN, 1.2, "train loss", "loss", ".4f"))
    layers = [phase_bands(phases, max(1, last))]
    if len(valid.get("loss", pd.Series(dtype=float)).dropna()):
        parts.append(
            _line(valid.dropna(subset=["loss"]), x, loss_axis, VALID, 2.8, "valid loss", "loss", ".4f", points=True)
        )
    layers.append(alt.layer(*parts))
    if len(valid):
        accuracy_axis = alt.Y(
            "accuracy:Q", title="Accuracy", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5)
        )
        layers.append(
            alt.layer(
                *_line(
                    valid, x, accuracy_axis, ACCURACY, 2.8, "accuracy", "accuracy", ".1%", points=True, dash=[6, 3]
                ).layer
            )
        )
    return alt.layer(*layers).resolve_scale(y="independent").properties(height=320)


def rate_curves(steps: Sequence[Step], phases: Sequence[Phase], groups: Sequence[str]) -> alt.LayerChart:
    """Learning rate of every group that learns, on a logarithmic axis."""
    rows = [
        {"epoch": step.at, "rate": rate, "part": part}
        for step in steps
        for part, rate in zip(groups, step.lrs, strict=True)
        if rate > 0
    ]
    table = pd.DataFrame(rows)
    last = max(1, table["epoch"].max())
    ends = table.sort_values("epoch").groupby("part").tail(1)
    x = alt.X("epoch:Q", axis=_EPOCH_AXIS, scale=alt.Scale(domain=[0, last], nice=False))
    y = alt.Y("rate:Q", title="Learning rate", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=4))
    detail = alt.Detail("part:N")
    tooltip = [
        alt.Tooltip("part:N", title="Part"),
        alt.Tooltip("epoch:Q", format=".2f", title="Epoch"),
        alt.Tooltip("rate:Q", format=".2e", title="Learning rate"),
    ]
    lines = alt.Chart(table).mark_line(strokeWidth=1.6, color=VALID).encode(x=x, y=y, detail=detail, tooltip=tooltip)
    labels = alt.Chart(ends).mark_text(**END, color=VALID).encode(x=x, y=y, text="part:N")
    return (
        alt.layer(phase_bands(phases, last), alt.layer(lines, labels))
        .resolve_scale(y="independent")
        .properties(height=200)
    )


def class_counts(counts: dict[str, dict[str, int]], classes: Sequence[str]) -> alt.Chart:
    """Images a class as bars from zero, one shade a split. `counts[class][split]`."""
    names = {"": "images", "train": "train", "valid": "valid", "test": "test"}
    rows = [
        {"class": name, "split": names[split], "images": number}
        for name in classes
        for split, number in counts[name].items()
    ]
    splits = [name for name in names.values() if any(row["split"] == name for row in rows)]
    shades = alt.Scale(domain=splits, range=["#5b7f92", "#9a77ad", "#a9a08f"][: len(splits)])
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            y=alt.Y("class:N", sort=list(classes), title=None, axis=alt.Axis(labelLimit=140)),
            x=alt.X("images:Q", title="Images", axis=alt.Axis(tickMinStep=1, format="d")),
            color=alt.Color(
                "split:N", scale=shades, legend=alt.Legend(orient="top", title=None) if len(splits) > 1 else None
            ),
            order=alt.Order("split:N", sort="descending"),
            tooltip=["class:N", "split:N", "images:Q"],
        )
        .properties(height=alt.Step(24))
    )


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], as_percent: bool) -> alt.LayerChart:
    """Rows are the true classes, columns what was predicted; shaded by the share of the true class."""
    rows: list[dict[str, Any]] = []
    for true, counts in zip(classes, matrix, strict=True):
        total = sum(counts)
        for predicted, number in zip(classes, counts, strict=True):
            share = number / total if total else 0.0
            rows.append({"true": true, "predicted": predicted, "images": number, "share": share})
    angle = -45 if max(map(len, classes)) > 3 else 0
    side = max(220, min(640, 44 * len(classes)))
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("predicted:N", sort=list(classes), title="Predicted", axis=alt.Axis(labelAngle=angle, labelLimit=90)),
        y=alt.Y("true:N", sort=list(classes), title="True", axis=alt.Axis(labelLimit=110)),
        tooltip=[
            alt.Tooltip("true:N", title="True"),
            alt.Tooltip("predicted:N", title="Predicted"),
            alt.Tooltip("images:Q", title="Images"),
            alt.Tooltip("share:Q", title="Of the true class", format=".1%"),
        ],
    )
    cells = base.mark_rect(stroke="#8a979f", strokeWidth=0.4).encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=["#fbf9fc", "#4a2a5e"]), legend=None)
    )
    if len(classes) > 20:
        return alt.layer(cells).properties(height=side)
    text = alt.Text("share:Q", format=".0%") if as_percent else alt.Text("images:Q")
    ink = alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value("#15232c"))
    labels = base.transform_filter("datum.images > 0").mark_text(fontSize=13).encode(text=text, color=ink)
    return alt.layer(cells, labels).properties(height=side)


def _line(table, x, y, color, width, label, column, number_format, points=False, dash=None) -> alt.LayerChart:
    """A line with its name at its end and exact values in a tooltip."""
    tooltip = [
        alt.Tooltip("epoch:Q", format=".2f" if not points else "d", title="Epoch"),
        alt.Tooltip(f"{column}:Q", format=number_format, title=label.capitalize()),
    ]
    style = {"color": color, "strokeWidth": width} | ({"strokeDash": dash} if dash else {})
    chart = alt.Chart(table)
    layers = [chart.mark_line(**style).encode(x=x, y=y, tooltip=tooltip)]
    if points:
        layers.append(chart.mark_point(color=color, filled=True, size=36, opacity=1).encode(x=x, y=y, tooltip=tooltip))
    # The train loss is named where it begins, for at the end it lies on the validation loss.
    end, place = (table.tail(1), END) if points else (table.head(1), START)
    name = alt.Chart(end).mark_text(**place, color=color)
    layers.append(name.encode(x=x, y=y, text=alt.value(label)))
    return alt.layer(*layers)
