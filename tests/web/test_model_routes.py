"""What a real web process answers of a model: frames of a camera at once, and the map of a run's photos."""

import io
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from learner.evaluation.map_layout import make_map
from learner.inference.predictor import Predictor
from learner.models.checkpoint import load_model, load_reference, save_model
from learner.store import Store
from learner.workspace import Workspace
from tests.samples import copy_workspace, make_photos

ASKED = {"run": "1", "coverage": "0.95"}


@pytest.fixture(scope="module")
def home(trained_home, tmp_path_factory) -> Path:
    """A workspace with a finished run, whose model answers every picture at full coverage and none at 80 %."""
    folder = tmp_path_factory.mktemp("served") / "thaw"
    copy_workspace(trained_home, folder)
    checkpoint = Workspace(folder).checkpoint(1)
    model, spec = load_model(checkpoint)
    spec = replace(spec, distances=[-1.0] * 90 + [2.0] * 11)
    save_model(model, spec, checkpoint, load_reference(checkpoint))
    return folder


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> bytes:
    return next(make_photos(tmp_path_factory.mktemp("frame"), seed=9).rglob("*.jpg")).read_bytes()


def test_a_frame_gets_the_answer_that_the_model_gives_any_picture(client, workspace, frame):
    predictor = Predictor.open("1", Store(workspace))
    [expected] = predictor.predict([io.BytesIO(frame)])
    answer = client.post("/api/live", params=ASKED, content=frame)
    said = answer.json()
    assert (answer.status_code, said["classes"], said["knows_none"]) == (200, expected.classes, True)
    assert said["probs"] == pytest.approx(expected.probs, abs=1e-4)
    assert said["none"] is (expected.distance > predictor.spec.threshold(0.95))
    assert answer.headers["cache-control"] == "no-store"


def test_the_share_of_known_pictures_decides_what_is_none_of_these(client, frame):
    for coverage, none in (("0.8", True), ("1.0", False)):
        said = client.post("/api/live", params={**ASKED, "coverage": coverage}, content=frame).json()
        assert said["none"] is none


@pytest.mark.parametrize(
    ("changes", "content", "status", "said"),
    [
        ({"run": "7"}, b"", 400, "There is no run 7"),
        ({"run": "../1"}, b"", 400, "names no run"),
        ({"coverage": "0.5"}, b"", 400, "names no run and coverage"),
        ({}, b"Dear all", 400, "no picture that can be read"),
        ({}, b"0" * 2_000_001, 413, "too large"),
    ],
)
def test_what_cannot_be_looked_at_is_told(client, changes, content, status, said):
    answer = client.post("/api/live", params=ASKED | changes, content=content)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_only_pages_of_ours_may_ask(client, frame):
    del client.headers["X-Thaw"]
    assert client.post("/api/live", params=ASKED, content=frame).status_code == 403


def test_a_map_comes_whole_once_it_was_made(client, workspace):
    for run in (1, 7):
        assert client.get(f"/api/maps/{run}").status_code == 404
    made = make_map(Store(workspace), 1)
    answer = client.get("/api/maps/1")
    assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip"
    assert answer.json() == asdict(made)
