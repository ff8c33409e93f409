"""One button, and a model that is better than a logistic regression on what the same frozen network gives."""

import re

import numpy as np
import torch
from PIL import Image as Picture
from playwright.sync_api import expect
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from learner.datasets import add_dataset, image_path, split_by
from learner.datasets.images import read_squished
from learner.evaluation.results import load_result
from learner.models.backbones import build
from learner.planning.estimate import resolve_recipe
from learner.recipe import Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from tests.machine import keep_speed

CHOOSING_MS = 900_000
OF_A_CLASS = 6
"""So few that the search has tried all that it would before its time is over."""
SIDES = (96, 128)
"""That a search tries for images so small."""


def write_digits(folder):
    """Real handwritten digits, 8 × 8 pixels each, a few of every class."""
    images, labels = load_digits(return_X_y=True)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number, image in enumerate(images[labels == digit][:OF_A_CLASS]):
            pixels = Picture.fromarray((image.reshape(8, 8) * 255 / 16).astype(np.uint8))
            pixels.resize((32, 32), Picture.Resampling.NEAREST).save(folder / str(digit) / f"{number}.png")
    return folder


def keep_speeds(store) -> None:
    """As if a processor had been measured that is best at fp32: measuring takes 4 s a side. A GPU is measured."""
    for side in SIDES:
        settled = resolve_recipe(store, Recipe("digits", backbone=FALLBACK_ARCH, image_size=side))
        keep_speed(store, settled, "CPU, 1 thread", "fp32", stage_s=0.0005)


def features(store, recipe: Recipe, images) -> np.ndarray:
    """(images, numbers): the last feature map of the pretrained network, averaged over its area."""
    backbone = build(recipe.backbone, recipe.weights, store.workspace)
    mean, std = (np.array(values, dtype=np.float32) for values in (backbone.mean, backbone.std))
    rows = []
    for image in images:
        pixels = np.asarray(read_squished(image_path(store.workspace, "digits", image), recipe.side), dtype=np.float32)
        x = torch.tensor((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.inference_mode():
            rows.append(backbone.body.eval()(x).mean((2, 3))[0].numpy())
    return np.stack(rows)


def test_choose_and_train_is_better_than_a_logistic_regression(serve, start, page, store, tmp_path):
    add_dataset(store, write_digits(tmp_path / "digits"), "digits")
    keep_speeds(store)
    start("learner", "worker")
    page.goto(f"{serve()}/train")
    expect(page.get_by_text("Let Thaw choose for digits")).to_be_visible()
    page.get_by_role("radio", name="3 min").click()
    page.get_by_role("button", name="Choose and train").click()
    expect(page.get_by_role("heading", name=re.compile("Run 1: "))).to_be_visible()
    expect(page.get_by_role("heading", name="What Thaw tried")).to_be_visible(timeout=CHOOSING_MS)
    expect(page.get_by_role("heading", name="Run 1: finished")).to_be_visible(timeout=CHOOSING_MS)
    expect(page.get_by_role("cell", name=re.compile(r", \d+ px$")).first).to_be_visible()

    run = store.runs.get(1)
    recipe = Recipe.from_dict(run.facts["recipe"])
    train, valid = split_by(recipe, store.datasets.images(run.dataset_version_id))
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    plain.fit(features(store, recipe, train), [image.label for image in train])
    labels = [image.label for image in valid]
    said = plain.predict_proba(features(store, recipe, valid))
    result = load_result(store.workspace.run_folder(1))
    assert result["figures"]["log_loss"]["value"] < log_loss(labels, said, labels=plain.classes_)
    right = sum(label == plain.classes_[row.argmax()] for label, row in zip(labels, said, strict=True))
    assert result["accuracy"] >= (right - 1) / len(labels)  # one either way is chance
