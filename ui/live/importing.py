"""Import a model that another program trained, as a run."""

import json
import shutil
from pathlib import Path

import streamlit as st

from learner.atomic import read_json
from learner.importing import CHECKPOINT_SUFFIXES, KERAS_SUFFIXES, PICKLE_SUFFIXES, uploaded_file
from learner.importing.pixels import PIXELS
from learner.questions.answers import answer_file
from learner.questions.process import ask
from learner.store import Store
from ui import people, state
from ui.names import plain
from ui.questions import show_question

MOST_MB = 1000
SAYS_ITSELF = "The file says it"


def takes_pickles() -> bool:
    """Whether only people on this machine reach the page: what a pickle runs may read what the server may read."""
    return not people.sign_in_is_on() and not people.is_open_to_others()


def show_import(store: Store) -> None:
    """Closed until somebody opens it, as most people train here. Viewers do not get it."""
    names = list(store.datasets.names())
    if not names or not state.entered().may_change:
        return
    with st.expander("Import a model that was trained elsewhere", key="import-model", on_change="rerun") as opened:
        if opened.open:
            _show_form(store, names)


def _show_form(store: Store, names: list[str]) -> None:
    st.caption(
        "VGG16, VGG19 or ResNet50 from Keras, a checkpoint of timm or torchvision, or fastai's learner.pkl. It becomes "
        "a run: look at its results, compare it, train it further, take it away."
    )
    suffixes = [*KERAS_SUFFIXES, *CHECKPOINT_SUFFIXES]
    if takes_pickles():
        suffixes += PICKLE_SUFFIXES
    else:
        st.caption(
            "A learner.pkl can run programs, which could read what others keep on this server. So whoever runs it "
            "imports one by the command: python -m learner models import"
        )
    kinds = [suffix.removeprefix(".") for suffix in suffixes]
    file = st.file_uploader("Model file", type=kinds, max_upload_size=MOST_MB, key="import-file")
    dataset = st.selectbox("Data set with the same classes, to check it on", names, key="import-dataset")
    left, right = st.columns(2)
    pixels = left.selectbox(
        "What it takes pixels for",
        [SAYS_ITSELF, *PIXELS],
        format_func=lambda name: PIXELS[name].label if name in PIXELS else name,
        key="import-pixels",
        help="Models of Keras need this, unless a layer of theirs rescales pixels. The wrong one makes the model "
        "guess badly.",
    )
    arch = right.text_input(
        "Architecture", placeholder="resnet50", key="import-arch", help="timm's name; needed for a checkpoint only."
    )
    classes = st.text_input(
        "Classes in the order of its outputs",
        placeholder="in the order of the alphabet",
        key="import-classes",
        help="With commas between them.",
    )
    if file is None:
        return
    trusts = False
    if Path(file.name).suffix in PICKLE_SUFFIXES:
        if not takes_pickles():
            return
        trusts = st.checkbox(
            "I trust whoever made this file: a pickle can run any program hidden in it. It is opened in a process "
            "without network that cannot change files, as far as this system can keep it from that.",
            key="import-trust",
        )
        if not trusts:
            return
    said = {
        "dataset": dataset,
        "pixels": None if pixels == SAYS_ITSELF else pixels,
        "arch": arch.strip() or None,
        "classes": [name.strip() for name in classes.split(",")] if classes.strip() else None,
        "trusts_pickle": trusts,
    }
    answer = answer_file(store.workspace, "imports", {**said, "file": file.file_id})
    if done := read_json(answer):
        st.success(f"It is run {done['run']}.")
        st.button("Show it", on_click=state.remember_run, args=(done["run"],), type="primary", key="import-show")
        return

    def begin():
        path = uploaded_file(answer, plain_name(file.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            shutil.copyfileobj(file, target)
        return ask(store, "import", answer, str(path), json.dumps(said))

    show_question(answer, begin, "Import it", doing=f"Importing {plain(file.name)}.", key="import-begin", primary=True)


def plain_name(name: str) -> str:
    """The last part of a file's name, whatever a browser says."""
    return Path(name.replace("\\", "/")).name[-100:]
