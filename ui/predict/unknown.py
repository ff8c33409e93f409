"""How many known pictures may be turned away for "none of these", and what that brings."""

from pathlib import Path

import altair as alt
import streamlit as st

from learner.evaluation.results import load_predictions, load_result
from learner.inference.batches import COVERAGES, AnswersInfo
from learner.wording import count, percent
from ui import state
from ui.charts import INKS

USUAL = 0.95
LEAST_SHOWN = 0.5
"""The chart begins where half of the known pictures are answered."""
CANNOT_TELL = (
    "This model cannot tell that a picture shows none of its classes: it answers with one of them whatever it sees. It "
    "was made before Thaw kept what that is told from. Train the recipe again, or open the run in Results and complete "
    "it there."
)


def turned_away(coverage: float) -> str:
    """`1 of 20 known pictures is turned away`."""
    if coverage == 1:
        return "no known picture is turned away"
    return f"1 of {round(1 / (1 - coverage)):,} known pictures is turned away"


def choose_coverage(folder: Path, asked: AnswersInfo) -> float:
    """A select box and, folded, the trade-off on the run's validation images. Returns the share to answer, 0 to 1."""
    if not asked.knows_none:
        st.caption(CANNOT_TELL)
        return USUAL
    coverage = coverage_box()
    rows = trade_off(folder)
    if rows:
        with st.expander("What that costs and brings"):
            show_trade_off(rows, asked.thresholds[str(coverage)])
    return coverage


def coverage_box() -> float:
    """How many of the known pictures shall be answered, 0 to 1."""
    return st.selectbox(
        "Say “none of these” when a picture is unlike the training photos",
        COVERAGES,
        index=COVERAGES.index(USUAL),
        format_func=lambda share: f"At {100 * share:.0f} % coverage {turned_away(share)}",
        key="coverage",
        help="A picture that lies farther from the training photos than this share of the validation images is none of "
        "the classes. Lower it where a wrong answer costs more than no answer.",
    )


def trade_off(folder: Path) -> list[tuple[float, float, float]]:
    """(distance, share answered, accuracy of those answered) for every validation image, the nearest first.

    Empty where a run has no distances.
    """
    if load_result(folder) is None:
        return []
    table = load_predictions(folder)
    if "distance" not in table or table["distance"].isna().any():
        return []
    table = table.sort_values("distance", kind="stable")
    right = (table["label"] == table["predicted"]).cumsum()
    return [
        (float(distance), number / len(table), correct / number)
        for number, (distance, correct) in enumerate(zip(table["distance"], right, strict=True), start=1)
    ]


def show_trade_off(rows: list[tuple[float, float, float]], threshold: float) -> None:
    """The accuracy of what is answered, by how much is answered; the chosen place is marked and said in words."""
    answered = [row for row in rows if row[0] <= threshold] or rows[:1]
    _, share, accuracy = answered[-1]
    st.markdown(
        f"Of {count(len(rows), 'validation image')}, {count(len(answered), 'is', 'are')} answered, and "
        f"**{percent(accuracy)}** of those answers are right. If all were, it would be {percent(rows[-1][2])}. "
        "Pictures of other things than its classes mostly lie farther away and are turned away first."
    )
    ink = INKS[state.is_dark()]
    shown = [{"share": part, "accuracy": rate} for _, part, rate in rows if part >= LEAST_SHOWN]
    lowest = max(0.0, min(row["accuracy"] for row in shown) - 0.05)
    x = alt.X("share:Q", title="Known pictures that are answered", axis=alt.Axis(format="%"))
    y = alt.Y(
        "accuracy:Q",
        title="Accuracy of the answers",
        axis=alt.Axis(format=".0%"),
        scale=alt.Scale(domain=[lowest, 1], nice=False),
    )
    told = [alt.Tooltip("share:Q", title="Answered", format=".1%"), alt.Tooltip("accuracy:Q", format=".1%")]
    line = alt.Chart(alt.Data(values=shown)).mark_line(strokeWidth=2, color=ink.valid)
    here = alt.Chart(alt.Data(values=[{"share": share, "accuracy": accuracy, "name": "chosen"}]))
    layers = (
        line.encode(x=x.scale(domain=[LEAST_SHOWN, 1]), y=y, tooltip=told),
        here.mark_point(filled=True, size=80, color=ink.valid, opacity=1).encode(x=x, y=y, tooltip=told),
        here.mark_text(dy=-14, color=ink.text).encode(x=x, y=y, text=alt.Text("name:N")),
    )
    st.altair_chart(alt.layer(*layers).properties(height=240))
