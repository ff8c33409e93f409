"""timm's convolutional networks as named stages, with their pretrained weights.

A backbone made here consists of timm and torch modules only, so a pickle of it opens where Thaw is not installed.
It knows nothing of heads, training or images beyond the statistics its inputs are normalised with.
"""

import difflib
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from safetensors import safe_open
from timm.models import group_parameters
from timm.models.vgg import VGG
from torch import Tensor, nn

from learner.errors import BackboneError, WeightsError
from learner.models.keras_resnet import with_keras_strides
from learner.models.scales import carried_channels, with_last_larger_map
from learner.models.weights import WeightsSource, choose_backbone, find_weights, local_file
from learner.recipe.backbones import KERAS_RESNET50, KNOWN_BACKBONES, SMALL_CNN
from learner.workspace import Workspace

CHECK_PIXELS = 96
HEAD_CONVS = ("conv_head", "final_conv")


class TimmModel(nn.Module):
    """What a network of timm's has besides, for the type checker only: timm does not say it of all of them."""

    pretrained_cfg: dict[str, Any]
    num_features: int
    forward_features: Callable[[Tensor], Tensor]
    group_matcher: Callable[..., dict[str, Any]]


@dataclass
class Backbone:
    """A network without its classifier: images (N, 3, H, W) in, feature maps (N, num_features, h, w) out.

    `body` is a Sequential whose children are the stages. `mean` and `std` normalise images scaled to 0…1, a value a
    channel. `input_size` is the side, in pixels, of the images it was pretrained on. `timm_names` gives timm's name
    of every tensor in `body.state_dict()`.
    """

    arch: str
    body: nn.Sequential
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_features: int
    input_size: int
    source: WeightsSource
    timm_names: dict[str, str] = field(repr=False)

    @property
    def stages(self) -> list[str]:
        """The stages' names from input to output."""
        return [name for name, _ in self.body.named_children()]


def build(
    arch: str = "auto",
    weights: str | WeightsSource = "auto",
    workspace: Workspace | None = None,
    two_scales: bool = False,
) -> Backbone:
    """Make a backbone with its weights loaded, on the CPU, in training mode, every parameter trainable.

    `arch` is a timm name or `auto` (see `learner.models.weights.choose_backbone`); `weights` is what `find_weights`
    takes, or what it returned. Stages are named

    - VGG: `block1` … `block5`, each ending in its max-pooling;
    - ResNet family: `stem`, `layer1` … `layer4`;
    - EfficientNet and MobileNet families: `stem`, `block1` … `block7` and, where there is one, `head_conv`;
    - others: `stem`, then `stage1`, `stage2` … as timm groups their layers.

    With `two_scales` the body's output carries an earlier, larger feature map, too: see `learner.models.scales`.

    Raises BackboneError when timm does not know `arch` or it is not a chain of stages, and WeightsError when weights
    cannot be had or do not fit.
    """
    if arch == "auto":
        if isinstance(weights, WeightsSource):
            raise BackboneError("backbone: auto chooses its own weights; name the backbone these weights are for.")
        arch, weights = choose_backbone("auto", weights, workspace)
    if arch == SMALL_CNN:
        source = weights if isinstance(weights, WeightsSource) else find_weights(arch, weights, workspace)
        return _load(_small_cnn(source, two_scales))
    model = _create(arch)
    body = _cut(arch, model)
    if two_scales:
        body = with_last_larger_map(body, _check_side(model))
    config = model.pretrained_cfg
    source = (
        weights
        if isinstance(weights, WeightsSource)
        else find_weights(arch, weights, workspace, hub_id=config.get("hf_hub_id") if arch != KERAS_RESNET50 else None)
    )
    timm_name = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    backbone = Backbone(
        arch=arch,
        body=body,
        # For the package's EfficientNet-Lite0 this is 0.5 / 0.5 too. The package itself does not say, but on photos
        # the variance after its first convolution matches the stored running variance with 0.5 / 0.5 (ratio 1.05)
        # and is five times too large with ImageNet's statistics, as expected of a port from TensorFlow.
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        num_features=model.num_features + carried_channels(body),
        input_size=config["input_size"][-1],
        source=source,
        timm_names={name: timm_name[id(tensor)] for name, tensor in body.state_dict(keep_vars=True).items()},
    )
    return _load(backbone)


