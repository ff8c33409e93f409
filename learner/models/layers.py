"""List the layers of a network: what each gives for an image, and how many parameters it has."""

from collections import Counter
from typing import Any

import torch
from torch import nn

from learner.datasets import summarize
from learner.jobs.process import Tell
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network
from learner.models.precision import Precision
from learner.questions.answers import keep_answer
from learner.questions.layers import layers_file
from learner.recipe import Recipe
from learner.store import Store


@torch.no_grad()
def layers_of(network: Network, image_size: int) -> list[dict[str, Any]]:
    """Every layer in the order in which one image passes through.

    Of each: stage (`head` for the head's), name, kind, output shape without the batch, parameters.

    The image is black, (1, 3, `image_size`, `image_size`). The network is left as it was, in each part's own mode. A
    layer is a module with parameters of its own, or without parts; names that are mere numbers become the kind and a
    count, such as `conv2` of block1.
    """
    layers: dict[nn.Module, dict[str, Any]] = {}
    modes = {module: module.training for module in network.modules()}
    hooks = []
    for stage, part in [*network.body.named_children(), ("head", network[1])]:
        for name, module in _named(part):
            row: dict[str, Any] = {"stage": stage, "name": name, "kind": type(module).__name__}
            row["parameters"] = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            hooks.append(module.register_forward_hook(_note(layers, row)))
    try:
        x = torch.zeros(1, 3, image_size, image_size, device=next(network.parameters()).device)
        network.eval()
        for index in range(len(network.body)):
            x = network.stage(index, x)
        network[1](x.float())
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return list(layers.values())


def _named(part: nn.Module) -> list[tuple[str, nn.Module]]:
    counts: Counter[str] = Counter()
    named = []
    for path, module in part.named_modules():
        is_layer = not list(module.children()) or any(True for _ in module.parameters(recurse=False))
        if not is_layer or isinstance(module, nn.Identity):
            continue
        kind = type(module).__name__.removesuffix("1d").removesuffix("2d").lower()
        counts[kind] += 1
        plain = all(piece.isdecimal() for piece in path.split(".")) or not path
        named.append((f"{kind}{counts[kind]}" if plain else path, module))
    return named


def _note(layers: dict[nn.Module, dict[str, Any]], row: dict[str, Any]):
    def hook(module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        layers.setdefault(module, row | {"shape": list(output.shape[1:])})

    return hook


def list_layers(store: Store, recipe: Recipe, tell: Tell = lambda _: None) -> None:
    """Keep the layers of a settled recipe's network in `layers_file`. Raises BackboneError and DatasetError."""
    tell("Building the network")
    classes = len(summarize(store, store.datasets.version(recipe.dataset, recipe.version)).classes)
    backbone = build(recipe.backbone, "random", two_scales=recipe.head.two_scales)  # weights have no part in it
    precision = Precision("fp32", "")
    body_only = Network(backbone.body, nn.Identity(), precision)
    height, width, _ = body_only.shapes(recipe.side)[-1]
    head = build_head(recipe.head, backbone.num_features, classes, (height, width))
    layers = layers_of(Network(backbone.body, head, precision), recipe.side)
    keep_answer(layers_file(store.workspace, recipe, classes), layers)
