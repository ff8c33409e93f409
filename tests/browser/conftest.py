"""A real server, a real worker and a real Chromium."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import serving
from tests.serving import Start, processes
from tools.browser import installed

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving picture
    "--use-fake-ui-for-media-stream",
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
def start(workspace) -> Iterator[Start]:
    """Start `python -m …` on the test's workspace; everything ends with the test."""
    with processes() as start_:
        yield start_


@pytest.fixture
def serve(start) -> Callable[[], str]:
    """Start a fresh web process; returns its address once it answers."""
    return lambda: serving.serve(start)[0]
