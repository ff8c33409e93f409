"""A batch: how far its answers are, and all of them as pictures or as a table to sort, filter and take away."""

import streamlit as st

from learner.inference import batches
from learner.inference.batches import Answer, Batch, Picture
from learner.store import Run, Store
from learner.wording import count, duration, percent
from ui import state
from ui.components import pager
from ui.names import plain
from ui.predict.answered import Answered
from ui.predict.answering import get_asker
from ui.predict.inputs import one_more_shot, open_batch
from ui.predict.marking import mark_buttons, show_joining
from ui.predict.one import show_one
from ui.predict.unknown import choose_coverage
from ui.web.elements import Tile, picture_picker
from ui.web.pictures import batch_picture_url

PICTURES_A_PAGE = 21
UNSURE_BELOW = 0.7
EVERY, UNSURE, NONE, WRONG, UNREAD = "All", "Unsure", "None of these", "Wrong", "Not read"
PICTURES, TABLE = "Pictures", "Table"


def show_batch(store: Store, run: Run, batch: Batch) -> None:
    """Everything about one batch, answered by the model of `run`."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(batch.title), width="content")
        if st.button("Ask about other pictures", icon=":material/add:"):
            open_batch(None)
    model = batches.model_key(run.id, store.checkpoint(run.id))
    show_progress(store, run, batch, model)
    answers, asked = batch.answers(model), batch.asked(model)
    if batch.kind == "camera":
        one_more_shot(batch)
    if asked is None or not answers:
        return
    pictures = [picture for picture in batch.pictures() if picture.number in answers or picture.error]
    answers |= {one.number: Answer(one.number, [], [], error=one.error) for one in pictures if one.error}
    coverage = choose_coverage(store.run_folder(run.id), asked)
    answered = Answered(store, run, model, batch, asked, pictures, answers, coverage)
    picture = show_many(answered) if len(pictures) > 1 else pictures[0]
    dataset, _ = store.runs.dataset_of(run)
    show_joining(store, batch, dataset)
    show_one(answered, picture)


def show_progress(store: Store, run: Run, batch: Batch, model: str) -> None:
    """What is under way, stopped or failed; begins what has not been begun."""
    asker = get_asker()
    if failure := asker.failure(batch, model):
        st.error(plain(failure))
        if st.button("Try again"):
            asker.forget_failure(batch, model)
            st.rerun()
        return
    there = batch.answers(model)
    if batch.is_ingested and all(picture.number in there or picture.error for picture in batch.pictures()):
        return
    if batch.is_stopped and asker.how_far(batch, model) is None:
        total = f" of {len(batch.pictures()):,}" if batch.is_ingested else ""
        st.info(f"Stopped: {len(there):,}{total} answered.")
        if st.button("Go on", type="primary"):
            batch.stop(False)
            st.rerun()
        return
    asker.begin(store, batch, run.id, model)
    st.fragment(watch, run_every=0.5)(batch, model)


def watch(batch: Batch, model: str) -> None:
    """Progress with the time left, and a way to stop; the whole page is shown again at the end."""
    how_far = get_asker().how_far(batch, model)
    if how_far is None:
        st.rerun()
    share = how_far.done / how_far.total if how_far.total else 0.0
    done = f": {how_far.done:,} of {how_far.total:,}" if how_far.total else ""
    left = f", {duration(how_far.seconds_left)} left" if how_far.seconds_left else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(share, 1.0), text=plain(f"{how_far.what}{done}{left}"), width="stretch")
        if st.button("Stop", key=f"stop-{batch.id}"):
            batch.stop(True)
    st.caption("You may leave this page; it goes on.")


def show_many(answered: Answered) -> Picture:
    """Filter, grid or table, and what can be said of the chosen ones. Returns the picture to look at."""
    pictures, batch_id = answered.pictures, answered.batch.id
    kinds = {
        EVERY: pictures,
        UNSURE: [one for one in pictures if any(prob < UNSURE_BELOW for prob in answered.answer(one).probs[:1])],
        NONE: [one for one in pictures if answered.is_none(one)],
        WRONG: [one for one in pictures if answered.is_right(one) is False],
        UNREAD: [one for one in pictures if answered.answer(one).error],
    }
    judged = [right for right in map(answered.is_right, pictures) if right is not None]
    if judged:
        st.markdown(
            f"{sum(judged):,} of {count(len(judged), 'judged answer')} right, {percent(sum(judged) / len(judged))}."
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Show",
            [name for name, some in kinds.items() if some or name == EVERY],
            format_func=lambda name: f"{name} ({len(kinds[name]):,})",
            default=EVERY,
            key=f"show-{batch_id}",
            help=f"Unsure: less than {100 * UNSURE_BELOW:.0f} % for the first answer.",
        )
        view = st.segmented_control("As", [PICTURES, TABLE], default=PICTURES, key="predict-view") or PICTURES
    shown = kinds.get(kind or EVERY) or pictures
    key = f"{batch_id}-{kind}"
    actions = st.container()
    chosen = (show_table if view == TABLE else show_grid)(answered, shown, key)
    with actions:
        if len(chosen) > 1:
            mark_buttons(answered, chosen, "chosen")
        else:
            st.caption("Choose one to look at it below, or several to mark them at once.")
    st.download_button(
        f"Download {count(len(pictures), 'row')} as CSV",
        data=answered.as_csv,
        file_name=f"predictions-{batch_id}.csv",
        mime="text/csv",
        on_click="ignore",
    )
    return looked_at(answered, shown, chosen)


def looked_at(answered: Answered, shown: list[Picture], chosen: list[Picture]) -> Picture:
    """The one that is chosen, else the one in the page's address, else the first that was read; leads to the next."""
    numbers = [picture.number for picture in shown]
    wanted = st.query_params.get(state.PICTURE, "")
    if len(chosen) == 1:
        wanted = str(chosen[0].number)
    if wanted.isdecimal() and int(wanted) in numbers:
        place = numbers.index(int(wanted))
    else:
        place = next((place for place, one in enumerate(shown) if not answered.answer(one).error), 0)
    with st.container(horizontal=True, vertical_alignment="center", key="looked-at"):
        one_chosen = len(chosen) == 1
        if st.button("Previous picture", disabled=place == 0 or one_chosen):
            place -= 1
        if st.button("Next picture", disabled=place + 1 == len(shown) or one_chosen):
            place += 1
        st.caption(f"{place + 1:,} of {len(shown):,}")
    st.query_params[state.PICTURE] = str(numbers[place])
    return shown[place]


