"""Altair charts of the pages. Plain values in, a chart out; nothing here reads the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from learner.recipe import Phase
from learner.store import Epoch, Step
from ui.components import AMBER, ICE


@dataclass(frozen=True)
class Inks:
    """Colours of lines and names on one background; never the two colours of the frost strip."""

    train: str
    valid: str
    accuracy: str
    text: str


INKS = {
    False: Inks(train="#7b8891", valid="#2f5f7a", accuracy="#8a4fa3", text="#15232c"),
    True: Inks(train="#a3b0b8", valid="#8cc4dc", accuracy="#d3a3e6", text="#e8eef1"),
}
"""By whether the page is dark."""
LINES = {
    False: ("#2f5f7a", "#8a4fa3", "#9a3d1f", "#3f7a3a", "#7b8891", "#7a6a1d"),
    True: ("#8cc4dc", "#d3a3e6", "#f0a58a", "#9fd39a", "#a3b0b8", "#d9c978"),
}
"""Colours of runs that are compared, by whether the page is dark; dashes tell them apart too."""
_DASHES = ([1, 0], [8, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4])
END: dict[str, Any] = {"align": "right", "dx": 4, "dy": -11, "fontSize": 12}
"""A line's name stands above its end, inside the chart, where a phone has room for it."""
BELOW_END = END | {"dy": 14}
START = {"align": "left", "dx": 6, "fontSize": 12}
_ACCURACY_AXIS = alt.Axis(format=".0%", values=[0, 0.2, 0.4, 0.6, 0.8, 1])
_EPOCH = alt.X(
    "epoch:Q",
    axis=alt.Axis(title="Epoch", tickMinStep=1, format="d", grid=False),
    scale=alt.Scale(domainMin=0, nice=False),
)

HIGHEST_ACCURACY = 1.1
"""Upper end of an axis of accuracies: names have room above a line at 100 %."""

LETTER = 0.03
"""Share of a phone's chart that a letter takes: a band with less than its name needs is narrow."""
NEAR_BOTTOM = 0.1
"""Share of a chart's height in which there is no room for a name below a line."""

Rows = list[dict[str, Any]]
Spec = dict[str, Any]
"""A Vega-Lite chart. The live curves are built once and get new data each time; building takes too long for that."""


def curves(epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase], dark: bool = False) -> Spec:
    """Loss (left) and accuracy (right) over all phases; train thin, valid bold."""
    train: Rows = [{"epoch": step.at, "loss": step.train_loss} for step in steps if step.train_loss is not None]
    valid: Rows = [{"epoch": e.epoch, "loss": e.valid_loss, "accuracy": e.accuracy} for e in epochs]
    tables = {"train": train, "train start": train[:1], "valid": valid} | _named_ends(train, valid)
    return _with_data(_curves_spec(dark), tables, phases, epochs, steps)


def _named_ends(train: Rows, valid: Rows) -> dict[str, Rows]:
    """Where the names of both lines of `valid` stand: above its end the higher line's, below its end the lower one's.

    A line at the very bottom has its name above it all the same.
    """
    tables: dict[str, Rows] = {f"end {line} {side}": [] for line in ("loss", "accuracy") for side in ("above", "below")}
    for end in valid[-1:]:
        losses = [row["loss"] for row in train + valid if row["loss"] is not None]
        heights = {
            "accuracy": end["accuracy"] / HIGHEST_ACCURACY,
            "loss": (end["loss"] or 0) / (max(losses, default=0) or 1),
        }
        lower = min(heights, key=heights.__getitem__)
        for line, height in heights.items():
            tables[f"end {line} {'below' if line == lower and height > NEAR_BOTTOM else 'above'}"] = [end]
    return tables


def rate_curves(
    epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase], groups: Sequence[str], dark: bool = False
) -> Spec:
    """Learning rate of every group that learns, on a logarithmic axis; the lowest and the highest are named."""
    rates = [
        {"epoch": step.at, "rate": rate, "part": part}
        for step in steps
        for part, rate in zip(groups, step.lrs, strict=True)
        if rate > 0
    ]
    ends = list({row["part"]: row for row in rates if row["epoch"] == rates[-1]["epoch"]}.values())
    tables = {"rates": rates, "highest": ends[-1:], "lowest": ends[:1] if len(ends) > 1 else []}
    return _with_data(_rates_spec(dark), tables, phases, epochs, steps)


