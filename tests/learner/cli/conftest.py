"""Commands run in this process or in one of their own, on workspaces of their own."""

import sys
from pathlib import Path

import pytest

from learner import cli
from tests.learner.cli.shell import Said, train_first, use


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
def first_home(tmp_path_factory, photos) -> Path:
    """A workspace that was empty before `train` on a folder."""
    home = tmp_path_factory.mktemp("home") / "thaw"
    train_first(home, photos)
    return home


@pytest.fixture
def home(first_home, monkeypatch) -> Path:
    """The workspace that the first training left, for commands in this process that only read."""
    use(first_home, monkeypatch)
    return first_home
