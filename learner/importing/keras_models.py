"""VGG16, VGG19 and ResNet50 as Keras has them, with whatever head, as networks of Thaw's.

Keras's arrays are (height, width, in, out) and its maps (height, width, channels); torch's are (out, in, height, width)
and (channels, height, width). Source of the three: https://keras.io/api/applications
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from learner.errors import ModelError
from learner.importing.foreign import Foreign
from learner.importing.keras_files import KerasFile, Layer, open_keras
from learner.importing.keras_heads import read_head, read_head_of_weights
from learner.importing.pixels import PIXELS, Pixels, pixels_of_rescaling
from learner.models.backbones import build
from learner.recipe import Head
from learner.recipe.backbones import KERAS_RESNET50
from learner.wording import count

VGG_WIDTHS = (64, 128, 256, 512, 512)
VGG_CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
RESNET_BLOCKS = (3, 4, 6, 3)
RESNET_EPSILON = 1.001e-5
SIDES = 32
"""A feature map's side is the image's divided by this."""
USUAL_SIDE = 224
AUGMENTING = ("GaussianNoise", "ActivityRegularization")
"""Layers that do nothing but in training, beside those whose names begin with `Random`."""


def read_keras(path: Path, pixels: str | None, image_size: int | None) -> Foreign:
    """The model in a Keras file, of which nothing is run. Raises ModelError.

    `pixels` (of `PIXELS`) says what the network took values for, unless a layer of the file does; `image_size` is
    needed only where the file does not tell.
    """
    with open_keras(path) as file:
        layers = file.layers
        if layers is None:
            return _read_weights(file, pixels, image_size)
        before, body, after = _parts(layers)
        arch, convs = _arch_of(body)
        side = image_size or _side_of(before) or USUAL_SIDE
        taken = _pixels(before, pixels)
        foreign = _with_body(file, arch, convs, taken, side)
        head = read_head(file, after, _channels(arch), side // SIDES)
        return foreign if head is None else replace(foreign, head=head.head, layers=head.layers)


def _read_weights(file: KerasFile, pixels: str | None, image_size: int | None) -> Foreign:
    """Weights alone: which network they are of follows from how many there are, and of which shapes."""
    arch, convs, denses = _sorted_weights(file)
    if pixels is None:
        raise ModelError(_which_pixels("The file holds weights alone, so it"))
    side = image_size or USUAL_SIDE
    foreign = _with_body(file, arch, convs, PIXELS[pixels], side)
    head = read_head_of_weights(file, denses, _channels(arch), None if image_size is None else side // SIDES)
    if head is None:
        return foreign
    notes = ["The file holds weights alone: hidden layers are taken to have ReLU, the last one softmax."]
    return replace(
        foreign, head=head.head, layers=head.layers, notes=notes, image_size=head.map_side * SIDES or foreign.image_size
    )


def _parts(layers: list[Layer]) -> tuple[list[Layer], list[Layer], list[Layer]]:
    """What stands before the body, the body, and what comes after it."""
    is_conv = [index for index, layer in enumerate(layers) if layer.kind == "Conv2D"]
    if not is_conv:
        raise ModelError(f"It has no convolutions. {_what_works()}")
    first, last = is_conv[0], is_conv[-1]
    while first and layers[first - 1].kind == "ZeroPadding2D":
        first -= 1
    last += 1
    while last < len(layers) and layers[last].kind in (
        "BatchNormalization",
        "Activation",
        "ReLU",
        "Add",
        "MaxPooling2D",
    ):
        last += 1
        if layers[last - 1].kind == "MaxPooling2D":
            break
    before, body, after = layers[:first], layers[first:last], layers[last:]
    for layer in [*before, *after]:
        if layer.kind in ("Lambda", "TFOpLambda", "SlicingOpLambda") or layer.sources > 1:
            raise ModelError(
                f"Its layer {layer.name} is a {layer.kind}, which computes something of its own and is never run here. "
                "Save the model without it, and say with --pixels what it did to the pixels."
            )
    return before, body, after


def _arch_of(body: list[Layer]) -> tuple[str, list[str]]:
    """Which network the layers are, and its convolutions by name, in order. Raises ModelError."""
    convs = [layer for layer in body if layer.kind == "Conv2D"]
    for arch, counts in VGG_CONVS.items():
        pattern = [
            ("Conv2D", width) for number, width in zip(counts, VGG_WIDTHS, strict=True) for width in [width] * number
        ]
        if len(convs) == len(pattern):
            _check_vgg(arch, body, counts)
            return arch, [layer.name for layer in convs]
    expected = list(_resnet_convs())
    if {layer.name for layer in convs} == {name for name, *_ in expected}:
        _check_resnet(body, expected)
        return KERAS_RESNET50, [name for name, *_ in expected]
    raise ModelError(f"Its {count(len(convs), 'convolution')} are those of no network that is known. {_what_works()}")


def _check_vgg(arch: str, body: list[Layer], counts: tuple[int, ...]) -> None:
    expected: list[tuple[str, int]] = []
    for number, width in zip(counts, VGG_WIDTHS, strict=True):
        expected += [("Conv2D", width)] * number + [("MaxPooling2D", 0)]
    layers = [layer for layer in body if layer.kind not in ("Activation", "ReLU")]
    found = [(layer.kind, layer.config.get("filters", 0)) for layer in layers]
    if found != expected:
        raise ModelError(f"Its layers are not in {arch}'s order. {_what_works()}")
    separate = len(layers) != len(body)
    for layer in layers:
        own = layer.config
        fits = (
            (
                _pair(own, "kernel_size") == (3, 3)
                and own.get("padding") == "same"
                and _pair(own, "strides") == (1, 1)
                and _pair(own, "dilation_rate", 1) == (1, 1)
                and own.get("activation") == ("linear" if separate else "relu")
            )
            if layer.kind == "Conv2D"
            else _pair(own, "pool_size") == (2, 2) and _pair(own, "strides", 2) == (2, 2)
        )
        if not fits:
            raise ModelError(f"Its layer {layer.name} is not as in {arch}. {_what_works()}")


def _check_resnet(body: list[Layer], expected: list[tuple[str, str, int, int, int]]) -> None:
    by_name = {layer.name: layer for layer in body}
    for name, norm, width, size, stride in expected:
        own, epsilon = by_name[name].config, by_name[norm].config.get("epsilon") if norm in by_name else None
        if (own.get("filters"), _pair(own, "kernel_size"), _pair(own, "strides")) != (
            width,
            (size,) * 2,
            (stride,) * 2,
        ):
            raise ModelError(f"Its layer {name} is not as in ResNet50. {_what_works()}")
        if epsilon is None or abs(epsilon - RESNET_EPSILON) > 1e-9:
            raise ModelError(f"Its layer {name} has no batch normalisation as ResNet50's after it. {_what_works()}")
    if sum(layer.kind == "Add" for layer in body) != sum(RESNET_BLOCKS):
        raise ModelError(f"It has not as many blocks as ResNet50. {_what_works()}")


def _pair(config: dict, key: str, otherwise: int | None = None) -> tuple[int, ...]:
    value = config.get(key)
    value = otherwise if value is None else value
    return (value, value) if isinstance(value, int) else tuple(value or ())


def _resnet_convs() -> Iterator[tuple[str, str, int, int, int]]:
    """Each convolution of Keras's ResNet50: name, its batch-norm's name, width, kernel and stride."""
    yield "conv1_conv", "conv1_bn", 64, 7, 2
    for stage, blocks in enumerate(RESNET_BLOCKS):
        width = 64 * 2**stage
        for block in range(blocks):
            name, stride = f"conv{stage + 2}_block{block + 1}", 2 if stage and not block else 1
            if not block:
                yield f"{name}_0_conv", f"{name}_0_bn", 4 * width, 1, stride
            for part, (wide, size, step) in enumerate(((width, 1, stride), (width, 3, 1), (4 * width, 1, 1)), 1):
                yield f"{name}_{part}_conv", f"{name}_{part}_bn", wide, size, step


def _sorted_weights(file: KerasFile) -> tuple[str, list[str], list[str]]:
    """The network, its convolutions and its dense layers, of a file of weights alone."""
    kernels = [name for name, what in file.arrays if what == "kernel"]
    convs = sorted((name for name in kernels if file.arrays[name, "kernel"].ndim == 4), key=_natural)
    denses = sorted((name for name in kernels if file.arrays[name, "kernel"].ndim == 2), key=_dense_order)
    norms = sum(what == "gamma" for _, what in file.arrays)
    for arch, counts in VGG_CONVS.items():
        if len(convs) == sum(counts) and norms:
            raise ModelError(
                "It has a batch-norm in its head, and weights alone do not say where. Save the whole model, as .keras."
            )
        if len(convs) == sum(counts):
            return arch, convs, denses
    expected = [name for name, *_ in _resnet_convs()]
    if len(convs) == len(expected) == norms:
        numbered = set(convs) != set(expected)  # as Keras 3 has them
        convs = [convs[place] for place in _places(expected)] if numbered else expected
        return KERAS_RESNET50, convs, denses
    raise ModelError(f"Its {count(len(convs), 'convolution')} are those of no network that is known. {_what_works()}")


def _places(names: list[str]) -> list[int]:
    """Where each of `_resnet_convs` stands in the order of Keras's layers, in which a block's shortcut is the third."""
    order: list[str] = []
    for name in names:
        if "_0_" not in name:
            order.append(name)
        if name.endswith("_2_conv") and (shortcut := name.replace("_2_", "_0_")) in names:
            order.append(shortcut)
    return [order.index(name) for name in names]


def _natural(name: str) -> list[tuple[int, str]]:
    """`conv2d_10` after `conv2d_9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _dense_order(name: str) -> tuple[bool, list[tuple[int, str]]]:
    """`predictions` after `fc1` and `fc2`, and else in their numbers' order, the unnumbered one first."""
    return name.endswith("predictions"), _natural(name)


def _with_body(file: KerasFile, arch: str, convs: list[str], pixels: Pixels, side: int) -> Foreign:
    if side < SIDES and arch != KERAS_RESNET50:
        raise ModelError(f"Images of {side} px are too small for {arch}.")
    backbone = build(arch, "random")
    body = dict(
        _vgg_state(file, convs, backbone.body.state_dict())
        if arch in VGG_CONVS
        else _resnet_state(file, convs, backbone.timm_names)
    )
    first = next(name for name in body if body[name].ndim == 4)
    if pixels.is_bgr:
        body[first] = body[first].flip(1)
    return Foreign(arch, body, Head(kind="fastai"), None, side, pixels.mean, pixels.std, "Keras")


def _vgg_state(file: KerasFile, convs: list[str], own: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    weights = [name for name in own if name.endswith("weight")]
    for name, conv in zip(weights, convs, strict=True):
        yield name, _kernel(file, conv)
        yield f"{name.removesuffix('weight')}bias", torch.from_numpy(file.array(conv, "bias"))


def _resnet_state(file: KerasFile, convs: list[str], timm_names: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
    """The bias of a convolution goes into the batch-norm after it, whose variance takes up Keras's other epsilon."""
    ours = {theirs: name for name, theirs in timm_names.items()}
    by_name = dict(zip([name for name, *_ in _resnet_convs()], convs, strict=True))
    norms = _norms(file, by_name)
    for name, norm, *_ in _resnet_convs():
        conv, place = _timm_place(name)
        bias = file.array(by_name[name], "bias") if file.has(by_name[name], "bias") else 0.0
        yield ours[f"{conv}.weight"], _kernel(file, by_name[name])
        yield ours[f"{place}.weight"], torch.from_numpy(file.array(norms[norm], "gamma"))
        yield ours[f"{place}.bias"], torch.from_numpy(file.array(norms[norm], "beta"))
        yield ours[f"{place}.running_mean"], torch.from_numpy(file.array(norms[norm], "moving_mean") - bias)
        variance = file.array(norms[norm], "moving_variance") + np.float32(RESNET_EPSILON - 1e-5)
        yield ours[f"{place}.running_var"], torch.from_numpy(variance)


def _norms(file: KerasFile, by_name: dict[str, str]) -> dict[str, str]:
    """The batch-norms' names in the file, by those in Keras's ResNet50."""
    expected = [norm for _, norm, *_ in _resnet_convs()]
    if file.has(expected[0], "gamma"):
        return {name: name for name in expected}
    found = sorted((name for name, what in file.arrays if what == "gamma"), key=_natural)
    return {name: found[place] for name, place in zip(expected, _places(list(by_name)), strict=True)}


def _timm_place(name: str) -> tuple[str, str]:
    """timm's names of a convolution of Keras's ResNet50 and of its batch-norm."""
    if name == "conv1_conv":
        return "conv1", "bn1"
    stage, block, part, _ = name.split("_")
    place = f"layer{int(stage[4:]) - 1}.{int(block[5:]) - 1}"
    return (
        (f"{place}.downsample.0", f"{place}.downsample.1")
        if part == "0"
        else (f"{place}.conv{part}", f"{place}.bn{part}")
    )


def _kernel(file: KerasFile, layer: str) -> Tensor:
    kernel = file.array(layer, "kernel")
    if kernel.ndim != 4:
        raise ModelError(f"The kernel of {layer} is no convolution's.")
    return torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))


def _channels(arch: str) -> int:
    return 2048 if arch == KERAS_RESNET50 else 512


def _side_of(before: list[Layer]) -> int | None:
    """The side of images, where an input layer tells it."""
    for layer in before:
        shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
        if layer.kind == "InputLayer" and shape and len(shape) == 4 and shape[1]:
            if shape[1] != shape[2]:
                raise ModelError(f"It takes images of {shape[2]} × {shape[1]} px, and only squares can be imported.")
            if not isinstance(shape[1], int) or not SIDES <= shape[1] <= 1024:
                raise ModelError(f"It takes images of {shape[1]} px, and 32 to 1,024 can be imported.")
            return shape[1]
    return None


def _pixels(before: list[Layer], named: str | None) -> Pixels:
    """What the body takes pixels for: a layer that rescales them decides, else the person."""
    scales = [layer for layer in before if layer.kind == "Rescaling"]
    others = [
        layer
        for layer in before
        if layer.kind not in ("InputLayer", "Rescaling", *AUGMENTING) and not layer.kind.startswith("Random")
    ]
    if others:
        raise ModelError(
            f"Its layer {others[0].name} ({others[0].kind}) changes images in a way that is not known here. Save the "
            "model without it."
        )
    if scales:
        if named:
            raise ModelError("The file itself says what becomes of the pixels (a Rescaling layer). Leave --pixels out.")
        return pixels_of_rescaling(scales)
    if named is None:
        raise ModelError(_which_pixels("The file"))
    return PIXELS[named]


def _which_pixels(who: str) -> str:
    return (
        f"{who} does not say what its network took pixels for. Say it: --pixels caffe where it was trained with "
        "preprocess_input of VGG or ResNet, --pixels 0-1 where pixels were divided by 255 (rescale=1./255); others are "
        f"{', '.join(name for name in PIXELS if name not in ('caffe', '0-1'))}."
    )


def _what_works() -> str:
    return "VGG16, VGG19 and ResNet50 of keras.applications can be imported, with any head of pooling and dense layers."