def gradient_curve(epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase], dark: bool = False) -> Spec:
    """Length of the gradient, on a logarithmic axis."""
    rows = [{"epoch": step.at, "figure": step.grad_norm} for step in steps if step.grad_norm]
    return _with_data(_figure_spec("Gradient norm", True, dark), {"figures": rows}, phases, epochs, steps)


def throughput_curve(
    epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase], dark: bool = False
) -> Spec:
    """Training images a second."""
    rows = [{"epoch": step.at, "figure": step.images_per_s} for step in steps if step.images_per_s]
    return _with_data(_figure_spec("Images a second", False, dark), {"figures": rows}, phases, epochs, steps)


def comparison(lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, dark: bool = False) -> Spec:
    """A line a run, its name at its end. `lines` are points (x, y) by name; `x` and `y` say what they are, with unit.

    Names of lines that end close to each other are moved apart.
    """
    inks = LINES[dark]
    rows: Rows = [
        {"x": left, "y": up, "run": name, "ink": inks[index % len(inks)], "dash": index}
        for index, (name, points) in enumerate(lines.items())
        for left, up in points
    ]
    ends = _apart(list({row["run"]: row for row in rows}.values()))
    furthest = max((row["x"] for row in rows), default=0)
    ends = [row | {"early": row["x"] < 0.3 * furthest} for row in ends]
    return _comparison_spec(x, y) | {"datasets": {"lines": rows, "ends": ends}}


def _apart(ends: list[dict[str, Any]], share: float = 0.07) -> list[dict[str, Any]]:
    """`ends` with a height for each name, at least this share of the range above the one below."""
    placed: list[dict[str, Any]] = []
    height = max((row["y"] for row in ends), default=1.0) or 1.0
    for row in sorted(ends, key=lambda row: row["y"]):
        lowest = placed[-1]["place"] + share * height if placed else row["y"]
        placed.append(row | {"place": max(row["y"], lowest)})
    return placed


def phase_spans(
    epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase]
) -> list[tuple[int, float, float]]:
    """Index, start and end, in epochs, of every phase that has begun, the last one until where training stands.

    A phase that was ended early is as long as it was, and one that has not ended as long as planned.
    """
    last = max([1.0, *(epoch.epoch for epoch in epochs), *(step.at for step in steps)])
    spans, start = [], 0.0
    for index, phase in enumerate(phases):
        later = next((epoch.epoch - 1 for epoch in epochs if epoch.phase > index), None)
        end = float(start + phase.length if later is None else later)
        if start < last:
            spans.append((index, start, min(end, last)))
        start = end
    return spans


def phase_bands(spans: Sequence[tuple[int, float, float]], phases: Sequence[Phase]) -> list[dict[str, Any]]:
    """A row for each band behind a curve; `spans` as `phase_spans` has them. Its name stands in its `row` above it."""
    narrow = any(end - start < LETTER * len(phases[index].name) * spans[-1][2] for index, start, end in spans[:-1])
    rows = 2 if len(phases) > 2 or narrow else 1  # names of narrow bands side by side would run into each other
    return [
        {
            "start": start,
            "end": end,
            "name": phases[index].name,
            "tint": AMBER if phases[index].trains_stages else ICE,
            "row": index % rows,
        }
        for index, start, end in spans
    ]


def _with_data(
    spec: Spec,
    tables: dict[str, list[dict[str, Any]]],
    phases: Sequence[Phase],
    epochs: Sequence[Epoch],
    steps: Sequence[Step],
) -> Spec:
    """`spec` with its named tables, and the phases as bands."""
    bands = phase_bands(phase_spans(epochs, steps, phases), phases)
    return spec | {"datasets": tables | {"bands": bands}}


