"""Models as files: `model.safetensors`, which Thaw itself loads, and `learner.pkl` for plain fastai."""

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import ColReader, IndexSplitter, Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.vision.augment import Resize, ResizeMethod
from fastai.vision.data import ImageBlock
from pandas import DataFrame
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from learner.backbones import build
from learner.errors import ModelError
from learner.heads import build_head, portable
from learner.recipe import Head

FORMAT = 1


@dataclass
class ModelSpec:
    """What is needed, beside the weights, to build a model and feed it."""

    arch: str
    """timm's name of the backbone."""
    stages: list[str]
    classes: list[str]
    """In the order of the logits."""
    image_size: int
    """Side in pixels; images are squished to a square."""
    mean: list[float]
    """Of each channel (RGB), for values in 0 to 1; like `std`."""
    std: list[float]
    num_features: int
    """Channels between body and head."""
    precision: str = "fp32"
    """What it was trained and validated in."""
    head: dict[str, Any] = field(default_factory=lambda: asdict(Head()))
    """Fields of a `learner.recipe.Head`."""
    map_size: list[int] = field(default_factory=lambda: [1, 1])
    """Height and width of the feature map between body and head."""
    format: int = FORMAT


def save_model(model: nn.Sequential, spec: ModelSpec, path: Path) -> None:
    """Write weights and `spec` as one safetensors file, by a temporary name, so that a reader sees all or nothing."""
    temporary = path.with_name(path.name + ".part")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, temporary, metadata={"thaw": json.dumps(asdict(spec), ensure_ascii=False)})
    temporary.replace(path)


def load_model(path: Path) -> tuple[nn.Sequential, ModelSpec]:
    """`Sequential(body, head)` in evaluation mode on the CPU, and its spec. Raises ModelError."""
    spec = read_spec(path)
    model = build_model(spec)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ModelError(f"The weights in {path} do not fit the {spec.arch} that it names: {error}") from None
    return model.eval(), spec


def read_spec(path: Path) -> ModelSpec:
    """Raises ModelError when the file is missing, damaged, or not written by Thaw."""
    if not path.is_file():
        raise ModelError(f"There is no model at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ModelError(f"{path} is not a whole safetensors file ({error}). Export it once more.") from None
    if "thaw" not in metadata:
        raise ModelError(f"{path} was not written by Thaw: it does not say which classes it knows.")
    try:
        values = json.loads(metadata["thaw"])
        if values["format"] == FORMAT:
            return ModelSpec(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged: its description cannot be read ({error}). Export it once more.") from None
    raise ModelError(f"{path} has format {values['format']}; this Thaw reads format {FORMAT}. Update Thaw.")


def build_model(spec: ModelSpec) -> nn.Sequential:
    """The architecture that `spec` names, its weights not loaded."""
    body = build(spec.arch, weights="random").body
    head = build_head(Head(**spec.head), spec.num_features, len(spec.classes), tuple(spec.map_size))
    return nn.Sequential(body, head)


def export_safetensors(checkpoint: Path, target: Path) -> Path:
    """Copy a checkpoint to `target` and put its spec beside it as readable JSON. Returns the model's path."""
    model, spec = load_model(checkpoint)
    target = target / "model.safetensors" if target.is_dir() else target
    save_model(model, spec, target)
    target.with_suffix(".json").write_text(json.dumps(asdict(spec), indent=2, ensure_ascii=False), "utf-8")
    return target


def export_learner(checkpoint: Path, target: Path) -> Path:
    """Write a `learner.pkl` that plain fastai opens: nothing in it points at Thaw. Returns its path.

    It is built anew from fastai's own blocks rather than pickled from training, whose transforms and callbacks are
    Thaw's. One difference remains: fastai does not turn photos upright by their EXIF mark, Thaw does.
    """
    model, spec = load_model(checkpoint)
    target = target / "learner.pkl" if target.is_dir() else target
    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.png"
        Image.new("RGB", (spec.image_size, spec.image_size)).save(blank)
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock(vocab=spec.classes, sort=False)),
            get_x=ColReader(0),
            get_y=ColReader(1),
            splitter=IndexSplitter([1]),
            item_tfms=Resize(spec.image_size, method=ResizeMethod.Squish),
            batch_tfms=Normalize.from_stats(spec.mean, spec.std, cuda=False),
        )
        rows = DataFrame({"image": [str(blank)] * 2, "label": [spec.classes[0]] * 2})
        dls = block.dataloaders(rows, bs=1, num_workers=0, device="cpu")
        plain = nn.Sequential(model[0], portable(model[1]))
        learn = Learner(dls, plain, loss_func=CrossEntropyLossFlat(), metrics=[accuracy, error_rate])
        temporary = target.with_name(target.name + ".part")
        learn.path = target.parent.resolve()
        learn.export(temporary.name)
    temporary.replace(target)
    return target
