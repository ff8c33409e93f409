"""Keras's models become runs that say what Keras says, whatever file they come in; nothing in a file is ever run."""

import importlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from learner.advice.coach import advice_about
from learner.errors import ModelError
from learner.exports import write
from learner.exports.contents import Contents
from learner.exports.proving import prove
from learner.importing import Asked, import_model, keras_files
from learner.importing.foreign import network_of
from learner.importing.keras_models import read_keras
from learner.inference.predictor import Predictor
from learner.recipe import Phase, Recipe
from learner.report import make_report
from learner.report.model_card import make_card
from learner.training.process import execute

os.environ["KERAS_BACKEND"] = "torch"  # read when keras loads


class Later:
    """A module that the first test loads which asks for it: every process of `pytest -n` reads this file."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, what: str):
        return getattr(importlib.import_module(self._name), what)


keras, layers, applications = Later("keras"), Later("keras.layers"), Later("keras.applications")

SIDE = 32
SHAPE = (SIDE, SIDE, 3)
FILES = ("model.keras", "model.h5", "model.weights.h5")
PREPARED = {"caffe": lambda x: applications.vgg16.preprocess_input(x), "0-1": lambda x: x / 255, None: lambda x: x}


def drawn(model):
    """With weights that keep values in range, other than those that Keras begins with."""
    chance = np.random.default_rng(0)
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], tuple(weight.shape)
        if name == "kernel":
            scale = 0.02 if len(shape) == 2 else (2 / np.prod(shape[:-1])) ** 0.5
            weight.assign(chance.normal(0, scale, shape))
        elif name == "gamma":
            weight.assign(chance.uniform(0.1, 0.4, shape))
        elif name == "moving_variance":
            weight.assign(chance.uniform(0.5, 1, shape))
        elif name in ("beta", "moving_mean", "bias"):
            weight.assign(chance.normal(0, 0.1, shape))
    return model


def tutorial():
    """As in many tutorials: a base, flattened, with layers on top."""
    base = applications.VGG16(weights=None, include_top=False, input_shape=SHAPE)
    top = [layers.Flatten(), layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.3)]
    return keras.Sequential([base, *top, layers.Dense(2, "softmax")])


def binary():
    base = applications.VGG19(weights=None, include_top=False, input_shape=SHAPE)
    x = layers.GlobalAveragePooling2D()(base.output)
    return keras.Model(base.input, layers.Dense(1, "sigmoid")(layers.Dense(8, "relu")(x)))


def resnet():
    return applications.ResNet50(weights=None, input_shape=SHAPE, classes=2)


def rescaling():
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, -1)(layers.RandomFlip()(inputs))
    x = applications.VGG16(weights=None, include_top=False, input_shape=SHAPE)(x, training=False)
    return keras.Model(inputs, layers.Dense(2, "softmax")(layers.GlobalMaxPooling2D()(x)))


MODELS: dict[Callable, tuple[str | None, tuple[str, ...]]] = {
    tutorial: ("0-1", FILES[:2]),
    binary: ("caffe", FILES),
    resnet: ("caffe", FILES),
    rescaling: (None, FILES[:1]),
}
"""What each takes pixels for, and the files that hold all of it."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each model and the folder with its files, made once."""
    made: dict[Callable, tuple[object, Path]] = {}

    def get(make):
        if make not in made:
            model, folder = drawn(make()), tmp_path_factory.mktemp(make.__name__)
            for file in MODELS[make][1]:
                (model.save_weights if "weights" in file else model.save)(folder / file)
            made[make] = model, folder
        return made[make]

    return get


def said_by_keras(model, pixels: np.ndarray, kind: str | None) -> np.ndarray:
    probs = np.asarray(model.predict(PREPARED[kind](pixels.astype(np.float32)), verbose=0))
    return probs if probs.shape[1] > 1 else np.hstack([1 - probs, probs])


