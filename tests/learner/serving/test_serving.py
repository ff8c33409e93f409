"""A served model answers as its run does, whatever way the images come, and refuses what it cannot take."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from learner.evaluation.grad_cam import heat_maps
from learner.inference.predictor import Predictor
from tests.learner.serving.conftest import serving
from tests.patience import GIVE_UP_S
from tests.ready import Fresh
from tests.samples import copy_workspace
from tests.serving import free_port


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    store, run_id = trained
    return Predictor.open(str(run_id), store)


@pytest.fixture
def files(photos) -> list[Path]:
    return sorted((photos / "valid").rglob("*.jpg"))[:3]


def as_form(files: list[Path]) -> list:
    return [("images", (file.name, file.read_bytes(), "image/jpeg")) for file in files]


# Answers


def test_images_in_a_form_are_answered_in_order_as_the_run_answers_them(served, predictor, files):
    said = served.client.post("/v1/predict", files=as_form(files)).json()["predictions"]
    assert [one["file"] for one in said] == [file.name for file in files]
    for one, expected in zip(said, predictor.predict(files), strict=True):
        assert [each["label"] for each in one["classes"]] == expected.classes
        assert [each["probability"] for each in one["classes"]] == pytest.approx(expected.probs, abs=1e-3)
        assert one["distance"] == pytest.approx(expected.distance, abs=1e-3)
        assert one["error"] is None and one["heat_map"] is None


def test_base64_and_plain_bytes_give_the_same_answer_as_a_form(served, files):
    content = files[0].read_bytes()
    [by_form] = served.client.post("/v1/predict", files=as_form(files[:1])).json()["predictions"]
    encoded = base64.b64encode(content).decode()
    for text in (encoded, f"data:image/jpeg;base64,{encoded}"):
        [by_json] = served.client.post("/v1/predict", json={"images": [text]}).json()["predictions"]
        assert by_json == by_form | {"file": ""}
    for kind in ("image/jpeg", "application/octet-stream"):
        answer = served.client.post("/v1/predict", content=content, headers={"Content-Type": kind})
        assert answer.json()["predictions"] == [by_form | {"file": ""}]


def test_top_k_coverage_and_heat_map_are_chosen_with_each_question(served, predictor, files):
    def ask(**chosen):
        [one] = served.client.post("/v1/predict", files=as_form(files[:1]), params=chosen).json()["predictions"]
        return one

    assert len(ask(top_k=1)["classes"]) == 1
    distance = ask()["distance"]
    for coverage in (0.5, 0.7, 0.95, 1):
        assert ask(coverage=coverage)["none_of_these"] is (distance > predictor.spec.threshold(coverage))
    answer = ask(heat_map=True)
    place = predictor.spec.classes.index(answer["classes"][0]["label"])
    expected = heat_maps(predictor, predictor.read(files[0])[None], [place])[0]
    assert np.array(answer["heat_map"]) == pytest.approx(expected, abs=1e-3)


def test_an_image_that_cannot_be_read_says_why_and_the_others_are_answered(served, files):
    bad = [("images", ("notes.txt", b"no image", "text/plain"))]
    first, second = served.client.post("/v1/predict", files=[*bad, *as_form(files[:1])]).json()["predictions"]
    assert first["file"] == "notes.txt" and "It is not an image" in first["error"] and first["classes"] == []
    assert second["error"] is None and second["classes"]
    [alone] = served.client.post("/v1/predict", json={"images": ["?"]}).json()["predictions"]
    assert alone["error"] == "It is no base64."


def test_many_who_ask_at_once_get_each_the_answer_to_their_own_image(served, files):
    alone = {file: served.client.post("/v1/predict", files=as_form([file])).json() for file in files}
    answers: list[tuple[Path, dict]] = []

    def ask(file: Path) -> None:
        answers.append((file, httpx.post(f"{served.client.base_url}/v1/predict", files=as_form([file])).json()))

    threads = [threading.Thread(target=ask, args=(file,)) for file in files * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 18
    for file, answer in answers:
        [said], [expected] = answer["predictions"], alone[file]["predictions"]
        assert said["file"] == file.name
        assert [one["label"] for one in said["classes"]] == [one["label"] for one in expected["classes"]]
        assert said["distance"] == pytest.approx(expected["distance"], abs=1e-5)


def test_the_server_says_what_it_serves_and_counts_what_it_did(served, contents, files):
    about = served.client.get("/v1/model").json()
    assert about["classes"] == contents.spec.classes and about["image_size"] == contents.spec.image_size
    assert about["none_of_these"] and about["heat_maps"] and len(about["sha256"]) == 64
    served.client.post("/v1/predict", files=as_form(files))
    figures = served.client.get("/metrics").text
    assert 'thaw_serve_requests_total{path="/v1/predict",status="200"}' in figures
    counted = [line for line in figures.splitlines() if line.startswith("thaw_serve_images_total")]
    assert sum(float(line.split()[-1]) for line in counted) >= len(files)
    assert served.client.get("/health").text == "ok\n"


def test_the_page_to_try_it_on_needs_no_other_server(served):
    page = served.client.get("/docs").text
    assert "swagger-ui" in page and "http://" not in page and "https://" not in page
    assert served.client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


# Refusals


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"data": {"images": "text"}}, 415, "not as application/x-www-form-urlencoded"),
        ({"files": [("photos", ("a.jpg", b"", "image/jpeg"))]}, 422, 'no files named "images"'),
        ({"json": {"images": []}}, 422, "images: List should have at least 1 item"),
        ({"json": {"pictures": []}}, 422, "images: Field required"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "Invalid JSON"),
        ({"json": {"images": ["", ""]}, "params": {"top_k": 0}}, 422, "query.top_k"),
        ({"json": {"images": ["", ""]}, "params": {"coverage": 0.2}}, 422, "query.coverage"),
        ({"files": [("images", (f"{n}.jpg", b"", "image/jpeg")) for n in range(5)]}, 400, "number of files is 4"),
        ({"json": {"images": [""] * 5}}, 422, "may hold 4 images"),
        ({"content": b"x" * 1_000_001, "headers": {"Content-Type": "image/png"}}, 413, "may have 1 MB"),
        ({"content": iter([b"x" * 600_000] * 2), "headers": {"Content-Type": "image/png"}}, 413, "may have 1 MB"),
    ],
)
def test_a_request_that_cannot_be_taken_is_told_why(served, request_, status, sentence):
    answer = served.client.post("/v1/predict", **request_)
    assert answer.status_code == status and sentence in answer.json()["detail"]


def test_a_picture_of_more_pixels_than_an_import_takes_is_not_opened(served):
    file = io.BytesIO()
    Image.new("1", (20_000, 11_000)).save(file, "PNG")
    [one] = served.client.post("/v1/predict", content=file.getvalue(), headers={"Content-Type": "image/png"}).json()[
        "predictions"
    ]
    assert "more than 200 megapixels" in one["error"]


def test_another_sites_name_for_this_machine_is_not_answered_and_no_site_may_read_answers(served):
    assert served.client.get("/v1/model", headers={"Host": "evil.example"}).status_code == 400
    answer = served.client.get("/v1/model", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_nothing_is_found_by_a_tester_that_reads_the_openapi_description(served, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.client.base_url}/openapi.json"),
            *("--max-examples", "25", "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    assert done.returncode == 0 and "No issues found" in done.stdout, done.stdout + done.stderr


# Keys, addresses, the process


def test_with_a_key_made_only_those_who_have_it_are_answered_until_it_is_revoked(onnx_model, tmp_path, thaw):
    file = ["--keys", str(tmp_path / "keys.json")]
    key = thaw("keys", "add", "camera 3", *file).out.strip()
    assert key not in (tmp_path / "keys.json").read_text()
    assert "camera 3" in thaw("keys", "list", *file).out
    origin = {"Origin": "https://shop.example"}
    with serving(str(onnx_model), *file, "--cors", "https://shop.example") as one:
        assert one.client.get("/health").status_code == 200
        for sent in ({}, {"Authorization": "Bearer wrong"}):
            refused = one.client.get("/v1/model", headers=sent)
            assert refused.status_code == 401 and "API key" in refused.json()["detail"]
            assert one.client.post("/v1/predict", content=b"", headers=sent).status_code == 401
        mine = {"Authorization": f"Bearer {key}", "Host": "models.example"}
        allowed = one.client.get("/v1/model", headers=mine | origin)
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        thaw("keys", "revoke", "camera 3", *file)
        (tmp_path / "keys.json").unlink()  # must not open the door
        assert one.client.get("/v1/model", headers=mine).status_code == 401
        assert one.client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]["security"]


def test_where_others_can_reach_it_a_key_is_needed(onnx_model, thaw):
    refused = thaw("serve", str(onnx_model), "--host", "0.0.0.0")
    assert "there is no API key yet" in refused.err and "--open" in refused.err


def test_a_taken_port_and_a_file_that_is_no_model_are_told_in_a_line(onnx_model, tmp_path, thaw):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = thaw("serve", str(onnx_model), "--port", str(taken.getsockname()[1]))
        assert "Address already in use" in refused.err and "--port" in refused.err
    (tmp_path / "model.onnx").write_bytes(b"nothing of that")
    for file, reason in ((tmp_path / "model.onnx", "not a whole ONNX file"), (tmp_path / "none.onnx", "no model at")):
        refused = thaw("serve", str(file), "--port", str(free_port()))
        assert reason in refused.err and "Traceback" not in refused.err


def test_a_run_is_exported_and_proven_before_it_is_served(trained, tmp_path, files, monkeypatch):
    store, run_id = trained
    copy_workspace(store.workspace.root, tmp_path)
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    with serving(str(run_id)) as one:
        assert one.client.post("/v1/predict", files=as_form(files[:1])).json()["predictions"][0]["classes"]


def test_the_process_loads_no_torch_and_answers_what_was_begun_before_it_stops(onnx_model, files):
    with serving(str(onnx_model), popen=Fresh) as one:
        if sys.platform == "linux":
            assert "libtorch" not in Path(f"/proc/{one.process.pid}/maps").read_text()
        boundary, content = "b", files[0].read_bytes()
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'.encode()
            + content
            + f"\r\n--{boundary}--\r\n".encode()
        )
        head = (
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", one.port), GIVE_UP_S) as begun:
            begun.sendall(head + body[:-1])
            one.client.get("/health")  # by now the server has seen it begin
            os.kill(one.process.pid, signal.SIGTERM)
            begun.sendall(body[-1:])
            answer = b"".join(iter(lambda: begun.recv(65536), b""))
        assert b"200 OK" in answer and b'"classes"' in answer
