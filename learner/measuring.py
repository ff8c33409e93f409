"""Measure how fast this machine trains a backbone, in a few seconds. `learner.speed` predicts a run's cost from it."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from learner.augment import apply, draw
from learner.backbones import build
from learner.errors import ThawError
from learner.heads import build_head
from learner.network import Network, Shape, lowered, row_bytes
from learner.optimizers import build_optimizer
from learner.precision import Precision, precisions
from learner.recipe import Augment, Head, Recipe
from learner.speed import Speed, load_speeds, save_speeds
from learner.words import count
from learner.workspace import Workspace

BUDGET_S = 4.0
"""Aim for all that is measured, loading of modules apart."""
FORWARDS = 14
"""Forward passes, about, that measuring one stage costs: two of them, and four training steps."""
BATCH_S = 0.004
"""What fastai's events, the store and fetching a batch cost, for a batch."""


def pick_device() -> torch.device:
    """CUDA where there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """`CPU, 2 threads`, or the GPU's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {count(torch.get_num_threads(), 'thread')}"


def speeds_of(workspace: Workspace, recipe: Recipe, device: torch.device) -> list[Speed]:
    """The kept measurements for a recipe whose backbone and image size are decided, or new ones, which are then kept.

    One for each precision that the recipe leaves to choose from. Raises RecipeError and BackboneError.
    """
    lock = workspace.speeds.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # two measurements at once would both be wrong
        speeds = load_speeds(workspace, recipe)
        if not speeds or speeds[0].device != device_name(device):
            choice = precisions(recipe.precision, device)
            speeds = [measure(recipe, precision, device, BUDGET_S / len(choice)) for precision in choice]
            save_speeds(workspace, recipe, speeds)
    return speeds


def measure(recipe: Recipe, precision: Precision, device: torch.device, budget_s: float) -> Speed:
    """Time every group of the recipe's backbone; its weights do not matter, so random ones do."""
    backbone = build(recipe.backbone, "random")
    head = build_head(Head(), backbone.num_features, 2, (1, 1))  # the recipe's own is never far from it
    network = Network(backbone.body, head, precision)
    network = network.to(device, memory_format=torch.channels_last)
    shapes = network.shapes(recipe.image_size)
    twin = lowered(network)
    share = budget_s / len(backbone.body)
    timed = [
        _stage_s(network, twin, index, shapes[index], recipe.batch_size, share) for index in range(len(backbone.body))
    ]
    timed.append(_head_s(network[1], shapes[-1], recipe.batch_size, device))
    return Speed(
        arch=recipe.backbone,
        stages=backbone.stages,
        image_size=recipe.image_size,
        batch_size=recipe.batch_size,
        device=device_name(device),
        precision=precision.name,
        precision_reason=precision.reason,
        forward=[one.forward for one in timed],
        lowest=[one.lowest for one in timed],
        above=[one.above for one in timed],
        update=[one.update for one in timed],
        augment=_augment_s(recipe.image_size, device),
        batch=BATCH_S,
        row_bytes=[row_bytes(shape, precision if cut else None) for cut, shape in enumerate(shapes)],
    )


@dataclass
class _Group:
    """Seconds of one parameter group; see `Speed`."""

    forward: float
    lowest: float
    above: float
    update: float


def _stage_s(network: Network, twin: Network, index: int, shape: Shape, batch_size: int, share_s: float) -> _Group:
    device = next(network.parameters()).device
    height, width, channels = shape

    def inputs(images: int) -> torch.Tensor:
        x = torch.rand(images, channels, height, width, device=device).contiguous(memory_format=torch.channels_last)
        return x if index == 0 else x.to(network.precision.dtype)

    @torch.inference_mode()
    def infer(x: torch.Tensor) -> None:
        twin.stage(index, x)

    def train(x: torch.Tensor, input_gradient: bool) -> None:
        y = network.stage(index, x.detach().requires_grad_(input_gradient))
        if y.requires_grad:
            y.backward(torch.ones_like(y))

    one = inputs(1)
    alone = _seconds(lambda: infer(one), device)
    images = int(np.clip(share_s / (FORWARDS * alone), 1, batch_size))
    x = inputs(images)
    return _Group(
        forward=_seconds(lambda: infer(x), device) / images,
        lowest=_seconds(lambda: train(x, False), device) / images,
        above=_seconds(lambda: train(x, True), device) / images,
        update=_update_s(network[0][index], device),
    )


def _head_s(head: nn.Module, shape: Shape, batch_size: int, device: torch.device) -> _Group:
    height, width, channels = shape
    x = torch.rand(max(2, batch_size), channels, height, width, device=device)

    @torch.inference_mode()
    def infer() -> None:
        head.eval()(x)

    def train(input_gradient: bool) -> None:
        head.train()(x.detach().requires_grad_(input_gradient)).sum().backward()

    return _Group(
        forward=_seconds(infer, device) / len(x),
        lowest=_seconds(lambda: train(False), device) / len(x),
        above=_seconds(lambda: train(True), device) / len(x),
        update=_update_s(head, device),
    )


def _update_s(module: nn.Module, device: torch.device) -> float:
    """Seconds of one optimizer step over the module's parameters."""
    parameters = list(module.parameters())
    if not parameters:
        return 0.0
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    optimizer = build_optimizer("adamw", [parameters], lr=0.0)
    return _seconds(optimizer.step, device)


def _augment_s(image_size: int, device: torch.device) -> float:
    images = torch.rand(8, 3, image_size, image_size, device=device)
    draws = np.stack([draw(Augment(rotate=10, lighting=0.2), 0, "0" * 64, view) for view in range(8)])
    draws = torch.from_numpy(draws).to(device)
    return _seconds(lambda: apply(images, draws), device) / len(images)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The faster of two runs: the first one also prepares kernels and memory."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return min(once(), once())


def main() -> None:
    """Measure for the recipe whose JSON is the first argument, unless that is kept already."""
    recipe = Recipe.from_dict(json.loads(sys.argv[1]))
    try:
        speeds_of(Workspace.current(), recipe, pick_device())
    except ThawError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
