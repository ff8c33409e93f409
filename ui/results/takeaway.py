"""The files to take away from a run. Each is offered only with a proof that fits it."""

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from learner.evaluation.results import is_complete, load_golden
from learner.exports import USUAL_COVERAGE
from learner.exports.formats import FORMATS, Format
from learner.exports.litert_converter import CONVERTER
from learner.exports.measured import Measured, milliseconds
from learner.exports.proofs import (
    Proof,
    download_file,
    fits,
    proof_file,
    read_loading_lines,
    read_proof,
    sha256_of,
)
from learner.questions.process import ask
from learner.store import Run, Store
from learner.store.files import is_of_model
from learner.wording import count, file_size, percent
from ui import state
from ui.names import plain
from ui.questions import get_questions, show_question

FIRST = "learner"
"""Prepared as soon as the view opens, since it takes seconds."""
COVERAGES = [0.8, 0.9, 0.95, 0.99, 1.0]
ONNX_LINES = """\
import numpy, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{file}")
about = session.get_modelmeta().custom_metadata_map  # classes, image_size, coverage …, as JSON
photo = Image.open("photo.jpg").convert("RGB").resize(({side}, {side}), Image.Resampling.BILINEAR)
probabilities, distance, none_of_these = session.run(None, {{"pixels": numpy.asarray(photo)[None]}})
"""
OPENVINO_LINES = """\
import json, numpy, openvino
from PIL import Image

model = openvino.Core().read_model("model.xml")
classes = json.loads(model.get_rt_info(["thaw", "classes"]).value)
compiled = openvino.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})  # bf16 is quicker, and rounds
photo = Image.open("photo.jpg").convert("RGB").resize(({side}, {side}), Image.Resampling.BILINEAR)
said = compiled(numpy.asarray(photo)[None])
probabilities, none_of_these = said["probabilities"], said["none_of_these"]
"""
LITERT_LINES = """\
import json, numpy
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

classes = json.load(open("model.json", encoding="utf-8"))["classes"]
run = Interpreter("model.tflite").get_signature_runner()
photo = Image.open("photo.jpg").convert("RGB").resize(({side}, {side}), Image.Resampling.BILINEAR)
said = run(pixels=numpy.asarray(photo)[None])
probabilities, none_of_these = said["probabilities"], said["none_of_these"]
"""
LINES = {
    "onnx": ONNX_LINES,
    "onnx-fp16": ONNX_LINES,
    "onnx-int8": ONNX_LINES,
    "openvino": OPENVINO_LINES,
    "litert": LITERT_LINES,
}
PKL_LINES = """\
from fastai.learner import load_learner

learn = load_learner("learner.pkl")
label, _, probabilities = learn.predict("photo.jpg")
"""


SERVED = ("onnx", "onnx-fp16", "onnx-int8")
SERVE_LINES = """\
python -m learner serve {file}  # listens on this machine; http://127.0.0.1:8600/docs is a page to try it on
curl -F images=@photo.jpg http://127.0.0.1:8600/v1/predict
"""
PUSH_LINES = """\
hf auth login  # once
python -m learner export {run} --format hf --push OWNER/NAME  # with a model card; --private for your eyes only
"""


def show_takeaway(store: Store, run: Run, result: dict[str, Any]) -> None:
    """Kinds of files: what each is for, its proof, how it does on the validation photos, its download."""
    st.caption(
        "Before a file is offered, it is opened in a fresh process that has nothing of Thaw, and must give the run's "
        "answers on a few validation photos that travel inside it."
    )
    coverage = st.select_slider(
        'Pictures that are still answered before "none of these" is said',
        COVERAGES,
        value=USUAL_COVERAGE,
        format_func=lambda share: f"{100 * share:.0f} %",
        help=f"Of pictures like the {count(result['images'], 'validation photo')}. The less, the more strangers are "
        "noticed. It goes into every file that can hold it: all but learner.pkl.",
        key=f"coverage-{run.id}",
    )
    _begin(store, run, coverage)
    for kind in FORMATS.values():
        with st.container(border=True, key=f"takeaway-{kind.kind}"):
            st.markdown(f"#### {kind.name}")
            st.markdown(f"{kind.purpose} Opens with {kind.needs}.")
            _show_kind(store, run, kind, coverage)


def _begin(store: Store, run: Run, coverage: float) -> None:
    """Prepare the first once a visit, so that somebody who stopped it is not asked again."""
    if state.PREPARED not in st.session_state:
        st.session_state[state.PREPARED] = set()
    done = run.id in st.session_state[state.PREPARED] or not is_complete(store.run_folder(run.id))
    if done or get_questions().is_busy:
        return
    st.session_state[state.PREPARED].add(run.id)
    if _proof_that_fits(store, run.id, FIRST, coverage) is None:
        file = proof_file(store.workspace, run.id, FIRST)
        get_questions().start(file, partial(ask, store, "export", file, run.id, FIRST, coverage))


