"""A model with an attention head shows where it looked, and leaves as any other does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from learner.evaluation.overlay import AMBER, overlay
from learner.inference.predictor import Predictor
from learner.models.backbones import build
from learner.models.checkpoint import ModelSpec, save_model
from learner.models.heads import AttentionPool, build_head
from learner.recipe import Head
from tests.samples import SMALL, make_photos, small_recipe

SIDE = 96
MAP = 3
"""Height and width of the feature map of an image of `SIDE` pixels."""


def attention_model(file: Path) -> Path:
    """An untrained model with an attention head, written as a run writes its own."""
    torch.manual_seed(3)
    backbone = build(SMALL, "random")
    head = Head("attention", [8])
    spec = ModelSpec(
        SMALL, backbone.stages, ["cat", "dog"], SIDE, list(backbone.mean), list(backbone.std), backbone.num_features
    )
    spec.head = {"kind": "attention", "widths": [8], "dropout": 0.5, "pool": "average"}
    model = nn.Sequential(backbone.body, build_head(head, backbone.num_features, 2, (MAP, MAP)))
    model(torch.rand(8, 3, SIDE, SIDE))  # so that batch-norm has seen something
    for module in model[1][0].look.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.0)  # an untrained one looks everywhere alike
    save_model(model.eval(), spec, file)
    return file


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return attention_model(tmp_path_factory.mktemp("attention") / "model.safetensors")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = make_photos(tmp_path_factory.mktemp("pictures"), {"cat": 3, "dog": 3}, size=(120, 90))
    return sorted(folder.rglob("*.jpg"))


def test_the_map_is_the_one_that_weights_the_pooling(model, pictures):
    predictor = Predictor.open(str(model), None)
    predictions = list(predictor.predict(pictures))
    head = predictor.network[1]
    for prediction in predictions:
        weights = np.array(prediction.attention)
        assert weights.shape == (MAP, MAP) and 0 <= weights.min() < weights.max() <= 1
    pool: AttentionPool = head[0]
    seen = []
    pool.look.register_forward_hook(lambda _module, _input, output: seen.append(output.squeeze(1)))
    again = list(predictor.predict(pictures))
    for prediction, weights in zip(again, seen[0], strict=True):
        assert prediction.attention == pytest.approx(weights.numpy(), abs=1e-6)
    assert [one.probs for one in again] == [one.probs for one in predictions]


def test_an_unreadable_file_moves_no_map_to_another_picture(model, pictures, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    predictor = Predictor.open(str(model), None)
    whole = list(predictor.predict(pictures))
    mixed = list(predictor.predict([pictures[0], tmp_path / "broken.jpg", *pictures[1:]]))
    assert mixed[1].attention is None and mixed[1].error
    assert [one.attention for one in mixed[:1] + mixed[2:]] == [pytest.approx(np.array(one.attention)) for one in whole]


def test_other_models_show_no_attention(trained, pictures):
    store, run_id = trained
    predictor = Predictor.open(str(run_id), store)
    assert not predictor.shows_attention
    assert [prediction.attention for prediction in predictor.predict(pictures[:2])] == [None, None]


def test_training_one_leaves_a_model_that_shows_where_it_looked(pets):
    from learner.training.process import execute

    run_id = pets.submit(small_recipe(head=Head("attention", [8]), image_size=64), running=True)
    assert execute(pets, run_id) == "finished", pets.runs.get(run_id).reason
    predictor = Predictor.open(str(run_id), pets)
    file = next(pets.workspace.datasets.rglob("*.jpg"))
    [prediction] = predictor.predict([file])
    assert np.array(prediction.attention).shape == tuple(predictor.spec.map_size)


class TestOverlay:
    WHITE = Image.new("RGB", (120, 60), (255, 255, 255))

    def test_amber_lies_where_the_weights_are_high_and_nothing_where_they_are_lowest(self):
        drawn = overlay(self.WHITE, [[0.2, 0.8], [0.2, 0.8]])
        assert drawn.size == (120, 60)
        assert drawn.getpixel((2, 30)) == (255, 255, 255)
        right = np.array(drawn.getpixel((117, 30)))
        assert np.abs(right - AMBER).max() < np.abs(right - 255).max()

    def test_weights_that_are_alike_leave_the_picture_as_it_is(self):
        assert overlay(self.WHITE, [[0.5, 0.51], [0.5, 0.5]]).tobytes() == self.WHITE.tobytes()
        assert overlay(self.WHITE, [[0.0]]).tobytes() == self.WHITE.tobytes()
