"""ONNX in smaller numbers, OpenVINO, LiteRT, Core ML: proven as the others, and measured on the validation photos."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from learner.datasets.images import read_squished
from learner.errors import ModelError
from learner.evaluation.intervals import Discordance
from learner.evaluation.results import load_result
from learner.exports import export, formats, write
from learner.exports.contents import Contents
from learner.exports.formats import FORMATS
from learner.exports.litert import write_litert
from learner.exports.litert_converter import CONVERTER
from learner.exports.measured import Measured, Speed
from learner.exports.measuring import RunImages
from learner.exports.proofs import keep_proof, proof_file, read_proof
from learner.exports.proving import prove
from tests.ready import Fresh

KINDS = ["onnx", "onnx-fp16", "onnx-int8"]
SIDE = 64
"""What the networks of `make_contents` take."""


@pytest.fixture(scope="module")
def small(make_contents) -> Contents:
    return make_contents("small_cnn")


@pytest.fixture(scope="module")
def images(photos, tmp_path_factory) -> RunImages:
    """The run's photos, 16 for validation and 24 for training, as the small network takes them."""

    def read(split: str) -> np.ndarray:
        return np.stack([read_squished(path, SIDE) for path in sorted((photos / split).rglob("*.jpg"))])

    answers = tmp_path_factory.mktemp("answers") / "answers-1.npz"
    return RunImages(read("valid"), np.repeat([0, 1], 8), False, answers, partial(read, "train"))


@pytest.fixture(scope="module")
def written(small, images, tmp_path_factory):
    """The same network in all three kinds of numbers."""
    folder = tmp_path_factory.mktemp("reduced")
    return {kind: write(small, kind, folder, FORMATS[kind].file, images=images) for kind in KINDS}


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


def interface(path: Path) -> list:
    session = onnxruntime.InferenceSession(path)
    return [(each.name, each.type, each.shape[1:]) for each in [*session.get_inputs(), *session.get_outputs()]]


@pytest.mark.usefixtures("provers_here")
@pytest.mark.parametrize("kind", KINDS[1:])
def test_smaller_numbers_take_and_give_and_tell_what_the_whole_file_does_but_for_heat_maps(
    small, images, written, kind
):
    assert interface(written[kind]) == [each for each in interface(written["onnx"]) if each[0] != "heat_map"]
    metadata = [onnxruntime.InferenceSession(written[each]).get_modelmeta() for each in ("onnx", kind)]
    assert metadata[0].custom_metadata_map == metadata[1].custom_metadata_map
    finding = prove(kind, written[kind], small, images)
    assert 0 < finding.largest < FORMATS[kind].tolerance
    assert finding.measured.images == 16 and finding.measured.same_class >= 14


def test_halves_are_of_the_network_only(written):
    found = tensors(written["onnx-fp16"])
    kinds = {name: values.dtype for name, values in found.items() if values.dtype.kind == "f" and values.size > 1}
    assert {kinds[name] for name in kinds if name.startswith(("body.", "head."))} == {np.dtype("float16")}
    others = {name for name in kinds if not name.startswith(("body.", "head."))}
    assert len(others) == 3 and {kinds[name] for name in others} == {np.dtype("float32")}  # mean, std, reference


def test_bytes_have_a_scale_for_each_channel_of_each_convolution_and_the_last_layer_has_none(written):
    whole, found = tensors(written["onnx"]), tensors(written["onnx-int8"])
    layers = [name for name, values in whole.items() if name.startswith("body.") and values.ndim == 4]
    for name in layers:
        assert found[f"{name}_quantized"].dtype == np.int8
        assert found[f"{name}_scale"].shape == (whole[name].shape[0],)
        # a scale is the channel's greatest weight over the greatest byte
        assert found[f"{name}_scale"] == pytest.approx(np.abs(whole[name]).max((1, 2, 3)) / 127, rel=0.01)
    assert len(layers) == 3 and found["head.8.weight"].dtype == np.float32