def _load(backbone: Backbone) -> Backbone:
    """`backbone` with the weights of its source."""
    source = backbone.source
    if source.kind == "package":
        _load_in_order(backbone, local_file(source))
    elif source.kind == "run":
        _load_from_run(backbone, local_file(source))
    elif source.kind != "random":
        load_state(backbone, local_file(source))
    return backbone


def _small_cnn(source: WeightsSource, two_scales: bool) -> Backbone:
    """The convolutional part of the small network that Keras's well-known cats-and-dogs tutorial trains from scratch.

    Three convolutions (32, 32 and 64 channels, 3 × 3, no padding), each with ReLU and max-pooling; images are only
    scaled to 0…1. Source: https://blog.keras.io/building-powerful-image-classification-models-using-very-little-data.html
    """
    widths = (3, 32, 32, 64)
    stages = (
        (f"conv{i}", nn.Sequential(nn.Conv2d(widths[i - 1], widths[i], 3), nn.ReLU(), nn.MaxPool2d(2)))
        for i in range(1, len(widths))
    )
    body = nn.Sequential(OrderedDict(stages))
    if two_scales:
        body = with_last_larger_map(body, CHECK_PIXELS)
    names = {name: name for name in body.state_dict()}
    features = widths[-1] + carried_channels(body)
    return Backbone(SMALL_CNN, body, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), features, 150, source, names)


def load_state(backbone: Backbone, state: Path | Mapping) -> None:
    """Copy weights named as timm or torchvision name them into `backbone.body`, whatever their precision.

    `state` is a .safetensors file, a torch checkpoint, or a mapping of names to tensors. It may be nested under
    `state_dict` or `model`, and its names may start with `module.`. Tensors of a classifier are ignored.

    Raises WeightsError when the file cannot be read or holds anything but tensors, and when layers are missing, left
    over or of another shape; the body is then unchanged.
    """
    origin = str(state) if isinstance(state, Path) else "The weights given"
    tensors = _flatten(_read(state) if isinstance(state, Path) else state, origin)
    targets = {backbone.timm_names[name]: tensor for name, tensor in backbone.body.state_dict().items()}
    roots = {name.split(".")[0] for name in targets}
    # Checkpoints from before torch 0.4.1 lack this counter, which only matters to BatchNorm(momentum=None).
    missing = [n for n in targets if n not in tensors and not n.endswith("num_batches_tracked")]
    surplus = [n for n in tensors if n.split(".")[0] in roots and n not in targets]
    shapes = [
        f"{n} is {tuple(tensors[n].shape)} instead of {tuple(target.shape)}"
        for n, target in targets.items()
        if n in tensors and tensors[n].shape != target.shape
    ]
    problems = [
        f"{what} {_first_few(names)}"
        for what, names in (("it lacks", missing), ("it has unknown layers", surplus), ("wrong shapes:", shapes))
        if names
    ]
    if problems:
        raise WeightsError(
            f"{origin} does not fit {backbone.arch}: {'; '.join(problems)}. Use weights made for timm's or "
            f"torchvision's {backbone.arch}, or name the backbone they were made for."
        )
    _copy([(target, tensors[name]) for name, target in targets.items() if name in tensors])


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a weight file, of which nothing but tensors is ever opened. Raises WeightsError."""
    return _flatten(_read(path), str(path))


def _create(arch: str) -> TimmModel:
    """timm's model with its own random initialisation and no classifier."""
    if arch == KERAS_RESNET50:
        return with_keras_strides(_create("resnet50"))
    if not timm.is_model(arch):
        near = difflib.get_close_matches(arch.lower(), timm.list_models(), n=4)
        hint = f"Did you mean {', '.join(near)}?" if near else _what_works()
        raise BackboneError(f"backbone: {arch!r} is not an architecture that timm knows. {hint}")
    # VGG's two widest layers, 119.5 million parameters, are not part of its features: make them one channel wide.
    slim = {"mlp_ratio": 1 / 4096} if arch.split(".")[0] in timm.list_models(module="vgg") else {}
    try:
        return timm.create_model(arch, num_classes=0, **slim)
    except RuntimeError as error:
        raise BackboneError(f"backbone: timm cannot make {arch!r}: {_first_line(error)}. {_what_works()}") from error


