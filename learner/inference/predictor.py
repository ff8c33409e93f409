"""Predictions for new images."""

import copy
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from fastcore.basics import chunked
from torch import nn

from learner.datasets.images import read_squished
from learner.errors import ImageError, ModelError
from learner.features import augment
from learner.features.loaders import ahead
from learner.features.preprocess import Preprocess
from learner.models.calibration import calibrated, distances, unit_length
from learner.models.checkpoint import ModelSpec, load_model, load_reference
from learner.models.heads import AttentionPool
from learner.models.network import Network, body_of, lowered
from learner.models.precision import Precision, precision_for_inference
from learner.recipe import Augment
from learner.store import Store

BATCH = 16
NEAREST = 6
"""Similar training images that a prediction names."""


@dataclass
class Prediction:
    """Classes and probabilities for one image, most probable first; or why it could not be read."""

    source: Path | BinaryIO
    classes: list[str]
    probs: list[float]
    error: str = ""
    attention: list[list[float]] | None = None
    """Where a model with an attention head looked: rows of weights 0 to 1 over the image as it was squished; None of
    other models."""
    distance: float | None = None
    """How far the image lies from the training images (`learner.models.calibration.distances`); None where the model
    cannot tell."""
    nearest: list[int] = field(default_factory=list)
    """The most similar of the reference images, most similar first: rows of the run's predictions of its training
    images (`learner.evaluation.results.load_predictions(folder, "train")`)."""

    @property
    def label(self) -> str:
        """The most probable class; empty where the picture cannot be read."""
        return self.classes[0] if self.classes else ""

    @property
    def probability(self) -> float:
        """Of `label`, 0 to 1."""
        return self.probs[0] if self.probs else 0.0

    def is_none_of_these(self, threshold: float) -> bool | None:
        """Whether it lies beyond `ModelSpec.threshold`; None where the model cannot tell."""
        return None if self.distance is None else self.distance > threshold


@dataclass
class BatchOutputs:
    """What a network made of a batch of images."""

    logits: np.ndarray
    """(images, classes), before the temperature."""
    features: np.ndarray
    """(images, num_features): what left the body, averaged over its area, each image's of length 1."""
    attention: list[list[list[float]]] | None


