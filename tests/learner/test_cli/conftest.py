"""Commands run in this process or in one of their own, on workspaces of their own."""

import sys
from pathlib import Path

import pytest

from learner import cli
from tests.learner.test_cli.shell import TINY, Said, shell
from tests.patience import GIVE_UP_S


@pytest.fixture
def thaw(monkeypatch, capsys):
    """Runs a command in this process, as `python -m learner` would."""

    def run(*words) -> Said:
        monkeypatch.setattr(sys, "argv", ["learner", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def first(tmp_path_factory, photos) -> tuple[Path, Said, Path]:
    """An empty workspace, after `train` on a folder: the workspace, what was said, and the model file."""
    home, model = tmp_path_factory.mktemp("home") / "thaw", tmp_path_factory.mktemp("out") / "pets.pkl"
    phases = ["--set", "phases.0.epochs=1", "--set", "phases.1.epochs=1", "--set", "phases.1.lr=[1e-4, 1e-2]"]
    process = shell(home, "train", "--dataset", photos, "--model", model, *TINY, *phases)
    out, err = process.communicate(timeout=GIVE_UP_S)
    return home, Said(process.returncode, out, err), model


@pytest.fixture
def home(first, monkeypatch) -> Path:
    """The workspace that the first training left, for commands in this process that only read."""
    monkeypatch.setenv("THAW_HOME", str(first[0]))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return first[0]
