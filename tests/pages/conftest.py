"""Pages run as Streamlit runs them, through the router, on a workspace of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from learner.datasets import add_dataset
from learner.store import Store
from learner.workspace import Workspace
from tests.samples import ROOT, TWO_PHASES, make_photos


@pytest.fixture(autouse=True)
def fresh_caches(workspace):
    """The pages keep one store a server; each test is a server of its own."""
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def open_page():
    """Open a page by its file name; returns the AppTest, which holds all that the page shows."""

    def open_(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
        app.run()
        for key, value in query.items():
            app.query_params[key] = value
        return app.switch_page(f"pages/{name}.py").run()

    return open_


@pytest.fixture
def pets(store, tmp_path):
    """A small data set of two classes, one unreadable file set aside."""
    folder = make_photos(tmp_path / "pets", {"cat": 8, "dog": 8}, size=(48, 40))
    (folder / "cat" / "broken.jpg").write_text("no picture")
    return add_dataset(store, folder, "pets")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory) -> Path:
    """A workspace with one finished run, trained once by a real process."""
    home = tmp_path_factory.mktemp("trained")
    before = os.environ.get("THAW_HOME")
    os.environ["THAW_HOME"] = str(home)
    try:
        store = Store(Workspace.current())
        add_dataset(store, make_photos(home / "photos", {"cat": 10, "dog": 10}, size=(48, 40)), "pets")
        run_id = store.submit(TWO_PHASES, running=True)
        subprocess.run([sys.executable, "-m", "learner.executors", str(run_id)], cwd=ROOT, check=True)
        assert store.runs.get(run_id).status == "finished", store.runs.get(run_id).reason
    finally:
        os.environ.pop("THAW_HOME") if before is None else os.environ.update(THAW_HOME=before)
    return home


@pytest.fixture
def trained(trained_home, monkeypatch) -> Store:
    monkeypatch.setenv("THAW_HOME", str(trained_home))
    return Store(Workspace.current())
