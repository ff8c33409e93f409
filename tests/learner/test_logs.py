"""With `THAW_LOG=json` every line that a process logs is one JSON object, with the run it is about."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx

from tests.learner.jobs.test_worker import ended, start_worker
from tests.patience import GIVE_UP_S, until
from tests.ready import Fresh
from tests.samples import ROOT, small_recipe
from tests.serving import free_port

ALWAYS = {"time", "level", "logger", "message", "process"}


def objects(text: str) -> list[dict]:
    """Every line as an object."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert line.keys() >= ALWAYS
        at = datetime.fromisoformat(line["time"])
        assert at.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - at) < timedelta(seconds=GIVE_UP_S)
    return lines


def logged(code: str) -> list[dict]:
    """What a process of its own logs that sets its logs up so."""
    script = f"import logging\nfrom learner import logs\nlog = logging.getLogger('x')\n{code}"
    environment = os.environ | {"THAW_LOG": "json", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    done = Fresh([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    return objects(done.communicate(timeout=GIVE_UP_S)[1])


def test_a_line_stays_one_whatever_it_says():
    first, second, third = logged(
        "logs.set_up_logs(run=3)\n"
        "log.warning('two\\nlines, \"quotes\", %s', 'Größe')\n"
        "log.info('of another', extra={'run': 4})\n"
        "log.error('%d does not fit', 'this')\n"
    )
    assert (first["message"], first["level"], first["logger"]) == ('two\nlines, "quotes", Größe', "warning", "x")
    assert (first["run"], second["run"]) == (3, 4)
    assert third["message"] == "%d does not fit ('this',)"


def test_errors_come_with_their_text_in_the_same_object():
    caught, thread, warned, end = logged(
        "import threading, warnings\n"
        "logs.set_up_logs()\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('caught')\n"
        "t = threading.Thread(target=lambda: {}['gone'])\nt.start()\nt.join()\n"
        "warnings.warn('careful')\n"
        "raise ValueError('the end')\n"
    )
    assert "ZeroDivisionError: division by zero" in caught["exception"] and "run" not in caught
    assert "KeyError: 'gone'" in thread["exception"]
    assert "careful" in warned["message"]
    assert (end["level"], "ValueError: the end" in end["exception"]) == ("critical", True)


def test_worker_and_run_write_objects_that_name_the_run(pets, monkeypatch):
    monkeypatch.setenv("THAW_LOG", "json")
    run_id = pets.submit(small_recipe())
    worker = start_worker(pets.workspace, Fresh)  # a forked one has something to warn of
    assert ended(pets, run_id).status == "finished"
    text = pets.workspace.root / "worker.txt"
    until(lambda: f"Run {run_id} is finished" in text.read_text())
    worker.terminate()
    worker.wait(GIVE_UP_S)
    told = {line["message"]: line.get("run") for line in objects(text.read_text())}
    assert told[f"Run {run_id} begins"] == told[f"Run {run_id} is finished"] == run_id
    own = objects((pets.workspace.run_folder(run_id) / "log.txt").read_text())
    assert own and {line["run"] for line in own} == {run_id}
    assert any(line["logger"].startswith("learner.training") for line in own)


def test_without_the_setting_lines_are_as_ever(pets, monkeypatch):
    monkeypatch.setenv("THAW_LOG", "text")
    run_id = pets.submit(small_recipe())
    worker = start_worker(pets.workspace)
    assert ended(pets, run_id).status == "finished"
    worker.terminate()
    worker.wait(GIVE_UP_S)
    first = (pets.workspace.root / "worker.txt").read_text().splitlines()[0]
    assert first == f"Ready for runs. Everything is kept in {pets.workspace.root}"
    assert " learner.training.trainer: Phase 1" in (pets.workspace.run_folder(run_id) / "log.txt").read_text()


def test_the_web_process_writes_objects_only(workspace, tmp_path):
    port = free_port()
    environment = os.environ | {"THAW_LOG": "json", "PORT": str(port), "HF_HUB_OFFLINE": "1"}
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        web = Fresh([sys.executable, "-m", "ui.server"], cwd=ROOT, env=environment, stdout=out, stderr=err)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=GIVE_UP_S).status_code == 200
        except httpx.TransportError:
            return False

    until(answers)
    headers = {"X-Thaw": "1"}
    upload = httpx.post(f"http://127.0.0.1:{port}/api/uploads", headers=headers).json()["id"]
    for folder in workspace.uploads.iterdir():
        folder.rename(workspace.uploads / "moved")
        folder.mkdir()
        (folder / "upload").write_bytes(b"in the way")
    put = f"http://127.0.0.1:{port}/api/uploads/{upload}/files?name=a/b.jpg"
    assert httpx.put(put, headers=headers, content=b"x", timeout=GIVE_UP_S).status_code == 500
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"no HTTP\r\n\r\n")
        plain.recv(1000)
    web.terminate()
    web.wait(GIVE_UP_S)
    assert (tmp_path / "out").read_text() == ""
    lines = objects((tmp_path / "err").read_text())
    kept = [line for line in lines if line["message"] == "An upload could not be kept"]
    assert kept and "Error" in kept[0]["exception"]
    assert "Invalid HTTP request received." in {line["message"] for line in lines}  # the server's own
