"""Each export, opened where Thaw and what it should not need are not installed, gives the run's answers."""

import json
import os
import pickletools
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from learner.evaluation.grad_cam import heat_maps
from learner.exports import export_learner, write
from learner.exports.contents import with_temperature
from learner.exports.formats import FORMATS
from learner.exports.proving import OURS, PROVERS, REFUSED, prove
from learner.exports.safetensors import loading_lines
from learner.inference.predictor import Predictor
from learner.models.checkpoint import load_model, read_spec
from learner.recipe import Head
from tests.learner.exports.conftest import in_order
from tests.samples import SMALL

HEADS = {
    "fastai": Head(),
    "linear": Head(kind="linear"),
    "solved": Head(kind="solved"),
    "multiscale": Head(kind="multiscale"),
    "fc": Head(kind="fc", widths=[8, 4]),
    "flatten": Head(kind="fc", pool="flatten", widths=[8]),
    "attention": Head(kind="attention", widths=[8]),
}


PKL = ["learner.pkl", "learner.requirements.txt"]

pytestmark = pytest.mark.usefixtures("provers_here")


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_the_same_answers_in_every_kind(make_contents, tmp_path, head):
    contents = make_contents("small_cnn", HEADS[head])
    for kind in ("learner", "safetensors", "onnx"):
        path = write(contents, kind, tmp_path, FORMATS[kind].file)
        assert prove(kind, path, contents).largest < 1e-5


@pytest.mark.parametrize("arch", ["vgg11", "tf_efficientnet_lite0"])  # the small one of the heads is the third
def test_every_family_of_backbones_gives_the_same_answers_with_torch_and_timm_and_with_onnxruntime(
    make_contents, tmp_path, arch
):
    contents = make_contents(arch, HEADS["multiscale"])
    for kind in ("safetensors", "onnx"):
        path = write(contents, kind, tmp_path, f"model.{kind}")
        assert prove(kind, path, contents).largest < 1e-4


def test_a_model_that_cannot_tell_strangers_is_exported_too_and_never_says_none_of_these(make_contents, tmp_path):
    contents = make_contents("small_cnn", supports_none_of_these=False)
    for kind in ("safetensors", "onnx"):
        prove(kind, write(contents, kind, tmp_path, f"model.{kind}"), contents)
    _, distance, none = ask(tmp_path / "model.onnx", np.zeros((2, 64, 64, 3), np.uint8))
    assert distance.tolist() == [0, 0] and none.tolist() == [False, False]


