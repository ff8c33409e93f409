"""A served model: a real process that answers over HTTP."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.learner.cli.conftest import thaw  # noqa: F401
from tests.learner.exports.conftest import contents, make_contents, onnx_model  # noqa: F401
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT
from tests.serving import free_port


@dataclass
class Served:
    """What answers, and its process."""

    client: httpx.Client
    process: subprocess.Popen
    port: int


@contextmanager
def serving(*words: str, popen: Callable[..., subprocess.Popen] | None = None) -> Iterator[Served]:
    """`python -m learner serve …`, from when it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "learner", "serve", *words, "--port", str(port)]
    process = (popen or subprocess.Popen)(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=GIVE_UP_S) as client:

        def ready() -> bool:
            assert process.poll() is None, process.stderr.read()
            try:
                return client.get("/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            until(ready)
            yield Served(client, process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=GIVE_UP_S)


@pytest.fixture(scope="module")
def served(onnx_model) -> Iterator[Served]:  # noqa: F811
    with serving(str(onnx_model), "--max-images", "4", "--max-mb", "1") as one:
        yield one
