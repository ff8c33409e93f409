"""The chart of a search: the loss of each trial, and the best so far."""

import altair as alt
import pandas as pd

from ui.charts import INKS


def losses(trials: tuple[tuple[int, float], ...], dark: bool) -> alt.LayerChart | alt.FacetChart:
    """(Number, validation loss) of each finished trial, in their order."""
    best = [min(loss for _, loss in trials[: end + 1]) for end in range(len(trials))]
    table = pd.DataFrame(
        [{"trial": number, "loss": loss, "best": low} for (number, loss), low in zip(trials, best, strict=True)]
    )
    ink = INKS[dark]
    across = alt.X("trial:Q", title="Trial", axis=alt.Axis(format="d", tickMinStep=1, grid=False))
    up = alt.Scale(zero=False, nice=True)
    base = alt.Chart(table).encode(
        x=across,
        tooltip=[
            alt.Tooltip("trial:Q", title="Trial"),
            alt.Tooltip("loss:Q", title="Loss", format=".3f"),
            alt.Tooltip("best:Q", title="Best so far", format=".3f"),
        ],
    )
    line = base.mark_line(color=ink.accuracy, interpolate="step-after", strokeWidth=2)
    return alt.layer(
        line.encode(y=alt.Y("best:Q", title="Validation loss", scale=up)),
        base.mark_circle(color=ink.valid, opacity=0.8, size=60).encode(y=alt.Y("loss:Q", scale=up)),
    ).properties(height=220)
