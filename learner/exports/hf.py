"""A folder as the Hugging Face hub keeps a model of timm's: `config.json`, `model.safetensors`.

`timm.create_model("hf-hub:OWNER/NAME", pretrained=True)` and Transformers' `TimmWrapper` open it. timm's networks have
heads of their own, so a head of Thaw's is written as the one of timm's that computes the same, where there is one.
"""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from fastai.layers import AdaptiveConcatPool2d
from timm.models import save_for_hf
from torch import Tensor, nn

from learner.errors import ModelError
from learner.exports.contents import Contents, with_temperature
from learner.models.backbones import SMALL_CNN, build
from learner.models.network import body_of, head_of

ABOUT = "thaw.json"
VGG_WIDTH = 4096
"""Of the second hidden layer of timm's VGG, whatever else is chosen."""
VGG_MAP = 7
"""Height and width of the feature map that its first hidden layer spans."""


def write_hf(contents: Contents, target: Path) -> None:
    """Write the folder `target`. Raises ModelError where timm has no such head."""
    spec = contents.spec
    model, options = timm_model(contents)
    with torch.no_grad():
        pixels = torch.rand(2, 3, spec.image_size, spec.image_size)
        ours = with_temperature(head_of(contents.model), spec.temperature)(body_of(contents.model)(pixels))
        if not torch.allclose(model(pixels), ours, atol=1e-3):
            raise _not_timms(contents, "timm's pools the feature map in another way")
    size = (3, spec.image_size, spec.image_size)
    seen: dict[str, Any] = {
        "input_size": size,
        "mean": tuple(spec.mean),
        "std": tuple(spec.std),
        "interpolation": "bilinear",
    }
    seen |= {"crop_pct": 1.0, "crop_mode": "squash"}
    save_for_hf(
        model,
        str(target),
        model_config={"label_names": spec.classes},
        model_args=options,
        safe_serialization=True,
        data_config=seen,
    )
    described = json.loads((target / "config.json").read_text("utf-8"))
    described["model_args"] = options  # without the number of classes, which Transformers passes by itself
    (target / "config.json").write_text(json.dumps(described, indent=2, ensure_ascii=False), "utf-8")
    (target / ABOUT).write_text(json.dumps(contents.about(), ensure_ascii=False), "utf-8")


def timm_model(contents: Contents) -> tuple[nn.Module, dict[str, Any]]:
    """The same network as timm builds it, and the options for `timm.create_model`. Raises ModelError."""
    spec = contents.spec
    pool, *layers = with_temperature(head_of(contents.model), spec.temperature).children()
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    plain = all(isinstance(layer, nn.Flatten | nn.Linear | nn.ReLU | nn.Dropout) for layer in layers)
    if (
        spec.arch == SMALL_CNN
        or not plain
        or not isinstance(pool, AdaptiveConcatPool2d | nn.AdaptiveAvgPool2d | nn.Flatten)
    ):
        raise _not_timms(contents, "timm has no such layers")
    takes_greatest = isinstance(pool, AdaptiveConcatPool2d)
    if spec.arch.split(".")[0] in timm.list_models(module="vgg"):
        if takes_greatest:
            raise _not_timms(contents, "timm's VGG has no maximum over the feature map")
        options, tensors = _vgg_head(contents, linear, isinstance(pool, nn.Flatten))
    elif len(linear) == 1 and not isinstance(pool, nn.Flatten):
        options = {"global_pool": "catavgmax"} if takes_greatest else {}
        tensors = None
    else:
        raise _not_timms(contents, "timm's network has one layer there")
    model = timm.create_model(spec.arch, num_classes=len(spec.classes), **options).eval()
    names = build(spec.arch, "random").timm_names
    state = {names[name]: tensor for name, tensor in body_of(contents.model).state_dict().items() if name in names}
    model.load_state_dict(state | (tensors or {}), strict=False)
    if tensors is None:
        _set_classifier(contents, model, linear[0], takes_greatest)
    return model, options


def _set_classifier(contents: Contents, model: nn.Module, linear: nn.Linear, takes_greatest: bool) -> None:
    last = model.get_classifier()  # type: ignore[operator]  # of all timm's models
    weight = linear.weight.detach()
    if takes_greatest:  # fastai has the maximum first, timm the mean
        weight = torch.cat(weight.chunk(2, 1)[::-1], 1)
    if not isinstance(last, nn.Linear) or last.weight.shape != weight.shape:
        raise _not_timms(contents, "timm's last layer takes something else")
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(linear.bias)


def _vgg_head(contents: Contents, linear: list[nn.Linear], flattens: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """timm's VGG spans the whole map with a convolution, then has a second hidden layer of `VGG_WIDTH`, then the last.

    The mean over the map is such a convolution, too, and a layer that is not there changes nothing: what it takes is
    not negative.
    """
    channels = contents.spec.num_features
    *hidden, last = linear
    if len(hidden) > 2 or (flattens and list(contents.spec.map_size) != [VGG_MAP, VGG_MAP]):
        raise _not_timms(contents, "timm's VGG has two hidden layers, after a map of 7 × 7")
    if any(layer.out_features > VGG_WIDTH for layer in hidden):
        raise _not_timms(contents, f"timm's VGG has at most {VGG_WIDTH} units in a layer")
    first = hidden[0].weight if hidden else torch.eye(channels)
    mid = len(first)
    spans = (
        first.view(mid, channels, VGG_MAP, VGG_MAP)
        if flattens
        else first.view(mid, channels, 1, 1).expand(-1, -1, VGG_MAP, VGG_MAP) / VGG_MAP**2
    )
    second, bias = torch.zeros(VGG_WIDTH, mid), torch.zeros(VGG_WIDTH)
    width = hidden[1].out_features if len(hidden) > 1 else mid
    second[:width] = hidden[1].weight if len(hidden) > 1 else torch.eye(mid)
    if len(hidden) > 1:
        bias[:width] = hidden[1].bias
    classes = torch.zeros(len(contents.spec.classes), VGG_WIDTH)
    classes[:, :width] = last.weight
    tensors = {
        "pre_logits.fc1.weight": spans.contiguous(),
        "pre_logits.fc1.bias": hidden[0].bias if hidden else torch.zeros(mid),
        "pre_logits.fc2.weight": second[..., None, None],
        "pre_logits.fc2.bias": bias,
        "head.fc.weight": classes,
        "head.fc.bias": last.bias,
    }
    return {"mlp_ratio": mid / VGG_WIDTH}, {name: tensor.detach() for name, tensor in tensors.items()}


def _not_timms(contents: Contents, why: str) -> ModelError:
    kind = contents.spec.head["kind"]
    return ModelError(
        f"The head {kind!r} of this {contents.spec.arch} cannot be written as timm's own, as {why}. Train one with "
        "--set head.kind=linear, or export safetensors, which comes with the lines that open it."
    )
