"""Figures of a report: matplotlib draws, what comes out is SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from threading import Lock
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter
from matplotlib.typing import RcKeyType

from learner.questions.learning_curve import LearningCurve
from learner.recipe import Phase
from learner.store import Epoch, Step

INK, MUTED, VALID, ACCURACY = "#15232c", "#7b8891", "#2f5f7a", "#8a4fa3"
ICE, AMBER = "#cfe9f7", "#f2a93b"
VARIABLES = {INK: "ink", MUTED: "muted", VALID: "valid", ACCURACY: "accuracy"}
"""Colours and the names of the page's CSS variables that take their place."""
SHADES = LinearSegmentedColormap.from_list("plum", ["#fbf9fc", "#4a2a5e"])
MOST_NUMBERED = 20
MOST_NAMED = 60
LONGEST_NAME = 18
STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be copied, and every script has its letters
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a class may be called $5
}
_ONE_AT_A_TIME = Lock()
PERCENT = PercentFormatter(xmax=1, decimals=0)


@contextmanager
def style() -> Iterator[None]:
    """Figures are to be drawn inside; matplotlib's settings are the whole process's, so one thread at a time."""
    with _ONE_AT_A_TIME, matplotlib.rc_context(STYLE):
        yield


def training(epochs: Sequence[Epoch], steps: Sequence[Step], phases: Sequence[Phase]) -> str:
    """Loss (above) and accuracy (below) over the epochs, with a band for each phase."""
    figure, (loss, accuracy) = _figure(5.6, 4.6, rows=2)
    train = [(step.at, step.train_loss) for step in steps if step.train_loss is not None]
    valid = [(epoch.epoch, epoch.valid_loss) for epoch in epochs if epoch.valid_loss is not None]
    if train:
        loss.plot(*zip(*train, strict=True), color=MUTED, linewidth=1.2)
        loss.annotate("training", train[0], (8, 0), textcoords="offset points", color=MUTED, va="center")
    if valid:
        loss.plot(*zip(*valid, strict=True), color=VALID, linewidth=2.4, marker="o", markersize=4)
        loss.annotate("validation", valid[-1], (0, 8), textcoords="offset points", color=VALID, ha="right")
    accuracy.plot(
        [one.epoch for one in epochs], [one.accuracy for one in epochs], color=ACCURACY, lw=2.4, marker="o", ms=4
    )
    loss.set(ylabel="Loss", ylim=(0, None))
    accuracy.set(ylabel="Accuracy", xlabel="Epoch", ylim=(0, 1.05))
    accuracy.yaxis.set_major_formatter(PERCENT)
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = max([1.0, *(one.epoch for one in epochs)])
    for axes in (loss, accuracy):
        axes.set_xlim(0, last * 1.03)
        for start, end, phase in _spans(epochs, phases):
            axes.axvspan(start, end, color=AMBER if phase.trains_stages else ICE, alpha=0.3, lw=0)
    for start, _, phase in _spans(epochs, phases):
        loss.annotate(
            _short(phase.name), (start, 1), (3, 3), xycoords=("data", "axes fraction"), textcoords="offset points"
        )
    return _svg(figure, "training", "Loss and accuracy over the epochs of training.")


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are the true classes, columns what was predicted, shaded by the share of the true class."""
    count = len(classes)
    side = max(3.2, min(7.2, 1.6 + 0.34 * count))
    figure, (axes,) = _figure(side, side)
    shares = [[number / max(sum(row), 1) for number in row] for row in matrix]
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, interpolation="nearest")
    if count <= MOST_NUMBERED:
        for i, row in enumerate(matrix):
            for j, number in enumerate(row):
                if number:
                    ink = "#ffffff" if shares[i][j] > 0.5 else "#16232d"  # on its own ground in any theme
                    axes.text(j, i, f"{number:,}", ha="center", va="center", color=ink, fontsize=9)
    if count <= MOST_NAMED:
        names, size = [_short(name) for name in classes], 9 if count <= 25 else 6
        axes.set_xticks(range(count), names, rotation=90 if count > 3 else 0, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
    else:
        axes.xaxis.set_major_locator(NullLocator())
        axes.yaxis.set_major_locator(NullLocator())
    axes.set(xlabel="Predicted", ylabel="True")
    return _svg(figure, "confusion", f"Confusion matrix of {count} classes; the diagonal is what was right.")


def calibration(bins: Sequence[dict[str, float]]) -> str:
    """How often answers were right, by how sure the model was; larger dots for more images."""
    figure, (axes,) = _figure(4.2, 3.6)
    most = max(one["images"] for one in bins)
    sure, right = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls="--")
    axes.plot(sure, right, color=VALID, lw=1.5)
    axes.scatter(sure, right, [20 + 160 * one["images"] / most for one in bins], color=VALID, zorder=3)
    axes.set(xlabel="How sure", ylabel="How often right", xlim=(0, 1.03), ylim=(0, 1.03))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    return _svg(figure, "calibration", "How often the model was right against how sure it was, with the diagonal.")


def growth(curve: LearningCurve) -> str:
    """Accuracy of linear heads over their photos, with the fitted law and its band until twice the photos."""
    figure, (axes,) = _figure(5.6, 3.4)
    photos, about, low, high = zip(*curve.line, strict=True)
    now = curve.train_images
    axes.fill_between(photos, low, high, color=VALID, alpha=0.18, lw=0)
    for style, part in (
        ("-", [i for i, n in enumerate(photos) if n <= now]),
        ("--", [i for i, n in enumerate(photos) if n >= now]),
    ):
        axes.plot([photos[i] for i in part], [about[i] for i in part], color=VALID, lw=2, ls=style)
    for size, of_size in zip(curve.sizes, curve.accuracies, strict=True):
        axes.plot([size] * len(of_size), of_size, "o", color=ACCURACY, ms=4, alpha=0.75)
    axes.axvline(now, color=MUTED, lw=1, ls=":")
    axes.annotate(
        f"now {now:,}",
        (now, 1),
        (-4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        va="top",
    )
    axes.set_xscale("log")
    axes.set_xticks(sorted({curve.sizes[0], curve.sizes[len(curve.sizes) // 2], now, 2 * now}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(xlabel="Training photos", ylabel="Accuracy of a linear head", xlim=(curve.sizes[0] * 0.95, 2 * now))
    return _svg(figure, "growth", curve.sentences[0])


def differences(rows: Sequence[tuple[str, Sequence[float], tuple[float, float] | None]], against: str) -> str:
    """One row a variant: its differences in accuracy to `against`, a dot a pair of runs, with the mean's interval."""
    figure, (axes,) = _figure(5.6, 1.1 + 0.55 * len(rows))
    for place, (_, each, interval) in enumerate(rows):
        spread = [place - 0.18 + 0.36 * (index + 0.5) / len(each) for index in range(len(each))]
        axes.plot(each, spread, "o", color=VALID, ms=4, alpha=0.6, mew=0)
        if interval:
            axes.plot(interval, [place, place], color=ACCURACY, lw=2.4, solid_capstyle="butt")
        axes.plot([sum(each) / len(each)], [place], "D", color=ACCURACY, ms=7)
    axes.axvline(0, color=MUTED, lw=1, ls="--")
    axes.set_yticks(range(len(rows)), [_short(name) for name, _, _ in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"Points of accuracy above {_short(against)}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f}".replace("-", "−")))
    told = f"Differences in accuracy to {against}, a dot for each seed and fold, with mean and 95 % interval."
    return _svg(figure, "differences", told)


