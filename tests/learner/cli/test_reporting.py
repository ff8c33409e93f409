"""`results learning-curve`, `results report`, `results card`."""

import re

import pytest
from huggingface_hub import ModelCard

from learner.datasets import add_dataset
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.cli.shell import ONE_EPOCH
from tests.samples import make_photos


@pytest.fixture(scope="module")
def grown_home(tmp_path_factory):
    """A workspace with a finished run on photos enough for a curve."""
    home = tmp_path_factory.mktemp("grown") / "thaw"
    add_dataset(Store(Workspace(home)), make_photos(home.parent / "photos", {"cat": 30, "dog": 30}, (40, 40)), "pets")
    return home


@pytest.fixture
def grown(grown_home, monkeypatch, thaw):
    monkeypatch.setenv("THAW_HOME", str(grown_home))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if not Store(Workspace(grown_home)).runs.all():
        assert thaw("train", "--dataset", "pets", *ONE_EPOCH).code == 0
    return grown_home


def test_what_more_photos_would_bring_is_told_in_words_and_by_class(grown, thaw):
    said = thaw("results", "learning-curve", 1)
    assert said.code == 0, said.err
    assert "photos" in said.out.splitlines()[0] and "This is the curve of a linear head" in said.out
    assert re.search(r"^cat\s+24\s", said.out, flags=re.MULTILINE)
    assert "Measured in" in said.err and "Traceback" not in said.err


def test_as_json_it_holds_what_was_measured(grown, thaw):
    told = thaw("results", "learning-curve", 1, "--json").json
    assert told["run"] == 1 and told["sizes"][-1] == 48 and len(told["sizes"]) == len(told["accuracies"])
    assert told["verdict"] in ("helps", "unclear", "hardly", "unknown")
    assert {row["class"] for row in told["per_class"]} == {"cat", "dog"}


def test_a_report_and_a_card_are_written(grown, thaw, tmp_path):
    report, card = tmp_path / "report.html", tmp_path / "README.md"
    said = thaw("results", "report", 1, "--to", report)
    assert said.code == 0 and said.out.startswith(str(report))
    assert report.read_text("utf-8").startswith("<!doctype html>")
    assert thaw("results", "card", 1, "--to", card).code == 0
    assert ModelCard.load(card).data.pipeline_tag == "image-classification"


@pytest.mark.parametrize("command", ["report", "card"])
def test_a_folder_that_is_not_there_is_told(grown, thaw, tmp_path, command):
    said = thaw("results", command, 1, "--to", tmp_path / "nowhere" / "file")
    assert said.code and "does not exist. Make it first" in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    "words", [["learning-curve", 99], ["report", 99, "--to", "x.html"], ["card", 99, "--to", "x.md"]]
)
def test_a_run_that_is_not_there_is_told(grown, thaw, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = thaw("results", *words)
    assert said.code and "99" in said.err and "Traceback" not in said.err
    assert not list(tmp_path.glob("x.*"))
