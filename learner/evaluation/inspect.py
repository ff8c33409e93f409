"""Look at images with a run's best model, and write down what it says, how sure it may be, and what it knows."""

import copy
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from torch import nn

from learner.atomic import write_json, written_whole
from learner.datasets import bring_images, dataset_folder, held_back_by, image_path, split_by
from learner.datasets.images import reading
from learner.errors import DatasetError, RunError
from learner.evaluation.metrics import calibration_curve, evaluate, one_against_rest
from learner.evaluation.results import SPLIT_TITLES, SplitName, save_result, split_folder
from learner.features.loaders import LabelledFile, ahead
from learner.features.targets import shares_of
from learner.inference.predictor import BATCH, Predictor
from learner.jobs.process import Tell
from learner.models.calibration import (
    calibrated,
    cross_fitted,
    distances,
    fit_temperature,
    neighbours_for,
    quantiles,
    unit_length,
)
from learner.models.checkpoint import USUAL_COVERAGE, ModelSpec, load_model, load_reference, read_spec, save_model
from learner.models.network import Network
from learner.recipe import Recipe
from learner.store import Image, Run, Store

MOST_REFERENCES = 2000
"""Training images that distances are measured from. Each is looked at once more; beyond these they say little more."""
GOLDEN_PHOTOS = 6
GOLDEN_SIDE = 448
"""Pixels of a golden photo's longest side, unless the network takes larger ones."""


@dataclass
class ModelOutputs:
    """What a network made of some images."""

    images: list[Image]
    logits: np.ndarray
    """(images, classes)."""
    features: np.ndarray
    """(images, num_features): what left the body, averaged over its area, each image's of length 1."""

    def targets(self, classes: list[str]) -> np.ndarray:
        """(images,) of class indices."""
        index_of = {name: index for index, name in enumerate(classes)}
        return np.array([index_of[image.label] for image in self.images])

    def goals(self, classes: list[str]) -> np.ndarray:
        """What a log loss is against: probabilities (images, classes) where any image has some, else `targets`."""
        shares = shares_of(self.images, classes)
        return self.targets(classes) if shares is None else shares


def reference_images(images: Iterable[Image]) -> list[Image]:
    """At most `MOST_REFERENCES` of them, of every class as many, always the same ones."""
    by_class: dict[str, list[Image]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.sha256):
        by_class[image.label].append(image)
    ranked = sorted((rank, label, image.id) for label, mine in by_class.items() for rank, image in enumerate(mine))
    chosen = {image_id for _, _, image_id in ranked[:MOST_REFERENCES]}
    return [image for label in sorted(by_class) for image in by_class[label] if image.id in chosen]


@torch.inference_mode()
def compute_outputs(network: Network, batches: Iterable[torch.Tensor], images: list[Image]) -> ModelOutputs:
    """`batches` are what the network takes at its `skip`, in the order of `images`; it is put into evaluation mode."""
    network.eval()
    logits, features = [], []
    for x in batches:
        for index in range(network.skip, len(network.body)):
            x = network.stage(index, x)
        x = x.float()
        logits.append(network[1](x).cpu())
        features.append(x.mean((2, 3)).cpu())
    return ModelOutputs(images, torch.cat(logits).numpy(), unit_length(torch.cat(features).numpy()))


def write_results(
    folder: Path, model: nn.Sequential, spec: ModelSpec, valid: ModelOutputs, train: ModelOutputs, base: Path
) -> None:
    """Write all that a run leaves beside its checkpoint, and put the calibration into that.

    `train` are the reference images; `base` is the folder that the images' `file` is relative to.
    """
    goals = valid.goals(spec.classes)
    spec = replace(spec, temperature=fit_temperature(valid.logits, goals))
    far = write_model(folder, model, spec, valid, train, base)
    others = min(neighbours_for(len(train.images)) + 1, len(train.images))  # the nearest of all is the image itself
    write_split(folder, "train", spec, train, distances(train.features, train.features, others))
    write_split(folder, "valid", spec, valid, far, cross_fitted(valid.logits, goals))


def write_model(
    folder: Path, model: nn.Sequential, spec: ModelSpec, valid: ModelOutputs, train: ModelOutputs, base: Path
) -> np.ndarray:
    """Write the checkpoint, whose calibration is in `spec`, with what it takes for known, and its golden photos.

    Returns how far each of the `valid` images is from the reference images `train`.
    """
    neighbours = neighbours_for(len(train.images))
    far = distances(valid.features, train.features, neighbours)
    spec = replace(spec, neighbours=neighbours, distances=quantiles(far))
    reference = torch.from_numpy(train.features)
    save_model(model, spec, folder / "model.safetensors", reference)
    save_golden(folder / "golden", spec, model, reference, valid.images, base)
    return far


