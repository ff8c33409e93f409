"""One trained run, and its model in any shape that a test asks for, without training once more."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from learner.exports import write
from learner.exports.contents import Contents, GoldenPhoto
from learner.inference.predictor import Predictor
from learner.models.backbones import build
from learner.models.checkpoint import ModelSpec
from learner.models.heads import build_head
from learner.models.network import map_size
from learner.recipe import Head
from tests.learner.cli.conftest import thaw  # noqa: F401
from tests.samples import SMALL

SIZE = 32


@pytest.fixture(scope="session")
def contents(trained) -> Contents:
    """Of the trained run: its own golden photos, temperature and reference."""
    store, run_id = trained
    return Contents.read(store.checkpoint(run_id))


@pytest.fixture(scope="session")
def onnx_model(contents, tmp_path_factory) -> Path:
    """The trained run's; for reading only, as writing one takes seconds."""
    return write(contents, "onnx", tmp_path_factory.mktemp("onnx"), "model.onnx")


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    store, run_id = trained
    return Predictor.open(str(run_id), store)


@pytest.fixture(scope="session")
def make_contents(trained) -> Callable[..., Contents]:
    """An untrained model of that backbone and head, with what it says of the run's photos as the expected answers."""
    store, run_id = trained
    folder = store.workspace.run_folder(run_id) / "golden"

    def make(arch: str = SMALL, head: Head | None = None, supports_none_of_these: bool = True) -> Contents:
        torch.manual_seed(0)
        head = head or Head()
        backbone = build(arch, "random", two_scales=head.two_scales)
        maps = map_size(backbone.body, SIZE if arch == SMALL else 64)
        spec = ModelSpec(
            arch,
            backbone.stages,
            ["zebra 10", "ant <2>", "Käfer"],  # in no order that sorting would give
            SIZE if arch == SMALL else 64,
            list(backbone.mean),
            list(backbone.std),
            backbone.num_features,
            head=asdict(head),
            map_size=list(maps),
            temperature=0.4,
        )
        model = nn.Sequential(backbone.body, build_head(head, backbone.num_features, 3, maps)).eval()
        reference = None
        if supports_none_of_these:
            reference = nn.functional.normalize(torch.rand(20, backbone.num_features))
            spec.neighbours, spec.distances = 5, np.linspace(0.1, 0.6, 101).tolist()
        files = sorted(folder.glob("*.png"))[:3]
        said = Predictor(model, spec, reference, torch.device("cpu")).predict(files)
        golden = [
            GoldenPhoto(file.name, "zebra 10", file.read_bytes(), in_order(one, spec.classes), one.distance)
            for file, one in zip(files, said, strict=True)
        ]
        return Contents(model, spec, reference, golden)

    return make


def in_order(prediction, classes: list[str]) -> list[float]:
    by_class = dict(zip(prediction.classes, prediction.probs, strict=True))
    return [by_class[name] for name in classes]


@pytest.fixture
def valid_photos(photos) -> list[Path]:
    return sorted((photos / "valid").rglob("*.jpg"))
