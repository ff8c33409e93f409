"""A real server, a real worker and a real Chromium."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests import serving
from tests.serving import Start, processes

WAIT_MS = 120_000
expect.set_options(timeout=WAIT_MS)


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