def write_split(
    folder: Path,
    split: SplitName,
    spec: ModelSpec,
    outputs: ModelOutputs,
    far: np.ndarray | None,
    judged: np.ndarray | None = None,
) -> dict[str, Any]:
    """Figures, curves and predictions of some images; returns the figures.

    Images that the temperature was fitted on would flatter log loss and calibration, so these are taken from `judged`,
    probabilities (images, classes) that other images decided (`learner.models.calibration.cross_fitted`); the result
    says so: `cross_fitted`. No other figure changes with it, as no temperature changes the order of an image's
    classes. Predictions and curves are of the model as it is exported.
    """
    probs, targets = calibrated(outputs.logits, spec.temperature), outputs.targets(spec.classes)
    shares = shares_of(outputs.images, spec.classes)
    result = evaluate(probs if judged is None else judged, targets, spec.classes, shares)
    result |= {"split": split, "temperature": spec.temperature, "cross_fitted": judged is not None}
    result["uncalibrated"] = calibration_curve(calibrated(outputs.logits, 1.0), targets)
    curves = one_against_rest(probs, targets, spec.classes)
    for row, curve in zip(result["per_class"], curves, strict=True):
        row |= {"auc": curve["auc"], "average_precision": curve["average_precision"]}
    target = split_folder(folder, split)
    target.mkdir(exist_ok=True)
    write_json(target / "curves.json", curves, ensure_ascii=False)
    save_result(target, result, probs, outputs.images, spec.classes, far)
    return result


def save_golden(
    folder: Path, spec: ModelSpec, model: nn.Sequential, reference: torch.Tensor, images: list[Image], base: Path
) -> None:
    """A few of `images`, one of every class before the second of any, with what the model says of them in fp32."""
    ranks: dict[str, int] = defaultdict(int)
    ranked = []
    for image in sorted(images, key=lambda image: image.sha256):
        ranked.append((ranks[image.label], image.label, image))
        ranks[image.label] += 1
    chosen = [image for _, _, image in sorted(ranked, key=lambda entry: entry[:2])[:GOLDEN_PHOTOS]]
    folder.mkdir(exist_ok=True)
    side = max(spec.image_size, GOLDEN_SIDE)
    files = [folder / f"{number}.png" for number in range(1, len(chosen) + 1)]
    for file, image in zip(files, chosen, strict=True):
        with reading(base / image.file) as picture:
            picture.thumbnail((side, side), Picture.Resampling.BICUBIC)
            with written_whole(file) as temporary:
                picture.save(temporary, "PNG")
    predictor = Predictor(copy.deepcopy(model).cpu(), replace(spec, precision="fp32"), reference, torch.device("cpu"))
    place = {name: index for index, name in enumerate(spec.classes)}
    photos = []
    for file, image, said in zip(files, chosen, predictor.predict(files), strict=True):
        probs = [0.0] * len(place)
        for name, prob in zip(said.classes, said.probs, strict=True):
            probs[place[name]] = prob
        photos.append({"file": file.name, "label": image.label, "probs": probs, "distance": said.distance})
    golden = {"format": 1, "image_size": spec.image_size, "temperature": spec.temperature, "coverage": USUAL_COVERAGE}
    write_json(folder / "golden.json", golden | {"photos": photos}, ensure_ascii=False)


def complete(store: Store, run_id: int, tell: Tell = lambda text: None) -> None:
    """Make what `write_results` makes at a run's end, for one that an older Thaw trained or that never came to its end.

    The run's status stays. Raises RunError, ModelError, DatasetError or ImageError.
    """
    make_results(store, _ended_run(store, run_id), tell)


