"""A run beside others on the same images: what it fixed, what it broke, and whether that may be chance."""

from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import streamlit as st

from learner.evaluation.intervals import holm
from learner.evaluation.paired import Paired, pair_predictions, verdict
from learner.evaluation.results import has_result
from learner.recipe import Recipe
from learner.store import Run
from learner.wording import count, percent
from ui import state
from ui.charts import comparison
from ui.components import pager
from ui.live.naming import points
from ui.names import plain
from ui.results.shown import Shown
from ui.web.pictures import preview_url, thumbnail_url

if TYPE_CHECKING:
    import pandas as pd

MOST_COMPARED = 5
PHOTOS_A_PAGE = 24


def show_compare(shown: Shown) -> None:
    others = {run.id: run for run in comparable(shown)}
    if not others:
        st.markdown(
            f"**Nothing to compare with yet.** Train {plain(shown.dataset)} once more: with another recipe, another "
            "seed, or after correcting photos under Mistakes."
        )
        return
    default = [shown.run.baseline] if shown.run.baseline in others else list(others)[:1]
    chosen = st.multiselect(
        "Compare with",
        list(others),
        default=default,
        format_func=lambda run_id: state.run_label(others[run_id]),
        max_selections=MOST_COMPARED,
        key=f"compare-{shown.run.id}",
        placeholder="Choose runs",
    )
    if not chosen:
        st.caption("Choose at least one run.")
        return
    before = {run_id: Shown(shown.store, others[run_id]) for run_id in chosen}
    pairs = {run_id: pair_predictions(other.predictions(), shown.predictions()) for run_id, other in before.items()}
    show_verdicts(shown.run, pairs)
    usable = {run_id: found for run_id, found in pairs.items() if found.counts.images}
    if usable:
        show_changes(shown, usable)
    show_curves(shown, [shown.run, *(others[run_id] for run_id in chosen)])
    show_recipes([shown.run, *(others[run_id] for run_id in chosen)])


def comparable(shown: Shown) -> list[Run]:
    """Other runs on the same data set that have a result, newest first."""
    return [
        run
        for run in shown.store.runs.all()
        if run.id != shown.run.id
        and run.status in ("finished", "stopped")
        and shown.store.runs.dataset_of(run)[0] == shown.dataset
        and has_result(shown.store.run_folder(run.id))
    ]


def show_verdicts(run: Run, pairs: dict[int, Paired]) -> None:
    """A sentence and a row of figures for each comparison."""
    usable = {run_id: found for run_id, found in pairs.items() if found.counts.images}
    p_values = dict(zip(usable, holm([found.counts.p_value for found in usable.values()]), strict=True))
    rows = []
    for run_id, found in pairs.items():
        counts = found.counts
        if not counts.images:
            st.markdown(f"Run {run_id} and run {run.id} were not checked on any photo in common.")
            continue
        st.markdown(f"**{verdict(counts, f'Run {run_id}', f'Run {run.id}', p_values[run_id])}**")
        low, high = counts.interval
        rows.append(
            {
                "Compared with": f"Run {run_id}",
                "Photos": f"{counts.images:,}",
                "Its accuracy": percent((counts.both + counts.broken) / counts.images),
                "This run": percent((counts.both + counts.fixed) / counts.images),
                "Difference (95 %)": f"{points(counts.difference)} ({100 * low:+.1f} to {100 * high:+.1f})".replace(
                    "-", "−"
                ),
                "Fixed": f"{counts.fixed:,}",
                "Broken": f"{counts.broken:,}",
                "p": f"{p_values[run_id]:.3f}" if p_values[run_id] >= 0.001 else "< 0.001",
            }
        )
    if not rows:
        return
    st.table(rows, border="horizontal", width="content", alt="Each comparison on the photos that both runs saw.")
    st.caption(
        "On the validation photos that both runs were checked on, with the same label. Interval: Newcombe's for paired "
        "proportions; p: McNemar's exact test"
        + (f", raised for {len(p_values)} comparisons (Holm)." if len(p_values) > 1 else ".")
        + left_out(pairs)
    )


