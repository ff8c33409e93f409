"""Take away: each file is prepared by a real process, and offered only with a proof that fits it."""

from pathlib import Path

import pytest

from learner.exports import USUAL_COVERAGE
from learner.exports.proofs import download_file, proof_file, read_proof
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