def said_here(file: Path, pixels: np.ndarray, kind: str | None) -> np.ndarray:
    foreign = read_keras(file, kind, SIDE)
    network, *_ = network_of(foreign, foreign.outputs)
    mean, std = torch.tensor(foreign.mean), torch.tensor(foreign.std)
    with torch.no_grad():
        return network(((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)).softmax(1).numpy()


@pytest.mark.parametrize(("make", "file"), [(make, file) for make, (_, files) in MODELS.items() for file in files])
def test_predictions_are_keras_own(saved, make, file):
    model, folder = saved(make)
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    expected = said_by_keras(model, pixels, MODELS[make][0])
    assert expected.std() > 0.001 and np.ptp(expected[:, 0]) > 1e-4  # they depend on the image
    assert said_here(folder / file, pixels, MODELS[make][0]) == pytest.approx(expected, abs=1e-4)


def test_a_base_without_a_classifier_gives_the_same_feature_maps(saved, tmp_path):
    base = saved(tutorial)[0].layers[0]
    base.save(tmp_path / "base.keras")
    foreign = read_keras(tmp_path / "base.keras", "caffe", None)
    assert not foreign.has_classifier and foreign.image_size == SIDE
    pixels = np.random.default_rng(1).integers(0, 256, (1, *SHAPE)).astype(np.float32)
    x = (torch.from_numpy(pixels) / 255 - torch.tensor(foreign.mean)) / torch.tensor(foreign.std)
    with torch.no_grad():
        maps = network_of(foreign, 2)[0][0](x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert maps == pytest.approx(base.predict(PREPARED["caffe"](pixels), verbose=0), rel=1e-4, abs=1e-3)


# As a run


@pytest.fixture
def imported(pets, saved) -> tuple:
    _, folder = saved(tutorial)
    run_id = import_model(pets, folder / "model.keras", Asked("pets", ["dog", "cat"], "0-1"))
    return pets, run_id


def test_it_becomes_a_finished_run_that_says_what_keras_says_and_is_trained_further_with_its_head(
    imported, saved, photos
):
    store, run_id = imported
    run = store.runs.get(run_id)
    assert run.status == "finished" and "model.keras, which Keras wrote" in run.facts["weights"]["reason"]
    predictor, files = Predictor.open(str(run_id), store), sorted((photos / "valid").rglob("*.jpg"))[:4]
    pixels = np.stack([predictor.read(file) for file in files])
    expected = said_by_keras(saved(tutorial)[0], pixels, "0-1") ** (1 / predictor.spec.temperature)
    expected /= expected.sum(1, keepdims=True)
    for said, (dog, cat) in zip(predictor.predict(files), expected, strict=True):
        assert dict(zip(said.classes, said.probs, strict=True)) == pytest.approx({"cat": cat, "dog": dog}, abs=1e-3)

    assert advice_about(store, run, Recipe.from_dict(run.recipe), store.runs.epochs(run_id)) == []
    assert "a model that was trained elsewhere, model.keras" in make_card(store, run_id)
    assert "trained elsewhere" in make_report(store, run_id)

    phases = [*Recipe.from_dict(run.recipe).phases, Phase("Further", trainable="head", epochs=1, lr=1e-9)]
    further = store.submit(Recipe.from_dict({**run.recipe, "phases": phases}), running=True, parent=(run_id, 0))
    assert execute(store, further) == "finished", store.runs.get(further).reason
    assert store.runs.get(further).best_accuracy == run.best_accuracy  # at such a rate nothing changes
    again = Predictor.open(str(further), store)
    assert again.spec.mean == [0.0] * 3 and again.spec.classes == ["cat", "dog"]
    assert again.look(pixels).logits == pytest.approx(predictor.look(pixels).logits, abs=1e-3)


@pytest.mark.usefixtures("provers_here")
def test_keras_resnet_is_exported_to_timm_alone(pets, saved, tmp_path):
    _, folder = saved(resnet)
    run_id = import_model(pets, folder / "model.keras", Asked("pets", None, "caffe"))
    contents = Contents.read(pets.checkpoint(run_id))
    path = write(contents, "safetensors", tmp_path, "model.safetensors")
    assert prove("safetensors", path, contents).largest < 1e-4


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked("pets"), "does not say what its network took pixels for.*--pixels caffe"),
        (Asked("pets", ["a", "b"], "caffe"), "are not those of pets: a is only in one"),
        (Asked("pets", ["a", "b", "c"], "caffe"), "tells 2 classes apart, and 3 classes were named"),
    ],
)
def test_what_does_not_fit_is_told_and_no_run_is_left(pets, saved, asked, reason):
    _, folder = saved(tutorial)
    with pytest.raises(ModelError, match=reason):
        import_model(pets, folder / "model.keras", asked)
    assert pets.runs.all() == []


