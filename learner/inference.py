"""Predictions for new images."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from learner.errors import ImageError, ModelError
from learner.export import ModelSpec, load_model
from learner.images import read_squished
from learner.store import Store

BATCH = 16


@dataclass
class Prediction:
    """Classes and probabilities for one image, most probable first; or why it could not be read."""

    source: Path | BinaryIO
    classes: list[str]
    probs: list[float]
    error: str = ""


class Predictor:
    """A trained model, ready to look at images. Keeps the network in evaluation mode on one device."""

    def __init__(self, model: nn.Sequential, spec: ModelSpec, device: torch.device | None = None):
        self.spec = spec
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval().to(self.device)
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(1, 3, 1, 1)

    @classmethod
    def open(cls, model: str, store: Store, trust_pickle: bool = False) -> "Predictor":
        """`model` is a run's id, a `model.safetensors`, or with `trust_pickle` a `learner.pkl`. Raises ModelError."""
        return cls(*_find_model(model, store, trust_pickle))

    def predict(self, sources: Iterable[Path | BinaryIO], top_k: int | None = None) -> Iterator[Prediction]:
        """One prediction an image, in order; memory stays at one batch. Unreadable images carry their error."""
        sources = iter(sources)
        while chunk := list(itertools.islice(sources, BATCH)):
            yield from self._predict_batch(chunk, top_k or len(self.spec.classes))

    def _predict_batch(self, sources: list[Path | BinaryIO], top_k: int) -> Iterator[Prediction]:
        pixels, errors = [], {}
        for index, source in enumerate(sources):
            try:
                pixels.append(np.asarray(read_squished(source, self.spec.image_size)))
            except ImageError as error:
                errors[index] = str(error)
        probs = iter(self._probs(np.stack(pixels)).cpu()) if pixels else iter(())
        for index, source in enumerate(sources):
            if index in errors:
                yield Prediction(source, [], [], errors[index])
                continue
            best, order = next(probs).topk(min(top_k, len(self.spec.classes)))
            yield Prediction(source, [self.spec.classes[i] for i in order.tolist()], best.tolist())

    @torch.inference_mode()
    def _probs(self, pixels: np.ndarray) -> torch.Tensor:
        """`pixels` is (batch, height, width, 3) of bytes; returns (batch, classes)."""
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        return self._model((x - self._mean) / self._std).softmax(dim=1)


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
