"""Take away: each file is prepared by a real process, and offered only with a proof that fits it."""

from dataclasses import replace
from pathlib import Path

import pytest

from learner.evaluation.intervals import Discordance
from learner.exports import USUAL_COVERAGE
from learner.exports.formats import FORMATS
from learner.exports.measured import Measured, Speed
from learner.exports.proofs import Proof, download_file, keep_proof, proof_file, read_proof, sha256_of
from learner.questions.process import ask
from learner.store import Store
from learner.workspace import Workspace
from tests.pages.reading import press, wait_for
from tests.patience import GIVE_UP_S
from tests.samples import copy_workspace
from ui.questions import get_questions

VIEW = {"view": "takeaway"}


def labels(app) -> list[str]:
    return [button.label for button in [*app.button, *app.get("download_button")]]


def downloads(app) -> list[str]:
    """Of model files, which tell their size."""
    return [one.proto.label for one in app.get("download_button") if one.proto.label.endswith("B)")]


def test_learner_pkl_is_prepared_as_the_view_opens_and_the_others_when_asked(own, open_page):
    app = open_page("results", **VIEW)
    assert not app.exception and downloads(app) == []
    assert any("Preparing learner.pkl" in text.value for text in app.markdown)
    assert "Prepare model.onnx" in labels(app)
    app = wait_for(app)
    [offered] = downloads(app)
    assert offered.startswith("Download learner.pkl (")
    assert any(text.value.startswith("Proven: opened in a fresh process by fastai") for text in app.markdown)
    assert any("pickle, which can run any program" in warning.value for warning in app.warning)
    assert read_proof(own.workspace, 1, "learner").sha256 in [code.value for code in app.code]

    app = wait_for(press(app, "Prepare model.zip"))
    assert len(downloads(app)) == 2
    assert any("timm.create_model" in code.value and "learner" not in code.value for code in app.code)


@pytest.fixture(scope="module")
def prepared_home(trained_home, tmp_path_factory) -> Path:
    """The workspace with the finished run, once its learner.pkl is prepared."""
    home = tmp_path_factory.mktemp("prepared") / "thaw"
    copy_workspace(trained_home, home)
    file = proof_file(Workspace(home), 1, "learner")
    assert ask(Store(Workspace(home)), "export", file, 1, "learner", USUAL_COVERAGE).wait(GIVE_UP_S) == 0
    return home


@pytest.fixture
def prepared(prepared_home, tmp_path, monkeypatch) -> Store:
    """Its copy, to write into."""
    copy_workspace(prepared_home, tmp_path / "prepared")
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "prepared"))
    return Store(Workspace.current())


def test_a_file_without_a_proof_that_fits_it_is_not_offered(prepared, open_page):
    app = open_page("results", **VIEW)
    assert len(downloads(app)) == 1
    file = download_file(prepared.workspace, 1, "learner")
    file.write_bytes(file.read_bytes() + b"x")
    assert downloads(app.run()) == []
    assert "Prepare learner.pkl" in labels(app)


def test_a_file_of_an_older_model_of_the_run_is_stale(prepared, open_page):
    app = open_page("results", **VIEW)
    assert len(downloads(app)) == 1
    checkpoint = prepared.workspace.checkpoint(1)
    checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    assert downloads(app.run()) == []
    assert any("of another model" in caption.value for caption in app.caption)


def test_a_format_shows_its_accuracy_and_speed_beside_the_runs_and_warns_of_accuracy_that_is_lost(prepared, open_page):
    keep(prepared, "onnx-int8", broken=4)
    app = open_page("results", **VIEW)
    [table] = [table.value for table in app.table if "Accuracy" in table.value]
    assert table["Accuracy"].tolist() == ["95.0 %", "93.0 %"]
    assert table["A photo alone"].tolist() == ["40 ms", "5.5 ms"]
    assert table["A photo in batches of 16"].tolist() == ["30 ms", "–"]
    assert any("less accurate than the run's model by 2.0 points" in warning.value for warning in app.warning)
    assert any("named the same classes on 6 photos" in text.value for text in app.markdown)
    assert any("model-int8.onnx" in code.value for code in app.code)


def test_a_format_that_could_not_be_run_here_says_so(prepared, open_page):
    keep(prepared, "coreml", did_run=False)
    app = open_page("results", **VIEW)
    assert any("Not proven here: only a Mac runs Core ML" in warning.value for warning in app.warning)
    assert any(label.startswith("Download coreml.zip") for label in downloads(app))


def test_a_format_that_needs_a_package_says_which_instead_of_offering_itself(prepared, open_page, monkeypatch):
    monkeypatch.setitem(FORMATS, "openvino", replace(FORMATS["openvino"], module="not_there"))
    app = open_page("results", **VIEW)
    assert any("pip install openvino" in caption.value for caption in app.caption)
    assert "Prepare openvino.zip" not in labels(app) and "Prepare coreml.zip" in labels(app)


def keep(store: Store, kind: str, broken: int = 0, did_run: bool = True) -> None:
    """A file of that kind with its proof, as if it had been made; of 200 photos the run's model has 190 right."""
    file = download_file(store.workspace, 1, kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"model")
    counts = Discordance(190 - broken, broken, 0, 10)
    measured = Measured(200, counts, 196, 199, 0.2, Speed(40, 30), Speed(5.5, None), 16, 2, False)
    proof = Proof(
        kind,
        photos=6,
        largest=0.1,
        versions={"onnxruntime": "1.0"},
        coverage=USUAL_COVERAGE,
        threshold=0.5,
        note="",
        checkpoint=sha256_of(store.workspace.checkpoint(1)),
        sealed=file.name,
        sha256=sha256_of(file),
        bytes=5,
        at=0.0,
        did_run=did_run,
        measured=measured.to_dict() if did_run else None,
    )
    keep_proof(store.workspace, 1, proof)


def test_what_is_stopped_leaves_nothing_and_does_not_begin_again_by_itself(own, open_page):
    app = open_page("results", **VIEW)
    get_questions().stop(proof_file(own.workspace, 1, "learner"))
    app = app.run()
    assert not get_questions().is_busy and "Prepare learner.pkl" in labels(app)
    folder = proof_file(own.workspace, 1, "learner").parent
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_failure_says_why_and_can_be_tried_again(prepared, open_page):
    app = open_page("results", **VIEW)
    (prepared.workspace.run_folder(1) / "golden" / "1.png").unlink()
    prepared.workspace.checkpoint(1).write_bytes(b"damaged")
    press(app.run(), "Prepare model.onnx")
    app = wait_for(app)
    assert any("is not a whole safetensors file" in warning.value for warning in app.warning)
    assert "Try model.onnx again" in labels(app)
