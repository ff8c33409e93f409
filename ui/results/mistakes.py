"""What a model gets wrong: the confusion matrix, the photos behind each of its cells, and their correction."""

import base64
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import streamlit as st

from learner.datasets import bring_files
from learner.datasets.exclusions import ImageRow
from learner.evaluation.results import SPLIT_TITLES, SplitName, confused_pairs
from learner.wording import count, percent
from ui import state
from ui.components import pager
from ui.data.working import Working, working_on
from ui.drawing import show_chart
from ui.names import plain
from ui.results import charts
from ui.results.closer import predictor_of, show_closer
from ui.results.fixing import show_corrections, show_fixes
from ui.results.shown import Shown
from ui.web.elements import Tile, picture_picker
from ui.web.pictures import preview_url, thumbnail_url

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

PHOTOS_A_PAGE = 24
PAIRS_SHOWN = 6
PERCENT, COUNTS = "Per cent of the true class", "Counts"
ANY = "Any class"
WRONG, RIGHT, BOTH = "Wrong", "Right", "All"
MOST_WRONG, LEAST_SURE, FARTHEST, BY_NAME = "Most wrong", "Least sure", "Least like training photos", "By name"
TRUE, SAID, WHICH, MATRIX = "mistakes-true", "mistakes-said", "mistakes-which", "mistakes-matrix"


def show_mistakes(shown: Shown) -> None:
    splits = shown.splits
    split: SplitName = "valid"
    if len(splits) > 1:
        chosen = st.segmented_control(
            "Of which images",
            splits,
            default="valid",
            required=True,
            format_func=lambda one: f"{SPLIT_TITLES[one]} ({shown.result(one)['images']:,})",
            key="mistakes-split",
            help="Mistakes on training images are the likeliest wrong labels: the model has learnt them and still says "
            "something else.",
        )
        split = chosen or split
    result, table = shown.result(split), shown.predictions(split)
    working = working_on(shown.store, shown.dataset)
    show_corrections(shown, working)
    show_matrix(result)
    show_pairs(result)
    show_photos(shown, working, split, table, result["classes"])