def show_grid(answered: Answered, shown: list[Picture], key: str) -> list[Picture]:
    """Returns the chosen ones."""
    first = pager(len(shown), PICTURES_A_PAGE, key=f"grid-{key}")
    page = shown[first : first + PICTURES_A_PAGE]
    tiles = []
    for picture in page:
        said, unread = answered.in_words(picture), bool(answered.answer(picture).error)
        mark = {True: "\n✓ right", False: "\n△ wrong", None: ""}[answered.is_right(picture)]
        tiles.append(
            Tile(
                str(picture.number),
                batch_picture_url("thumbnail", answered.batch.id, picture.sha256),
                batch_picture_url("preview", answered.batch.id, picture.sha256),
                f"{said}\n{short(picture.name)}" if unread else f"{said}{mark}",
                f"{picture.name}: {said}",
                aside=unread,
            )
        )
    chosen = set(picture_picker(tiles, key=f"picker-{key}-{first}"))
    return [picture for picture in page if str(picture.number) in chosen]


def show_table(answered: Answered, shown: list[Picture], key: str) -> list[Picture]:
    """Returns the chosen ones."""
    rows = [
        {"": batch_picture_url("thumbnail", answered.batch.id, picture.sha256) if picture.sha256 else None}
        | answered.table_row(picture)
        for picture in shown
    ]
    chances = {
        name: st.column_config.NumberColumn(name, format="percent", width="small")
        for name in ("Probability", "Its probability")
    }
    event = st.dataframe(
        rows,
        column_config={"": st.column_config.ImageColumn("Picture", width="small"), **chances},
        hide_index=True,
        height=min(420, 38 + 56 * len(rows)),
        row_height=56,
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="",
        key=f"table-{key}",
    )
    return [shown[index] for index in event.selection.rows if index < len(shown)]


def short(name: str) -> str:
    """The file's name, fit to stand under a picture."""
    file = name.rpartition("/")[2]
    return file if len(file) <= 28 else f"{file[:12]}…{file[-14:]}"