def test_training_photos_decide_the_range_of_what_enters(images, written):
    graph = onnx.load(written["onnx-int8"]).graph
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and "weight" not in node.input[0])
    scale = next(numpy_helper.to_array(each) for each in graph.initializer if each.name == first.input[1])
    brightest = images.read_training().max() / 255  # small_cnn takes values from 0 to 1, and 0 is always in the range
    assert float(scale) == pytest.approx(brightest / 255, rel=1e-3)


@pytest.mark.usefixtures("provers_here")
def test_a_format_that_loses_much_accuracy_is_refused_and_the_figures_are_told(small, images, written, tmp_path):
    """As if the run's own model, whose answers are kept, had every photo right; the file, untrained, has half."""
    kept = tmp_path / "answers-2.npz"
    np.savez(kept, probs=np.eye(3)[images.targets], distances=np.zeros(16))
    with pytest.raises(ModelError, match=r"too much less accurate.* instead of 100\.0 % of 16 .*at most 5 are allowed"):
        prove("onnx-fp16", written["onnx-fp16"], small, replace(images, kept_answers=kept))


# Whole exports, each proven by a fresh process


def test_accuracy_and_speed_stand_in_the_proof_beside_those_of_the_runs_own_model(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", Fresh)
    store, run_id = trained
    proof = export(store, run_id, "openvino", tmp_path).proof
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    measured = proof.on_validation
    result = load_result(store.run_folder(run_id))
    assert measured.images == result["images"] and proof.largest < 1e-4
    assert measured.accuracies == pytest.approx([result["accuracy"]] * 2)
    assert measured.same_class == measured.same_none == 16 and measured.largest < 1e-4
    assert all(speed.alone_ms > 0 and speed.batch_ms > 0 for speed in (measured.original, measured.export))
    proof_file(store.workspace, run_id, "openvino").parent.mkdir(parents=True, exist_ok=True)
    keep_proof(store.workspace, run_id, proof)
    assert read_proof(store.workspace, run_id, "openvino").on_validation == measured


def test_core_ml_is_written_and_says_that_only_a_mac_proves_it(trained, tmp_path):
    store, run_id = trained
    made = export(store, run_id, "coreml", tmp_path / "app.zip")
    assert made.proof.did_run == (sys.platform == "darwin")
    assert made.proof.did_run or made.proof.sentence.startswith("Not proven here: only a Mac runs Core ML.")
    assert "coremltools" in made.proof.versions and made.path.stat().st_size > 100_000


@pytest.mark.usefixtures("provers_here")
def test_litert_gives_the_same_answers_one_by_one(small, images, tmp_path):
    path = write(small, "litert", tmp_path, "model.tflite")
    finding = prove("litert", path, small, images)
    assert finding.largest < 1e-4 and finding.measured.same_class == finding.measured.same_none == 16
    assert finding.measured.export.batch_ms is None
    assert json.loads((tmp_path / "model.json").read_text("utf-8"))["classes"] == small.spec.classes


# What is missing


def test_a_format_whose_package_is_missing_says_what_to_install(trained, tmp_path, monkeypatch):
    store, run_id = trained
    missing = replace(FORMATS["openvino"], module="not_there")
    monkeypatch.setitem(formats.FORMATS, "openvino", missing)
    with pytest.raises(ModelError, match=r"needs openvino, which is not installed here.*pip install openvino"):
        export(store, run_id, "openvino", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_pip_cannot_bring_is_told(small, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"pip could not bring litert-torch .*connect to the internet and try again"):
        write_litert(small, tmp_path / "model.tflite")
    assert not CONVERTER.folder.exists()


# What is told


def test_a_warning_comes_with_more_than_a_point_of_accuracy_lost():
    def of(broken: int) -> Measured:
        counts = Discordance(190 - broken, broken, 0, 10)
        return Measured(200, counts, 198, None, 0.2, Speed(40, 30), Speed(5, None), 16, 2, False)

    assert of(2).warning == "" and "less accurate than the run's model by 1.5 points" in of(3).warning
    assert "accuracy 93.5 %, the run's model 95.0 % (difference -1.5 points" in of(3).sentence
    assert of(3).speed_sentence.startswith("5.0 ms a photo one by one (the run's model 40 ms); on this machine's")
