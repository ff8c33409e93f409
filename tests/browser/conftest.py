"""A real server, a real worker and a real Chromium."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.samples import ROOT
from tools.browser import installed

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def start(workspace) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `python -m …` on the test's workspace; everything ends with the test. No hub is asked."""
    started: list[subprocess.Popen] = []

    def start_(*arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=environment)
        started.append(process)
        return process

    yield start_
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(30)


@pytest.fixture
def serve(start) -> Callable[[], str]:
    """Start a fresh web process; returns its address once it answers."""

    def serve_() -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start("streamlit", "run", "streamlit_app.py", "--server.port", str(port))
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return address
        raise TimeoutError("the web process did not answer within 30 s")

    return serve_
