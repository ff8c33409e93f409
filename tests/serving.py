"""Real processes of Thaw for tests: the web process, a worker."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

from tests.patience import GIVE_UP_S, until
from tests.ready import Fresh
from tests.samples import ROOT

Start = Callable[..., subprocess.Popen]


@contextmanager
def processes() -> Iterator[Start]:
    """Start `python -m …` on the test's workspace; everything ends at the end. No hub is asked."""
    started: list[subprocess.Popen] = []

    def start(*arguments: str, fresh: bool = False) -> subprocess.Popen:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = (Fresh if fresh else subprocess.Popen)([sys.executable, "-m", *arguments], cwd=ROOT, env=environment)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(GIVE_UP_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(start: Start, port: int | None = None, answers: int = 200) -> tuple[str, subprocess.Popen]:
    """Start a fresh web process; returns its address, once it answers so, and the process."""
    port = port or free_port()
    process = start("streamlit", "run", "streamlit_app.py", "--server.port", str(port))
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=10) as answer:
                return answer.status == answers
        except HTTPError as error:
            return error.code == answers
        except OSError:
            return False

    until(is_up)
    return address, process