@cache
def _curves_spec(dark: bool) -> Spec:
    inks = INKS[dark]
    loss = alt.Y("loss:Q", title="Loss", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5))
    scale = alt.Scale(domain=[0, HIGHEST_ACCURACY])
    accuracy = alt.Y("accuracy:Q", title="Accuracy", scale=scale, axis=_ACCURACY_AXIS)
    exact = ".4f"
    train = [
        _line("train", loss, exact, inks.train, strokeWidth=1.2),
        _name("train start", loss, "train loss", inks.train, START),
    ]
    valid = [
        _line("valid", loss, exact, inks.valid, strokeWidth=2.8),
        _points("valid", loss, exact, inks.valid),
        _name("end loss above", loss, "valid loss", inks.valid, END),
        _name("end loss below", loss, "valid loss", inks.valid, BELOW_END),
    ]
    right = [
        _line("valid", accuracy, ".1%", inks.accuracy, strokeWidth=2.8, strokeDash=[6, 3]),
        _points("valid", accuracy, ".1%", inks.accuracy),
        _name("end accuracy above", accuracy, "accuracy", inks.accuracy, END),
        _name("end accuracy below", accuracy, "accuracy", inks.accuracy, BELOW_END),
    ]
    layers = alt.layer(*_bands(inks.text), alt.layer(*train, *valid), alt.layer(*right))
    return layers.resolve_scale(y="independent").properties(height=320).to_dict()


@cache
def _rates_spec(dark: bool) -> Spec:
    ink = INKS[dark].valid
    rate = alt.Y("rate:Q", title="Learning rate", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=4))
    lines = _line("rates", rate, ".2e", ink, strokeWidth=1.6).encode(detail=alt.Detail("part:N"))
    names = [
        _chart(table).mark_text(**place, color=ink).encode(x=_EPOCH, y=rate, text=alt.Text("part:N"))
        for table, place in (("highest", END), ("lowest", END | {"dy": 12}))
    ]
    layers = alt.layer(*_bands(INKS[dark].text), alt.layer(lines, *names))
    return layers.resolve_scale(y="independent").properties(height=200).to_dict()


@cache
def _figure_spec(name: str, logarithmic: bool, dark: bool) -> Spec:
    scale = alt.Scale(type="log") if logarithmic else alt.Scale(zero=True)
    figure = alt.Y("figure:Q", title=name, scale=scale, axis=alt.Axis(tickCount=4))
    line = _line("figures", figure, ".3~g", INKS[dark].valid, strokeWidth=1.6)
    layers = alt.layer(*_bands(INKS[dark].text), line)
    return layers.resolve_scale(y="independent").properties(height=180).to_dict()


@cache
def _comparison_spec(x: str, y: str) -> Spec:
    across = alt.X("x:Q", title=x, axis=alt.Axis(grid=False, tickMinStep=1), scale=alt.Scale(domainMin=0, nice=False))
    rate = y == "Accuracy"
    up = alt.Y(
        "y:Q",
        title=y,
        scale=alt.Scale(domain=[0, HIGHEST_ACCURACY]) if rate else alt.Scale(zero=True),
        axis=_ACCURACY_AXIS if rate else alt.Axis(tickCount=5),
    )
    ink = alt.Color("ink:N", scale=None)
    dash = alt.StrokeDash("dash:O", scale=alt.Scale(domain=list(range(len(_DASHES))), range=list(_DASHES)), legend=None)
    told = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("x:Q", title=x, format=".4~g"),
        alt.Tooltip("y:Q", title=y, format=".1%" if rate else ".4f"),
    ]
    lines = _chart("lines").mark_line(strokeWidth=2.2).encode(x=across, y=up, color=ink, strokeDash=dash, tooltip=told)
    points = _chart("lines").mark_point(filled=True, size=26, opacity=1).encode(x=across, y=up, color=ink, tooltip=told)
    place = alt.Y("place:Q", title=y)
    names = [  # of a line that ends early, to its right: to the left is the axis
        _chart("ends")
        .transform_filter(f"datum.early == {early}")
        .mark_text(**style)
        .encode(x=across, y=place, color=ink, text=alt.Text("run:N"))
        for early, style in (("false", END), ("true", START))
    ]
    return alt.layer(lines, points, *names).properties(height=300).to_dict()


