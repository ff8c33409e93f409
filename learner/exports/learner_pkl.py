"""`learner.pkl`: a Learner for plain fastai, in which nothing points at Thaw."""

import base64
import tempfile
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

from learner.atomic import written_whole
from learner.exports.contents import Contents, with_temperature
from learner.exports.requirements import requirements
from learner.models.heads import as_plain_torch
from learner.models.network import body_of, head_of


def write_learner(contents: Contents, target: Path) -> None:
    """Write the file `target`.

    It is built anew from fastai's own blocks rather than pickled from training, whose transforms and callbacks are
    Thaw's. The temperature is in the last layer's weights. `learn.thaw` tells, in plain values, what the model is and
    what it says of a few photos. What fastai has no place for is left out: "none of these", and photos turned upright
    by their EXIF mark. Beside it goes a `.requirements.txt` of the same stem: the versions it was written with.
    """
    spec = contents.spec
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
        plain = nn.Sequential(
            as_plain_torch(body_of(contents.model)),
            as_plain_torch(with_temperature(head_of(contents.model), spec.temperature)),
        )
        learn = Learner(dls, plain, loss_func=CrossEntropyLossFlat(), metrics=[accuracy, error_rate])
        learn.thaw = contents.about()
        for photo in learn.thaw["golden"]:
            photo["png"] = base64.b64decode(photo["png"])
        learn.path = target.parent.resolve()
        with written_whole(target) as temporary:
            learn.export(temporary.name)
    target.with_suffix(".requirements.txt").write_text(requirements(), "utf-8")