def make_results(store: Store, run: Run, tell: Tell = lambda text: None) -> None:
    """The same of a run that this process works on. Raises ModelError, DatasetError or ImageError."""
    run_id, checkpoint = run.id, store.checkpoint(run.id)
    version = store.datasets.version_by_id(run.dataset_version_id)
    train, valid = split_by(Recipe.from_dict(run.recipe), store.datasets.images(version.id))
    sides = {"validation": valid, "training": reference_images(train)}
    folder, base = store.run_folder(run_id), dataset_folder(store.workspace, version.name)
    before_refit = store.workspace.checked_model(run_id)
    refit = load_model(checkpoint) if before_refit.exists() else None
    model, spec = load_model(before_refit if refit else checkpoint)
    checked, learnt = _outputs_of(Predictor(model, spec), store, version.name, sides, tell)
    spec = replace(spec, augment=run.recipe.get("augment") or spec.augment)
    write_results(folder, model, spec, checked, learnt, base)
    if refit:  # the validation images tell nothing of it
        model, spec = refit[0], replace(refit[1], temperature=read_spec(checkpoint).temperature)
        checked, learnt = _outputs_of(Predictor(model, spec), store, version.name, sides, tell)
        write_model(folder, model, spec, checked, learnt, base)
    store.files.keep_changes(run_id)


def look_at_test(store: Store, run_id: int, tell: Tell = lambda text: None) -> dict[str, Any]:
    """Look at the test images with a run's model, write that down, count the look, and return the figures.

    Raises RunError, ModelError, ImageError, and DatasetError where there are no test images.
    """
    run = _ended_run(store, run_id)
    version = store.datasets.version_by_id(run.dataset_version_id)
    images = [image for image in store.datasets.images(version.id) if image.split == "test" and not image.excluded]
    known = set(read_spec(store.checkpoint(run_id)).classes)
    unknown = sorted({image.label for image in images} - known)
    if not images:
        raise DatasetError(
            f"{version.name} (version {version.number}) has no test images. Set some apart on the Data page, under "
            "Split, before you train."
        )
    if unknown:
        raise DatasetError(
            f"{version.name} has test images of {unknown[0]}, a class that run {run_id} never learnt. Relabel them or "
            "set them aside."
        )
    result = _judge(store, run_id, version.name, "test", images, tell)
    store.runs.add_test_look(run_id, version.name, result["accuracy"], result["images"])
    store.files.keep_changes(run_id)
    return result


def judge_by_fold(store: Store, run: Run, tell: Tell = lambda text: None) -> None:
    """Look at the fold that was held back (`Recipe.fold_is`), where there is one, with the finished model.

    Raises ModelError, ImageError, and DatasetError where the fold is empty.
    """
    version = store.datasets.version_by_id(run.dataset_version_id)
    recipe = Recipe.from_dict(run.recipe)
    if not recipe.holds_back:
        return
    images = held_back_by(recipe, store.datasets.images(version.id))
    if not images:
        raise DatasetError(f"Fold {recipe.fold} of {recipe.folds} has no image: {version.name} is too small for that.")
    _judge(store, run.id, version.name, "fold", images, tell)


def _judge(
    store: Store, run_id: int, dataset: str, split: SplitName, images: list[Image], tell: Tell
) -> dict[str, Any]:
    """Figures and predictions of images that had no part in the run's model; written down, and returned."""
    checkpoint = store.checkpoint(run_id)
    predictor = Predictor(*load_model(checkpoint), load_reference(checkpoint))
    [outputs] = _outputs_of(predictor, store, dataset, {SPLIT_TITLES[split].lower(): images}, tell)
    far = None
    if predictor.reference is not None:
        far = distances(outputs.features, predictor.reference, predictor.spec.neighbours)
    return write_split(store.run_folder(run_id), split, predictor.spec, outputs, far)


def _ended_run(store: Store, run_id: int) -> Run:
    """The run, whose model nothing changes meanwhile. Raises RunError for one that trains or is about to."""
    run = store.runs.get(run_id)
    if run.status in ("running", "queued"):
        raise RunError(f"Run {run_id} is {run.status}; its results are made when it ends.")
    return run


def _outputs_of(
    predictor: Predictor, store: Store, dataset: str, sides: dict[str, list[Image]], tell: Tell
) -> list[ModelOutputs]:
    def read(chunk: list[LabelledFile]) -> np.ndarray:
        return np.stack([predictor.read(file.path) for file in chunk])

    total, done = sum(len(images) for images in sides.values()), 0
    found = []
    for side, images in sides.items():
        bring_images(store, dataset, images, tell)
        files = [LabelledFile.of(image_path(store.workspace, dataset, image), image) for image in images]
        chunks = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
        logits, features = [], []
        for pixels in ahead(partial(read, chunk) for chunk in chunks):
            look = predictor.look(pixels)
            logits.append(look.logits)
            features.append(look.features)
            done += len(pixels)
            tell(f"Looking at {side} images: {done:,} of {total:,}")
        found.append(ModelOutputs(images, np.concatenate(logits), np.concatenate(features)))
    return found
