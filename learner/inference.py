"""Predictions for new images."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from fastcore.basics import chunked
from torch import nn

from learner.errors import ImageError, ModelError
from learner.export import ModelSpec, load_model
from learner.images import read_squished
from learner.loaders import Preprocess, ahead
from learner.network import Network, lowered
from learner.precision import precision_for_inference
from learner.store import Store

BATCH = 16


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


class Predictor:
    """A trained model, ready to look at images. Keeps the network in evaluation mode on one device.

    It computes in the precision that the model was trained in, where the device does that at full speed, else in fp32.
    """

    def __init__(self, model: nn.Sequential, spec: ModelSpec, device: torch.device | None = None):
        self.spec = spec
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        precision = precision_for_inference(spec.precision, self.device)
        network = Network(model[0], model[1], precision).to(self.device, memory_format=torch.channels_last)
        self._network = lowered(network)
        self._preprocess = Preprocess(spec.image_size, tuple(spec.mean), tuple(spec.std))
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    @classmethod
    def open(cls, model: str, store: Store, trust_pickle: bool = False) -> "Predictor":
        """`model` is a run's id, a `model.safetensors`, or with `trust_pickle` a `learner.pkl`. Raises ModelError."""
        return cls(*_find_model(model, store, trust_pickle))

    @property
    def shows_attention(self) -> bool:
        """Whether its predictions say where it looked."""
        return self.spec.head["kind"] == "attention"

    def predict(self, sources: Iterable[Path | BinaryIO], top_k: int | None = None) -> Iterator[Prediction]:
        """One prediction an image, in order; memory stays at a few batches. Unreadable images carry their error."""
        chunks = chunked(sources, BATCH)
        for chunk, images in ahead(partial(self._read, chunk) for chunk in chunks):
            yield from self._predict_batch(chunk, images, top_k or len(self.spec.classes))

    def _read(self, sources: list[Path | BinaryIO]) -> tuple[list[Path | BinaryIO], list[np.ndarray | str]]:
        """Pixels of every source, (height, width, 3) of bytes, or why it cannot be read."""

        def read(source: Path | BinaryIO) -> np.ndarray | str:
            try:
                return np.asarray(read_squished(source, self.spec.image_size))
            except ImageError as error:
                return str(error)

        return sources, list(self._pool.map(read, sources))

    def _predict_batch(self, sources: list, images: list[np.ndarray | str], top_k: int) -> Iterator[Prediction]:
        pixels = [image for image in images if not isinstance(image, str)]
        probs, looks = self._look(np.stack(pixels)) if pixels else (iter(()), iter(()))
        for source, image in zip(sources, images, strict=True):
            if isinstance(image, str):
                yield Prediction(source, [], [], image)
                continue
            best, order = next(probs).topk(min(top_k, len(self.spec.classes)))
            classes = [self.spec.classes[i] for i in order.tolist()]
            yield Prediction(source, classes, best.tolist(), attention=next(looks))

    @torch.inference_mode()
    def _look(self, pixels: np.ndarray) -> tuple[Iterator[torch.Tensor], Iterator[list[list[float]] | None]]:
        """`pixels` is (batch, height, width, 3) of bytes; returns each image's probabilities, (classes,), and where the
        head looked."""
        features = self._preprocess(torch.from_numpy(pixels).to(self.device))
        for index in range(len(self._network[0])):
            features = self._network.stage(index, features)
        features, head = features.float(), self._network[1]
        probs = head(features).softmax(dim=1).cpu()
        if not self.shows_attention:
            return iter(probs), repeat(None)
        return iter(probs), iter(head[0].attention(features).squeeze(1).cpu().tolist())


def _find_model(model: str, store: Store, trust_pickle: bool) -> tuple[nn.Sequential, ModelSpec]:
    if model.isdecimal():
        return load_model(store.checkpoint(int(model)))
    path = Path(model)
    if path.suffix != ".pkl":
        if path.suffix != ".safetensors":
            raise ModelError(f"{model!r} is neither a run's id, nor a model.safetensors, nor a learner.pkl.")
        return load_model(path)
    if not trust_pickle:
        raise ModelError(
            f"{model} is a pickle, which can run any program hidden in it. Use the run's id or its model.safetensors, "
            "or say --trust-pickle if you made the file yourself."
        )
    return _from_pickle(path)


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
