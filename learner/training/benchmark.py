"""Measure how fast this machine trains a backbone, in a few seconds, for `learner.planning.cost`."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from learner.features.augment import apply, draw
from learner.jobs.process import Tell
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network, Shape, lowered, row_bytes
from learner.models.precision import Precision, precisions
from learner.planning.cost import Workload, choose_speed, is_narrow
from learner.planning.speeds import Speed, load_speeds, save_speeds
from learner.recipe import Augment, Head, Recipe
from learner.store import Store
from learner.training.optimizers import build_optimizer
from learner.wording import count
from learner.workspace import Workspace

BUDGET_S = 4.0
"""Aim for all that is measured, loading of modules apart."""
MOST_ROUNDS, SHORT_S = 5, 0.05
"""Each piece of work is timed twice, and up to so often where all of it is over in that time; the fastest counts."""
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
            speeds = measure(recipe, precisions(recipe.precision, device), device)
            save_speeds(workspace, recipe, speeds)
    return speeds


def measure_machine(store: Store, recipe: Recipe, tell: Tell = lambda _: None) -> None:
    """Measure for a settled recipe, unless that was kept. Raises what `speeds_of` raises."""
    tell("Measuring this machine")
    speeds_of(store.workspace, recipe, pick_device())


def speed_of_run(workspace: Workspace, recipe: Recipe, device: torch.device, amounts: Workload) -> Speed:
    """The speed in the precision that a run is to use.

    Where the kept measurement decides by little, this machine is looked at once more, and of both times the shorter
    one counts. Raises what `speeds_of` raises.
    """
    speeds = speeds_of(workspace, recipe, device)
    if is_narrow(recipe, speeds, amounts):
        again = measure(recipe, precisions(recipe.precision, device), device)
        speeds = [one.or_faster(other) for one, other in zip(speeds, again, strict=True)]
        save_speeds(workspace, recipe, speeds)
    return choose_speed(recipe, speeds, amounts)


def measure(recipe: Recipe, choice: list[Precision], device: torch.device) -> list[Speed]:
    """Time every group of the recipe's backbone in each precision; its weights do not matter, so random ones do.

    The precisions take turns with every piece of work, so that whatever else the machine does slows all of them.
    """
    backbone = build(recipe.backbone, "random", two_scales=True)
    head = build_head(Head(), backbone.num_features, 2, (1, 1))  # the recipe's own two are never far from these
    networks = [
        Network(deepcopy(backbone.body), deepcopy(head), precision).to(device).to(memory_format=torch.channels_last)
        for precision in choice
    ]
    shapes = networks[0].shapes(recipe.side)
    twins = [lowered(network) for network in networks]
    share = BUDGET_S / len(backbone.body) / len(choice)
    timed = [
        _stage_s(networks, twins, index, shapes[index], recipe.batch_size, share) for index in range(len(backbone.body))
    ]
    timed.append(_head_s([network[1] for network in networks], shapes[-1], recipe.batch_size, device))
    augment = _augment_s(recipe.side, device)
    return [
        Speed(
            arch=recipe.backbone,
            stages=backbone.stages,
            image_size=recipe.side,
            batch_size=recipe.batch_size,
            device=device_name(device),
            precision=precision.name,
            precision_reason=precision.reason,
            forward=[groups[number].forward for groups in timed],
            lowest=[groups[number].lowest for groups in timed],
            above=[groups[number].above for groups in timed],
            update=[groups[number].update for groups in timed],
            augment=augment,
            batch=BATCH_S,
            row_bytes=[row_bytes(shape, precision if cut else None) for cut, shape in enumerate(shapes)],
        )
        for number, precision in enumerate(choice)
    ]


@dataclass
class _Group:
    """Seconds of one parameter group; see `Speed`."""

    forward: float
    lowest: float
    above: float
    update: float


def _stage_s(
    networks: list[Network], twins: list[Network], index: int, shape: Shape, batch_size: int, share_s: float
) -> list[_Group]:
    device = next(networks[0].parameters()).device
    height, width, channels = shape

    def inputs(images: int) -> list[torch.Tensor]:
        x = torch.rand(images, channels, height, width, device=device).contiguous(memory_format=torch.channels_last)
        return [x if index == 0 else x.to(network.precision.dtype) for network in networks]

    @torch.inference_mode()
    def infer(twin: Network, x: torch.Tensor) -> None:
        twin.stage(index, x)

    def train(network: Network, x: torch.Tensor, input_gradient: bool) -> None:
        y = network.stage(index, x.detach().requires_grad_(input_gradient))
        if y.requires_grad:
            y.backward(torch.ones_like(y))

    def each(work: Callable, whose: list[Network], xs: list[torch.Tensor], *how: bool) -> list[float]:
        return _seconds([partial(work, one, x, *how) for one, x in zip(whose, xs, strict=True)], device)

    alone = fmean(each(infer, twins, inputs(1)))
    images = int(np.clip(share_s / (FORWARDS * alone), 1, batch_size))
    xs = inputs(images)
    rows = zip(
        each(infer, twins, xs),
        each(train, networks, xs, False),
        each(train, networks, xs, True),
        _update_s([network.body[index] for network in networks], device),
        strict=True,
    )
    return [
        _Group(forward / images, lowest / images, above / images, update) for forward, lowest, above, update in rows
    ]


def _head_s(heads: list[nn.Module], shape: Shape, batch_size: int, device: torch.device) -> list[_Group]:
    height, width, channels = shape
    x = torch.rand(max(2, batch_size), channels, height, width, device=device)

    @torch.inference_mode()
    def infer(head: nn.Module) -> None:
        head.eval()(x)

    def train(head: nn.Module, input_gradient: bool) -> None:
        head.train()(x.detach().requires_grad_(input_gradient)).sum().backward()

    rows = zip(
        _seconds([partial(infer, head) for head in heads], device),
        _seconds([partial(train, head, False) for head in heads], device),
        _seconds([partial(train, head, True) for head in heads], device),
        _update_s(heads, device),
        strict=True,
    )
    return [
        _Group(forward / len(x), lowest / len(x), above / len(x), update) for forward, lowest, above, update in rows
    ]


def _update_s(modules: list[nn.Module], device: torch.device) -> list[float]:
    """Seconds of one optimizer step over each module's parameters."""
    if not list(modules[0].parameters()):
        return [0.0] * len(modules)
    return _seconds([_optimizer_of(module).step for module in modules], device)


def _optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return build_optimizer("adamw", [parameters], lr=0.0)


def _augment_s(image_size: int, device: torch.device) -> float:
    images = torch.rand(8, 3, image_size, image_size, device=device)
    draws = np.stack([draw(Augment(rotate=10, lighting=0.2), 0, "0" * 64, view) for view in range(8)])
    changes = torch.from_numpy(draws).to(device)
    [seconds] = _seconds([lambda: apply(images, changes)], device)
    return seconds / len(images)


def _seconds(works: list[Callable[[], object]], device: torch.device) -> list[float]:
    """Of each the fastest of a few rounds, in which all take turns: the first one also prepares kernels and memory."""
    rounds: list[list[float]] = []
    while len(rounds) < 2 or (len(rounds) < MOST_ROUNDS and sum(map(sum, rounds)) < SHORT_S):
        rounds.append([_once(work, device) for work in works])
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _once(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes on a machine that does nothing else.

    There no work on a CPU takes longer than the processor's time that it uses, over all threads. Where it does, others
    had the processor meanwhile.
    """
    began, used = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds, of_processor = time.perf_counter() - began, time.process_time() - used
    return min(seconds, of_processor) if device.type == "cpu" and of_processor > 0 else seconds
