"""Keras's heads as Thaw's: pooling, then dense layers with ReLU; batch-norm and dropout between them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from learner.errors import ModelError
from learner.importing.keras_files import KerasFile, Layer
from learner.recipe import Head

MOST_HIDDEN = 5


class Pool(StrEnum):
    """What the feature map becomes."""

    AVERAGE = "GlobalAveragePooling2D"
    GREATEST = "GlobalMaxPooling2D"
    FLAT = "Flatten"


@dataclass
class Affine:
    """`x @ weight + bias`, weight (in, out)."""

    weight: np.ndarray
    bias: np.ndarray

    def then(self, other: "Affine") -> "Affine":
        """Both as one."""
        return Affine(self.weight @ other.weight, self.bias @ other.weight + other.bias)


@dataclass
class ReadHead:
    """A head, and its linear layers as torch has them."""

    head: Head
    layers: list[tuple[Tensor, Tensor]]
    map_side: int
    """Of the feature map; 0 where it does not matter."""


def read_head(file: KerasFile, layers: list[Layer], channels: int, map_side: int) -> ReadHead | None:
    """The head that those layers are; None where nothing tells classes apart. Raises ModelError."""
    pool: Pool | None = None
    steps: list[Affine | str] = []
    dropout, width = 0.0, channels
    for layer in layers:
        own = layer.config
        if layer.kind in ("InputLayer", "ActivityRegularization", "GaussianNoise"):
            continue
        if layer.kind == "Dropout":
            dropout = float(own.get("rate", 0.0))
        elif layer.kind in (*Pool,):
            pool = pool or Pool(layer.kind)
            width = channels * (map_side**2 if pool is Pool.FLAT else 1)
        elif layer.kind == "AveragePooling2D" and pool is None and tuple(own.get("pool_size", ())) == (map_side,) * 2:
            pool = Pool.AVERAGE  # what is flattened after it has one value a channel
        elif layer.kind == "Dense":
            steps.append(_dense(file, layer.name))
            steps += _activation(layer, own.get("activation"))
        elif layer.kind == "BatchNormalization" and pool is not None:
            before = next((step.bias.size for step in reversed(steps) if isinstance(step, Affine)), width)
            steps.append(_norm(file, layer, before))
        elif layer.kind in ("Activation", "ReLU", "Softmax"):
            steps += _activation(layer, own.get("activation", layer.kind.lower()))
        else:
            raise ModelError(
                f"Its layer {layer.name} ({layer.kind}) is none that a head can have here: pooling, Flatten, Dense, "
                "BatchNormalization, Dropout, ReLU and a last softmax or sigmoid."
            )
    if not any(isinstance(step, Affine) for step in steps):
        return None
    if pool is None:
        raise ModelError("Its dense layers work at each place of the feature map, which no head here does.")
    return _as_head(pool, _checked(steps, width), channels, map_side, dropout)


def read_head_of_weights(file: KerasFile, denses: list[str], channels: int, map_side: int | None) -> ReadHead | None:
    """The same of weights alone: dense layers one after the other, with ReLU between them."""
    if not denses:
        return None
    steps: list[Affine | str] = []
    for name in denses:
        steps += [_dense(file, name), "relu"]
    steps[-1] = "sigmoid" if len(_dense(file, denses[-1]).bias) == 1 else "softmax"
    width = file.arrays[denses[0], "kernel"].shape[0]
    if width == channels:
        return _as_head(Pool.AVERAGE, _checked(steps, width), channels, 0, 0.0)
    side = round((width / channels) ** 0.5)
    if side**2 * channels != width or (map_side is not None and map_side != side):
        raise ModelError(f"Its first dense layer takes {width:,} values, which is no map of {channels} channels.")
    return _as_head(Pool.FLAT, _checked(steps, width), channels, side, 0.0)


def _dense(file: KerasFile, name: str) -> Affine:
    kernel = file.array(name, "kernel")
    if kernel.ndim != 2:
        raise ModelError(f"The kernel of {name} is no dense layer's.")
    bias = file.array(name, "bias") if file.has(name, "bias") else np.zeros(kernel.shape[1], np.float32)
    return Affine(kernel, bias)


def _norm(file: KerasFile, layer: Layer, width: int) -> Affine:
    """What a batch-norm does once it has learnt; as numbers on a diagonal."""
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    gamma = file.array(layer.name, "gamma") if file.has(layer.name, "gamma") else ones
    beta = file.array(layer.name, "beta") if file.has(layer.name, "beta") else zeros
    mean, variance = file.array(layer.name, "moving_mean"), file.array(layer.name, "moving_variance")
    if not gamma.shape == beta.shape == mean.shape == variance.shape == (width,):
        raise ModelError(f"The layer {layer.name} does not fit the one before it.")
    scale = gamma / np.sqrt(variance + float(layer.config.get("epsilon", 1e-3)))
    return Affine(scale, beta - mean * scale)


def _activation(layer: Layer, name: object) -> list[str]:
    if name in (None, "linear"):
        return []
    if name in ("relu", "softmax", "sigmoid"):
        return [str(name)]
    raise ModelError(f"Its layer {layer.name} has the activation {str(name)[:40]}; a head here has ReLU.")


def _checked(steps: list[Affine | str], width: int) -> list[Affine]:
    """Linear layers with ReLU between them, where the steps come to that. Raises ModelError."""
    last = steps.pop() if steps[-1] in ("softmax", "sigmoid") else "softmax"
    merged: list[Affine | str] = []
    for step in steps:
        merged.append(step)
        if len(merged) > 1 and isinstance(step, Affine) and isinstance(merged[-2], Affine):
            merged[-2:] = [_joined(merged[-2], step)]
    affine = [step for step in merged if isinstance(step, Affine)]
    alternates = [isinstance(step, Affine) for step in merged] == [index % 2 == 0 for index in range(len(merged))]
    if not alternates or len(merged) % 2 == 0 or any(step != "relu" for step in merged[1::2]):
        raise ModelError("Its head is not dense layers with ReLU between them and softmax or sigmoid at its end.")
    if any(each.weight.ndim == 1 for each in affine):
        raise ModelError("Its head has a batch-norm where no dense layer is beside it.")
    for each in affine:
        if each.weight.shape[0] != width or each.bias.shape != each.weight.shape[1:]:
            raise ModelError(
                "The dense layers of its head do not fit each other, or the images' size; say --image-size."
            )
        width = each.weight.shape[1]
    if len(affine) - 1 > MOST_HIDDEN or any(len(each.bias) > 8192 for each in affine[:-1]):
        raise ModelError(f"Its head has more than {MOST_HIDDEN} hidden layers, or one of more than 8,192 units.")
    if last == "sigmoid":
        if width != 1:
            raise ModelError(
                "Its last layer has a sigmoid for each of several classes, and an image here has one class."
            )
        one = affine[-1]  # the second class has the probability, and softmax of (0, x) gives it that
        affine[-1] = Affine(
            np.hstack([np.zeros_like(one.weight), one.weight]), np.hstack([np.zeros(1, np.float32), one.bias])
        )
    elif width == 1:
        raise ModelError("Its last layer has a single value and no sigmoid, so it tells no classes apart.")
    return affine


def _joined(first: Affine, second: Affine) -> Affine:
    if second.weight.ndim == 1:
        return Affine(first.weight * second.weight, first.bias * second.weight + second.bias)
    if first.weight.ndim == 1:
        return Affine(first.weight[:, None] * second.weight, first.bias @ second.weight + second.bias)
    return first.then(second)


def _as_head(pool: Pool, affine: list[Affine], channels: int, map_side: int, dropout: float) -> ReadHead:
    widths = [len(each.bias) for each in affine[:-1]]
    first = affine[0]
    if pool is Pool.FLAT:
        kernel = first.weight.reshape(map_side, map_side, channels, -1).transpose(2, 0, 1, 3)
        first.weight = kernel.reshape(channels * map_side**2, -1)
        head = Head(kind="fc", pool="flatten", widths=widths, dropout=min(dropout, 0.99))
    elif pool is Pool.AVERAGE:
        head = Head(kind="fc", widths=widths, dropout=min(dropout, 0.99)) if widths else Head(kind="linear")
    elif widths:
        raise ModelError(
            "Its head takes the greatest value of each channel and has hidden layers, which none here has."
        )
    else:  # one that sees the greatest and the mean, and gives nothing for the mean
        first.weight = np.vstack([first.weight, np.zeros_like(first.weight)])
        head = Head(kind="solved")
    layers = [
        (torch.from_numpy(np.ascontiguousarray(each.weight.T)), torch.from_numpy(np.ascontiguousarray(each.bias)))
        for each in affine
    ]
    return ReadHead(head, layers, map_side if pool is Pool.FLAT else 0)
