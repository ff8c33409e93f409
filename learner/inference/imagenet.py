"""What the ImageNet network itself, untouched, says of photos: one of its own 1,000 classes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import timm
import torch
from fastcore.basics import chunked
from timm.data import ImageNetInfo
from torch import Tensor

from learner.datasets import bring_files, dataset_folder, natural_key
from learner.datasets.images import read_squished
from learner.datasets.rows import rows_of
from learner.errors import DatasetError, ImageError, WeightsError
from learner.features.loaders import ahead
from learner.features.preprocess import Preprocess
from learner.inference.predictor import Prediction
from learner.models.backbones import TimmModel, read_weights
from learner.models.weights import WeightsSource, choose_backbone, find_weights, local_file
from learner.recipe.backbones import FALLBACK_ARCH
from learner.store import Store
from learner.workspace import Workspace

CLASSES = 1000
TOP = 5
BATCH = 16
MOST_OF_A_CLASS = 200
"""Photos of each class that a table is made from; more would change its figures by little."""


@cache
def class_names() -> tuple[str, ...]:
    """A short name for every ImageNet class, in the order of the network's outputs."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(index).split(",")[0] for index in range(CLASSES))


class ImageNetModel:
    """A pretrained network with its own classifier, in evaluation mode."""

    def __init__(self, arch: str, model: TimmModel, source: WeightsSource):
        self.arch, self.source = arch, source
        config = model.pretrained_cfg
        self.image_size = config["input_size"][-1]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval().requires_grad_(False).to(self._device).to(memory_format=torch.channels_last)
        self._preprocess = Preprocess(self.image_size, tuple(config["mean"]), tuple(config["std"]))

    @classmethod
    def open(cls, arch: str = "auto", workspace: Workspace | None = None, weights: str = "auto") -> "ImageNetModel":
        """The network of that architecture with its classifier.

        `auto` is the one that a recipe takes or, where its weights have no classifier, the bundled EfficientNet-Lite0.
        `source.reason` says which and why.

        `weights` as in a recipe. Raises WeightsError when no classifier can be had.
        """
        if weights == "random" or weights.startswith("run:"):
            raise WeightsError(f"weights: {weights} has no classifier of ImageNet's. Name a file of weights, or auto.")
        chosen, source = choose_backbone(arch, weights, workspace)
        try:
            return cls(chosen, _load(chosen, source), source)
        except WeightsError as error:
            if arch != "auto" or weights != "auto":
                raise
            bundled = find_weights(FALLBACK_ARCH, "auto", workspace)
            reason = f"{error} So the untouched EfficientNet-Lite0 is asked."
            source = WeightsSource(bundled.kind, bundled.location, reason, (str(error),))
            return cls(FALLBACK_ARCH, _load(FALLBACK_ARCH, source), source)

    def predict(self, sources: Iterable[Path | BinaryIO], top_k: int = TOP) -> Iterator[Prediction]:
        """One prediction an image, in order, of the `top_k` most probable classes. Unreadable images carry their error.

        Images are squished to a square, as everywhere in Thaw.
        """
        chunks = chunked(sources, BATCH)
        for chunk, images in ahead(partial(self._read_all, chunk) for chunk in chunks):
            readable = [image for image in images if not isinstance(image, str)]
            probs = iter(self._probs(np.stack(readable))) if readable else iter(())
            for source, image in zip(chunk, images, strict=True):
                if isinstance(image, str):
                    yield Prediction(source, [], [], image)
                    continue
                best, order = next(probs).topk(top_k)
                yield Prediction(source, [class_names()[index] for index in order.tolist()], best.tolist())

    def _read_all(self, chunk: list[Path | BinaryIO]) -> tuple[list[Path | BinaryIO], list[np.ndarray | str]]:
        return chunk, [self._read(source) for source in chunk]

    def _read(self, source: Path | BinaryIO) -> np.ndarray | str:
        try:
            return np.asarray(read_squished(source, self.image_size))
        except ImageError as error:
            return str(error)

    @torch.inference_mode()
    def _probs(self, pixels: np.ndarray) -> Tensor:
        """`pixels` is (batch, height, width, 3) of bytes; returns (batch, 1000) on the CPU."""
        return self._model(self._preprocess(torch.from_numpy(pixels).to(self._device))).softmax(dim=1).cpu()


@dataclass
class Answers:
    """What the untouched network says of one class of a data set."""

    label: str
    photos: int
    answers: list[tuple[str, float]]
    """Its most frequent first answers, each with its share of the photos."""


def ask_about(
    store: Store, dataset: str, model: ImageNetModel, tell: Callable[[int, int], None] = lambda done, total: None
) -> list[Answers]:
    """The network's `TOP` most frequent first answers for each class, from at most `MOST_OF_A_CLASS` photos of each.

    `tell` hears how many photos of how many are done. Raises DatasetError.
    """
    version = store.datasets.version(dataset)
    folder = dataset_folder(store.workspace, version.name)
    files: dict[str, list[Path]] = {}
    for row in sorted(rows_of(store, version), key=lambda row: row.sha256):
        if not row.excluded and len(files.setdefault(row.label, [])) < MOST_OF_A_CLASS:
            files[row.label].append(folder / row.file)
    labels = sorted(files, key=natural_key)
    asked = [(label, file) for label in labels for file in files[label]]
    said: dict[str, Counter[str]] = {label: Counter() for label in labels}
    bring_files(store, version.name, (file.relative_to(folder).as_posix() for _, file in asked))
    predictions = model.predict([file for _, file in asked], top_k=1)
    for done, ((label, _), prediction) in enumerate(zip(asked, predictions, strict=True), start=1):
        said[label].update(prediction.classes)
        tell(done, len(asked))
    if not any(said.values()):
        raise DatasetError(f"No photo of {dataset} can be read, so there is nothing to ask about.")
    return [
        Answers(label, counts.total(), [(name, number / counts.total()) for name, number in counts.most_common(TOP)])
        for label, counts in said.items()
        if counts
    ]


def _load(arch: str, source: WeightsSource) -> TimmModel:
    """timm's whole network, classifier included."""
    if not timm.is_model(arch):
        raise WeightsError(f"{arch!r} is not an architecture that timm knows, so ImageNet has not taught it.")
    path = local_file(source)
    tensors = read_weights(path)
    model = timm.create_model(arch, num_classes=CLASSES)
    targets = model.state_dict()
    if source.kind == "package":  # its tensors have other names but timm's order, the classifier's two last
        tensors = dict(zip(targets, tensors.values(), strict=False))
    missing = [
        name
        for name, target in targets.items()
        if not name.endswith("num_batches_tracked") and (name not in tensors or tensors[name].shape != target.shape)
    ]
    if missing:
        raise WeightsError(
            f"The weights in {path.name} are a body without ImageNet's classifier ({len(missing)} layers are missing, "
            f"such as {missing[-1]})."
        )
    model.load_state_dict({name: tensors[name] for name in targets if name in tensors}, strict=False)
    return model
