"""Heat maps are Grad-CAM's, whatever the stage, the backbone and the head; captum is the judge."""

from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from learner.errors import ImageError, ModelError
from learner.evaluation.grad_cam import SHOWN_SIDE, heat_maps, overlays
from learner.inference.predictor import BATCH, Predictor
from learner.models.backbones import build
from learner.models.checkpoint import ModelSpec
from learner.models.heads import build_head
from learner.recipe import Head
from tests.samples import SMALL, make_photos

SIDE = 64


def untrained(arch: str, head: Head, precision: str = "fp32", side: int = SIDE) -> Predictor:
    torch.manual_seed(5)
    backbone = build(arch, "random")
    with torch.no_grad():
        _, _, height, width = backbone.body.eval()(torch.zeros(1, 3, side, side)).shape
    model = nn.Sequential(backbone.body, build_head(head, backbone.num_features, 3, (height, width)))
    model.train()(torch.rand(8, 3, side, side))  # so that batch-norm has seen something
    spec = ModelSpec(
        arch, backbone.stages, list("abc"), side, list(backbone.mean), list(backbone.std), backbone.num_features
    )
    spec.head = {**spec.head, "kind": head.kind, "widths": head.widths}
    spec.precision = precision
    return Predictor(model.eval(), spec, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    return sorted(make_photos(tmp_path_factory.mktemp("photos"), {"a": 2, "b": 2}, size=(90, 60)).rglob("*.jpg"))


def by_captum(predictor: Predictor, pixels: np.ndarray, classes: list[int], index: int) -> np.ndarray:
    """Grad-CAM by another hand, each image's map divided by its greatest value."""
    model = nn.Sequential(predictor.network[0], predictor.network[1])
    images = predictor.prepare(pixels).requires_grad_()
    target = torch.tensor(classes)
    found = LayerGradCam(model, predictor.network[0][index]).attribute(images, target, relu_attributions=True)
    maps = found.detach()[:, 0].numpy()
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        (SMALL, Head()),
        (SMALL, Head("attention", [8])),
        ("vgg11", Head("fc", [8])),
        ("mobilenetv3_small_050", Head("linear")),
        ("small_cnn", Head("linear")),
    ],
)
def test_heat_maps_are_those_of_captum_on_every_stage(arch, head, files):
    predictor = untrained(arch, head)
    pixels = np.stack([predictor.read(file) for file in files])
    classes = [0, 1, 2, 0]
    some = 0
    for index, stage in enumerate(predictor.spec.stages):
        ours = heat_maps(predictor, pixels, classes, stage)
        assert ours.shape[0] == 4 and ours.min() >= 0 and ours.max() <= 1
        assert ours == pytest.approx(by_captum(predictor, pixels, classes, index), abs=1e-4)
        some += int((ours.max((1, 2)) == 1).sum())
    assert some > len(predictor.spec.stages)  # not all of them are empty
    assert np.array_equal(heat_maps(predictor, pixels, classes), heat_maps(predictor, pixels, classes, stage))


def test_a_model_that_was_trained_in_bf16_is_explained_in_fp32(files):
    usual, low = untrained(SMALL, Head()), untrained(SMALL, Head(), "bf16")
    pixels = np.stack([low.read(file) for file in files])
    maps = heat_maps(low, pixels, [0, 1, 2, 0])
    assert maps.dtype == np.float32
    assert maps == pytest.approx(heat_maps(usual, pixels, [0, 1, 2, 0]), abs=0.1)  # its weights are rounded
    assert next(low.predict(files[:1])).probs  # and it goes on predicting as before


def test_many_images_are_explained_a_few_at_a_time_and_each_as_if_alone(files):
    predictor = untrained(SMALL, Head())
    pixels = np.stack([predictor.read(files[number % 4]) for number in range(BATCH + 3)])
    classes = [number % 3 for number in range(BATCH + 3)]
    together = heat_maps(predictor, pixels, classes)
    assert len(together) == BATCH + 3
    for number in (0, BATCH - 1, BATCH, BATCH + 2):
        alone = heat_maps(predictor, pixels[number : number + 1], classes[number : number + 1])
        assert together[number] == pytest.approx(alone[0], abs=1e-4)


def test_an_image_does_not_sway_the_map_of_another_class(files):
    predictor = untrained(SMALL, Head())
    pixels = np.stack([predictor.read(files[0])] * 2)
    first, second = heat_maps(predictor, pixels, [0, 1])
    assert not np.allclose(first, second, atol=1e-3)


def test_an_overlay_has_the_shape_of_its_picture_and_the_strength_that_is_asked(files):
    predictor = untrained(SMALL, Head())
    [none], [usual], [full] = (overlays(predictor, files[:1], [0], strength=s) for s in (0.0, 0.5, 1.0))
    assert none.size[0] / none.size[1] == pytest.approx(90 / 60, abs=0.02) and max(none.size) <= SHOWN_SIDE
    plain, half, whole = (np.asarray(picture, np.float32) for picture in (none, usual, full))
    assert half == pytest.approx((plain + whole) / 2, abs=1.0)
    assert np.abs(whole - plain).max() > 50


def test_a_stage_that_there_is_not_and_a_file_that_is_no_picture_are_told(files, tmp_path):
    predictor = untrained(SMALL, Head())
    with pytest.raises(ModelError, match=r"This model has no stage 'block9'\. Its stages are stem, "):
        overlays(predictor, files[:1], [0], "block9")
    (tmp_path / "letter.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"letter\.jpg cannot be used"):
        overlays(predictor, [tmp_path / "letter.jpg"], [0])
