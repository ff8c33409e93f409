"""The data card as one picture, for reports."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from learner.datasets.card import Card
from learner.wording import count

MOST_CLASSES = 60
"""The largest that are drawn; more cannot be read."""
MEANS_A_ROW = 10
_WIDTH = 10.0
"""Inches."""
_BLUE = "#3b7ea1"
_SPLITS = {"train": "#3b7ea1", "": "#3b7ea1", "valid": "#d9902f", "test": "#6b6b6b"}


def draw(path: Path, title: str, counts: Mapping[str, Mapping[str, int]], card: Card) -> None:
    """Class balance, sizes, brightness and the mean image of each class, as a PNG at `path`. Raises OSError."""
    largest = sorted(counts, key=lambda label: -sum(counts[label].values()))[:MOST_CLASSES]
    shown = {label: counts[label] for label in counts if label in largest}
    rows = -(-len(shown) // MEANS_A_ROW)
    heights = [max(1.5, 0.25 * len(shown)), 3.0, 1.3 * max(rows, 1)]
    figure = Figure((_WIDTH, sum(heights) + 1.5), layout="constrained")
    left_out = f"; the {MOST_CLASSES} largest of {len(counts)} classes" if len(counts) > MOST_CLASSES else ""
    figure.suptitle(title + left_out)
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_balance(top, shown)
    sizes, light = middle.subplots(1, 2)
    _draw_sizes(sizes, card)
    _draw_brightness(light, card)
    _draw_means(bottom, shown, card, max(rows, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # drawn as boxes where no font has them
        figure.savefig(path, format="png", dpi=120)


def _draw_balance(part, counts: Mapping[str, Mapping[str, int]]) -> None:
    axes = part.subplots()
    labels = list(counts)
    start = [0] * len(labels)
    for split, colour in _SPLITS.items():
        widths = [counts[label].get(split, 0) for label in labels]
        if any(widths):
            axes.barh(range(len(labels)), widths, left=start, color=colour, label=split or "undecided")
            start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.set_yticks(range(len(labels)), [_text(label, 40) for label in labels])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="images", title="Images in each class")
    if len({split for numbers in counts.values() for split in numbers}) > 1:
        axes.legend()


def _draw_sizes(axes, card: Card) -> None:
    widths, heights = zip(*card.sizes, strict=True) if card.sizes else ((), ())
    numbers = list(card.sizes.values())
    most = max(numbers, default=1)
    axes.scatter(widths, heights, [20 + 180 * number / most for number in numbers], color=_BLUE, alpha=0.5)
    axes.set(xlabel="width (px)", ylabel="height (px)", title="Sizes")
    axes.set(xlim=(0, 1.1 * max(widths, default=1)), ylim=(0, 1.1 * max(heights, default=1)))


def _draw_brightness(axes, card: Card) -> None:
    starts = [low for low, _, _ in card.brightness]
    widths = [high - low for low, high, _ in card.brightness]
    axes.bar(starts, [number for *_, number in card.brightness], widths, align="edge", color=_BLUE, edgecolor="white")
    axes.locator_params(axis="y", integer=True)
    axes.set(xlabel="mean grey level (0 black, 255 white)", ylabel="images", title="Light")


def _draw_means(part, counts: Mapping[str, Mapping[str, int]], card: Card, rows: int) -> None:
    part.suptitle("Mean image of each class")
    grid = part.subplots(rows, MEANS_A_ROW, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, label in zip(grid, [label for label in counts if label in card.means], strict=False):
        axes.imshow(imread(io.BytesIO(card.means[label])), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{_text(label, 18)}\n{count(sum(counts[label].values()), 'image')}", fontsize=7)


def _text(label: str, most: int) -> str:
    """A class's name, shortened, that matplotlib does not read as a formula."""
    return (label if len(label) <= most else f"{label[: most - 1]}…").replace("$", r"\$")
