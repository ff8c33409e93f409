"""A real server, a real worker and a real Chromium."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests import serving
from tests.conftest import CHROMIUM_FLAGS
from tests.serving import Start, processes
from tools.browser import installed

WAIT_MS = 120_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="session")
def window(playwright, tmp_path_factory) -> Iterator[BrowserContext]:
    """A browser whose cache outlives a test: reading and compiling Streamlit's scripts anew takes seconds."""
    context = playwright.chromium.launch_persistent_context(
        tmp_path_factory.mktemp("browser"),
        executable_path=installed(),
        args=CHROMIUM_FLAGS,
        viewport={"width": 1440, "height": 900},
        reduced_motion="reduce",  # nothing has to be drawn 60 times a second
        accept_downloads=True,
    )
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def page(window) -> Iterator[Page]:
    """A new tab; with the test it ends, as do the tabs that the test opened, and what the pages kept in the browser."""
    others = list(window.pages)
    page_ = window.new_page()
    yield page_
    if page_.url.startswith("http://127.0.0.1"):
        page_.evaluate("localStorage.clear()")
    for tab in window.pages:
        if tab not in others:
            tab.close()
    window.clear_cookies()
    window.clear_permissions()


@pytest.fixture
def start(workspace) -> Iterator[Start]:
    """Start `python -m …` on the test's workspace; everything ends with the test."""
    with processes() as start_:
        yield start_


@pytest.fixture(scope="session")
def port() -> int:
    """Of one server after the other: the browser's cache goes by the address."""
    return serving.free_port()


@pytest.fixture
def serve(start, port) -> Callable[[], str]:
    """Start a fresh web process; returns its address once it answers."""
    return lambda: serving.serve(start, port)[0]
