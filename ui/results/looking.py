"""Looks at images by a process beside the page: an older run is completed, or the test images are asked."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import streamlit as st

from learner.questions.answers import read_progress
from learner.store import Store
from learner.training.process import PATIENT_THREADS
from ui.beside import LOOK_AGAIN_S, get_beside
from ui.frame import telling_errors
from ui.names import plain


def look_button(store: Store, run_id: int, what: str, label: str, primary: bool = False) -> None:
    """A button that has a run's model look at images; while it does, how far it is and a way to stop.

    `what` is `complete` or `test`, see `learner.evaluation.inspect.main`. The page is drawn anew when it is done.
    """
    file = store.workspace.root / "cache" / "looks" / f"{run_id}-{what}.json"
    beside = get_beside()
    if beside.under_way == file:
        st.fragment(_watch, run_every=LOOK_AGAIN_S)(file)
        return
    failure = beside.failure(file)
    if failure:
        st.warning(plain(failure))
    st.button(
        label,
        on_click=beside.start,
        args=(file, partial(_start, store, run_id, what, file)),
        disabled=beside.under_way is not None,
        type="primary" if primary else "secondary",
        key=f"look-{what}-{run_id}",
    )


def _watch(file: Path) -> None:
    with telling_errors():
        if get_beside().under_way != file:
            st.rerun()
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.markdown(plain(read_progress(file)) or "Loading the model, about 10 s")
        right.button("Stop", on_click=get_beside().stop, key=f"stop-{file.stem}", width="stretch")


def _start(store: Store, run_id: int, what: str, file: Path) -> subprocess.Popen:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".txt").unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "learner.evaluation.inspect", what, str(run_id), str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**PATIENT_THREADS, **os.environ, "THAW_HOME": str(store.workspace.root)},
    )
