"""`learner study`: a question is asked, its runs are trained, and the answer is read."""

import json
import os
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.evaluation.results import load_result
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.learner.cli.shell import use
from tests.learner.jobs.test_worker import start_worker
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S, until
from tests.samples import SMALL, make_photos

STEPS = f"""
backbone: {SMALL}
weights: random
image_size: 32
batch_size: 8
phases:
- {{name: Solve the head, solve: true}}
- {{name: Fine-tuning, trainable: all, epochs: 1}}
"""
WORDS = ("study", "create", "--dataset", "pets", "--vary", "phases.1.trainable=head,all", "--folds", "2")


@pytest.fixture(scope="module")
def study_home(tmp_path_factory) -> Path:
    """A workspace with photos, and a recipe beside it."""
    home = tmp_path_factory.mktemp("study")
    store = Store(Workspace(home / "thaw"))
    add_dataset(store, make_photos(home / "photos", {"cat": 8, "dog": 8}), "pets")
    keep_small_speeds(store.workspace)
    (home / "steps.yaml").write_text(STEPS)
    return home


@pytest.fixture
def home(study_home, monkeypatch) -> Path:
    use(study_home / "thaw", monkeypatch)
    return study_home


def train_all() -> None:
    """What a worker does, until the queue is empty."""
    store = Store(Workspace(Path(os.environ["THAW_HOME"])))
    while (run_id := store.runs.claim()) is not None:
        assert execute(store, run_id) == "finished", store.runs.get(run_id).reason


def test_a_study_is_asked_trained_read_and_reported(home, thaw, tmp_path):
    recipe = ("--recipe", home / "steps.yaml")
    told = thaw(*WORDS, *recipe, "--dry-run")
    assert told.code == 0 and "4 runs, " in told.out and "with one worker" in told.out

    made = thaw(*WORDS, *recipe)
    assert made.code == 0 and "Study 1 is queued: 4 runs" in made.out and "No worker is running" in made.err
    waiting = thaw("study", "show", 1).out
    assert "0 of 4 runs have finished; 4 wait" in waiting and "–" in waiting

    train_all()
    shown = thaw("study", "show", 1).out
    assert "Study 1: done" in shown and "4 of 4 runs have finished." in shown
    found = json.loads(thaw("study", "show", 1, "--json").out)
    assert all(sentence in shown for sentence in found["answer"]) and len(found["answer"]) == 1
    store = Store(Workspace(home / "thaw"))
    by_variant = [
        [load_result(store.workspace.run_folder(run.id), "fold")["accuracy"] for run in store.studies.runs_of(1)][v::2]
        for v in (0, 1)
    ]
    assert [one["accuracy"] for one in found["variants"]] == pytest.approx([sum(each) / 2 for each in by_variant])
    [difference] = found["differences"]
    assert (difference["variant"], difference["against"], difference["pairs"]) == ("all", "head", 2)
    assert difference["accuracy"] == pytest.approx((sum(by_variant[1]) - sum(by_variant[0])) / 2)
    assert thaw("study").out.splitlines()[1].split()[:2] == ["1", "done"]

    assert thaw("study", "report", 1, "--to", tmp_path / "study.html").code == 0
    page = (tmp_path / "study.html").read_text("utf-8")
    assert all(sentence.replace("'", "&#39;") in page for sentence in found["answer"])
    assert (
        "<svg" in page
        and page.count("<tr>") > 4
        and "http" not in page.partition("</head>")[2].replace("http://www.w3.org", "")
    )


def test_a_study_is_stopped_resumed_deleted_and_had_back(home, thaw):
    study = json.loads(thaw(*WORDS, "--recipe", home / "steps.yaml", "--json").out)["study"]
    assert "4 runs stopped or about to" in thaw("study", "stop", study).out
    assert "there is nothing to stop" in thaw("study", "stop", study).err
    assert "4 runs queued again" in thaw("study", "resume", study).out
    assert thaw("study", "stop", study).code == 0
    assert "is deleted" in thaw("study", "delete", study, "--yes").out
    gone = thaw("study", "show", study)
    assert gone.code == 2 and f"Bring it back: python -m learner study undelete {study}" in gone.err
    assert thaw("study", "undelete", study).code == 0
    assert "4 stopped" in thaw("study", "show", study).out


def test_a_worker_searches_and_a_study_confirms(home, thaw, tmp_path):
    over = ("--over", "phases.1.lr=0.0001..0.01", "--over", "phases.1.trainable=layer4,all")
    search = ("study", "search", "--dataset", "pets", "--recipe", home / "steps.yaml", *over, "--trials", 3)
    told = thaw(*search, "--dry-run")
    assert told.code == 0 and "Up to 3 runs" in told.out
    study = json.loads(thaw(*search, "--json").out)["study"]
    assert "0 of 3 trials have finished" in thaw("study", "show", study).out
    assert thaw("study", "confirm", study).code == 2

    store = Store(Workspace(home / "thaw"))
    worker = start_worker(store.workspace)
    try:
        until(lambda: json.loads(thaw("study", "show", study, "--json").out)["status"] == "done")
    finally:
        worker.terminate()
        worker.wait(GIVE_UP_S)
    found = json.loads(thaw("study", "show", study, "--json").out)
    assert [one["status"] for one in found["trials"]] == ["finished"] * 3
    by_trial = [min(epoch.valid_loss for epoch in store.runs.epochs(one["run"])) for one in found["trials"]]
    assert [one["loss"] for one in found["trials"]] == by_trial
    assert found["best"] == 1 + by_trial.index(min(by_trial))
    shown = thaw("study", "show", study).out
    assert f"Study {study}: done" in shown and all(sentence in shown for sentence in found["answer"])
    assert "search: " in thaw("study").out
    assert thaw("study", "report", study, "--to", tmp_path / "search.html").code == 0
    page = (tmp_path / "search.html").read_text("utf-8")
    assert found["answer"][0] in page and "<svg" in page and "phases.1.lr" in page
    confirming = thaw("study", "confirm", study, "--folds", 2)  # the recipe as it was asked lies outside of the space
    assert confirming.code == 0 and "is queued" in confirming.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "search", "--dataset", "pets", "--over", "seed=1,2"), "which images judge"),
        (("study", "search", "--dataset", "pets", "--over", "batch_size=8"), "at least two values"),
        (("study", "search", "--dataset", "pets", "--trials", 1), "2 to 500 trials"),
        (("study", "confirm", 99), "There is no study 99"),
        (("study", "show", 99), "There is no study 99"),
        (("study", "create", "--dataset", "pets", "--variant", "slow"), "not of the form NAME=RECIPE"),
        (("study", "create", "--dataset", "pets", "--vary", "a=1", "--variant", "b=default"), "use one of them"),
        (("study", "create", "--dataset", "pets", "--vary", "batch_size=8"), "at least two variants"),
        (("study", "create", "--dataset", "pets", "--vary", "nothing=1,2"), "nothing"),
    ],
)
def test_mistakes_are_one_line(home, thaw, words, message):
    said = thaw(*words)
    assert said.code == 2 and message in said.err and len(said.err.splitlines()) == 1
