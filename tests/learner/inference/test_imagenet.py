"""The untouched ImageNet network: that it is ImageNet's, which weights it has, and what it says of a data set."""

from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from learner.datasets import add_dataset
from learner.errors import WeightsError
from learner.inference.imagenet import MOST_OF_A_CLASS, ImageNetModel, ask_about, class_names
from learner.models.backbones import build
from learner.recipe.backbones import FALLBACK_ARCH
from tests.samples import make_photos

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
"""A woman in the uniform of an admiral."""


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No hub is asked for weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def untouched() -> ImageNetModel:
    return ImageNetModel.open(FALLBACK_ARCH)


def test_it_sees_what_imagenet_has_taught_it(untouched):
    [said] = untouched.predict([PORTRAIT])
    assert said.classes[0] == "military uniform" and said.probs[0] > 0.3
    assert len(said.classes) == len(said.probs) == 5 and said.probs == sorted(said.probs, reverse=True)


def test_its_classes_have_short_names(untouched):
    names = class_names()
    assert len(names) == 1000
    assert (names[0], names[281], names[285]) == ("tench", "tabby", "Egyptian cat")


def test_the_bundled_network_is_used_and_said_where_vgg16_cannot_be_had(workspace):
    model = ImageNetModel.open("auto", workspace)
    assert (model.arch, model.source.kind) == (FALLBACK_ARCH, "package")
    assert "VGG16's ImageNet weights could not be had" in model.source.reason


def test_a_body_without_a_classifier_is_told_and_another_network_asked(workspace):
    body = build("vgg16", "random")
    workspace.weights.mkdir(parents=True)
    tensors = {body.timm_names[name]: tensor.half() for name, tensor in body.body.state_dict().items()}
    save_file(tensors, workspace.weights / "vgg16.safetensors")
    model = ImageNetModel.open("auto", workspace)
    assert model.arch == FALLBACK_ARCH
    assert "vgg16.safetensors are a body without ImageNet's classifier (6 layers are missing" in model.source.reason
    with pytest.raises(WeightsError, match="a body without ImageNet's classifier"):
        ImageNetModel.open("vgg16", workspace)


def test_a_file_with_a_classifier_is_used(workspace):
    import timm

    torch.manual_seed(0)
    whole = timm.create_model("resnet18")
    workspace.weights.mkdir(parents=True)
    save_file(whole.state_dict(), workspace.weights / "resnet18.safetensors")
    model = ImageNetModel.open("resnet18", workspace)
    assert model.source.kind == "file"
    for name, tensor in model._model.state_dict().items():
        assert torch.equal(tensor.cpu(), whole.state_dict()[name]), name


def test_a_network_that_imagenet_never_taught_is_told(workspace):
    with pytest.raises(WeightsError):
        ImageNetModel.open("nosuch", workspace)


def test_unreadable_files_carry_their_error_and_move_no_answer(untouched, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    first, broken, last = untouched.predict([PORTRAIT, tmp_path / "broken.jpg", PORTRAIT])
    assert "broken.jpg" in broken.error and broken.classes == []
    assert first.classes == last.classes and first.classes[0] == "military uniform"


def test_a_data_set_is_answered_class_by_class(store, untouched, tmp_path):
    make_photos(tmp_path / "pile", {"person": 1, "thing": 5})
    for number in range(4):  # the same woman in four sizes
        with Image.open(PORTRAIT) as portrait:
            portrait.resize((400 + 20 * number, 500)).save(tmp_path / "pile" / "person" / f"portrait{number}.jpg")
    add_dataset(store, tmp_path / "pile", "pile")
    told = []
    person, thing = ask_about(store, "pile", untouched, lambda done, total: told.append((done, total)))
    assert (person.label, person.photos, thing.label, thing.photos) == ("person", 5, "thing", 5)
    assert person.answers[0] == ("military uniform", 0.8)
    assert sum(share for _, share in person.answers) == pytest.approx(1.0)
    assert told[-1] == (10, 10) and MOST_OF_A_CLASS >= 100
