"""Plain fastai as its documentation teaches it: vision_learner, aug_transforms, lr_find, then ten epochs of fine_tune.

A fifth of the images is for validation, which nothing is chosen by; the last epoch counts. Batches are of 16, as
everyone's here: of fastai's usual 64 a small set would have one or two an epoch.
"""

import json
import tempfile

from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    imagenet_stats,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file
from task import answer, arguments
from torch import nn

BATCH, EPOCHS, VALID = 16, 10, 0.2
PRESIZE = 460 / 224
"""Images are cropped so much larger first, as in fastai's tutorials, and the augmentation cuts its piece from that."""


def main() -> None:
    options = arguments(__doc__)
    set_seed(options.seed)
    dls = ImageDataLoaders.from_folder(
        options.learn,
        valid_pct=VALID,
        seed=options.seed,
        bs=BATCH,
        item_tfms=Resize(round(options.size * PRESIZE)),
        batch_tfms=[
            *aug_transforms(size=options.size, do_flip=options.mirror),
            Normalize.from_stats(*imagenet_stats),  # vision_learner adds it only to weights it fetched itself
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        learn = vision_learner(dls, "vgg16", pretrained=False, metrics=accuracy, path=folder)
        vgg16 = learn.model[0].model
        vgg16.pre_logits = nn.Identity()  # timm's dense layers, which fastai's body has and does not use
        if options.weights:
            tensors = load_file(options.weights)
            vgg16.features.load_state_dict({name: tensors[f"features.{name}"] for name in vgg16.features.state_dict()})
        with learn.no_bar(), learn.no_logging():
            learn.freeze()  # as vision_learner does with weights it fetched itself
            rate = learn.lr_find(show_plot=False).valley
            learn.fine_tune(EPOCHS, rate)
            asked = sorted(options.ask.iterdir())
            probs, _ = learn.get_preds(dl=dls.test_dl(asked))
    answer(options.out, dls.vocab, asked, probs.tolist())
    print(json.dumps({"rate": rate, "valid_accuracy": learn.recorder.values[-1][-1]}))


if __name__ == "__main__":
    main()