def show_matrix(result: dict) -> None:
    classes = result["classes"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("Confusion matrix", width="content")
        figures = st.segmented_control(
            "Show", [COUNTS, PERCENT], default=COUNTS, required=True, label_visibility="collapsed", key="matrix-figures"
        )
    show_chart(
        charts.confusion,
        result["confusion"],
        classes,
        figures == PERCENT,
        width="content" if len(classes) < charts.FEW_CLASSES else "stretch",
        alt="Confusion matrix: rows are the true classes, columns the predicted ones.",
        on_select=_choose_cell,
        selection_mode=charts.CELL,
        key=MATRIX,
    )
    st.caption(
        "Rows are what a picture shows, columns what the model said. Right answers lie on the diagonal. Click a cell "
        "to see its photos, or choose classes below."
    )


def show_pairs(result: dict) -> None:
    """The most frequent confusions in words, each a button; figures first, as a phone cuts long names off."""
    pairs = confused_pairs(result)
    if not pairs:
        return
    st.markdown("**Most often confused**")
    with st.container(horizontal=True, key="pairs"):
        for true, said, times, images in pairs[:PAIRS_SHOWN]:
            st.button(
                f"{times:,} of {images:,}: {plain(true)} taken for {plain(said)}",
                on_click=_choose_pair,
                args=(true, said),
                key=f"pair-{true}-{said}",
            )


def show_photos(
    shown: Shown, working: Working, split: SplitName, table: "pd.DataFrame", classes: Sequence[str]
) -> None:
    st.subheader("Photos")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        options = [ANY, *classes]
        true = st.selectbox("Shows", options, key=TRUE, width=200)
        said = st.selectbox("Model said", options, key=SAID, width=200)
        st.session_state.setdefault(WHICH, WRONG)  # a default beside a key that cells set is warned of
        which = st.segmented_control("Which", [WRONG, RIGHT, BOTH], required=True, key=WHICH) or WRONG
        order = st.selectbox("Sort", [MOST_WRONG, LEAST_SURE, FARTHEST, BY_NAME], key="mistakes-sort", width=230)
    rows = chosen_rows(table, true, said, which, order)
    if rows.empty:
        all_right = which == WRONG and true == said == ANY
        st.markdown(
            f"Every {SPLIT_TITLES[split].lower()} image was predicted right." if all_right else "No photo is like that."
        )
        return
    st.caption(f"{count(len(rows), 'photo')} of {len(table):,}.")
    place = f"{shown.run.id}-{split}-{true}-{said}-{which}-{order}"
    actions = st.container()
    stage, strength = heat_controls(shown)
    first = pager(len(rows), PHOTOS_A_PAGE, key=f"mistakes-page-{place}")
    page = rows.iloc[first : first + PHOTOS_A_PAGE]
    with telling_progress(stage):
        heats = heat_thumbnails(shown, page, stage, strength) if stage else {}
    pending = {row.path: row for row in working.rows} if working.edits else {}
    chosen = picture_picker(
        [tile(shown, pending, row, heats.get(row.path)) for row in page.itertuples()],
        key=f"mistakes-{place}-{first}-{working.key}-{stage}-{strength}",
    )
    picked = page[page["path"].isin(chosen)]
    with actions:
        show_fixes(shown, working, picked["path"].tolist(), list(classes), split)
    if len(picked) == 1:
        show_closer(shown, split, int(picked.index[0]), list(classes), stage, strength)


def chosen_rows(table: "pd.DataFrame", true: str, said: str, which: str, order: str) -> "pd.DataFrame":
    """The predictions that the filters let through, in the order asked for."""
    is_right = table["label"] == table["predicted"]
    keep = is_right if which == RIGHT else ~is_right if which == WRONG else is_right | ~is_right
    if true != ANY:
        keep &= table["label"] == true
    if said != ANY:
        keep &= table["predicted"] == said
    rows = table[keep]
    if order == BY_NAME:
        return rows.sort_values("path")
    if order == LEAST_SURE:
        return rows.sort_values("probability")
    if order == FARTHEST and "distance" in rows:
        return rows.sort_values("distance", ascending=False)
    return rows.sort_values("own")


def heat_controls(shown: Shown) -> tuple[str, float]:
    """Which stage's heat maps lie over the photos, and how strongly; an empty stage for none."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        on = st.toggle(
            "Show what each answer came from",
            key="mistakes-heat",
            help="Heat maps (Grad-CAM): the more amber, the more a place spoke for the answer. Choose one photo "
            "to see what spoke for its label, and which training photos are like it.",
        )
        if not on:
            return "", 0.0
        stages = shown.run.facts["stages"]
        stage = st.selectbox(
            "Stage",
            stages,
            index=len(stages) - 1,
            key="mistakes-stage",
            width=150,
            help="Late stages see things, early ones edges and colours.",
        )
        strength = st.slider("Strength", 10, 100, 70, format="%d %%", key="mistakes-strength", width=220)
    return stage, strength / 100


def telling_progress(stage: str) -> AbstractContextManager:
    """A spinner while heat maps of a stage are drawn; nothing without."""
    return st.spinner("Drawing heat maps; the first time the model is loaded") if stage else nullcontext()


def heat_thumbnails(shown: Shown, page: "pd.DataFrame", stage: str, strength: float) -> dict[str, str]:
    """By path, the photo under the heat map of what the model said of it, as an address that holds the picture."""
    files = tuple(page["file"])
    place = {name: index for index, name in enumerate(shown.result()["classes"])}
    said = tuple(place[name] for name in page["predicted"])
    drawn = _overlays(shown, shown.model, files, said, stage, strength)
    return dict(zip(page["path"], drawn, strict=True))


@state.cached(st.cache_data, max_entries=24, show_spinner=False)
def _overlays(
    _shown: Shown, model: str, files: tuple[str, ...], classes: tuple[int, ...], stage: str, strength: float
) -> list[str]:
    from learner.evaluation.grad_cam import overlays

    folder = bring_files(_shown.store, _shown.dataset, files)
    drawn = overlays(predictor_of(_shown), [folder / file for file in files], classes, stage, strength)
    return [as_address(picture) for picture in drawn]


def as_address(picture: "Image") -> str:
    """A picture as an address that holds it."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tile(shown: Shown, pending: dict[str, ImageRow], row, heat: str | None) -> Tile:
    """One photo: what the model said and how sure, what it is labelled, what is to become of it (`pending`)."""
    right = row.label == row.predicted
    said = f"{'✓' if right else '✕'} {row.predicted}, {percent(row.probability)}"
    lines = [said] if right else [said, f"labelled {row.label}"]
    now = pending.get(row.path)
    if now is not None and now.excluded:
        lines.append("to be set aside")
    elif now is not None and now.label != row.label:
        lines.append(f"to be {now.label}")
    return Tile(
        path=row.path,
        thumbnail=heat or thumbnail_url(shown.dataset, row.sha256),
        preview=heat or preview_url(shown.dataset, row.sha256),
        caption="\n".join(lines),
        alt=f"{row.path}: labelled {row.label}, the model said {row.predicted}, {percent(row.probability)}",
        aside=now is not None and now.excluded,
    )


def _choose_cell() -> None:
    """Show the photos of the clicked cell; all photos when it is let go."""
    picked = st.session_state[MATRIX]["selection"].get(charts.CELL) or []
    if picked:
        _choose_pair(picked[0]["true"], picked[0]["predicted"])
    else:
        st.session_state.update({TRUE: ANY, SAID: ANY, WHICH: WRONG})


def _choose_pair(true: str, said: str) -> None:
    st.session_state.update({TRUE: true, SAID: said, WHICH: RIGHT if true == said else WRONG})
