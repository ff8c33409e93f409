"""`model.safetensors`, its description `model.json`, and `model.py`: the lines that load it with torch and timm."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
from torch import nn

from learner.exports.contents import Contents
from learner.models.backbones import build
from learner.models.checkpoint import save_model
from learner.models.heads import AttentionPool
from learner.models.network import body_of
from learner.models.scales import Carry
from learner.recipe.backbones import KERAS_RESNET50, SMALL_CNN

_SIZES = {
    "AdaptiveConcatPool2d": None,  # pooling is a line of its own; Identity keeps the numbers of what follows
    "AdaptiveAvgPool2d": None,
    "Flatten": (),
    "ReLU": (),
    "Sigmoid": (),
    "Dropout": ("p",),
    "BatchNorm1d": ("num_features",),
    "Linear": ("in_features", "out_features"),
    "Conv2d": ("in_channels", "out_channels", "kernel_size"),
    "MaxPool2d": ("kernel_size",),
}
"""Which attributes of a layer its constructor takes, in that order."""
ATTENTION = 'attention = nn.ModuleDict({"norm": nn.BatchNorm2d(about["num_features"]), "look": look})'
_BOTH = "torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)"
_LOOK_BACK = (
    "larger = []  # the input of that layer is the last feature map of a larger size\n"
    'body.get_submodule(about["larger_map_enters"]).register_forward_pre_hook(lambda _, x: larger.append(x[0]))'
)
_KERAS_STRIDES = (
    "for block in (body.layer2[0], body.layer3[0], body.layer4[0]):  # as Keras's ResNet50 has them\n"
    "    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)"
)
_TWO_SCALES = [
    '    smaller = nn.functional.avg_pool2d(larger.pop(), about["larger_map_factor"], ceil_mode=True)',
    "    maps = torch.cat([maps, smaller[:, :, :maps.shape[2], :maps.shape[3]]], 1)",
]
_POOLING = {
    "solved": _BOTH,
    "multiscale": _BOTH,
    "fastai": _BOTH,
    "average": "maps.mean((2, 3))",
    "flatten": "maps.flatten(1)",
}


def write_safetensors(contents: Contents, target: Path) -> None:
    """Write the file `target` and beside it, with the same stem, the `.json` and the `.py`."""
    save_model(contents.model, contents.spec, target, contents.reference)
    described = asdict(contents.spec) | _architecture(contents) | contents.about()
    target.with_suffix(".json").write_text(json.dumps(described, indent=2, ensure_ascii=False), "utf-8")
    target.with_suffix(".py").write_text(loading_lines(contents, target.stem), "utf-8")


def loading_lines(contents: Contents, stem: str = "model") -> str:
    """Python that loads `stem.safetensors` with torch and timm; the same that the proof runs."""
    head, own = contents.spec.head, contents.spec.arch == SMALL_CNN
    attends, contains_name = head["kind"] == "attention", contents.supports_none_of_these
    pooling = _POOLING.get(head["kind"] if head["kind"] != "fc" else head["pool"], _POOLING["average"])
    create = 'timm.create_model(about["timm_arch"], num_classes=0, **about["timm_options"])'
    lines = [
        f"import json, numpy, {'' if own else 'timm, '}torch",
        "from PIL import Image, ImageOps",
        "from safetensors.torch import load_file",
        "from torch import nn",
        "",
        f'about, tensors = json.load(open("{stem}.json", encoding="utf-8")), load_file("{stem}.safetensors")',
        f"body = {_sequence('body_layers') if own else create}",
        *([_KERAS_STRIDES] if contents.spec.arch == KERAS_RESNET50 else []),
        'body.load_state_dict({name: tensors[ours] for ours, name in about["body_names"].items()}, strict=False)',
        *([f"look = {_sequence('look_layers')}", ATTENTION] if attends else []),
        *([_LOOK_BACK] if _carrying(contents) else []),
        f"head = {_sequence('head_layers', first='attention' if attends else '')}",
        'head.load_state_dict({name[2:]: tensor for name, tensor in tensors.items() if name.startswith("1.")})',
        "body.eval(), head.eval()",
        "",
        "@torch.inference_mode()",
        "def predict(photo):",
        '    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")',
        '    pixels = torch.tensor(numpy.array(image.resize([about["image_size"]] * 2, Image.BILINEAR))) / 255',
        '    x = ((pixels - torch.tensor(about["mean"])) / torch.tensor(about["std"])).permute(2, 0, 1)[None]',
        f"    maps = body{'' if own else '.forward_features'}(x)",
        *(_TWO_SCALES if _carrying(contents) else []),
        *(
            [
                '    seen = attention["norm"](maps)',
                "    weights = look(seen)",
                "    logits = head[1:]((seen * weights).sum((2, 3)) / weights.sum((2, 3)).clamp_min(1e-6))",
            ]
            if attends
            else [f"    logits = head({pooling})"]
        ),
        '    probabilities = (logits / about["temperature"]).softmax(1)[0]',
        *(
            [
                '    likeness = nn.functional.normalize(maps.mean((2, 3))) @ tensors["reference"].T',
                '    distance = 1 - likeness[0].topk(about["neighbours"]).values[-1]',
                '    return probabilities, distance > about["threshold"], distance  # the second: none of these',
            ]
            if contains_name
            else ["    return probabilities, False, None  # this model cannot say: none of these"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _carrying(contents: Contents) -> list[str]:
    """Names of the stages that hand an earlier feature map on."""
    return [name for name, stage in body_of(contents.model).named_children() if isinstance(stage, Carry)]


def _sequence(name: str, first: str = "") -> str:
    return f'nn.Sequential({first and first + ", "}*(getattr(nn, kind)(*sizes) for kind, *sizes in about["{name}"]))'


def _architecture(contents: Contents) -> dict[str, Any]:
    """How the network is built without Thaw: layers as `[class of torch.nn, sizes …]`, and the body's names of them."""
    arch, body, head = contents.spec.arch, body_of(contents.model), contents.model[1]
    backbone = build(arch, "random")
    if arch == SMALL_CNN:
        layers = [layer for stage in body for layer in stage.children()]
        flat = nn.Sequential(*layers).state_dict()
        names = {f"0.{ours}": plain for ours, plain in zip(body.state_dict(), flat, strict=True)}
        architecture: dict[str, Any] = {"body_layers": _listed(layers)}
    else:
        names = {f"0.{ours}": theirs for ours, theirs in backbone.timm_names.items()}
        slim = arch.split(".")[0] in timm.list_models(module="vgg")  # its two widest layers are no part of its features
        timm_arch = "resnet50" if arch == KERAS_RESNET50 else arch
        architecture = {"timm_arch": timm_arch, "timm_options": {"mlp_ratio": 1 / 4096} if slim else {}}
    attention = [part for part in head.children() if isinstance(part, AttentionPool)]
    if attention:
        architecture["look_layers"] = _listed(attention[0].look)
    architecture["head_layers"] = _listed(part for part in head.children() if part not in attention)
    if carrying := _carrying(contents):
        first = next(theirs for ours, theirs in names.items() if ours.startswith(f"0.{carrying[0]}."))
        factors = [stage.factor for stage in body if isinstance(stage, Carry)]
        architecture |= {"larger_map_enters": first.rpartition(".")[0], "larger_map_factor": math.prod(factors)}
    return architecture | {"body_names": names}


def _listed(layers: Iterable[nn.Module]) -> list[list[Any]]:
    listed: list[list[Any]] = []
    for layer in layers:
        kind = type(layer).__name__
        sizes = _SIZES[kind]
        if sizes is None:
            listed.append(["Identity"])
        elif isinstance(layer, nn.Linear):
            listed.append([kind, layer.in_features, layer.out_features, layer.bias is not None])
        else:
            listed.append([kind, *(getattr(layer, name) for name in sizes)])
    return listed
