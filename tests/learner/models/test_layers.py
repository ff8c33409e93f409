"""The layers of a network: in order, with shapes and parameters that follow from arithmetic."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.layers import layers_of
from learner.models.network import Network
from learner.models.precision import Precision
from learner.questions.layers import layers_file, learning_parameters, read_layers
from learner.questions.process import ask
from learner.recipe import Head, Phase, Recipe
from tests.patience import GIVE_UP_S
from tests.samples import ROOT

STAGES = [f"block{number}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def vgg16() -> Network:
    backbone = build("vgg16", "random")
    head = build_head(Head("fc", [256]), backbone.num_features, 3, (1, 1))
    return Network(backbone.body, head, Precision("fp32", ""))


def test_vgg16_is_listed_as_every_book_has_it(vgg16):
    layers = layers_of(vgg16, 64)
    assert layers[0] == {
        "stage": "block1",
        "name": "conv1",
        "kind": "Conv2d",
        "parameters": 1792,
        "shape": [64, 64, 64],
    }
    convolutions = [layer for layer in layers if layer["kind"] == "Conv2d"]
    assert Counter(layer["stage"] for layer in convolutions) == dict(zip(STAGES, (2, 2, 3, 3, 3), strict=True))
    assert [layer["name"] for layer in convolutions][-3:] == ["conv1", "conv2", "conv3"]
    assert sum(layer["parameters"] for layer in convolutions) == 14_714_688  # VGG16 without its classifier
    assert next(layer for layer in reversed(layers) if layer["stage"] == "block5")["shape"] == [512, 2, 2]
    head = [layer for layer in layers if layer["stage"] == "head"]
    assert [layer["parameters"] for layer in head if layer["kind"] == "Linear"] == [512 * 256 + 256, 256 * 3 + 3]
    assert head[-1]["shape"] == [3]


def test_all_parameters_are_counted_once_also_where_a_layer_has_parts():
    backbone = build("test_efficientnet", "random")  # timm's batch-norm there holds its activation
    head = build_head(Head("attention", [8]), backbone.num_features, 2, (1, 1))
    network = Network(backbone.body, head, Precision("fp32", ""))
    assert sum(layer["parameters"] for layer in layers_of(network, 64)) == sum(p.numel() for p in network.parameters())


def test_the_network_is_left_as_it_was(vgg16):
    vgg16.train()
    vgg16[0][0].eval()
    vgg16.skip = 2
    layers = layers_of(vgg16, 32)
    assert layers[0]["stage"] == "block1"
    assert vgg16[0][1].training and not vgg16[0][0].training and vgg16.skip == 2
    assert not any(module._forward_hooks for module in vgg16.modules())
    vgg16.skip = 0


def test_what_learns_in_a_phase_is_counted_from_its_lowest_group_up(vgg16):
    layers = layers_of(vgg16, 32)
    whole = sum(parameter.numel() for parameter in vgg16.parameters())
    head = sum(parameter.numel() for parameter in vgg16[1].parameters())
    block5 = sum(parameter.numel() for parameter in vgg16[0][4].parameters())
    assert learning_parameters(layers, STAGES, 5) == (head, whole)
    assert learning_parameters(layers, STAGES, 4) == (head + block5, whole)
    assert learning_parameters(layers, STAGES, 0) == (whole, whole)


def test_another_process_lists_them_into_the_cache(pets):
    recipe = Recipe("pets", version=1, backbone="test_resnet", image_size=64, head=Head("linear"))
    assert read_layers(pets.workspace, recipe, 2) is None
    assert ask(pets, "layers", layers_file(pets.workspace, recipe, 2), recipe).wait(GIVE_UP_S) == 0
    layers = read_layers(pets.workspace, recipe, 2)
    assert layers[-1]["stage"] == "head" and layers[-1]["shape"] == [2]
    other = replace(recipe, head=Head("fc"), phases=[Phase("Head")])
    assert layers_file(pets.workspace, other, 2) != layers_file(pets.workspace, recipe, 2)
    layers_file(pets.workspace, recipe, 2).write_text("{")
    assert read_layers(pets.workspace, recipe, 2) is None  # made once more


def test_a_network_that_cannot_be_built_is_told_in_a_sentence(pets, tmp_path):
    process = ask(pets, "layers", tmp_path / "layers.json", Recipe("pets", version=1, backbone="nosuch", image_size=64))
    _, errors = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 2
    assert errors.strip().splitlines()[-1].startswith("backbone: 'nosuch' is not an architecture")


def test_reading_layers_needs_no_torch():
    code = "import sys, learner.questions.layers; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_layer_that_is_used_twice_is_listed_once():
    twice = nn.ReLU()
    body = nn.Sequential()
    body.add_module("block1", nn.Sequential(nn.Conv2d(3, 4, 1), twice, nn.Conv2d(4, 4, 1), twice))
    network = Network(
        body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), Precision("fp32", "")
    )
    assert [layer["kind"] for layer in layers_of(network, 8)][:3] == ["Conv2d", "ReLU", "Conv2d"]
    assert torch.is_grad_enabled()