def _check_side(model: TimmModel) -> int:
    """Pixels of an image that it takes for sure."""
    return model.pretrained_cfg["input_size"][-1] if model.pretrained_cfg.get("fixed_input_size") else CHECK_PIXELS


def _cut(arch: str, model: TimmModel) -> nn.Sequential:
    """The stages of `model`, which together compute exactly what its `forward_features` does."""
    side = _check_side(model)
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    model.eval()
    called: list[nn.Module] = []
    hooks = [m.register_forward_pre_hook(lambda m, _: called.append(m)) for m in model.modules() if m is not model]
    try:
        with torch.no_grad():
            features = model.forward_features(images)
    except Exception as error:  # a network that cannot take these images says so in its own way
        raise BackboneError(_not_a_chain(arch, f"on {side} x {side} pixels, {_first_line(error)}")) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not _is_feature_map(features, model.num_features):
        raise BackboneError(
            f"backbone: {arch!r} is not a convolutional network (its features are not maps of {model.num_features} "
            f"channels), and only those work here. {_what_works()}"
        )
    try:
        body = _stages(model, list(_units(model, called)))
        with torch.no_grad():
            same = torch.equal(body.eval()(images), features)
    except Exception as error:  # a network of any other shape may fail in any way when its parts are chained
        raise BackboneError(_not_a_chain(arch, _first_line(error))) from error
    if not same:
        raise BackboneError(_not_a_chain(arch, "chained, its layers give other features than timm's forward_features"))
    return body.train()


def _is_feature_map(features: object, channels: int) -> bool:
    return isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == channels


def _units(model: TimmModel, called: list[nn.Module]) -> Iterator[tuple[str, nn.Module, int | None]]:
    """The outermost layers that were called, in this order, with their names and timm's group numbers.

    A Sequential that spans several groups is replaced by its children. Layers without parameters have no group.
    """
    names = {module: name for name, module in model.named_modules()}
    ran = {names[module] for module in called}
    group_of = group_parameters(model, model.group_matcher(coarse=True), reverse=True)

    def split(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module, int | None]]:
        groups = {group_of[f"{name}.{parameter}"] for parameter, _ in module.named_parameters()}
        if len(groups) > 1 and type(module).forward is nn.Sequential.forward:
            for child_name, child in module.named_children():
                yield from split(f"{name}.{child_name}", child)
        elif not isinstance(module, nn.Identity):
            yield name, module, min(groups, default=None)

    for module in called:
        parts = names[module].split(".")
        if not any(".".join(parts[:end]) in ran for end in range(1, len(parts))):
            yield from split(names[module], module)


def _stages(model: nn.Module, units: list[tuple[str, nn.Module, int | None]]) -> nn.Sequential:
    """Gather layers into named stages; `build` tells the names."""
    groups: list[dict[str, nn.Module]] = []
    current = None
    for name, module, group in units:
        if isinstance(model, VGG):
            starts = not groups or isinstance(list(groups[-1].values())[-1], nn.MaxPool2d)
        else:
            moved_on = None not in (group, current) and group != current
            starts = not groups or (_has_conv(module) and (moved_on or _leaf(name) in HEAD_CONVS))
            current = current if group is None else group
        if starts:
            groups.append({})
        groups[-1][name] = module
    named = ((_stage_name(model, i, next(iter(group))), _as_stage(group)) for i, group in enumerate(groups))
    return nn.Sequential(OrderedDict(named))


