"""The doctor says of each thing whether it works and what to do, changes nothing, and never ends in an error itself."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import namedtuple
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import learner.operations.doctor
from learner.operations.doctor import Finding, examine, packages_as_in
from learner.operations.network import host_names, port_and_address
from learner.store import Store
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S
from tests.samples import ROOT, small_recipe
from tests.serving import free_port, processes, serve

EVERYTHING = [
    "Python", "Packages", "Workspace", "Disk", "Database", "Workers", "Weights", "GPU", "Browser", "Port", "Host names",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    for name in ("THAW_HOSTS", "STREAMLIT_SERVER_ADDRESS", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def look(workspace: Workspace) -> dict[str, Finding]:
    found = {finding.what: finding for finding in examine(workspace)}
    assert list(found) == EVERYTHING
    for finding in found.values():
        assert finding.told.endswith((".", ")")) and bool(finding.remedy) == (finding.state != "ok"), finding
    return found


def test_a_workspace_that_is_used_is_fine(pets):
    worker = pets.workers.start()
    pets.submit(small_recipe())
    found = look(pets.workspace)
    assert {what for what in EVERYTHING if found[what].state == "failed"} == set()
    assert found["Workers"].state == "ok" and "1 worker on" in found["Workers"].told
    assert "SQLite answers, its tables are up to date (step" in found["Database"].told
    assert "tf_efficientnet_lite0 installed with Thaw" in found["Weights"].told
    pets.workers.end(worker)
    idle = look(pets.workspace)["Workers"]
    assert (idle.state, idle.told) == ("attention", "No worker is running; 1 run in the queue.")
    (pets.workspace.weights).mkdir(exist_ok=True)
    (pets.workspace.weights / "vgg16.safetensors").write_bytes(b"x")
    assert look(pets.workspace)["Weights"].state == "ok"


def test_looking_makes_nothing(workspace):
    found = look(workspace)
    assert "is not there yet" in found["Workspace"].told and "There is none yet" in found["Database"].told
    assert not workspace.root.exists()


def test_looking_loads_no_torch(workspace):
    code = (
        "import sys; from learner.workspace import Workspace; from learner.operations.doctor import examine\n"
        "print(len(list(examine(Workspace.current()))))\n"
        "assert not {'torch', 'fastai', 'timm', 'streamlit'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, timeout=GIVE_UP_S
    )
    assert (done.returncode, done.stdout) == (0, b"11\n"), done.stderr


# The database


def test_postgresql_is_asked_too(workspace, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    assert look(workspace)["Database"].state == "attention"  # no tables yet
    Store(workspace)
    assert look(workspace)["Database"].told.startswith("PostgreSQL answers, its tables are up to date (step")


def test_a_server_that_is_away_is_told_without_its_password(workspace, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://thaw:secret@127.0.0.1:{free_port()}/thaw")
    found = look(workspace)["Database"]
    assert found.state == "failed" and "does not answer" in found.told and "secret" not in found.told
    monkeypatch.setenv("DATABASE_URL", "nothing")
    assert "is not a database address" in look(workspace)["Database"].told


@pytest.mark.parametrize(
    ("step", "state", "told"),
    [("0003", "attention", "at step 0003"), ("9999", "failed", "A newer Thaw has changed it")],
)
def test_tables_of_another_step_are_told_and_left_alone(store, step, state, told):
    engine = create_engine(store.workspace.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :step"), {"step": step})
    found = look(store.workspace)["Database"]
    assert found.state == state and told in found.told
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == step


def test_damage_in_the_file_is_found(pets):
    file = pets.workspace.root / "thaw.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM datasets")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    lost = look(pets.workspace)["Database"]
    assert (
        lost.state == "failed" and "a row of dataset_versions belongs to one of datasets that is not there" in lost.told
    )
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert look(pets.workspace)["Database"].state == "failed"
    file.write_bytes(b"garbage " * 1000)
    found = look(pets.workspace)
    assert "damaged" in found["Database"].told and found["Workers"].state == "failed"


def test_a_restore_that_was_killed_is_told(workspace):
    workspace.unfinished_restore.mkdir(parents=True)
    found = look(workspace)["Workspace"]
    assert found.state == "failed" and "python -m learner restore" in found.remedy


# The disk


@pytest.mark.parametrize(("free", "state"), [(10**8, "failed"), (10**9, "attention"), (10**11, "ok")])
def test_little_disk_is_told(workspace, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(learner.operations.doctor.shutil, "disk_usage", lambda _folder: usage(1, 1, free))
    assert look(workspace)["Disk"].state == state


def test_a_workspace_that_is_a_file_is_told(workspace):
    workspace.root.write_text("no folder")
    assert look(workspace)["Workspace"].state == "failed"


# The installation


def test_packages_that_are_missing_or_others_are_named():
    lines = ["# comment", "", f"rich=={version('rich')}", "typer>=0.1  # with a reason", "nothing-like-it==1"]
    missing = packages_as_in(lines, "pip install -r x")
    assert (missing.state, missing.told) == ("failed", "Not installed: nothing-like-it.")
    assert missing.remedy == "Install them: pip install -r x"
    other = packages_as_in([*lines[:-1], "pydantic==0.0.1", "PyYAML==1; python_version < '3'"], "")
    assert other.state == "attention" and f"pydantic is {version('pydantic')}, not ==0.0.1" in other.told
    assert packages_as_in(lines[:-1], "").told == "2 packages in versions that work together."


def test_those_of_this_installation_are_the_pinned_ones(workspace):
    assert look(workspace)["Packages"].state == "ok", look(workspace)["Packages"].told


def test_a_gpu_that_torch_cannot_use_is_told(workspace, monkeypatch, tmp_path):
    sign = tmp_path / "nvidia0"
    sign.touch()
    monkeypatch.setattr(learner.operations.doctor, "_GPU_SIGNS", (str(sign),))
    import torch

    found = look(workspace)["GPU"]
    if torch.cuda.is_available():
        assert found.state == "ok"
    else:
        assert found.state == "attention" and "torch cannot use it" in found.told


def test_a_torch_that_does_not_load_is_told(workspace, monkeypatch, tmp_path):
    monkeypatch.setattr(learner.operations.doctor, "_GPU_SIGNS", (str(tmp_path),))
    monkeypatch.setattr(learner.operations.doctor, "_ASK_TORCH", "import nothing_like_it")
    found = look(workspace)["GPU"]
    assert found.state == "failed" and "No module named 'nothing_like_it'" in found.told


def test_a_browser_that_is_named_and_not_there_is_told(workspace, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    monkeypatch.setenv("HOME", str(workspace.root))
    assert look(workspace)["Browser"].state == "attention"


def test_what_goes_wrong_while_looking_is_a_finding_too(workspace, monkeypatch):
    def broken() -> Finding:
        raise KeyError("defect")

    monkeypatch.setattr(learner.operations.doctor, "_browser", broken)
    found = look(workspace)["Browser"]
    assert (found.state, found.told) == ("failed", "This could not be looked at (KeyError: 'defect')")


# Port and names


def test_the_port_is_free_thaws_own_or_taken(monkeypatch, workspace):
    assert port_and_address()[0] == "ok" and "Nothing listens" in port_and_address()[1]
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as other:
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        assert port_and_address()[:2] == (
            "attention",
            f"Another program listens on port {os.environ['PORT']} of 127.0.0.1.",
        )
    with processes() as start:
        serve(start, int(os.environ["PORT"]))
        assert port_and_address()[:2] == ("ok", f"Thaw answers on port {os.environ['PORT']} of 127.0.0.1.")
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    assert port_and_address()[0] == "attention" and "open to the network" in port_and_address()[1]
    for wrong in ("x", "0", "70000", "-1"):
        monkeypatch.setenv("PORT", wrong)
        assert port_and_address()[0] == "failed"


@pytest.mark.parametrize(
    ("setting", "state"),
    [
        ("", "ok"),
        ("thaw.lab, other.lab", "ok"),
        ("http://thaw.lab", "attention"),
        ("thaw.lab:8501", "attention"),
        ("*.lab", "attention"),
        ("a b", "attention"),
    ],
)
def test_names_must_be_names(monkeypatch, setting, state):
    monkeypatch.setenv("THAW_HOSTS", setting)
    assert host_names()[0] == state


def test_the_list_of_pins_is_the_clones():
    assert Path(learner.operations.doctor.PINS) == ROOT / "requirements.txt"
