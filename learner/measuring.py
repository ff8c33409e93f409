"""Measure how fast this machine trains a backbone, in a few seconds. `learner.speed` predicts a run's cost from it."""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from learner.augment import apply, draw
from learner.backbones import build
from learner.features import FeatureCache
from learner.heads import build_head
from learner.loaders import Preprocess
from learner.network import Network, lowered
from learner.optimizers import build_optimizer
from learner.precision import choose_precision
from learner.recipe import Augment, Recipe
from learner.speed import Speed, load_speed, save_speed
from learner.workspace import Workspace

BUDGET_S = 4.0
"""Aim for one measurement, loading of modules apart."""
RUNS_A_STAGE = 8
"""Forward passes, about, that one stage's measurement costs: three of them, and two training steps."""
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
    return f"{device.type.upper()}, {torch.get_num_threads()} threads"


def speed_of(workspace: Workspace, recipe: Recipe, image_size: int, device: torch.device) -> Speed:
    """The kept measurement for this recipe's backbone on this device, or a new one, which is then kept."""
    speed = load_speed(workspace, recipe, recipe.backbone, image_size)
    if speed is None or speed.device != device_name(device):
        speed = measure(workspace, recipe, image_size, device)
        save_speed(workspace, recipe, speed)
    return speed


def measure(workspace: Workspace, recipe: Recipe, image_size: int, device: torch.device) -> Speed:
    """Time every group of the recipe's backbone; its weights do not matter, so random ones do."""
    backbone = build(recipe.backbone, "random")
    precision = choose_precision(recipe.precision, device)
    network = Network(backbone.body, build_head(backbone.num_features, 2), precision)
    network = network.to(device, memory_format=torch.channels_last)
    cache = FeatureCache(
        workspace, network, recipe.backbone, Preprocess(image_size, backbone.mean, backbone.std), views=None
    )
    twin = lowered(network)
    groups = [
        _Group(network, twin, index, cache.shapes[index], recipe.batch_size) for index in range(len(backbone.body))
    ]
    head = _Head(network, cache.shapes[-1], recipe.batch_size)
    timed = [group.measure() for group in groups] + [head.measure()]
    return Speed(
        arch=recipe.backbone,
        stages=backbone.stages,
        image_size=image_size,
        batch_size=recipe.batch_size,
        device=device_name(device),
        precision=precision.name,
        precision_reason=precision.reason,
        forward=[one["forward"] for one in timed],
        lowest=[one["lowest"] for one in timed],
        above=[one["above"] for one in timed],
        frozen=[one["frozen"] for one in timed],
        update=[one["update"] for one in timed],
        augment=_augment_s(image_size, device),
        batch=BATCH_S,
        row_bytes=[cache.row_bytes(cut) for cut in range(len(cache.shapes))],
    )


class _Group:
    """One stage: how long it takes frozen, in inference, and while it learns."""

    def __init__(self, network: Network, twin: Network, index: int, shape: tuple[int, int, int], batch_size: int):
        self.network, self.twin, self.index, self.shape = network, twin, index, shape
        self.batch_size = batch_size
        self.device = next(network.parameters()).device

    def measure(self) -> dict[str, float]:
        one = self._input(1)
        self._infer(one)
        alone = self._timed(lambda: self._infer(one), 1)
        share = BUDGET_S / len(self.network[0])
        images = int(np.clip(share / (RUNS_A_STAGE * alone), 1, self.batch_size))
        x = self._input(images)
        self._infer(x)
        forward = self._timed(lambda: self._infer(x), images)
        self.network[0][self.index].eval()
        with torch.no_grad():
            frozen = self._timed(lambda: self.network.stage(self.index, x), images)
        self.network[0][self.index].train()
        self._train(x, False)
        lowest = self._timed(lambda: self._train(x, False), images)
        above = self._timed(lambda: self._train(x, True), images)
        return {
            "forward": forward,
            "frozen": frozen,
            "lowest": lowest,
            "above": above,
            "update": _update_s(self.network[0][self.index], self.device),
        }

    def _input(self, images: int) -> torch.Tensor:
        height, width, channels = self.shape
        x = torch.rand(images, channels, height, width, device=self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        return x if self.index == 0 else x.to(self.network.precision.dtype)

    @torch.inference_mode()
    def _infer(self, x: torch.Tensor) -> None:
        self.twin.stage(self.index, x)

    def _train(self, x: torch.Tensor, input_gradient: bool) -> None:
        y = self.network.stage(self.index, x.clone().requires_grad_(input_gradient))
        if y.requires_grad:
            y.backward(torch.ones_like(y))

    def _timed(self, work: Callable[[], object], images: int) -> float:
        return _seconds(work, self.device) / images


class _Head:
    def __init__(self, network: Network, shape: tuple[int, int, int], batch_size: int):
        height, width, channels = shape
        self.head, self.device = network[1], next(network.parameters()).device
        self.x = torch.rand(max(2, batch_size), channels, height, width, device=self.device)

    def measure(self) -> dict[str, float]:
        def train(input_gradient: bool) -> None:
            self.head(self.x.clone().requires_grad_(input_gradient)).sum().backward()

        def infer() -> None:
            with torch.inference_mode():
                self.head.eval()(self.x)
            self.head.train()

        train(True)
        infer()
        images = len(self.x)
        lowest, above, forward = (
            _seconds(work, self.device) / images for work in (lambda: train(False), lambda: train(True), infer)
        )
        update = _update_s(self.head, self.device)
        return {"forward": forward, "frozen": forward, "lowest": lowest, "above": above, "update": update}


def _update_s(module: nn.Module, device: torch.device) -> float:
    """Seconds of one optimizer step over the module's parameters."""
    parameters = list(module.parameters())
    if not parameters:
        return 0.0
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    optimizer = build_optimizer([parameters], lr=0.0)
    optimizer.step()
    return _seconds(optimizer.step, device)


def _augment_s(image_size: int, device: torch.device) -> float:
    images = torch.rand(8, 3, image_size, image_size, device=device)
    draws = np.stack([draw(Augment(rotate=10, lighting=0.2), 0, "0" * 64, view) for view in range(8)])
    draws = torch.from_numpy(draws).to(device)
    apply(images, draws)
    return _seconds(lambda: apply(images, draws), device) / len(images)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    """Measure for the recipe whose JSON is the first argument, unless that is kept already."""
    recipe = Recipe.from_dict(json.loads(sys.argv[1]))
    speed_of(Workspace.current(), recipe, recipe.image_size, pick_device())


if __name__ == "__main__":
    main()
