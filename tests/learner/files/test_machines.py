"""Machines that share a real PostgreSQL and an object store, and no folder: any goes on with a run and shows it."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.datasets.files import find_picture
from learner.recipe import Augment, Phase
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.learner.killing import die, left_behind, train_in_a_process
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S
from tests.samples import ROOT, make_photos, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    augment=Augment(flip_horizontal=True),
    precision="fp32",
    cache="off",
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", trainable="all", epochs=3, lr=[1e-4, 1e-3])],
)


@pytest.fixture
def machine(bucket, postgres_database, tmp_path, monkeypatch) -> Callable[[str], Store]:
    """Opens the store of a machine with a folder of its own."""
    monkeypatch.setenv("DATABASE_URL", postgres_database)

    def opened(name: str) -> Store:
        monkeypatch.setenv("THAW_HOME", str(tmp_path / name))
        store = Store(Workspace(tmp_path / name))
        keep_small_speeds(store.workspace)
        return store

    return opened


@pytest.fixture
def pets(tmp_path) -> Path:
    return make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})


def die_once_kept(environment: dict[str, str]) -> None:
    """Arm this process, which is on the machine of that environment: it dies in phase 2, once the store has a point."""
    os.environ.update(environment)
    from learner.store import keeping
    from learner.store.files import Files
    from learner.training.progress import ProgressReporter

    keeping.KEEP_EVERY_S = 0.0
    change, batch, kept = Files._change, ProgressReporter.batch, []

    def noting(self, folder, noted, run_id, files, is_held):
        change(self, folder, noted, run_id, files, is_held)
        kept.extend(name for name in files or () if name == "resume.pt")

    def dying(self, index, *where, **how):
        batch(self, index, *where, **how)
        if index == 1 and kept:
            die()

    Files._change, ProgressReporter.batch = noting, dying


def alone(tmp_path: Path, photos: Path) -> tuple[Store, int]:
    """The same run in a workspace of its own, without trouble and without an object store."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "THAW_FILES"):
            patch.delenv(name)
        store = Store(Workspace(tmp_path / "alone"))
        add_dataset(store, photos, "pets")
        keep_small_speeds(store.workspace)
        run_id = store.submit(RECIPE, running=True)
        assert execute(store, run_id) == "finished"
        return store, run_id


def test_a_run_killed_on_one_machine_goes_on_on_another_as_if_nothing_had_happened(machine, pets, tmp_path, caplog):
    one = machine("one")
    add_dataset(one, pets, "pets")
    run_id = one.submit(RECIPE)
    environment = {name: os.environ[name] for name in os.environ if name.startswith(("AWS_", "THAW_", "DATABASE_"))}
    assert train_in_a_process(one, run_id, prepare=partial(die_once_kept, environment)) == -9
    (tmp_path / "one").rename(tmp_path / "one, out of reach")

    two = machine("two")
    assert two.runs.claim() == run_id
    with caplog.at_level(logging.INFO):
        assert execute(two, run_id) == "finished", two.runs.get(run_id).reason
    assert "It goes on after" in caplog.text
    found, expected = left_behind(two, run_id), left_behind(*alone(tmp_path, pets))
    found["files"].remove(".kept.json")
    assert found == expected

    three = machine("three")
    assert three.checkpoint(run_id).read_bytes() == two.checkpoint(run_id).read_bytes()
    theirs = left_behind(three, run_id)
    assert {name: theirs[name] for name in ("result", "predictions", "golden")} == {
        name: expected[name] for name in ("result", "predictions", "golden")
    }


def test_what_was_trained_on_one_machine_is_shown_and_used_on_another(machine, pets, tmp_path, bucket, monkeypatch):
    one = machine("one")
    version = add_dataset(one, pets, "pets")
    run_id = one.submit(RECIPE, running=True)
    bucket.fails = lambda request: request.method == "PUT"
    monkeypatch.setattr("learner.store.files.END_PATIENCE_S", 0.5)
    assert execute(one, run_id) == "failed"
    assert f"on this machine; from here, this sends what is missing: python -m learner runs resume {run_id}" in (
        one.runs.get(run_id).reason
    )
    bucket.forget()
    one.runs.resume(run_id, running=True)
    assert execute(one, run_id) == "finished", one.runs.get(run_id).reason
    (tmp_path / "one").rename(tmp_path / "one, out of reach")

    two = machine("two")
    shown = invoke("runs", "show", str(run_id)) + invoke("results", "show", str(run_id))
    assert "finished" in shown and "cat" in shown
    image = two.datasets.images(version.id)[0]
    assert find_picture(two.workspace, "pets", image.sha256).stat().st_size
    assert invoke("export", str(run_id), "--to", str(tmp_path / "learner.pkl"))
    assert (tmp_path / "learner.pkl").exists()


def invoke(*words: str) -> str:
    """What the command prints, in a process of its own that has the settings of this one."""
    command = [sys.executable, "-m", "learner", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