def left_out(pairs: dict[int, Paired]) -> str:
    """Which photos take no part, in a sentence; empty where all do."""
    said = []
    for run_id, found in pairs.items():
        parts = [
            (found.relabelled, "relabelled in between"),
            (found.only_first, f"checked by run {run_id} alone"),
            (found.only_second, "checked by this run alone"),
        ]
        told = ", ".join(f"{number:,} {what}" for number, what in parts if number)
        if told:
            said.append(f" Left out against run {run_id}: {told}.")
    return "".join(said)


def show_changes(shown: Shown, pairs: dict[int, Paired]) -> None:
    """The photos that were fixed, and those that were broken, against one of the runs."""
    st.subheader("Photos fixed and broken")
    against = next(iter(pairs))
    if len(pairs) > 1:
        against = st.segmented_control(
            "Against", list(pairs), default=against, required=True, format_func=lambda one: f"Run {one}", key="against"
        )
    found = pairs[against]
    for title, mark, table in (("Fixed", "✓", found.fixed), ("Broken", "✕", found.broken)):
        st.markdown(f"**{title}: {count(len(table), 'photo')}**")
        if table.empty:
            continue
        first = pager(len(table), PHOTOS_A_PAGE, key=f"{title}-{shown.run.id}-{against}")
        show_photos(shown.dataset, table.iloc[first : first + PHOTOS_A_PAGE], mark)


def show_photos(dataset: str, rows: "pd.DataFrame", mark: str) -> None:
    """Thumbnails that open large, with what was said of them before and now."""
    figures = (
        f'<figure><a href="{preview_url(dataset, row.sha256)}" target="_blank"><img '
        f'src="{thumbnail_url(dataset, row.sha256)}" loading="lazy" alt="{escape(row.path)}: labelled '
        f'{escape(row.label)}, now {escape(row.predicted)}, before {escape(row.predicted_before)}"></a>'
        f"<figcaption>{mark} {escape(row.predicted)}, {percent(row.probability)}<br>before: "
        f"{escape(row.predicted_before)}, {percent(row.probability_before)}</figcaption></figure>"
        for row in rows.itertuples()
    )
    st.html(f'<div class="thaw-grid">{"".join(figures)}</div>')


def show_curves(shown: Shown, runs: Sequence[Run]) -> None:
    st.subheader("Validation accuracy")
    lines = {}
    for run in runs:
        epochs = shown.store.runs.epochs(run.id)
        minutes = accumulate(epoch.seconds / 60 for epoch in epochs)
        lines[f"run {run.id}"] = [(minute, epoch.accuracy) for minute, epoch in zip(minutes, epochs, strict=True)]
    st.vega_lite_chart(
        comparison(lines, "Minutes of training", "Validation accuracy", state.is_dark()),
        key="compare-curves",
        alt="Validation accuracy of the compared runs against minutes of training.",
    )


def show_recipes(runs: Sequence[Run]) -> None:
    """The recipes beside each other, as the runs settled them; what differs comes first and is marked."""
    st.subheader("Recipes")
    flat = {run.id: flattened(Recipe.from_dict(run.facts.get("recipe", run.recipe)).to_dict()) for run in runs}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))
    differing = [key for key in keys if len({values.get(key, "–") for values in flat.values()}) > 1]
    whole = st.toggle("Show what is the same too", key="recipes-whole")
    rows = [
        {"": f"◆ {key}" if key in differing else key}
        | {f"Run {run_id}": plain(one.get(key, "–")) for run_id, one in flat.items()}
        for key in [*differing, *(key for key in keys if whole and key not in differing)]
    ]
    if rows:
        st.table(rows, border="horizontal", width="content", alt="Settings of the recipes; ◆ marks those that differ.")
    st.caption(
        f"◆ {count(len(differing), 'setting')} of {len(keys)} differ." if differing else "The recipes are the same."
    )


def flattened(values: Any, path: str = "") -> dict[str, str]:
    """`{"phases.1.lr": "0.001", …}`: every plain value under its path; lists of plain values stay together."""
    if isinstance(values, dict) and values:
        pairs = [(f"{path}.{key}" if path else key, value) for key, value in values.items()]
    elif isinstance(values, list) and any(isinstance(one, dict | list) for one in values):
        pairs = [(f"{path}.{index + 1}", value) for index, value in enumerate(values)]
    else:
        return {path: "–" if values is None else str(values)}
    return {key: value for place, inner in pairs for key, value in flattened(inner, place).items()}
