"""Photos without a class: the most useful first, labelled by keys; train again, and see what the labels brought."""

from functools import partial
from pathlib import Path

import altair as alt
import streamlit as st

from learner.advice.corrections import retrain
from learner.advice.pool import (
    TRAIN_AFTER,
    Grown,
    PoolOrder,
    classes_of,
    growth,
    label,
    order_file,
    pool_of,
    read_order,
    runs_for,
    said_of,
)
from learner.datasets.exclusions import ImageRow
from learner.errors import DatasetError
from learner.questions.process import ask
from learner.store import Run, Store
from learner.wording import count, percent_with_interval
from ui import state
from ui.charts import INKS
from ui.data.working import Working
from ui.drawing import show_chart
from ui.frame import telling_errors
from ui.names import plain
from ui.questions import show_question
from ui.web.elements import Unlabelled, drop_zone, labeller
from ui.web.pictures import preview_url

AT_ONCE = 24
"""Photos that the page has at hand, so that labelling never waits for it."""
APPLIED, EPOCH = "pool-applied", "pool-epoch"
"""Of this visit: what of the labels is in the draft already, and how often the labeller began anew."""


def show_pool(working: Working) -> None:
    waiting = pool_of(working.rows)
    _, said = said_of(working.edits)
    if not waiting and not said:
        st.markdown(
            "**No photos wait for a class.** Add photos without labels here. A model that was trained on "
            f"{plain(working.name)} then shows those first that it would learn most from, and you label them by a key."
        )
        show_adding(working)
        return
    if not state.entered().may_change:
        st.markdown(f"{count(len(waiting), 'photo waits', 'photos wait')} for a class.")
        st.caption(state.entered().for_reading)
        show_growth(working)
        return
    run = choose_model(working)
    order = show_order(working, run) if run else []
    if order is not None:
        show_labeller(working, run, waiting, order)
    show_training_again(working, run, len(said))
    show_growth(working)
    with st.expander("Add more photos without a class"):
        show_adding(working)


def show_adding(working: Working) -> None:
    if not state.entered().may_change:
        st.caption(state.entered().for_reading)
        return
    drop_zone(key=f"drop-pool-{working.name}", pool=working.name)
    st.caption(
        "They come in without a class, whatever their folders are called, and are used for nothing until labelled."
    )


def choose_model(working: Working) -> Run | None:
    """The run whose model says which photos come first: the newest, unless another is chosen."""
    runs = {run.id: run for run in runs_for(working.store, working.name)}
    if not runs:
        st.caption(
            "No run on this data set has finished, so the photos come in no particular order. Once there is a model, "
            "it proposes classes and shows first what it would learn most from."
        )
        return None
    if len(runs) == 1:
        return next(iter(runs.values()))
    chosen = st.selectbox(
        "Model",
        list(runs),
        format_func=lambda run_id: state.run_label(runs[run_id]),
        key=f"pool-run-{working.name}-{max(runs)}",
        help="Whose proposals are shown, and whose recipe is trained again.",
    )
    return runs[chosen]


def show_order(working: Working, run: Run) -> list[tuple[str, list[list]]] | None:
    """(path, proposals) of the pool, the most useful first; None while the model was not asked."""
    file = order_file(working.store, run, working.name)
    order = _read(str(file), file.stat().st_mtime_ns) if file.exists() else None
    if order is not None:
        return list(zip(order.paths, order.proposals, strict=True))
    show_question(
        file,
        partial(ask, working.store, "pool", file, run.id, working.name),
        "Ask the model which to label first",
        key=f"pool-order-{working.version.id}-{run.id}",
        begins="Loading the model, about 10 s",
        primary=True,
        help="It looks at each photo once and chooses those that it is unsure of and that are unlike each other.",
    )
    return None


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _read(file: str, written_ns: int) -> PoolOrder | None:
    return read_order(Path(file))


def show_labeller(
    working: Working, run: Run | None, waiting: list[ImageRow], order: list[tuple[str, list[list]]]
) -> None:
    """The photos one by one; what is said of them goes into the draft."""
    place = f"{working.name}-{working.version.id}"
    applied = _in_step(place, working)
    key = f"label-{place}-{run.id if run else 0}-{st.session_state.get(EPOCH, 0)}"
    by_path = {row.path: row for row in waiting}
    ranked = [pair for pair in order if pair[0] in by_path]
    known = {path for path, _ in order}
    ranked += [(row.path, []) for row in waiting if row.path not in known]
    photos = [
        Unlabelled(path, preview_url(working.name, by_path[path].sha256), proposals)
        for path, proposals in ranked[:AT_ONCE]
    ]
    classes = list(run.facts["classes"]) if run else []
    classes += [name for name in classes_of(working.rows) if name not in classes]
    said = labeller(photos, classes, len(waiting) - len(photos), key)
    changes = {path: text for path, text in said.items() if applied.get(path, None) != text}
    if not changes:
        return
    st.session_state[APPLIED] = (place, said)
    try:
        label(working.store, working.name, changes, run.id if run else None)
    except DatasetError as error:
        st.session_state[EPOCH] = st.session_state.get(EPOCH, 0) + 1
        st.session_state[APPLIED] = (place, {})
        st.error(plain(str(error)))
        return
    st.rerun()


