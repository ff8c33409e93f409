"""The chart of a study: its variants' differences to the first one."""

from typing import Any

import altair as alt
import pandas as pd

from ui.charts import INKS


def differences(
    rows: tuple[tuple[str, tuple[float, ...], tuple[float, float] | None], ...], against: str, dark: bool
) -> alt.LayerChart | alt.FacetChart:
    """A row a variant of a study: (name, its differences to `against` in points, their mean's 95 % interval)."""
    points = pd.DataFrame([{"variant": name, "points": one} for name, each, _ in rows for one in each])
    means = pd.DataFrame(
        [
            {"variant": name, "points": sum(each) / len(each), "low": interval[0], "high": interval[1]}
            for name, each, interval in rows
            if interval is not None
        ]
    )
    order = [name for name, _, _ in rows]
    title = f"Points of accuracy above {against}"
    variant = alt.Y("variant:N", sort=order, title=None, axis=alt.Axis(labelLimit=140, grid=False))
    bounds = [bound for _, each, interval in rows for bound in (*each, *(interval or ()))]
    scale = alt.Scale(domain=[min(-1.0, *bounds), max(1.0, *bounds)], nice=True)
    across = alt.X("points:Q", title=title, scale=scale, axis=alt.Axis(format="+~g", tickCount=6))
    ink = INKS[dark]
    layers: list[Any] = [
        alt.Chart(pd.DataFrame([{"points": 0.0}]))
        .mark_rule(color=ink.text, strokeDash=[4, 4], opacity=0.6)
        .encode(x=across),
        alt.Chart(points)
        .mark_circle(color=ink.valid, opacity=0.6, size=50)
        .encode(y=variant, x=across, tooltip=[alt.Tooltip("points:Q", title="Points", format="+.1f")]),
    ]
    if not means.empty:
        base = alt.Chart(means).encode(
            y=variant,
            tooltip=[
                alt.Tooltip("points:Q", title="Mean", format="+.1f"),
                alt.Tooltip("low:Q", title="From", format="+.1f"),
                alt.Tooltip("high:Q", title="To", format="+.1f"),
            ],
        )
        layers += [
            base.mark_rule(color=ink.accuracy, strokeWidth=3).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
            base.mark_point(color=ink.accuracy, filled=True, opacity=1, size=110, shape="diamond").encode(x=across),
        ]
    return alt.layer(*layers).properties(height=70 + 42 * len(rows))
