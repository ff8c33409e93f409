"""Packages that only a benchmark needs: each has an environment of its own beside Thaw's, made once by pip."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import CACHE, BenchmarkError


@dataclass(frozen=True)
class Environment:
    """What is installed, and why."""

    title: str
    """What a person is told while it is made."""
    reason: str
    choices: Sequence[Sequence[str]]
    """Lists of packages; the first that pip can install is taken."""


ENVIRONMENTS = {
    "keras": Environment(
        "TensorFlow (250 MB)",
        "the classic Keras script, which Thaw is held against; safetensors reads the weights, Pillow the photos",
        [("safetensors", "pillow", "tensorflow-cpu"), ("safetensors", "pillow", "tensorflow")],
    ),
    "cleanvision": Environment(
        "CleanVision", "its checks of photos, which Thaw's are held against", [("cleanvision",)]
    ),
    "locust": Environment("locust", "asks a served model, as many callers at once", [("locust",)]),
    "resvg": Environment("resvg", "draws the decks of the set `cards`, which are SVG files", [("resvg-py==0.5.0",)]),
}


def is_ready(name: str) -> bool:
    return (CACHE / name / "complete").exists()


def python_of(name: str) -> Path:
    """The interpreter of an environment, which is made where it is missing. Raises BenchmarkError."""
    folder, wanted = CACHE / name, ENVIRONMENTS[name]
    python = folder / "bin" / "python"
    if is_ready(name):
        return python
    print(f"Installing {wanted.title}, once.", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in wanted.choices:
        if subprocess.run([*install, *packages], capture_output=True, check=False).returncode == 0:
            (folder / "complete").touch()
            return python
    raise BenchmarkError(f"{wanted.title} could not be installed by pip; connect to the internet.")