def trials(losses: Sequence[tuple[int, float]]) -> str:
    """(Number, loss) of each finished trial of a search, in their order, with the best loss so far."""
    figure, (axes,) = _figure(5.6, 2.6)
    numbers, each = zip(*losses, strict=True)
    axes.step(numbers, [min(each[: end + 1]) for end in range(len(each))], color=ACCURACY, lw=1.8, where="post")
    axes.plot(numbers, each, "o", color=VALID, ms=5, alpha=0.8, mew=0)
    axes.set(xlabel="Trial", ylabel="Validation loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, "trials", "Validation loss of each finished trial, and the best so far.")


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """Inches; the axes from above to below, with one shared x-axis."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    return figure, figure.subplots(rows, 1, sharex=True, squeeze=False, subplot_kw={"facecolor": "none"})[:, 0].tolist()


def _svg(figure: Figure, name: str, told: str) -> str:
    """The figure as an `svg` element that fits the page; `name` keeps its ids apart from other figures'."""
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None  # matplotlib always writes one
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index(">", text.index("<svg")) + 1 :], flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    width = f"{figure.get_figwidth() * 96:.0f}px"
    return f'<svg role="img" aria-label="{escape(told)}" style="width:100%;max-width:{width}" {box[0]}>{body}'


def _spans(epochs: Sequence[Epoch], phases: Sequence[Phase]) -> list[tuple[float, float, Phase]]:
    """Start and end, in epochs, of every phase that has one."""
    found: dict[int, list[int]] = {}
    for epoch in epochs:
        found.setdefault(epoch.phase, []).append(epoch.epoch)
    return [(min(mine) - 1, max(mine), phases[index]) for index, mine in found.items()]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