def test_what_an_export_should_not_need_is_not_there_when_it_is_proven(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import importlib.util, sys\nprint([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    )
    for kind, refused in REFUSED.items():
        command = [sys.executable, "-I", PROVERS / "alone.py", ",".join(OURS + refused), program, *OURS, *refused]
        root = Path(__file__).parents[3]
        done = subprocess.run(
            command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n", kind
    assert set(OURS) >= {"learner", "ui", "pages"}
    assert "fastai" in REFUSED["safetensors"] and {"torch", "timm", "fastai"} <= set(REFUSED["onnx"])


# learner.pkl


@pytest.mark.parametrize("head", HEADS)
def test_nothing_in_learner_pkl_names_our_modules(make_contents, tmp_path, head):
    names = globals_of(write(make_contents(head=HEADS[head]), "learner", tmp_path, "learner.pkl"))
    assert "fastai.learner" in {name.rpartition(".")[0] for name in names}
    assert [name for name in names if name.split(".")[0] in (*OURS, "conftest", "tests", "__main__")] == []


def globals_of(pkl: Path) -> set[str]:
    """Every `module.name` that opening the pickle imports, read without opening it."""
    with zipfile.ZipFile(pkl) as archive:
        [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
        content = archive.read(member)
    names, strings = set(), []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            names.add(argument.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def test_a_vgg16s_learner_pkl_is_at_most_70_megabytes(make_contents, tmp_path):
    contents = make_contents("vgg16")
    pkl = write(contents, "learner", tmp_path, "learner.pkl")
    parameters = sum(parameter.numel() for parameter in contents.model.parameters())
    assert 4 * parameters < pkl.stat().st_size <= 70_000_000


def test_learner_pkl_keeps_the_order_of_classes_and_holds_calibrated_probabilities(
    trained, contents, predictor, tmp_path
):
    store, run_id = trained
    pkl = export_learner(store.checkpoint(run_id), tmp_path)
    assert pkl == tmp_path / "learner.pkl" and sorted(path.name for path in tmp_path.iterdir()) == PKL
    opened = Predictor.open(str(pkl), None, trust_pickle=True)
    assert opened.spec.classes == contents.spec.classes and opened.spec.temperature == 1
    files = [store.workspace.run_folder(run_id) / "golden" / photo.file for photo in contents.golden]
    for said, photo in zip(opened.predict(files), contents.golden, strict=True):
        assert in_order(said, contents.spec.classes) == pytest.approx(photo.probs, abs=1e-4)


def test_the_temperature_goes_into_the_last_layer_of_a_copy(make_contents):
    contents = make_contents(head=HEADS["fc"])
    head, x = contents.model[1], torch.rand(2, contents.spec.num_features, 1, 1)
    before = head(x)
    assert torch.allclose(with_temperature(head, 4.0)(x), before / 4, atol=1e-6)
    assert torch.equal(head(x), before)


# safetensors


def test_exported_safetensors_are_loaded_by_thaw_itself_and_described_by_a_readable_json(trained, contents, tmp_path):
    store, run_id = trained
    before = load_file(store.checkpoint(run_id))
    path = write(contents, "safetensors", tmp_path, "model.safetensors")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.py", "model.safetensors"]
    after = load_file(path)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    spec, described = read_spec(path), json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert spec == contents.spec and not load_model(path)[0].training
    assert (described["arch"], described["classes"], described["image_size"]) == ("test_resnet", ["cat", "dog"], 32)
    assert described["threshold"] == spec.threshold(0.95) and described["temperature"] == spec.temperature


def test_the_lines_are_few_and_name_neither_thaw_nor_fastai(contents, make_contents):
    for each in (contents, make_contents(head=HEADS["attention"])):
        lines = loading_lines(each)
        assert "learner" not in lines and "fastai" not in lines
        assert len([line for line in lines.splitlines() if line.strip()]) <= 26
        assert max(map(len, lines.splitlines())) <= 140
    assert 'load_file("mine.safetensors")' in loading_lines(contents, "mine")


# ONNX


def ask(model: Path, pixels: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model)
    return session.run(["probabilities", "distance", "none_of_these"], {"pixels": pixels})


@pytest.mark.parametrize("images", [1, 5])
def test_onnx_takes_any_number_of_images_and_answers_as_the_run_does(
    contents, predictor, onnx_model, valid_photos, images
):
    pixels = np.stack([predictor.read(path) for path in valid_photos[:images]])
    probs, distance, none = ask(onnx_model, pixels)
    assert (probs.shape, distance.shape, none.shape, none.dtype) == ((images, 2), (images,), (images,), bool)
    said = list(predictor.predict(valid_photos[:images]))
    assert probs == pytest.approx(np.array([in_order(one, contents.spec.classes) for one in said]), abs=1e-4)
    assert distance == pytest.approx(np.array([one.distance for one in said]), abs=1e-4)
    assert none.tolist() == [one.distance > contents.threshold for one in said]


@pytest.mark.parametrize("head", ["fastai", "multiscale", "attention"])
def test_the_heat_maps_of_onnx_are_grad_cam_of_the_most_probable_class(make_contents, tmp_path, head):
    contents = make_contents("small_cnn" if head == "attention" else SMALL, HEADS[head])
    side = contents.spec.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(write(contents, "onnx", tmp_path, "model.onnx"))
    probs, maps = session.run(["probabilities", "heat_map"], {"pixels": pixels})
    predictor = Predictor(contents.model, contents.spec, device=torch.device("cpu"))
    expected = heat_maps(predictor, pixels, probs.argmax(1).tolist())
    assert maps.max() == pytest.approx(1, abs=1e-5) and maps == pytest.approx(expected, abs=1e-4)


def test_onnx_says_none_of_these_of_a_picture_unlike_all_others(onnx_model, contents):
    _, distance, none = ask(onnx_model, np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8))
    assert none.tolist() == [bool(distance[0] > contents.threshold)]
    golden = np.stack([np.asarray(Image.open(BytesIO(photo.png)).resize((32, 32), 2)) for photo in contents.golden])
    assert ask(onnx_model, golden)[2].mean() < 1


def test_onnx_tells_classes_coverage_and_threshold_to_whoever_opens_it(onnx_model, contents):
    about = onnxruntime.InferenceSession(onnx_model).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["cat", "dog"] and json.loads(about["coverage"]) == 0.95
    assert json.loads(about["threshold"]) == contents.threshold
    assert len(json.loads(about["golden"])) == len(contents.golden)
