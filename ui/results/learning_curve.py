"""What would help: measured when a person asks, told in sentences, a curve, and a table by class."""

from functools import partial
from typing import Any

import streamlit as st

from learner.questions.learning_curve import (
    VERDICTS,
    LearningCurve,
    curve_file,
    gain_text,
    read_curve,
    recipe_of,
    verdict,
)
from learner.questions.process import ask
from learner.wording import count, duration, percent
from ui import state
from ui.drawing import show_chart
from ui.names import plain
from ui.questions import show_question
from ui.results import help_charts
from ui.results.shown import Shown


def show_help(shown: Shown) -> None:
    recipe = recipe_of(shown.run)
    curve = read_curve(shown.store.workspace, recipe)
    if curve is not None:
        _show(shown, curve)
        return
    file = curve_file(shown.store.workspace, recipe)
    st.markdown(
        "**Would more photos help, and of which class?** Small models are trained on growing parts of your photos; how "
        "their accuracy rises tells what half as many more or twice as many would bring, and how sure that is."
    )
    st.caption(
        "It takes from some seconds to some minutes. Nothing of the run changes. What the frozen network saw of the "
        "photos is taken from the run where it was kept."
    )
    show_question(
        file,
        partial(ask, shown.store, "learning_curve", file, recipe),
        "Find out what would help",
        again="Try again",
        primary=True,
        key=f"grow-{shown.run.id}",
    )


def _show(shown: Shown, curve: LearningCurve) -> None:
    overall, by_class = (plain(sentence) for sentence in curve.sentences)
    st.markdown(f"**{overall}** {by_class}")
    result = shown.result()
    st.caption(plain(curve.about_the_head(result["accuracy"], result["accuracy_interval"])))
    show_chart(
        help_charts.growth,
        curve,
        state.is_dark(),
        alt=f"Accuracy of linear heads against the number of training photos, {curve.sizes[0]:,} to "
        f"{curve.sizes[-1]:,}, with the fitted curve until {2 * curve.train_images:,}. {curve.sentences[0]}",
    )
    st.caption(
        f"Dots: heads that learnt from random parts of the photos, each checked on {count(curve.checked, 'photo')}. "
        "Line: the law a·n⁻ᵇ + c, beyond the photos there are dashed; band: 95 %, by resampling parts and photos."
    )
    st.subheader("Class by class")
    st.dataframe(
        [class_row(row) for row in curve.ranked()],
        hide_index=True,
        column_config={
            "Photos": st.column_config.NumberColumn(help="For training.", width="small"),
            "Found now": st.column_config.TextColumn(
                help="Of its validation photos, by the head that learnt from all: its recall.", width="small"
            ),
            "Twice as many": st.column_config.TextColumn(help="More of its photos found, with a 95 % interval."),
        },
        alt="For every class what twice as many photos of every class would bring, those that gain most first.",
    )
    st.caption(
        "With more photos of every class alike. Of a class with fewer than ten validation photos, or of which hardly "
        "any are found yet, it cannot be told; no interval ends below three of its validation photos, as less can go "
        "unseen. “Would help” is said only when it holds for all such classes together "
        f"(Holm). Measured in {duration(curve.seconds)}."
    )


def class_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table, from a row of `LearningCurve.per_class`."""
    return {
        "Class": row["class"],
        "More photos": VERDICTS[verdict(row["twice"], row["p"])],
        "Twice as many": gain_text(row["twice"]) if row["twice"] else "–",
        "Found now": percent(row["recalls"][-1]) if row["recalls"] else "–",
        "Photos": row["train_images"],
    }
