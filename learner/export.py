"""Models to carry away: `model.safetensors`, which Thaw itself loads, and `learner.pkl` for plain fastai."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import ColReader, IndexSplitter, Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.vision.augment import Resize, ResizeMethod
from fastai.vision.data import ImageBlock
from pandas import DataFrame
from PIL import Image
from torch import nn

from learner.heads import portable
from learner.models import load_model, load_reference, save_model


def export_safetensors(checkpoint: Path, target: Path) -> Path:
    """Copy a checkpoint to `target` and put its spec beside it as readable JSON. Returns the model's path."""
    model, spec = load_model(checkpoint)
    target = target / "model.safetensors" if target.is_dir() else target
    save_model(model, spec, target, load_reference(checkpoint))
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
