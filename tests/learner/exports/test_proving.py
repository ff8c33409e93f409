"""An export that would give other answers is never written, and whoever asked for it learns why."""

import copy
import json
import re
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from learner.errors import ModelError
from learner.exports import export, write
from learner.exports.contents import Contents
from learner.exports.formats import FORMATS
from learner.exports.proofs import figure, sha256_of
from learner.exports.proving import prove
from tests.ready import Fresh

KINDS = ["learner", "safetensors", "onnx"]


def changed(contents: Contents, **fields) -> Contents:
    """With another spec, and the run's answers still expected of it."""
    return replace(contents, spec=replace(contents.spec, **fields))


@pytest.fixture(scope="module")
def path_of(contents, tmp_path_factory):
    """A path to what was written of some contents."""

    def written(kind: str, of: Contents = contents):
        return write(of, kind, tmp_path_factory.mktemp(kind), FORMATS[kind].file)

    return written


@pytest.fixture(scope="module")
def small(make_contents) -> Contents:
    """Of a network that is written as ONNX in half the time."""
    return make_contents("small_cnn")


def retold(model: Path, folder: Path, **facts) -> Path:
    """The same network, which tells something else about itself."""
    changed = onnx.load(model)
    for entry in changed.metadata_props:
        entry.value = json.dumps(facts[entry.key]) if entry.key in facts else entry.value
    onnx.save(changed, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.usefixtures("provers_here")
@pytest.mark.parametrize("kind", KINDS)
def test_another_temperature_is_noticed_and_the_photo_named(small, path_of, kind):
    hotter = changed(small, temperature=small.spec.temperature * 3)
    with pytest.raises(
        ModelError,
        match=rf"{re.escape(FORMATS[kind].name)} was not written, .* on photo \d\.png \(zebra 10\) a probability "
        r"differs by 0\.\d+, and at most 0\.001 is allowed",
    ):
        prove(kind, path_of(kind, hotter), small)


@pytest.mark.usefixtures("provers_here")
def test_another_limit_for_strangers_is_noticed(contents, path_of, onnx_model, tmp_path):
    with pytest.raises(ModelError, match='its limit for "none of these" is not the run\'s'):
        prove("safetensors", path_of("safetensors", replace(contents, coverage=0.5)), contents)
    with pytest.raises(ModelError, match='its limit for "none of these" is not the run\'s'):
        prove("onnx", retold(onnx_model, tmp_path, threshold=0.25), contents)


@pytest.mark.usefixtures("provers_here")
def test_a_limit_in_the_network_that_is_not_the_one_it_tells_is_noticed(small, tmp_path):
    from learner.exports import onnx as writing

    strict = changed(small, distances=[0.0] * len(small.spec.distances))  # every photo is a stranger

    class Deaf(writing.ExplainedNetwork):
        def __init__(self, contents):
            super().__init__(contents)
            self.threshold = 5.0  # no distance is as large

    honest, writing.ExplainedNetwork = writing.ExplainedNetwork, Deaf
    try:
        path = write(strict, "onnx", tmp_path, "model.onnx")
    finally:
        writing.ExplainedNetwork = honest
    with pytest.raises(ModelError, match='says "none of these"'):
        prove("onnx", path, strict)


@pytest.mark.usefixtures("provers_here")
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_weights_that_are_a_little_wrong_are_noticed(contents, path_of, kind):
    model = copy.deepcopy(contents.model)
    with torch.no_grad():
        model[1][-1].weight[0] *= 1.05
    with pytest.raises(ModelError, match="a probability differs by"):
        prove(kind, path_of(kind, replace(contents, model=model)), contents)


@pytest.mark.usefixtures("provers_here")
def test_classes_in_another_order_are_noticed(contents, path_of, onnx_model, tmp_path):
    classes = contents.spec.classes[::-1]
    with pytest.raises(ModelError, match="other classes than the run, or in another order"):
        prove("safetensors", path_of("safetensors", changed(contents, classes=classes)), contents)
    with pytest.raises(ModelError, match="other classes than the run, or in another order"):
        prove("onnx", retold(onnx_model, tmp_path, classes=classes), contents)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_short_is_refused(contents, path_of, onnx_model, tmp_path, kind):
    path = tmp_path / FORMATS[kind].file
    path.write_bytes((onnx_model if kind == "onnx" else path_of(kind)).read_bytes()[:20_000])
    with pytest.raises(ModelError, match="it could not be opened there"):
        prove(kind, path, contents)


@pytest.mark.usefixtures("provers_here")
def test_an_export_without_photos_proves_nothing(contents, path_of):
    bare = replace(contents, golden=[])
    with pytest.raises(ModelError, match="other photos to check it by"):
        prove("safetensors", path_of("safetensors", bare), contents)
    with pytest.raises(ModelError, match="other photos to check it by"):
        prove("safetensors", path_of("safetensors", bare), bare)


# Written only then


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_stands_at_its_place_with_its_proof(trained, contents, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(subprocess, "Popen", Fresh)  # its prover is a process that begins with nothing
    store, run_id = trained
    told = []
    made = export(store, run_id, kind, tmp_path, coverage=0.9, tell=told.append)
    assert made.path == tmp_path / FORMATS[kind].file and made.sha256 == sha256_of(made.path)
    assert made.proof.photos == len(contents.golden) > 0 and made.proof.largest < 1e-4
    assert made.proof.checkpoint == sha256_of(store.checkpoint(run_id))
    assert made.proof.threshold == contents.spec.threshold(0.9)
    assert made.proof.sentence.startswith("Proven: opened in a fresh process by ")
    assert told[0] == "Loading the model" and any("fresh process" in text for text in told)
    beside = {"safetensors": ["model.json", "model.py"], "learner": ["learner.requirements.txt"]}.get(kind, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([made.path.name, *beside])


@pytest.mark.usefixtures("provers_here")
def test_when_the_proof_fails_nothing_is_left(trained, tmp_path, monkeypatch):
    store, run_id = trained

    def lies(self, pictures=True, honest=Contents.about):
        about = honest(self, pictures)
        about["golden"][0]["probs"] = about["golden"][0]["probs"][::-1]
        return about

    monkeypatch.setattr(Contents, "about", lies)
    with pytest.raises(ModelError, match=r"on photo 1\.png"):
        export(store, run_id, "safetensors", tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("provers_here")
def test_a_packed_export_is_proven_as_it_comes_out_of_the_zip(trained, tmp_path):
    store, run_id = trained
    made = export(store, run_id, "safetensors", tmp_path / "mine.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zip"] and made.sha256 == sha256_of(made.path)
    with zipfile.ZipFile(made.path) as packed:
        assert packed.namelist() == ["model.json", "model.py", "model.safetensors"]
        assert json.loads(packed.read("model.json"))["classes"] == ["cat", "dog"]


def test_a_folder_that_is_already_there_is_not_written_into(trained, tmp_path):
    store, run_id = trained
    (tmp_path / "web-demo").mkdir()
    with pytest.raises(ModelError, match=r"web-demo is already there\. Name another folder, or remove it first"):
        export(store, run_id, "web", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["web-demo"]


def test_a_folder_that_is_not_there_is_told(trained, tmp_path):
    store, run_id = trained
    with pytest.raises(ModelError, match=r"cannot be written: No such file or directory\. Name another place"):
        export(store, run_id, "learner", tmp_path / "gone" / "learner.pkl")


def test_differences_are_told_as_people_read_them():
    assert [figure(each) for each in (0.0, 3e-6, 0.00012, 0.25)] == ["less than 0.00001"] * 2 + ["0.00012", "0.25"]