def _stage_name(model: nn.Module, index: int, first_layer: str) -> str:
    if isinstance(model, VGG):
        return f"block{index + 1}"
    if index == 0:
        return "stem"
    if _leaf(first_layer) in HEAD_CONVS:
        return "head_conv"
    kind = "layer" if _leaf(first_layer).startswith("layer") else "block" if "block" in first_layer else "stage"
    return f"{kind}{index}"


def _as_stage(layers: dict[str, nn.Module]) -> nn.Module:
    if len(layers) == 1:
        return next(iter(layers.values()))
    leaves = {_leaf(name) for name in layers}
    short = _leaf if len(leaves) == len(layers) else lambda name: name.replace(".", "_")
    return nn.Sequential(OrderedDict((short(name), layer) for name, layer in layers.items()))


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _has_conv(module: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def _not_a_chain(arch: str, reason: str) -> str:
    return f"backbone: {arch!r} cannot be cut into a chain of stages: {reason}. {_what_works()}"


def _what_works() -> str:
    return f"These work: {', '.join(known.arch for known in KNOWN_BACKBONES)}, and most other CNNs of timm."


def _read(path: Path) -> object:
    """What a weight file holds; of a torch checkpoint only tensors and plain values are ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged or holds more than tensors, so it was not opened: an unknown pickle can run any code. "
            "Save model.state_dict() alone, best as .safetensors."
        ) from error
    except Exception as error:  # a damaged file makes the readers fail in more ways than can be listed
        raise WeightsError(f"{path} cannot be read as weights: {_first_line(error)}. Get the file again.") from error


def _flatten(state: object, origin: str) -> dict[str, Tensor]:
    """Names and tensors, without the wrappings that training scripts put around them."""
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{origin} holds no named tensors; save model.state_dict() alone, best as .safetensors.")
    return {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}


def _load_in_order(backbone: Backbone, path: Path) -> None:
    """Load a package whose tensors have other names but timm's order, one for one, the classifier last."""
    tensors = _flatten(_read(path), str(path))
    targets = backbone.body.state_dict()
    pairs = list(zip(targets.items(), tensors.items(), strict=False))
    unlike = [
        f"{theirs} for {backbone.timm_names[ours]}"
        for (ours, target), (theirs, tensor) in pairs
        if target.shape != tensor.shape or _leaf(ours) != _leaf(theirs)
    ]
    if unlike or len(pairs) < len(targets):
        raise WeightsError(
            f"{path} does not fit {backbone.arch}: of {len(targets)} tensors {len(targets) - len(pairs)} are missing, "
            f"and {len(unlike)} are out of order: {_first_few(unlike)}. Install the package again."
        )
    _copy([(target, tensor) for (_, target), (_, tensor) in pairs])


def _load_from_run(backbone: Backbone, path: Path) -> None:
    """Load the body out of a run's `model.safetensors`, whatever its head was, and take images as that run did."""
    body = {name[2:]: tensor for name, tensor in _flatten(_read(path), str(path)).items() if name.startswith("0.")}
    targets = backbone.body.state_dict()
    if {name: tensor.shape for name, tensor in body.items()} != {name: t.shape for name, t in targets.items()}:
        raise WeightsError(
            f"The model in {path} has another body than {backbone.arch}. Name the backbone that the run was trained "
            "with, or leave backbone: auto."
        )
    _copy([(target, body[name]) for name, target in targets.items()])
    with safe_open(path, framework="pt") as file:
        described = json.loads((file.metadata() or {}).get("thaw", "{}"))
    backbone.mean = tuple(described.get("mean", backbone.mean))
    backbone.std = tuple(described.get("std", backbone.std))


def _copy(pairs: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for target, tensor in pairs:
            target.copy_(tensor)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _first_few(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
