"""Checkpoints of timm's and torchvision's networks, of which nothing but tensors is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from learner.errors import BackboneError, ModelError, WeightsError
from learner.importing.foreign import Foreign, network_of
from learner.importing.pixels import PIXELS
from learner.models.backbones import Backbone, build, load_state, read_weights
from learner.models.network import map_size
from learner.recipe import Head

TORCHVISION_VGG = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
"""torchvision's names of VGG's dense layers, and timm's."""
MOST_DIFFERENCE = 1e-3
"""Between the logits of the network that the file is of and of Thaw's."""


def read_checkpoint(path: Path, arch: str | None, pixels: str | None, image_size: int | None) -> Foreign:
    """The body and the classifier in a checkpoint of the timm architecture `arch`. Raises ModelError.

    The result is held against timm's own network on noise, so that a network whose classifier is of another kind than
    any head here is refused.
    """
    if arch is None:
        raise ModelError("The file does not say which network it is of. Name timm's architecture: --arch resnet50")
    try:
        tensors = _as_timm(read_weights(path))
        backbone = build(arch, "random")
        load_state(backbone, tensors)
    except (BackboneError, WeightsError) as error:
        raise ModelError(str(error)) from None
    side = image_size or backbone.input_size
    mean, std = list(backbone.mean), list(backbone.std)
    if pixels:
        mean, std = PIXELS[pixels].mean, PIXELS[pixels].std
    found = Foreign(
        arch, dict(backbone.body.state_dict()), Head(kind="fastai"), None, side, mean, std, "timm or torchvision"
    )
    if pixels and PIXELS[pixels].is_bgr:
        first = next(name for name, tensor in found.body.items() if tensor.ndim == 4)
        found.body[first] = found.body[first].flip(1)
    own = set(backbone.timm_names.values())
    rest = {name: tensor for name, tensor in tensors.items() if name not in own and tensor.is_floating_point()}
    if not rest:
        return found
    found.head, found.layers = _classifier(arch, rest, backbone, side)
    if found.layers[-1][0].shape[0] < 2:
        raise ModelError("Its last layer has a single output, so it tells no classes apart.")
    if not (pixels and PIXELS[pixels].is_bgr):
        _compare(arch, tensors, found)
    return found


def _as_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under timm's names, where they are torchvision's of a VGG."""
    if "classifier.6.weight" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        place, _, what = name.rpartition(".")
        place = TORCHVISION_VGG.get(place, place)
        if place.startswith("pre_logits") and what == "weight":
            side = 7 if place.endswith("fc1") else 1
            tensor = tensor.reshape(tensor.shape[0], -1, side, side)
        renamed[f"{place}.{what}"] = tensor
    return renamed


def _classifier(
    arch: str, rest: dict[str, Tensor], backbone: Backbone, side: int
) -> tuple[Head, list[tuple[Tensor, Tensor]]]:
    """The head that the tensors are, which are no part of the body. Raises ModelError."""
    weights = [name for name, tensor in rest.items() if name.endswith(".weight") and tensor.ndim in (2, 4)]
    if len(weights) * 2 != len(rest) and len(weights) != len(rest):
        raise ModelError(f"The classifier of {arch} has layers that no head here has: {', '.join(list(rest)[:3])}.")
    layers = []
    for name in weights:
        weight = rest[name].float().flatten(1)
        layers.append((weight, rest.get(f"{name.removesuffix('weight')}bias", torch.zeros(len(weight))).float()))
    widths = [len(bias) for _, bias in layers[:-1]]
    takes = layers[0][0].shape[1]
    if takes == backbone.num_features:
        return (Head(kind="fc", widths=widths, dropout=0.0) if widths else Head(kind="linear")), layers
    height, width = map_size(backbone.body, side)
    if takes == backbone.num_features * height * width and len(widths) <= 5:
        return Head(kind="fc", pool="flatten", widths=widths, dropout=0.0), layers
    raise ModelError(f"The classifier of {arch} takes {takes:,} values, which fits no head here at {side} px.")


@torch.no_grad()
def _compare(arch: str, tensors: dict[str, Tensor], found: Foreign) -> None:
    """Raises ModelError where timm's network says something else on noise."""
    theirs = timm.create_model(arch, num_classes=found.outputs).eval()
    assert isinstance(theirs, nn.Module)
    try:
        theirs.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ModelError(f"It does not fit timm's {arch}: {str(error).splitlines()[-1].strip()}") from None
    ours, *_ = network_of(found, found.outputs)
    noise = torch.rand(2, 3, found.image_size, found.image_size, generator=torch.Generator().manual_seed(0))
    expected = theirs(noise)
    apart = float((ours(noise) - expected).abs().max())
    if not apart <= MOST_DIFFERENCE * max(1.0, float(expected.abs().max())):
        raise ModelError(
            f"The classifier of {arch} is of a kind that no head here is: its answers differ by {apart:.3g}."
        )