def _bands(ink: str) -> list[alt.Chart]:
    """Tinted bands behind a curve: ice while only the head learns, amber once stages do; named above."""
    base = _chart("bands")
    start, tooltip = alt.X("start:Q"), alt.Tooltip("name:N", title="Phase")
    bands = base.mark_rect(opacity=0.22).encode(
        x=start, x2=alt.X2("end:Q"), color=alt.Color("tint:N", scale=None), tooltip=tooltip
    )
    borders = (
        base.transform_filter("datum.start > 0").mark_rule(strokeDash=[3, 3], opacity=0.6, color=ink).encode(x=start)
    )
    names = [
        base.transform_filter(f"datum.row == {row}")
        .mark_text(align="left", baseline="bottom", dx=2, dy=-5 - 15 * row, fontSize=12, color=ink)
        .encode(x=start, y=alt.YValue(0), text=alt.Text("name:N"))
        for row in (0, 1)
    ]
    return [bands, borders, *names]


def _chart(table: str) -> alt.Chart:
    return alt.Chart(alt.NamedData(name=table))


def _tooltip(y: alt.Y, number_format: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("epoch:Q", format=".2~f", title="Epoch"),
        alt.Tooltip(y["shorthand"], format=number_format, title=y["title"]),
    ]


def _line(table: str, y: alt.Y, number_format: str, color: str, **style: Any) -> alt.Chart:
    return _chart(table).mark_line(color=color, **style).encode(x=_EPOCH, y=y, tooltip=_tooltip(y, number_format))


def _points(table: str, y: alt.Y, number_format: str, color: str) -> alt.Chart:
    marks = _chart(table).mark_point(color=color, filled=True, size=36, opacity=1)
    return marks.encode(x=_EPOCH, y=y, tooltip=_tooltip(y, number_format))


def _name(table: str, y: alt.Y, name: str, color: str, place: dict[str, Any]) -> alt.Chart:
    """What a line is, written at one of its points."""
    return _chart(table).mark_text(**place, color=color).encode(x=_EPOCH, y=y, text=alt.TextValue(name))


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
            tooltip=[alt.Tooltip("class:N"), alt.Tooltip("split:N"), alt.Tooltip("images:Q")],
        )
        .properties(height=alt.Step(24))
    )


def sizes(counts: Mapping[tuple[int, int], int], dark: bool = False) -> alt.Chart:
    """A circle for each (width, height) in pixels, its area the number of images."""
    rows = [{"width": width, "height": height, "images": number} for (width, height), number in counts.items()]
    scale = alt.Scale(zero=True, nice=True)
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_circle(color=INKS[dark].valid, opacity=0.6)
        .encode(
            x=alt.X("width:Q", title="Width (px)", scale=scale),
            y=alt.Y("height:Q", title="Height (px)", scale=scale),
            size=alt.Size("images:Q", scale=alt.Scale(range=[30, 600]), legend=None),
            tooltip=[alt.Tooltip(f"{name}:Q", title=name.capitalize(), format=",") for name in rows[0]],
        )
        .properties(height=240)
    )


def brightness(bins: Sequence[tuple[float, float, int]], dark: bool = False) -> alt.Chart:
    """How many images have which mean grey level; `bins` are from, to, images."""
    rows = [{"from": low, "to": high, "images": number} for low, high, number in bins]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(color=INKS[dark].valid)
        .encode(
            x=alt.X("from:Q", title="Mean grey level", bin="binned", scale=alt.Scale(domain=[0, 256])),
            x2=alt.X2("to:Q"),
            y=alt.Y("images:Q", title="Images", axis=alt.Axis(tickMinStep=1, format="d")),
            tooltip=[alt.Tooltip("from:Q", title="From"), alt.Tooltip("to:Q", title="To"), alt.Tooltip("images:Q")],
        )
        .properties(height=240)
    )
