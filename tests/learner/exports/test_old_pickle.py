"""A `learner.pkl` that the release of fastai before ours wrote opens in ours, and comes with the versions it needs."""

import json
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from learner.exports.proving import PROVERS
from learner.exports.requirements import requirements
from learner.inference.predictor import open_model

ROOT = Path(__file__).resolve().parents[3]
[OLD] = (ROOT / "tests" / "pickles").glob("*.pkl")


def test_a_pickle_of_the_release_before_says_what_it_said_then(monkeypatch, capsys):
    assert OLD.stem.removeprefix("learner-fastai-") != version("fastai")
    monkeypatch.setattr(sys, "argv", ["learner", str(OLD)])
    runpy.run_path(str(PROVERS / "learner.py"), run_name="__main__")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["classes"] == ["zebra", "ant", "cat"] and told["versions"]["fastai"] == version("fastai")
    assert len({round(photo["probs"][0], 2) for photo in told["photos"]}) == 3  # they are told apart
    for photo in told["photos"]:
        assert photo["probs"] == pytest.approx(photo["expected"], abs=1e-5)


def test_thaw_opens_it_too():
    _, spec, _ = open_model(OLD, trust_pickle=True)
    assert (spec.classes, spec.image_size) == (["zebra", "ant", "cat"], 32)


def test_the_requirements_name_the_exact_versions_that_are_pinned():
    pins = dict(
        line.split("==") for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if "==" in line
    )
    pins = {name.lower().replace("_", "-"): pin.split(" ")[0] for name, pin in pins.items()}
    told = [Requirement(line) for line in requirements().splitlines()[1:]]
    assert {"fastai", "timm", "torch", "torchvision", "pillow", "numpy"} <= {each.name for each in told}
    assert "streamlit" not in {each.name for each in told}
    unlike = [each for each in told if each.name in pins and str(each.specifier) != f"=={pins[each.name]}"]
    assert unlike == [] and all(len(each.specifier) == 1 for each in told)
