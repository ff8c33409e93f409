"""Workers that share a workspace and a PostgreSQL server, started by the lines that docs/scaling.md gives."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.planning.needs import why_it_waits
from learner.recipe import Phase
from learner.store import ACTIVE, Store
from tests.gpus import path_with_gpus
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT, small_recipe

SHORT = small_recipe()
LONG = small_recipe(phases=[Phase("Long", epochs=1000)])
LINES = re.search(r"^On each machine.*?```bash\n(.*?)```", (ROOT / "docs/scaling.md").read_text("utf-8"), re.M | re.S)


def start_as_written(lines: str, settings: dict[str, str], output: Path) -> subprocess.Popen:
    """Type the lines, with our own values of what they export."""
    environment = os.environ | {"PATH": settings["PATH"]}
    for line in lines.strip().splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            names = [word.partition("=")[0] for word in words[1:]]
            environment |= {name: settings[name] for name in names}
    assert words[:3] == ["python", "-m", "learner"]
    with output.open("wb") as file:
        command = [sys.executable, *words[1:]]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)


@pytest.fixture
def shared(workspace, postgres_database, photos, monkeypatch) -> Store:
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    store = Store(workspace)
    add_dataset(store, photos, "pets")
    monkeypatch.delenv("THAW_HOME")
    monkeypatch.delenv("DATABASE_URL")
    return store


def test_two_workers_each_train_a_run_on_a_gpu_of_its_own(shared, postgres_database, tmp_path):
    runs = [shared.submit(LONG), shared.submit(LONG)]
    settings = {
        "THAW_HOME": str(shared.workspace.root),
        "DATABASE_URL": postgres_database,
        "PATH": path_with_gpus(tmp_path / "bin"),
    }
    logs = [tmp_path / "first.txt", tmp_path / "second.txt"]
    workers = [start_as_written(LINES[1], settings, log) for log in logs]
    try:
        until(lambda: all(shared.runs.epochs(run_id) for run_id in runs))
        under_way = [shared.runs.get(run_id) for run_id in runs]
        assert [run.status for run in under_way] == ["running"] * 2
        assert len({run.pid for run in under_way}) == len({run.claim for run in under_way}) == 2
        assert {worker.pid for worker in shared.workers.alive()} == {worker.pid for worker in workers}
        for run_id in runs:
            shared.runs.ask(run_id, "stop")
        until(lambda: all(shared.runs.get(run_id).status == "stopped" for run_id in runs))
        assert all(shared.checkpoint(run_id).exists() for run_id in runs)
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait(GIVE_UP_S)
    said = [log.read_text() for log in logs]
    assert sorted(re.findall(r"Run (\d+) begins", "".join(said))) == [str(run_id) for run_id in runs]
    assert all("begins" in one and "Traceback" not in one for one in said)


def test_a_run_waits_for_a_worker_that_has_what_it_needs(shared, postgres_database, tmp_path):
    home = {"THAW_HOME": str(shared.workspace.root), "DATABASE_URL": postgres_database}
    paths = {"plain": os.environ["PATH"], "gpu": path_with_gpus(tmp_path / "bin")}
    workers = {}

    def start(name: str) -> None:
        workers[name] = start_as_written(LINES[1], home | {"PATH": paths[name]}, tmp_path / f"{name}.txt")

    on_gpu = shared.submit(replace(SHORT, device="gpu"))
    plain = shared.submit(SHORT)
    try:
        start("plain")
        until(lambda: shared.runs.get(plain).status == "finished")
        assert shared.runs.get(on_gpu).status == "queued"
        assert "No worker that is running has a GPU" in (why_it_waits(shared, on_gpu) or "")
        nowhere = shared.submit(replace(SHORT, weights=str(tmp_path / "nowhere.safetensors")))
        start("gpu")
        until(lambda: shared.runs.get(on_gpu).status not in ACTIVE)
        taken = shared.runs.get(on_gpu)  # torch sees through the stand-in
        assert taken.status == "failed" and "torch finds none here" in taken.reason
        assert f"Run {on_gpu} begins" in (tmp_path / "gpu.txt").read_text()
        until(lambda: shared.runs.get(nowhere).status not in ACTIVE)  # no worker has the file, so one says that
        assert "nowhere.safetensors" in shared.runs.get(nowhere).reason
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait(GIVE_UP_S)
    assert f"Run {on_gpu} begins" not in (tmp_path / "plain.txt").read_text()
