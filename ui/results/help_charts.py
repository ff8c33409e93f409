"""The chart of a learning curve. Plain values in, a chart out."""

from typing import Any

import altair as alt
import pandas as pd

from learner.questions.learning_curve import LearningCurve
from ui.charts import INKS

PHONE_TICKS = 5


def growth(curve: LearningCurve, dark: bool) -> alt.LayerChart | alt.FacetChart:
    """Accuracy of every head over its photos (logarithmic), the fitted law, its band, and where the photos end."""
    ink = INKS[dark]
    line = pd.DataFrame(curve.line, columns=["photos", "accuracy", "low", "high"])
    points = pd.DataFrame(
        [
            {"photos": size, "accuracy": accuracy}
            for size, of_size in zip(curve.sizes, curve.accuracies, strict=True)
            for accuracy in of_size
        ]
    )
    now = curve.train_images
    lowest = min(line["low"].min(), points["accuracy"].min())
    domain = [max(0.0, lowest - 0.03), 1.06]  # room for the name above a curve at 100 %
    x = alt.X(
        "photos:Q",
        title="Training photos, up to twice as many",
        scale=alt.Scale(type="log", domain=[curve.sizes[0], 2 * now], nice=False),
        axis=alt.Axis(grid=False, values=_ticks(curve.sizes[0], now), format=",d", labelOverlap=True),
    )
    upright: dict[str, Any] = {
        "title": "Accuracy of a linear head",
        "scale": alt.Scale(domain=domain, nice=False),
        "axis": alt.Axis(format=".0%", values=_steps(domain[0])),
    }
    y = alt.Y("accuracy:Q", **upright)
    told = [alt.Tooltip("photos:Q", title="Photos", format=",.0f"), alt.Tooltip("accuracy:Q", format=".1%")]
    band = (
        alt.Chart(line)
        .mark_area(opacity=0.18, color=ink.valid, clip=True)
        .encode(x=x, y=alt.Y("low:Q", **upright), y2=alt.Y2("high:Q"))
    )
    measured = alt.Chart(line[line["photos"] <= now]).mark_line(color=ink.valid, strokeWidth=2.6, clip=True)
    beyond = alt.Chart(line[line["photos"] >= now]).mark_line(
        color=ink.valid, strokeWidth=2.2, strokeDash=[5, 4], clip=True
    )
    dots = alt.Chart(points).mark_circle(color=ink.accuracy, opacity=0.75, size=42)
    place = alt.Chart(pd.DataFrame([{"photos": now, "name": f"now {now:,}"}])).encode(x=x)
    name = place.mark_text(align="right", baseline="top", dx=-5, dy=2, fontSize=12, color=ink.text).encode(
        y=alt.YValue(0), text=alt.Text("name:N")
    )
    rule = place.mark_rule(color=ink.text, strokeDash=[3, 3], opacity=0.7)
    return alt.layer(
        band,
        measured.encode(x=x, y=y, tooltip=told),
        beyond.encode(x=x, y=y, tooltip=told),
        dots.encode(x=x, y=y, tooltip=told),
        rule,
        name,
    ).properties(height=320)


def _ticks(first: int, now: int) -> list[int]:
    """Round numbers from the first size to twice the present one, about doubling."""
    ticks = [base * 10**power for power in range(7) for base in (1, 2, 5)]
    inside = [tick for tick in ticks if first <= tick <= 2 * now]
    return inside if len(inside) <= PHONE_TICKS + 2 else inside[::2]


def _steps(lowest: float) -> list[float]:
    step = 0.05 if lowest > 0.8 else 0.1 if lowest > 0.5 else 0.2
    return [round(step * number, 2) for number in range(round(1 / step) + 1)]
