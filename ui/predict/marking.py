"""Right or wrong: what a person says of answers, and how marked pictures join the data set."""

from collections.abc import Sequence

import streamlit as st

from learner.datasets.jobs import job as import_job
from learner.errors import DatasetError
from learner.inference.batches import Batch, Mark, Picture
from learner.inference.joining import Joining, images_added, join, joining, labels_in, marked
from learner.store import Store
from learner.wording import count
from ui import state
from ui.components import class_box
from ui.frame import next_step, telling_errors
from ui.names import plain
from ui.predict.answered import Answered


def mark_buttons(answered: Answered, pictures: Sequence[Picture], key: str) -> None:
    """Buttons for these pictures; none is live while there is nothing they could mean."""
    batch = answered.batch
    some = [picture for picture in pictures if answered.answer(picture).classes]
    first = {picture.number: answered.answer(picture).classes[0] for picture in some}
    one = next(iter(first.values())) if len(set(first.values())) == 1 else ""
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"marking-{key}"):
        right = f"Right: {plain(one)}" if len(some) == 1 else f"All {len(some)} are right" if some else "Right"
        if st.button(right, disabled=not some, key=f"right-{key}", icon=":material/check:"):
            _mark(batch, {number: Mark(answer) for number, answer in first.items()})
        says = "No, it is" if len(some) < 2 else "No, they are"
        label = class_box(answered.asked.classes, key=f"label-{key}", disabled=not some, label=says, width=240)
        name = (label or "").strip()
        if st.button("Mark as that", disabled=not (some and name), key=f"as-{key}"):
            _mark(batch, {picture.number: Mark(name) for picture in some})
        if st.button("Wrong", disabled=not some, key=f"wrong-{key}", icon=":material/close:"):
            _mark(batch, {number: Mark(wrong=answer) for number, answer in first.items()})
        taken_back = [picture.number for picture in some if picture.number in answered.marks]
        if st.button("Take the mark back", disabled=not taken_back, key=f"back-{key}", type="tertiary"):
            _mark(batch, dict.fromkeys(taken_back))


def _mark(batch: Batch, marks: dict[int, Mark | None]) -> None:
    batch.mark(marks)
    st.rerun()


def show_joining(store: Store, batch: Batch, dataset: str) -> None:
    """What is marked with its class, and the way into the data set; what came of the last time."""
    last = joining(batch)
    if last is not None and _show_last(store, batch, last):
        return
    every = marked(batch)
    if not every or dataset not in store.datasets.names():
        return
    there = labels_in(store, dataset, [picture.sha256 for picture, _ in every])
    new = [picture for picture, _ in every if picture.sha256 not in there]
    if last is None or new:
        told = f"{count(len(every), 'picture is', 'pictures are')} marked with a class."
        if there:
            told += f" {dataset} holds {len(there):,} of them already"
            otherwise = [
                f"{picture.name} as {there[picture.sha256]}"
                for picture, label in every
                if picture.sha256 in there and there[picture.sha256] != label
            ]
            told += f", {', '.join(otherwise[:5])}: change its class on Data." if otherwise else "."
        st.markdown(plain(told))
    if new:
        label = f"Add {count(len(new), 'photo')} to {plain(dataset)}"
        if st.button(label, type="primary", key="join", help="They become a new version of it; older ones stay."):
            with telling_errors():
                join(store, batch, dataset)
                st.rerun()


def _show_last(store: Store, batch: Batch, last: Joining) -> bool:
    """What came of the last joining; True while it is under way or failed, and nothing else is to be offered."""
    try:
        job = import_job(store.workspace, last.job)
    except DatasetError:  # dismissed: it is done
        job = None
    if job is not None and job.working:
        st.fragment(_watch, run_every=0.7)(store, last)
        return True
    if job is not None and job.status != "done":
        st.error(f"The marked photos did not join {plain(last.dataset)}. {plain(job.message)}")
        return False
    if last.dataset not in store.datasets.names():
        return False
    used, unused = images_added(store, last)
    if not used and not unused:
        return False
    version = store.datasets.version(last.dataset)
    reasons = "".join(f"\n- {plain(path)}: {plain(reason)}" for path, reason in unused[:10])
    told = f"**{count(used, 'photo')} joined {plain(last.dataset)}**, which is at version {version.number} now."
    if unused:
        told += f" {count(len(unused), 'more is', 'more are')} kept in it but not used:{reasons}"
    st.success(told)
    st.session_state[state.DATASET] = last.dataset
    next_step("train", "Train again with them", primary=not _anything_new(store, batch, last.dataset))
    return False


def _anything_new(store: Store, batch: Batch, dataset: str) -> bool:
    every = [picture.sha256 for picture, _ in marked(batch)]
    return len(labels_in(store, dataset, every)) < len(every)


def _watch(store: Store, last: Joining) -> None:
    try:
        job = import_job(store.workspace, last.job)
    except DatasetError:
        st.rerun()
    if not job.working:
        st.rerun()
    progress = job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    st.progress(
        min(share, 1.0), text=plain(f"Adding the photos to {last.dataset}. {progress.what if progress else ''}")
    )
