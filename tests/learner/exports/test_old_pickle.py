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
MAIN = ("fastai", "timm", "torch", "torchvision", "pillow", "numpy", "safetensors")
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
    pins = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    told = requirements().splitlines()[1:]
    assert {line.partition("==")[0] for line in told} >= {*MAIN, "fastcore", "pandas"} and "streamlit" not in str(told)
    assert {line for line in told if line.startswith(tuple(f"{name}==" for name in MAIN))} <= set(pins)
    assert all(len(Requirement(line).specifier) == 1 for line in told)