def _in_step(place: str, working: Working) -> dict[str, str | None]:
    """What of the labels is in the draft already; the labeller begins anew where the draft has lost some, by Undo."""
    kept_place, applied = st.session_state.get(APPLIED, (place, {}))
    if kept_place != place:
        applied = {}
    _, said = said_of(working.edits)
    if any(text is not None and path not in said for path, text in applied.items()):
        st.session_state[EPOCH] = st.session_state.get(EPOCH, 0) + 1
        applied = {}
    st.session_state[APPLIED] = (place, applied)
    return applied


def show_training_again(working: Working, run: Run | None, labels: int) -> None:
    """The way from labels to a model that has learnt from them."""
    if run is None or not labels:
        return
    enough = labels >= TRAIN_AFTER
    with st.container(horizontal=True, vertical_alignment="center", key="pool-train"):
        if st.button(
            f"Save and train again with {count(labels, 'label')}",
            type="primary" if enough else "secondary",
            disabled=bool(working.trouble),
            help="Makes a new version of the data set and trains with the same recipe and seed. The validation photos "
            "stay the same, so the two runs can be compared.",
        ):
            with telling_errors():
                run_id = retrain(working.store, run.id)
                state.remember_run(run_id)
                st.switch_page("pages/runs.py")
        if not enough:
            st.caption(f"After about {TRAIN_AFTER} labels it is worth a run.", width="content")


def show_growth(working: Working) -> None:
    """How the accuracy grew with the labelled photos, once there are two runs to tell it."""
    runs = tuple(run.id for run in runs_for(working.store, working.name))
    rows = _grown(working.name, runs, working.store)
    if len(rows) < 2:
        return
    st.subheader("What the labels brought")
    show_chart(growth_chart, [vars(row) for row in rows], state.is_dark(), alt=_told(rows))
    st.caption(
        f"{_told(rows)} All on the same {count(rows[-1].valid_images, 'validation photo')}; bars are 95 % intervals."
    )


@state.cached(st.cache_data, max_entries=4, show_spinner=False)
def _grown(name: str, runs: tuple[int, ...], _store: Store) -> list[Grown]:
    """Read once for the runs there are: the page is drawn anew with every few labels."""
    return growth(_store, name)


def _told(rows: list[Grown]) -> str:
    first, last = (percent_with_interval(row.accuracy, row.interval) for row in (rows[0], rows[-1]))
    photos = count(rows[0].train_images, "photo")
    return f"{first} right after learning from {photos}, {last} after {rows[-1].train_images:,}."


def growth_chart(rows: list[dict], dark: bool) -> alt.LayerChart | alt.FacetChart:
    """Accuracy over the photos that a run learnt from, with its 95 % interval."""
    ink = INKS[dark]
    plain_rows = [{**row, "low": row["interval"][0], "high": row["interval"][1]} for row in rows]
    base = alt.Chart(alt.Data(values=plain_rows)).encode(
        x=alt.X(
            "train_images:Q",
            title="Photos learnt from",
            scale=alt.Scale(zero=False, padding=20),
            axis=alt.Axis(format=",d", tickMinStep=1, tickCount=6, grid=False),
        ),
        tooltip=[
            alt.Tooltip("run:Q", title="Run"),
            alt.Tooltip("train_images:Q", title="Learnt from", format=","),
            alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
        ],
    )
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("accuracy:Q", title="Accuracy", scale=scale, axis=alt.Axis(format=".0%", tickCount=5))
    spread = base.mark_rule(color=ink.accuracy, opacity=0.6).encode(
        y=alt.Y("low:Q", title="Accuracy", scale=scale), y2=alt.Y2("high:Q")
    )
    return alt.layer(
        spread,
        base.mark_line(color=ink.accuracy, strokeWidth=1.5).encode(y=y),
        base.mark_point(color=ink.accuracy, filled=True, size=70, opacity=1).encode(y=y),
    ).properties(height=240)