# Hostile files


def rewritten(file: Path, target: Path, change: Callable[[dict], None]) -> Path:
    """The same archive with another configuration."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        config = json.loads(old.read("config.json"))
        change(config)
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    return target


def insert_lambda(config: dict) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    config["config"]["layers"].insert(-1, {"class_name": "Lambda", "config": {"name": "evil", "function": code}})


def nest(config: dict) -> None:
    inner = config["config"]["layers"][1]
    for _ in range(60):
        inner = {"class_name": "Sequential", "config": {"name": "deep", "layers": [inner]}}
    config["config"]["layers"][1] = inner


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (insert_lambda, "evil is a Lambda, which computes something of its own and is never run here"),
        (nest, "lie deeper in each other"),
        (lambda config: config["config"].update(layers=7), "is not a model of layers|is damaged"),
        (lambda config: config["config"]["layers"].insert(-1, {"class_name": "LSTM", "config": {}}), "LSTM"),
    ],
)
def test_a_configuration_that_is_not_a_plain_networks_is_refused(saved, tmp_path, change, reason):
    _, folder = saved(tutorial)
    file = rewritten(folder / "model.keras", tmp_path / "model.keras", change)
    with pytest.raises(ModelError, match=reason):
        read_keras(file, "0-1", None)


def large(file: h5py.File) -> None:
    file.create_dataset("layers/dense/vars/0", (200_000, 200_000), "f4", chunks=(1000, 1000), compression="gzip")


def linked(file: h5py.File) -> None:
    file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


def outside(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "u1", external=[("/etc/passwd", 0, 4)])


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (large, "more, or larger, than those of any model"),
        (linked, "points elsewhere"),
        (outside, "lies in another file"),
        (lambda file: file.attrs.update(model_config="{" * 5000), "not valid JSON"),
        (lambda file: None, "no network that is known"),
    ],
)
def test_hdf5_that_asks_for_much_or_for_other_files_is_refused_before_it_is_read(tmp_path, fill, reason):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        fill(file)
    with pytest.raises(ModelError, match=reason):
        read_keras(tmp_path / "model.h5", "caffe", None)


@pytest.mark.parametrize(
    ("most", "reason"),
    [("MOST_CONFIG_BYTES", "Its configuration has more than"), ("MOST_BYTES", "unpacks to more than")],
)
def test_an_archive_that_unpacks_to_more_than_any_model_is_refused_while_it_is_unpacked(
    saved, tmp_path, monkeypatch, most, reason
):
    _, folder = saved(tutorial)
    file = rewritten(folder / "model.keras", tmp_path / "model.keras", lambda config: None)
    with zipfile.ZipFile(file) as archive:
        name = "config.json" if most == "MOST_CONFIG_BYTES" else "model.weights.h5"
        monkeypatch.setattr(keras_files, most, archive.getinfo(name).file_size - 1)
    with pytest.raises(ModelError, match=reason):
        read_keras(file, "0-1", None)


def test_other_files_are_told(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"neither HDF5 nor a \.keras archive"):
        read_keras(tmp_path / "model.h5", "caffe", None)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(ModelError, match=r"is not a \.keras archive"):
        read_keras(tmp_path / "model.keras", "caffe", None)
