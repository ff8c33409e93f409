"""A temporary workspace and Thaw's own command line in it, as a person would use them."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import Finished, measured
from benchmarks.report import BenchmarkError


class Home:
    """Used with `with`: the workspace is empty at first, but for VGG16's weights if any, and is gone at the end."""

    def __init__(self, vgg16_weights: Path | None = None):
        self._weights = vgg16_weights
        self._temporary = tempfile.TemporaryDirectory(prefix="thaw-benchmark-")
        self.folder = Path(self._temporary.name)
        """For the benchmark's own files; the workspace is a folder in it."""
        self.workspace = self.folder / "workspace"

    def __enter__(self) -> "Home":
        (self.workspace / "weights").mkdir(parents=True)
        if self._weights is not None:
            shutil.copyfile(self._weights, self.workspace / "weights" / "vgg16.safetensors")
        return self

    def __exit__(self, *_) -> None:
        self._temporary.cleanup()

    def add(self, source: Path, name: str) -> Finished:
        """Import `source` as the data set `name`."""
        return self.learner("data", "add", str(source), "--name", name)

    def train(
        self, dataset: str, recipe: str | dict[str, Any], *changes: str, watch: Callable[[], int] = int
    ) -> tuple[dict[str, Any], Finished]:
        """What `train --json` says, and what it cost; `recipe` is a name, a file, or a recipe's keys."""
        if isinstance(recipe, dict):
            file = self.folder / "recipe.yaml"
            file.write_text(yaml.safe_dump(recipe), "utf-8")
            recipe = str(file)
        options = [word for change in changes for word in ("--set", change)]
        done = self.learner("train", "--dataset", dataset, "--recipe", recipe, *options, "--json", watch=watch)
        run = json.loads(done.stdout)
        if run["status"] != "finished":
            raise BenchmarkError(f"Run {run['run']} ended as {run['status']}. {run['reason']}")
        return run, done

    def predict(self, run: int, folder: Path) -> list[dict[str, Any]]:
        """The predictions for every image below `folder`."""
        return json.loads(self.learner("predict", str(run), str(folder), "--json").stdout)["predictions"]

    def learner(self, *words: str, watch: Callable[[], int] = int) -> Finished:
        environment = {"THAW_HOME": str(self.workspace), "DATABASE_URL": None, "HF_HUB_OFFLINE": "1"}
        return measured([sys.executable, "-m", "learner", *words], environment, watch)


def vgg16_weights(given: Path | None, folder: Path) -> tuple[Path | None, str]:
    """A safetensors file of VGG16's convolutions with timm's names, and in words where it comes from.

    Without `given`, what Thaw finds by itself is written into `folder`; None means random weights, as nothing is found.
    """
    if given is not None:
        if not given.is_file():
            raise BenchmarkError(f"There is no weight file {given}.")
        return given.resolve(), f"the file {given.name}"
    from safetensors.torch import save_file

    from learner.errors import WeightsError
    from learner.models.backbones import build

    try:
        backbone = build("vgg16")
    except WeightsError:
        return None, "random, as none were found; this changes the accuracy and not the time"
    state = {backbone.timm_names[name]: tensor.contiguous() for name, tensor in backbone.body.state_dict().items()}
    file = folder / "found.safetensors"
    save_file(state, file)
    return file, f"ImageNet's, from the {backbone.source.kind}"
