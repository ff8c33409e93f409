"""Tests in this folder that ask for a store run once on SQLite and once on PostgreSQL."""

import pytest

from learner.store import Store
from learner.workspace import Workspace
from tests.learner.store.writing import TWO_IMAGES


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, workspace, monkeypatch) -> Workspace:
    """An empty workspace on each kind of database, for this process and the ones it starts."""
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres_database")
        assert address.startswith("postgresql://")
        monkeypatch.setenv("DATABASE_URL", address)
    return workspace


@pytest.fixture
def store(database) -> Store:
    """A store with a data set `pets` of two rows and no files, which is enough to submit runs."""
    store = Store(database)
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
    return store
