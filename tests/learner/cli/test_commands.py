"""The command line: the pages' work from a shell, one line for an error, one object for `--json`."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from learner.store import Store
from learner.workspace import Workspace
from tests.learner.cli.shell import ONE_EPOCH, TINY, Said, shell, train_first, use
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT, SMALL, small_recipe


@pytest.fixture(scope="module")
def first(tmp_path_factory, photos) -> tuple[Path, Said, Path]:
    """A workspace, what the command said that trained in it, and the model file that it wrote."""
    home, model = tmp_path_factory.mktemp("home") / "thaw", tmp_path_factory.mktemp("out") / "pets.pkl"
    return home, train_first(home, photos, "--model", model), model


@pytest.fixture
def home(first, monkeypatch) -> Path:
    use(first[0], monkeypatch)
    return first[0]


# Data sets


def test_data_sets_are_added_listed_and_shown(workspace, thaw, photos, tmp_path):
    source = shutil.copytree(photos, tmp_path / "source")
    (source / "train" / "cat" / "broken.jpg").write_bytes(b"no picture")
    assert "No data sets yet. Add one: python -m learner data add" in thaw("data", "list").out

    added = thaw("data", "add", source, "--name", "pets")
    assert added.code == 0
    assert added.out.startswith("pets, version 1: 40 images in 2 classes")
    assert "1 file set aside:" in added.out and "train/cat/broken.jpg: " in added.out

    listed = thaw("data", "list").out.splitlines()
    assert listed[0].split() == ["Name", "Version", "Images", "Classes"]
    assert listed[1].split() == ["pets", "1", "40", "2"]
    assert thaw("data", "show", "pets").out == added.out

    shown = thaw("data", "show", "pets", "--json")
    assert shown.err == ""
    assert shown.json["counts"] == {"cat": {"train": 12, "valid": 8}, "dog": {"train": 12, "valid": 8}}
    assert [row["path"] for row in shown.json["set_aside"]] == ["train/cat/broken.jpg"]
    [listed] = thaw("data", "list", "--json").json["datasets"]
    assert shown.json == listed | {"not_used": []}


def test_the_sample_comes_by_its_name(workspace, thaw):
    assert thaw("data", "add", "digits", "--name", "digits").out.startswith(
        "digits, version 1: 1,797 images in 10 classes"
    )


# Training


def test_train_on_a_folder_adds_it_trains_both_phases_and_writes_the_model(first, photos):
    home, said, model = first
    assert said.code == 0, said.err
    assert [line.split()[:2] for line in said.err.splitlines() if line.startswith("Epoch")] == [
        ["Epoch", "1"],
        ["Epoch", "2"],
    ]
    assert "Solve the head" in said.err and "Fine-tuning" in said.err and "best so far" in said.err
    accuracy, refit, written, proof, _, sha256 = said.out.splitlines()
    assert refit.startswith("The model that you get was then trained once more, on all ")
    assert accuracy.startswith("Accuracy ") and "on 16 validation images, best checkpoint from epoch" in accuracy
    assert written.startswith(f"Model: {model} (") and model.stat().st_size > 1_000_000
    assert proof.startswith("Proven: ") and sha256.startswith("SHA-256 of ")

    store = Store(Workspace(home))
    [run] = store.runs.all()
    assert (run.status, store.runs.dataset_of(run)) == ("finished", ("pets", 1))
    assert [epoch.phase for epoch in store.runs.epochs(run.id)] == [0, 1]
    assert run.recipe["phases"][1]["lr"] == [1e-4, 1e-2]
    log = (home / "runs" / "1" / "log.txt").read_text()
    assert "Phase 1, Solve the head" in log and "Phase 2, Fine-tuning" in log


def test_train_prints_one_json_object_when_asked(pets, thaw):
    said = thaw("train", "--dataset", "pets", *ONE_EPOCH, "--json")
    assert said.code == 0
    assert (said.json["status"], said.json["best_epoch"], said.json["model"]) == ("finished", 1, None)
    assert said.json["result"]["accuracy"] == said.json["best_accuracy"] == said.json["epochs"][0]["accuracy"]


def test_train_leaves_the_work_to_a_worker_when_asked(pets, thaw):
    said = thaw("train", "--dataset", "pets", *ONE_EPOCH, "--queue")
    assert said.out == "Run 1 is queued. Watch it: python -m learner runs show 1\n"
    assert said.err == "No worker is running. Start one: python -m learner worker\n"
    assert thaw("train", "--dataset", "pets", *ONE_EPOCH, "--queue", "--json").json == {"run": 2, "status": "queued"}
    assert [run.status for run in pets.runs.all()] == ["queued", "queued"]
    log = ["--log", "TensorBoard", "--log", "mlflow"]
    assert thaw("train", "--dataset", "pets", *ONE_EPOCH, "--queue", *log).code == 0
    assert pets.runs.get(3).facts == {"trackers": ["tensorboard", "mlflow"]}
    refused = thaw("train", "--dataset", "pets", *ONE_EPOCH, "--log", "sheet")
    assert refused.code == 2 and "There is no tracker 'sheet'" in refused.err and len(pets.runs.all()) == 3
    assert thaw("runs", "stop", 2).out == "Run 2 was taken out of the queue.\n"


def test_a_run_that_fails_ends_with_its_reason_in_one_line(pets, thaw):
    said = thaw("train", "--dataset", "pets", *ONE_EPOCH, "--set", "phases.0.trainable=block5", "--json")
    assert (said.code, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith("Error: Run 1 failed. ") and "'block5' is not a part of test_resnet" in line


def start_long_run(pets: Store) -> subprocess.Popen:
    phases = ["--set", "phases=[{name: Long, epochs: 1000}]"]
    return shell(pets.workspace.root, "train", "--dataset", "pets", *TINY, *phases)


def test_ctrl_c_ends_training_with_130_keeps_the_checkpoint_and_says_how_to_export_it(pets):
    process = start_long_run(pets)
    until(lambda: pets.runs.all() and len(pets.runs.epochs(1)) >= 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Interrupted. Export what run 1 has learnt: python -m learner export 1 --to ." in err
    run = pets.runs.get(1)
    assert (run.status, run.reason) == (
        "interrupted",
        "The training process was told to end. Go on with: python -m learner runs resume 1",
    )
    with safe_open(pets.checkpoint(1), framework="pt") as file:
        assert any(name.startswith("1.") for name in file.keys())  # noqa: SIM118  it is no dictionary


def test_ctrl_c_before_anything_was_learnt_leaves_no_run_that_seems_to_go_on(pets):
    process = start_long_run(pets)
    until(pets.runs.all)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert pets.runs.get(1).status == "interrupted"


def test_ctrl_c_right_after_a_run_was_written_ends_it(pets, thaw, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("learner.cli.train_here", interrupt)
    assert thaw("train", "--dataset", "pets", *ONE_EPOCH).code == 130
    run = pets.runs.get(1)
    assert (run.status, run.reason) == ("interrupted", "It was interrupted before training began.")


# Runs


def test_runs_are_listed_and_shown(home, thaw):
    heading, row = thaw("runs").out.splitlines()
    assert heading.split()[:2] == ["Run", "Status"]
    assert row.split()[:5] == ["1", "finished", "pets", "(version", "1)"]
    [listed] = thaw("runs", "--json").json["runs"]
    shown = thaw("runs", "show", 1, "--json")
    assert shown.err == ""
    assert listed.items() <= shown.json.items()
    assert len(shown.json["epochs"]) == 2 and len(shown.json["epochs"][0]["lrs"]) == 6
    assert shown.json["recipe"]["backbone"] == SMALL

    lines = thaw("runs", "show", 1).out.splitlines()
    assert lines[0] == "Run 1: finished, data set pets (version 1)"
    assert [line.split()[:3] for line in lines if line.startswith("Epoch")] == [
        ["Epoch", "1", "Solve"],
        ["Epoch", "2", "Fine-tuning"],
    ]
    assert any(line.startswith(f"Accuracy {100 * shown.json['best_accuracy']:.1f} %") for line in lines)


def test_an_empty_list_of_runs_says_how_to_start_one(workspace, thaw):
    assert thaw("runs").out == "No runs yet. Start one: python -m learner train --dataset NAME\n"
    assert thaw("runs", "--json").json == {"runs": []}


def test_stopping_a_running_run_asks_it_to(pets, thaw):
    run_id = pets.submit(small_recipe(), running=True)
    assert thaw("runs", "stop", run_id).out == f"Run {run_id} stops after checking what it has learnt so far.\n"
    assert pets.runs.get(run_id).asked == "stop"
    assert "1  running" in " ".join(thaw("runs").out.splitlines()[1:])
    assert thaw("runs", "show", run_id).out.splitlines()[-1] == "Starting, 0.0 % done"


# Exports


@pytest.mark.usefixtures("provers_here")
def test_exports_predict_what_the_run_predicts(home, first, thaw, photos, tmp_path):
    images = sorted((photos / "valid").rglob("*.jpg"))[:3]
    usual = thaw("predict", 1, *images, "--json").json["predictions"]

    (tmp_path / "here").mkdir()
    said = thaw("export", 1, "--format", "safetensors", "--to", tmp_path / "here")
    assert said.out.startswith(f"{tmp_path / 'here' / 'model.safetensors'} (")
    assert json.loads((tmp_path / "here" / "model.json").read_text())["classes"] == ["cat", "dog"]
    safe = thaw("predict", tmp_path / "here" / "model.safetensors", *images, "--json").json["predictions"]
    assert safe == usual

    pkl = tmp_path / "my.pkl"
    said = thaw("export", 1, "--to", pkl).out
    assert said.startswith(f"{pkl} (") and "Proven: opened in a fresh process by fastai" in said
    assert f"SHA-256 of my.pkl: {hashlib.sha256(pkl.read_bytes()).hexdigest()}" in said
    for file in (pkl, first[2]):
        pickled = thaw("predict", file, *images, "--trust-pickle", "--json").json["predictions"]
        for theirs, ours in zip(pickled, usual, strict=True):
            assert theirs["classes"] == ours["classes"]
            # The file computes in fp32, the run in what this machine trained it in; the proof itself compares fp32.
            assert theirs["probs"] == pytest.approx(ours["probs"], abs=1e-2)


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data show nosuch", "nosuch"),
        ("data add /no/such/folder --name x", "/no/such/folder"),
        ("data add . --name", "requires an argument"),
        ("train --dataset nosuch", "There is no data set 'nosuch'"),
        ("train", "--dataset"),
        ("train --dataset pets --recipe nosuch", "'nosuch' has 1 mistake: there is no such file"),
        ("train --dataset pets --set phases.0.epoch=3", "phases.0.epoch: there is no such key"),
        ("train --dataset pets --set phases.7.epochs=3", "phases.7.epochs: there is no entry '7'"),
        ("train --dataset pets --set seed", "'seed' is not of the form key=value"),
        ("train --dataset pets --set version=9", "version 9 of data set 'pets'"),
        ("train --dataset pets --model /no/such/out.pkl", "The folder /no/such does not exist"),
        ("train --dataset pets --model out.pkl --queue", "--model needs the run to be done"),
        ("train --dataset pets --dry-run --queue", "--dry-run trains nothing, so it goes with neither --queue nor"),
        ("train --dataset pets --dry-run --model out.pkl", "--dry-run trains nothing"),
        ("train --dataset nosuch --dry-run", "There is no data set 'nosuch'"),
        ("train --dataset pets --epochs 3", "No such option"),
        ("runs show 99", "There is no run 99"),
        ("runs show last", "Invalid value for 'ID': Input should be a valid integer"),
        ("runs stop 99", "There is no run 99"),
        ("runs stop 1", "Run 1 is not under way (finished)"),
        ("export 99 --to .", "There is no run 99"),
        ("export 1 --to /no/such/out.pkl", "The folder /no/such does not exist"),
        ("export 1 --to . --format pdf", "Invalid value for '--format'"),
        ("export 1", "--to"),
        ("predict none.safetensors IMAGE", "There is no model at none.safetensors"),
        ("predict none.pkl IMAGE", "is a pickle"),
        ("predict nosuch IMAGE", "'nosuch' is neither a run's id"),
        ("predict 99 IMAGE", "There is no run 99"),
        ("predict 1 /no/such/photo.jpg", "There is no file or folder /no/such/photo.jpg"),
        ("predict 1 EMPTY", "There are no images in"),
        ("predict 1 TEXT", "None of the 1 file could be read"),
        ("predict 1 IMAGE --top-k 0", "Invalid value for '--top-k': Input should be greater than or equal to 1"),
        ("predict 1 IMAGE --csv /no/such/out.csv", "The folder /no/such does not exist"),
        ("nosuch", "No such command"),
    ],
)
def test_a_persons_mistake_is_one_line_on_stderr_and_exit_code_2(home, thaw, photos, tmp_path, words, message):
    image = next((photos / "valid").rglob("*.jpg"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("not a picture")
    places = {"IMAGE": str(image), "EMPTY": str(tmp_path / "empty"), "TEXT": str(tmp_path / "text.jpg")}
    said = thaw(*(places.get(word, word) for word in words.split()))
    assert said.code == 2
    [line] = said.err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert [run.id for run in Store(Workspace(home)).runs.all()] == [1]  # nothing was begun


def test_the_process_itself_ends_with_2_and_one_line(tmp_path):
    process = shell(tmp_path, "train", "--dataset", "pets", "--set", "sead=1", "--set", "batch_size=1")
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, out) == (2, "")
    assert err.splitlines() == [
        "Error: Recipe default has 2 mistakes: batch_size: It should be greater than or equal to 2 (it is 1); "
        "sead: there is no such key"
    ]


@pytest.mark.parametrize("address", ["postgresql://thaw:s3cret@127.0.0.1:1/thaw", "nosuch://thaw:s3cret@host/thaw"])
def test_a_database_that_cannot_be_opened_is_one_line_without_the_password(workspace, thaw, monkeypatch, address):
    monkeypatch.setenv("DATABASE_URL", address)
    said = thaw("runs")
    assert said.code == 2
    [line] = said.err.splitlines()
    assert "DATABASE_URL" in line and "s3cret" not in line


# Help


def test_help_is_there_for_every_command_and_imports_no_torch():
    code = """
import sys
from learner import cli
commands = [
    *("", "data", "train", "runs", "runs show", "predict", "export", "cache", "cache clear"),
    *(f"data {name}" for name in "look add gallery list show versions diff restore table check edit".split()),
    *(f"data {name}" for name in "edits undo redo discard save split card".split()),
    *(f"data edit pets {name}" for name in "exclude include relabel rename move".split()),
    *(f"data edit pets {name}" for name in "group group-by ungroup give-up-test".split()),
]
for words in map(str.split, commands):
    sys.argv = ["learner", *words, "--help"]
    try:
        cli.main()
    except SystemExit as ended:
        assert not ended.code
heavy = {"torch", "fastai", "timm", "torchvision", "streamlit"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: python -m learner") == 36
    options = (
        "--dataset --recipe --model --set --queue --dry-run --top-k --csv --json --format --yes --layout --folds --fix"
    )
    for option in options.split():
        assert option in done.stdout
