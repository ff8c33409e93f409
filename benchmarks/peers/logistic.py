"""Logistic regression on what the frozen VGG16 sees: the least that fine-tuning has to beat.

The last convolution's output, its average and its maximum over the image, each feature standardised, no augmentation;
the strength of regularisation is the one with the least log loss in five folds of the images to learn from.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from task import answer, arguments
from threadpoolctl import threadpool_limits
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

BATCH, FOLDS = 16, 5
STRENGTHS = np.logspace(-5, 1, 13)
"""Of `C`, which is the inverse of regularisation: from nothing learnt to nearly none."""
MOST_STEPS = 2000


def main() -> None:
    options = arguments(__doc__)
    body = network(options.weights, options.seed)
    files = sorted(options.learn.glob("*/*"))
    labels = [file.parent.name for file in files]
    folds = StratifiedKFold(min(FOLDS, min(Counter(labels).values())), shuffle=True, random_state=options.seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_STEPS))
    search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, scoring="neg_log_loss", cv=folds)
    seen = features(body, files, options.size)
    with threadpool_limits(1):  # several threads wait for each other at every step of so small a model
        search.fit(seen, labels)
    asked = sorted(options.ask.iterdir())
    answer(options.out, search.classes_, asked, search.predict_proba(features(body, asked, options.size)))
    print(json.dumps({"C": search.best_params_["logisticregression__C"], "inner_log_loss": -search.best_score_}))


def network(weights: Path | None, seed: int) -> nn.Module:
    """VGG16's convolutions."""
    torch.manual_seed(seed)
    body = timm.create_model("vgg16", num_classes=0, mlp_ratio=1 / 4096).features.eval()
    if weights:
        tensors = load_file(weights)
        body.load_state_dict({name: tensors[f"features.{name}"] for name in body.state_dict()})
    return body


def features(body: nn.Module, files: list[Path], size: int) -> np.ndarray:
    """(images, 1024): averages, then maxima. In bf16, as Thaw computes them on this kind of machine."""
    found = []
    for first in range(0, len(files), BATCH):
        images = torch.stack([image(file, size) for file in files[first : first + BATCH]])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            maps = body(images).float()
        found.append(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1))
    return torch.cat(found).numpy()


def image(file: Path, size: int) -> torch.Tensor:
    """(3, size, size), squished and normalised as the weights want it."""
    with Image.open(file) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    return torch.from_numpy((pixels - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD).permute(2, 0, 1).float()


if __name__ == "__main__":
    main()
