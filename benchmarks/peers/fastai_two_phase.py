"""The two-phase job in plain fastai, without Thaw: freeze and fit_one_cycle, then freeze_to block5 and the head.

python fastai_two_phase.py FOLDER --epochs 10 5 [--weights FILE]

FOLDER holds train and valid with one folder a class in each. Prints one JSON line at the end.
"""

import argparse
import json
import time

from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    imagenet_stats,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file
from torchvision.models import vgg16

SIDE, BATCH = 224, 16


class EpochSeconds(Callback):
    """Seconds of each epoch, validation included, a list for each fit."""

    def __init__(self):
        self.seconds = []

    def before_fit(self):
        self.seconds.append([])

    def before_epoch(self):
        self.began = time.perf_counter()

    def after_epoch(self):
        self.seconds[-1].append(time.perf_counter() - self.began)


def main() -> None:
    options = arguments()
    set_seed(options.seed)
    dls = ImageDataLoaders.from_folder(
        options.folder,
        valid="valid",
        bs=BATCH,
        item_tfms=Resize(SIDE, ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(*imagenet_stats),  # vision_learner adds it only to weights it fetched itself
    )
    clock = EpochSeconds()
    learn = vision_learner(dls, vgg16, pretrained=False, metrics=accuracy, cbs=clock)
    if options.weights:
        tensors = load_file(options.weights)
        wanted = {name: tensors[name.replace("0.", "features.", 1)] for name in learn.model[0].state_dict()}
        learn.model[0].load_state_dict(wanted)
    with learn.no_bar(), learn.no_logging():
        learn.freeze()
        learn.fit_one_cycle(options.epochs[0], 2e-3)
        learn.freeze_to(1)  # fastai's groups of vgg16 are blocks 1 to 4, block5, the head
        learn.fit_one_cycle(options.epochs[1], slice(1e-5, 1e-4))
    print(json.dumps({"warm_up_s": 0.0, "epoch_s": clock.seconds, "accuracy": learn.recorder.values[-1][-1]}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, nargs=2, required=True, metavar=("HEAD", "BLOCK5"))
    parser.add_argument("--weights", help="a safetensors file with timm's names; random without")
    parser.add_argument("--seed", type=int, default=42)
    return parser.parse_args()


if __name__ == "__main__":
    main()
