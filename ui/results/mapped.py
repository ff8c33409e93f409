"""The map of a run's photos: alike ones lie together and stray ones stand out; any of them can be corrected."""

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from learner.evaluation.photo_map import PhotoMap, map_file, read_map
from learner.questions.process import ask
from learner.wording import count
from ui import state
from ui.components import pager
from ui.data.working import Working, working_on
from ui.drawing import show_chart
from ui.names import plain
from ui.questions import show_question
from ui.results import charts
from ui.results.fixing import show_corrections, show_fixes
from ui.results.mistakes import tile
from ui.results.shown import Shown
from ui.web.elements import photo_map, picture_picker
from ui.web.maps import map_url
from ui.web.pictures import thumbnail_url

PHOTOS_A_PAGE = 24
MATRIX, LET_GO = "map-matrix", "map-let-go"
BESIDE = 12
"""Classes up to which the matrix has room beside the map."""


def show_map(shown: Shown) -> None:
    file = map_file(shown.store, shown.run)
    made = _read(str(file), file.stat().st_mtime_ns) if file.exists() else None
    if made is None:
        show_making(shown, file)
        return
    working = working_on(shown.store, shown.dataset)
    show_corrections(shown, working)
    if len(made.classes) <= BESIDE:
        left, right = st.columns([2 if len(made.classes) < charts.FEW_CLASSES else 3, 5], gap="medium")
    else:
        left, right = st.expander("Confusion matrix: choose a cell to see its photos on the map"), st.container()
    with left:
        cell = choose_cell(shown)
    with right:
        chosen = show_points(shown, working, file, made, cell)
    show_chosen(shown, working, made, chosen)


def show_making(shown: Shown, file: Path) -> None:
    """What a map is for, and the way to it."""
    st.markdown(
        "**Your photos as a map.** Photos that the model finds alike lie near to each other. Wrong labels stand out as "
        "marks of one colour among those of another; drag around them and correct them together."
    )
    show_question(
        file,
        partial(ask, shown.store, "map", file, shown.run.id),
        "Make the map",
        key=f"map-{shown.run.id}",
        begins="Loading the model, about 10 s",
        primary=True,
        help="The model looks at each photo once, training photos too; what it has seen is kept if you stop.",
    )


def choose_cell(shown: Shown) -> tuple[str, str] | None:
    """The confusion matrix of the validation photos; returns the true and the predicted class of the chosen cell."""
    result = shown.result()
    classes = result["classes"]
    key = f"{MATRIX}-{st.session_state.get(LET_GO, 0)}"
    show_chart(
        charts.confusion,
        result["confusion"],
        classes,
        False,
        width="stretch",
        alt="Confusion matrix: rows are the true classes, columns the predicted ones.",
        on_select="rerun",
        selection_mode=charts.CELL,
        key=key,
    )
    picked = (st.session_state.get(key) or {}).get("selection", {}).get(charts.CELL) or []
    if not picked:
        st.caption("Click a cell to see where its validation photos lie.")
        return None
    true, said = picked[0]["true"], picked[0]["predicted"]
    told = f"{true}, predicted right" if true == said else f"{true} taken for {said}"
    st.caption(f"The map shows {plain(told)}.")
    st.button("Show all photos again", on_click=_let_go)
    return true, said


def show_points(shown: Shown, working: Working, file: Path, made: PhotoMap, cell: tuple[str, str] | None) -> list[str]:
    """The map; returns the paths that are chosen on it."""
    chosen = photo_map(
        map_url(shown.run.id, file.stat().st_mtime_ns),
        thumbnail_url(shown.dataset, "SHA256"),
        pending(working, made) if working.edits else {},
        cell,
        key=f"map-{shown.run.id}-{working.key}",
    )
    told = "Only what lies near to what has a meaning; directions and wide distances have none."
    if made.left_out:
        told += f" {count(made.left_out, 'photo is', 'photos are')} left out, beyond what a map can hold or unreadable."
    st.caption(told)
    return chosen


def show_chosen(shown: Shown, working: Working, made: PhotoMap, chosen: list[str]) -> None:
    """The chosen photos themselves, and what can be done with them, or with some of them."""
    table = _table(made)
    rows = table[table["path"].isin(chosen)]
    if rows.empty:
        return
    st.subheader("Chosen photos")
    actions = st.container()
    place = f"map-chosen-{shown.run.id}-{working.key}-{hash(tuple(chosen))}"
    first = pager(len(rows), PHOTOS_A_PAGE, key=place)
    page = rows.iloc[first : first + PHOTOS_A_PAGE]
    to_be = {row.path: row for row in working.rows} if working.edits else {}
    some = picture_picker([tile(shown, to_be, row, None) for row in page.itertuples()], key=f"{place}-{first}")
    paths = some or rows["path"].tolist()
    with actions:
        show_fixes(shown, working, paths, made.classes, None)
        if len(rows) > 1:
            st.caption("Choose some of the photos below to change those alone.")


def _let_go() -> None:
    """A matrix that begins anew has no chosen cell."""
    st.session_state[LET_GO] = st.session_state.get(LET_GO, 0) + 1


def pending(working: Working, made: PhotoMap) -> dict[str, str]:
    """By path, what the draft is about to make of photos, in words."""
    labels = dict(zip(made.path, made.label, strict=True))
    found = {}
    for row in working.rows:
        if row.path not in labels:
            continue
        if row.excluded:
            found[row.path] = "to be set aside"
        elif row.label != labels[row.path]:
            found[row.path] = f"to be {row.label}"
    return found


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _read(file: str, written_ns: int) -> PhotoMap | None:
    return read_map(Path(file))


def _table(made: PhotoMap) -> pd.DataFrame:
    names = ("path", "label", "predicted", "probability", "sha256")
    return pd.DataFrame({name: getattr(made, name) for name in names})
