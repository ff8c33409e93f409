"""Data: add a data set, look at it, see what was set aside."""

from pathlib import PurePosixPath

import streamlit as st

from learner.datasets import SAMPLE_NAME, Summary, check_name, save_uploads, summarize, thumbnail_path
from learner.datasets.jobs import ImportJob, cancel, dismiss, jobs, start_import
from learner.store import Store
from learner.words import count, duration
from ui import state
from ui.components import Picture, pager, picture_grid
from ui.frame import next_step, page, telling_errors

PICTURES_A_PAGE = 24
CLASSES_AT_ONCE = 20


def show_page() -> None:
    store = state.get_store()
    names = store.datasets.names()
    show_imports(store, names)
    if not names and any(not job.ended for job in jobs(store.workspace)):
        st.caption("You may leave this page; the import goes on.")
        return
    if not names:
        st.markdown(
            "**No data sets yet.** A data set is a pile of photos, sorted into one folder for each kind of thing the "
            "model should tell apart."
        )
        add_sample_button(store, primary=True)
        st.subheader("Or bring your own photos")
        add_form(store)
        return
    chosen = state.current_dataset(names)
    name = st.selectbox("Data set", names, index=names.index(chosen))
    st.session_state[state.DATASET] = name
    summary = summarize(store, store.datasets.version(name))
    show_summary(summary)
    show_pictures(store, summary)
    show_set_aside(summary)
    with st.expander("Add a data set"):
        if SAMPLE_NAME not in names:
            add_sample_button(store, primary=False)
        add_form(store)


def add_sample_button(store: Store, primary: bool) -> None:
    running = any(not job.ended and job.name == SAMPLE_NAME for job in jobs(store.workspace))
    if st.button("Use the sample: handwritten digits", type="primary" if primary else "secondary", disabled=running):
        start_import(store.workspace, None, SAMPLE_NAME, sample=True)
        st.rerun()
    st.caption("1,797 small pictures of the digits 0 to 9; they come with Thaw and need no internet.")


def add_form(store: Store) -> None:
    """Choose files, name the set, start the import."""
    round_ = st.session_state.setdefault(state.IMPORT_ROUND, 0)
    way = st.segmented_control("What do you have?", ["A .zip file", "A folder"], default="A .zip file", key="way")
    if way == "A folder":
        files = st.file_uploader("Choose or drop a folder", accept_multiple_files="directory", key=f"folder-{round_}")
    else:
        one = st.file_uploader("Choose or drop a .zip file", type="zip", key=f"zip-{round_}")
        files = [one] if one else []
    st.caption(EXPECTED)
    suggestion = PurePosixPath(files[0].name.replace("\\", "/")).parts[0].removesuffix(".zip") if files else ""
    name = st.text_input("Name", value=suggestion, key=f"name-{round_}-{suggestion}", max_chars=80)
    again = name in store.datasets.names()
    if again:
        st.caption("There is a data set of that name already: this becomes its next version; the old one stays.")
    label = f"Import {count(len(files), 'file')}" if way == "A folder" and files else "Import"
    if st.button(label, disabled=not (files and name.strip())):
        with telling_errors():
            check_name(name)
            with st.spinner("Storing the files"):
                source = save_uploads(store.workspace, ((file.name, file) for file in files))
            start_import(store.workspace, source, name, delete_source_after=True)
            st.session_state[state.IMPORT_ROUND] = round_ + 1
            st.rerun()


EXPECTED = "One folder for each class, or train and valid (and test) folders with one folder for each class inside."


def show_imports(store: Store, names: list[str]) -> None:
    """Imports under way and those that ended badly; polls while one runs."""
    every = jobs(store.workspace)
    if any(not job.ended for job in every):
        st.fragment(watch_imports, run_every=0.7)(store)
    else:
        for job in every:
            show_ended_import(store, job)


def watch_imports(store: Store) -> None:
    every = jobs(store.workspace)
    if not any(not job.ended for job in every):
        st.rerun()
    for job in every:
        if not job.ended:
            show_running_import(store, job)


def show_running_import(store: Store, job: ImportJob) -> None:
    progress = job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    left = f", {duration(progress.seconds_left)} left" if progress and progress.seconds_left is not None else ""
    st.progress(share, text=f"{job.name}: {progress.what if progress else 'Starting the import'}{left}")
    if st.button("Cancel this import", key=f"cancel-{job.id}"):
        cancel(store.workspace, job.id)


def show_ended_import(store: Store, job: ImportJob) -> None:
    if job.status == "done":
        st.session_state[state.DATASET] = job.name
        dismiss(store.workspace, job.id)
        st.toast(f"{job.name} is ready.")
        return
    tell = st.info if job.status == "cancelled" else st.error
    tell(f"**{job.name}** was not imported. {job.message}")
    if st.button("Dismiss", key=f"dismiss-{job.id}"):
        dismiss(store.workspace, job.id)
        st.rerun()


def show_summary(summary: Summary) -> None:
    version = summary.version
    said = f"**{count(summary.images, 'image')}** in **{count(len(summary.classes), 'class', 'classes')}**"
    if summary.has_own_split:
        said += ", split by its own folders into " + ", ".join(
            f"{number:,} {split}" for split, number in summary.totals.items()
        )
    else:
        said += "; each recipe keeps a share of them for validation"
    st.markdown(f"{said}. Version {version.number}, typically {summary.median_width} × {summary.median_height} px.")
    next_step("train", f"Plan the training on {version.name}")
    from ui import charts  # a second of loading, which the empty page need not wait for

    st.subheader("Images in each class")
    with st.container(height="content" if len(summary.classes) <= CLASSES_AT_ONCE else 420):
        st.altair_chart(
            charts.class_counts(summary.counts, summary.classes),
            alt="Bar chart of the number of images in each class and split.",
        )


def show_pictures(store: Store, summary: Summary) -> None:
    version = summary.version
    st.subheader("Pictures")
    label = st.selectbox("Class", summary.classes, key=f"class-{version.id}")
    total = sum(summary.counts[label].values())
    first = pager(total, PICTURES_A_PAGE, key=f"page-{version.id}-{label}")
    images = store.datasets.images(version.id, label=label, offset=first, limit=PICTURES_A_PAGE)
    picture_grid(
        [
            Picture(thumbnail_path(store.workspace, version.name, image), image.path, f"{label}: {image.path}")
            for image in images
        ]
    )


def show_set_aside(summary: Summary) -> None:
    if not summary.set_aside:
        st.caption("Every file that came in could be read; nothing was set aside.")
        return
    st.subheader(f"Set aside: {count(len(summary.set_aside), 'file')}")
    st.caption("These are not used for training. The originals are untouched: mend them and import again.")
    st.dataframe(
        [{"File": row.path, "Why": row.reason} for row in summary.set_aside],
        hide_index=True,
        column_config={"File": st.column_config.TextColumn(width="medium")},
    )


with page("data", "Bring labelled photos: they are checked, counted and kept as they are."):
    show_page()
