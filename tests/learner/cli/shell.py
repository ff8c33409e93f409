"""What tests of commands share."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import GIVE_UP_S
from tests.samples import ROOT, SMALL

TINY = ["--set", f"backbone={SMALL}", "--set", "weights=random", "--set", "image_size=32", "--set", "batch_size=8"]
ONE_EPOCH = [*TINY, "--set", "phases=[{name: Warm-up, epochs: 1, lr: 1e-2}]"]


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """Stdout, which must be one JSON object and nothing else."""
        return json.loads(self.out)


def shell(home: Path, *words) -> subprocess.Popen:
    """A command in a process of its own."""
    environment = {**os.environ, "THAW_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "learner", *map(str, words)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    )


def train_first(home: Path, photos: Path, *words) -> Said:
    """Train for two epochs on a folder, in a workspace that is not there yet."""
    phases = ["--set", "phases.0.epochs=1", "--set", "phases.1.epochs=1", "--set", "phases.1.lr=[1e-4, 1e-2]"]
    process = shell(home, "train", "--dataset", photos, *TINY, *phases, *words)
    out, err = process.communicate(timeout=GIVE_UP_S)
    return Said(process.returncode, out, err)


def use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the workspace of commands in this process."""
    monkeypatch.setenv("THAW_HOME", str(home))
    monkeypatch.delenv("DATABASE_URL", raising=False)
