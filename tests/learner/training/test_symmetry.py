"""`augment: auto`: changes are taken where they leave the classes as they are, and not where they do not."""

import numpy as np
import pytest
import torch
from torch import nn

from learner.datasets import add_dataset
from learner.models.network import Network
from learner.models.precision import Precision
from learner.recipe import Augment
from learner.store import Image, Store
from learner.training.symmetry import GENTLE, choose_augment
from learner.workspace import Workspace
from tests.learner.training.running import run_well
from tests.samples import make_photos, small_recipe

IMAGES = 40


def edges() -> Network:
    """Sees where brightness rises to the right, to the left, downwards and upwards."""
    layer = nn.Conv2d(3, 4, 3, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        for index, (row, column) in enumerate(((1, 2), (1, 0), (2, 1), (0, 1))):
            layer.weight[index, :, 1, 1], layer.weight[index, :, row, column] = -1, 1
    return Network(nn.Sequential(nn.Sequential(layer, nn.ReLU())), nn.Flatten(), Precision("fp32", ""))


def steps(axis: int, sign: int, seed: int) -> torch.Tensor:
    """(3, 16, 16): dark, then bright from somewhere on, along an axis (1: downwards, 2: to the right), or turned."""
    random = np.random.default_rng(seed)
    x = torch.zeros(3, 16, 16)
    at = int(random.integers(4, 12))
    x.narrow(axis, at, 16 - at).fill_(float(random.uniform(0.5, 1)))
    return (x if sign > 0 else x.flip(axis)) + 0.02 * torch.from_numpy(random.normal(size=x.shape)).float()


@pytest.mark.parametrize(
    ("classes", "changes"),
    [
        ({"right": (2, 1), "left": (2, -1)}, GENTLE),  # sides matter
        ({"down": (1, 1), "up": (1, -1)}, Augment(flip_horizontal=True, zoom=1.1, shift=0.05)),
    ],
)
def test_what_turns_one_class_into_another_is_not_done(classes, changes):
    images, pictures = [], []
    for name, (axis, sign) in classes.items():
        for number in range(IMAGES // 2):
            images.append(Image(path=f"{name}/{number}", label=name, sha256=f"{name}{number}", group="", cluster=""))
            pictures.append(steps(axis, sign, len(pictures)))
    batches = [(torch.stack(pictures[start : start + 8]), None) for start in range(0, IMAGES, 8)]
    decided = choose_augment(edges(), batches, images, list(classes), seed=0)
    assert decided.augment == changes
    assert decided.reason.startswith(f"The log loss of {IMAGES} training images")


def test_a_run_decides_once_and_says_why(tmp_path):
    store = Store(Workspace(tmp_path / "home"))
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 8, "dog": 8}), "pets")
    run = store.runs.get(run_well(store, small_recipe(augment="auto", views=2)))
    decided = Augment(**run.facts["recipe"]["augment"])
    assert not decided.auto and decided.zoom == GENTLE.zoom
    assert "log loss" in run.facts["augment"]["reason"]