class Predictor:
    """A trained model, ready to look at images. Keeps the network in evaluation mode on one device.

    It computes in the precision that the model was trained in, where the device does that at full speed, else in fp32.
    """

    def __init__(
        self,
        model: nn.Sequential,
        spec: ModelSpec,
        reference: torch.Tensor | None = None,
        device: torch.device | None = None,
    ):
        self.spec = spec
        self.reference = reference.numpy() if reference is not None else None
        """(images, num_features) of length 1 each: of the training images that distances are measured from."""
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        precision = precision_for_inference(spec.precision, self.device)
        network = Network(body_of(model), model[1], precision).to(self.device).to(memory_format=torch.channels_last)
        self.network = lowered(network)
        self._preprocess = Preprocess(spec.image_size, tuple(spec.mean), tuple(spec.std))
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    @classmethod
    def open(cls, model: str, store: Store, trust_pickle: bool = False) -> "Predictor":
        """`model` is a run's id, a `model.safetensors`, or with `trust_pickle` a `learner.pkl`. Raises ModelError."""
        return cls(*open_model(store.checkpoint(int(model)) if model.isdecimal() else Path(model), trust_pickle))

    @property
    def shows_attention(self) -> bool:
        """Whether its predictions say where it looked."""
        return self.spec.head["kind"] == "attention"

    @cached_property
    def exact(self) -> Network:
        """The same network computing in fp32, for gradients: bf16 and fp16 round them too coarsely."""
        if not self.network.precision.is_low:
            return self.network
        network = copy.deepcopy(self.network).float()
        network.precision = Precision("fp32", "Gradients need it.")
        return network

    def predict(
        self, sources: Iterable[Path | BinaryIO], top_k: int | None = None, views: int = 0
    ) -> Iterator[Prediction]:
        """One prediction an image, in order; memory stays at a few batches. Unreadable images carry their error.

        With `views` (test-time augmentation) the probabilities are the mean over the image itself and so many changed
        copies of it, drawn as in training; which ones follows from the image's pixels. Distance, similar images and
        attention are of the image itself.
        Raises ModelError when views are asked of a model that was trained without augmentation.
        """
        if views and not Augment(**self.spec.augment).changes_anything:
            raise ModelError(
                "This model was trained without augmentation, so there are no changed views to average over. Predict "
                "without them, or train with augmentation: --set augment.flip_horizontal=true"
            )
        return self._predict(sources, top_k or len(self.spec.classes), views)

    def _predict(self, sources: Iterable[Path | BinaryIO], top_k: int, views: int) -> Iterator[Prediction]:
        chunks = chunked(sources, BATCH)
        for chunk, images in ahead(partial(self._read, chunk) for chunk in chunks):
            yield from self._predict_batch(chunk, images, top_k, views)

    def _read(self, sources: list[Path | BinaryIO]) -> tuple[list[Path | BinaryIO], list[np.ndarray | str]]:
        """Pixels of every source, (height, width, 3) of bytes, or why it cannot be read."""

        def read(source: Path | BinaryIO) -> np.ndarray | str:
            try:
                return self.read(source)
            except ImageError as error:
                return str(error)

        return sources, list(self._pool.map(read, sources))

    def read(self, source: Path | BinaryIO) -> np.ndarray:
        """(image_size, image_size, 3) of bytes. Raises ImageError."""
        return np.asarray(read_squished(source, self.spec.image_size))

    @torch.inference_mode()
    def look(self, pixels: np.ndarray, draws: np.ndarray | None = None) -> BatchOutputs:
        """`pixels` is (images, image_size, image_size, 3) of bytes; a few images, as all are in memory at once.

        `draws` (images, 8) changes them first, as `learner.features.augment.draw` says.
        """
        maps = self.prepare(pixels, draws)
        for index in range(len(self.network.body)):
            maps = self.network.stage(index, maps)
        maps, head = maps.float(), self.network[1]
        attention = None
        if self.shows_attention:
            pool = head.get_submodule("0")
            assert isinstance(pool, AttentionPool)
            attention = pool.attention(maps).squeeze(1).cpu().tolist()
        return BatchOutputs(head(maps).cpu().numpy(), unit_length(maps.mean((2, 3)).cpu().numpy()), attention)

    def prepare(self, pixels: np.ndarray, draws: np.ndarray | None = None) -> torch.Tensor:
        """What the first stage takes, (images, 3, image_size, image_size) on the device."""
        changes = torch.from_numpy(draws).to(self.device) if draws is not None else None
        return self._preprocess(torch.from_numpy(pixels).to(self.device), changes)

    def _predict_batch(
        self, sources: list, images: list[np.ndarray | str], top_k: int, views: int
    ) -> Iterator[Prediction]:
        pixels = [image for image in images if not isinstance(image, str)]
        answers = self._answers(np.stack(pixels), top_k, views) if pixels else iter(())
        for source, image in zip(sources, images, strict=True):
            yield Prediction(source, [], [], image) if isinstance(image, str) else replace(next(answers), source=source)

    def _answers(self, pixels: np.ndarray, top_k: int, views: int) -> Iterator[Prediction]:
        """One for each image, without their sources."""
        look = self.look(pixels)
        changed = [self.look(pixels, self._draws(pixels, view)) for view in range(views)]
        probs = np.mean([calibrated(one.logits, self.spec.temperature) for one in (look, *changed)], axis=0)
        far, nearest = self._compare(look.features)
        for index, row in enumerate(probs):
            order = row.argsort()[::-1][:top_k]
            yield Prediction(
                source=Path(),
                classes=[self.spec.classes[place] for place in order],
                probs=row[order].tolist(),
                attention=look.attention[index] if look.attention else None,
                distance=far[index],
                nearest=nearest[index],
            )

    def _draws(self, pixels: np.ndarray, view: int) -> np.ndarray:
        """(images, 8) augmentations, which follow from the images' pixels and the view's number alone."""
        settings = Augment(**self.spec.augment)
        contents = (hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)
        return np.stack([augment.draw(settings, 0, content, view) for content in contents])

    def _compare(self, features: np.ndarray) -> tuple[list[float | None], list[list[int]]]:
        """Distances from the reference images, and the nearest of these."""
        if self.reference is None:
            return [None] * len(features), [[]] * len(features)
        similarity = features @ self.reference.T
        nearest = similarity.argsort(axis=1)[:, ::-1][:, :NEAREST]
        return distances(features, self.reference, self.spec.neighbours).tolist(), nearest.tolist()


def open_model(path: Path, trust_pickle: bool = False) -> tuple[nn.Sequential, ModelSpec, torch.Tensor | None]:
    """Network, description and reference features of a `model.safetensors`, or with `trust_pickle` of a `learner.pkl`.

    Raises ModelError.
    """
    if path.suffix != ".pkl":
        if path.suffix != ".safetensors":
            raise ModelError(f"{str(path)!r} is neither a run's id, nor a model.safetensors, nor a learner.pkl.")
        return *load_model(path), load_reference(path)
    if not trust_pickle:
        raise ModelError(
            f"{path} is a pickle, which can run any program hidden in it. Use the run's id or its model.safetensors, "
            "or say --trust-pickle (in Python trust_pickle=True) if you made the file yourself."
        )
    return *_from_pickle(path), None


def _from_pickle(path: Path) -> tuple[nn.Sequential, ModelSpec]:
    """The network and the preprocessing out of a `learner.pkl` that Thaw exported."""
    from fastai.learner import load_learner

    if not path.is_file():
        raise ModelError(f"There is no model at {path}.")
    try:
        learn = load_learner(path)
        resize, normalize = learn.dls.after_item.resize, learn.dls.after_batch.normalize
        spec = ModelSpec(
            arch="",
            stages=[name for name, _ in learn.model[0].named_children()],
            classes=list(learn.dls.vocab),
            image_size=resize.size[0],
            mean=normalize.mean.flatten().tolist(),
            std=normalize.std.flatten().tolist(),
            num_features=0,
        )
    except Exception as error:  # unpickling may raise anything
        raise ModelError(f"{path} is not a learner.pkl that Thaw exported ({error}).") from error
    return learn.model, spec
