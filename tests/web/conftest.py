"""The web process as programs see it."""

import ssl
from collections.abc import Iterator
from functools import cache

import httpx
import psutil
import pytest

from learner.workspace import Workspace
from tests.patience import GIVE_UP_S
from tests.serving import processes, serve


@pytest.fixture(autouse=True, scope="module")
def certificates_read_once() -> Iterator[None]:
    """Each client reads whom to trust in the whole world, which takes 25 ms; no server here is asked for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One workspace and one web process for all tests of a file: each begins uploads and data sets of its own."""
    return tmp_path_factory.mktemp("served") / "thaw"


@pytest.fixture(scope="module")
def served(home) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of the server."""
    with pytest.MonkeyPatch.context() as patch, processes() as start:
        patch.setenv("THAW_HOME", str(home))
        patch.delenv("DATABASE_URL", raising=False)
        address, process = serve(start)
        yield address, psutil.Process(process.pid)


@pytest.fixture
def client(served) -> Iterator[httpx.Client]:
    """A client that a page of Thaw's would be."""
    limits = httpx.Limits(max_keepalive_connections=0)  # httpx does not ask again where a kept one was closed meanwhile
    with httpx.Client(base_url=served[0], headers={"X-Thaw": "1"}, timeout=GIVE_UP_S, limits=limits) as client_:
        yield client_


@pytest.fixture
def workspace(home) -> Workspace:
    """The server's, instead of an empty one."""
    return Workspace(home)
