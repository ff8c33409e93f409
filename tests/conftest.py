"""Every test gets an empty workspace of its own."""

import pytest

from learner.store import Store
from learner.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """An empty workspace that this process and the ones it starts all use."""
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "thaw"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Workspace.current()


@pytest.fixture
def store(workspace) -> Store:
    return Store(workspace)