def _show_kind(store: Store, run: Run, kind: Format, coverage: float) -> None:
    file = proof_file(store.workspace, run.id, kind.kind)
    if not get_questions().is_asked(file):
        proof = _proof_that_fits(store, run.id, kind.kind, coverage)
        if proof is not None:
            _show_offer(store, run, kind, proof)
            return
        if read_proof(store.workspace, run.id, kind.kind) is not None:
            st.caption("The one that was made before is of another model or another share of answers.")
    if kind.missing:
        st.caption(plain(kind.missing))
        return
    if kind.kind == "litert" and not CONVERTER.folder.is_dir():
        st.caption(
            "The first time, its converter is fetched through pip: about 200 MB to download, 800 MB on the disk."
        )
    show_question(
        file,
        partial(ask, store, "export", file, run.id, kind.kind, coverage),
        f"Prepare {kind.download}",
        again=f"Try {kind.download} again",
        doing=f"Preparing {kind.download}.",
        key=f"prepare-{kind.kind}",
    )


def _show_offer(store: Store, run: Run, kind: Format, proof: Proof) -> None:
    (st.markdown if proof.did_run else st.warning)(plain(proof.sentence))
    if measured := proof.on_validation:
        _show_measured(measured)
    path = download_file(store.workspace, run.id, kind.kind)
    st.download_button(
        f"Download {kind.download} ({file_size(path.stat().st_size)})",
        data=path.read_bytes,  # called on the click, so that no page holds the file in memory
        file_name=kind.download,
        mime="application/octet-stream",
        type="primary" if kind.kind == FIRST else "secondary",
        on_click="ignore",
        key=f"download-{kind.kind}",
    )
    if kind.kind == "learner":
        st.warning(
            "learner.pkl is a pickle, which can run any program hidden in it: open only those you trust, and compare "
            'the SHA-256. It cannot hold "none of these", and does not turn photos upright by their EXIF mark.'
        )
        st.download_button(
            "Download its requirements.txt",
            data=path.with_suffix(".requirements.txt").read_bytes,
            file_name="requirements.txt",
            mime="text/plain",
            on_click="ignore",
            help="The exact versions that it was written with; pip install -r requirements.txt brings them.",
            key="download-requirements",
        )
        _show_lines("Use it in Python", PKL_LINES)
    elif kind.kind == "safetensors":
        _show_lines("Load it without Thaw", read_loading_lines(path))
    elif kind.kind in LINES:
        golden = load_golden(store.run_folder(run.id))
        assert golden is not None  # the export was proven with them
        _show_lines("Use it in Python", LINES[kind.kind].format(side=golden["image_size"], file=kind.file))
        if kind.kind in SERVED:
            _show_lines("Let it answer other programs", SERVE_LINES.format(file=kind.file), "bash")
    elif kind.kind == "coreml":
        st.caption("Unpack it and drag model.mlpackage into an Xcode project.")
    elif kind.kind == "hf":
        _show_lines("Put it on the hub", PUSH_LINES.format(run=run.id), "bash")
    else:
        st.caption("Unpack it and open index.html; it needs no internet. It may also be put on any web site as it is.")
    st.caption(f"SHA-256 of {proof.sealed}")
    st.code(proof.sha256, language=None)


def _show_measured(measured: Measured) -> None:
    """Both beside each other, and what that says."""
    before, now = measured.accuracies
    rows = {
        "The run's model": (before, measured.original),
        "This file": (now, measured.export),
    }
    one, several = "A photo alone", f"A photo in batches of {measured.batch}"
    table = [
        {
            "": name,
            "Accuracy": percent(accuracy),
            one: milliseconds(speed.alone_ms),
            several: "–" if speed.batch_ms is None else milliseconds(speed.batch_ms),
        }
        for name, (accuracy, speed) in rows.items()
    ]
    alt = "Accuracy and speed of the run's model and of this file on the validation photos."
    st.table(table, border="horizontal", width="content", hide_index=True, alt=alt)
    st.caption(
        plain(
            f"{measured.sentence} Speed is this machine's processor's, {count(measured.threads, 'thread')}, without "
            "reading the files."
        )
    )
    if measured.warning:
        st.warning(measured.warning)


def _show_lines(title: str, lines: str, language: str = "python") -> None:
    with st.expander(title):
        st.code(lines, language=language)


def _proof_that_fits(store: Store, run_id: int, kind: str, coverage: float) -> Proof | None:
    proof = read_proof(store.workspace, run_id, kind)
    if proof is None or (proof.coverage != coverage and kind != FIRST):
        return None
    store.files.bring(run_id, is_of_model)
    return proof if fits(store.workspace, run_id, proof, _digest) else None


def _digest(file: Path) -> str:
    stat = file.stat()
    return _cached_digest(str(file), stat.st_size, stat.st_mtime_ns)


@st.cache_data(show_spinner=False, max_entries=256)
def _cached_digest(file: str, size: int, changed_ns: int) -> str:
    """`size` and `changed_ns` (nanoseconds since 1970) only say whether it is still the same file."""
    return sha256_of(Path(file))
