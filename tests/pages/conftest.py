"""Pages run as Streamlit runs them, through the router, on a workspace of their own."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from learner.datasets import add_dataset
from learner.recipe import Recipe
from learner.store import Store
from learner.store.datasets import VersionInfo
from learner.workspace import Workspace
from tests.machine import keep_speed
from tests.patience import GIVE_UP_S
from tests.samples import ROOT, copy_workspace, make_photos


@pytest.fixture(autouse=True, scope="session")
def components_found_once() -> Iterator[None]:
    """Every AppTest looks for components in all installed packages, as a server does once; that takes 0.5 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(autouse=True)
def without_keras() -> None:
    """Where another test has loaded Keras, Streamlit empties its session before each script, which takes seconds."""
    sys.modules.pop("keras", None)


@pytest.fixture(autouse=True)
def fresh_caches(workspace):
    """The pages keep one store a server; each test is a server of its own."""
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No page asks a hub for weights: the bundled network is used."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


class Measurements:
    """Measurements that last until the test ends them; each is a process, as the real ones are."""

    def __init__(self, store: Store):
        self.store = store
        self.asked: list[Recipe] = []
        self.processes: list[subprocess.Popen] = []

    def start(self, _store: Store, settled: Recipe) -> subprocess.Popen:
        waits = "import sys; code, _, why = sys.stdin.readline().partition(' '); print(why, file=sys.stderr)"
        waits += "; sys.exit(int(code or 0))"
        self.asked.append(settled)
        pipe = subprocess.PIPE
        self.processes.append(subprocess.Popen([sys.executable, "-c", waits], stdin=pipe, stderr=pipe, text=True))
        return self.processes[-1]

    def end(self, code: int = 0, keep: bool = True, why: str = "") -> None:
        """End the latest with an exit code and a reason; a good one leaves its figures, unless told otherwise."""
        if code == 0 and keep:
            keep_speed(self.store, self.asked[-1])
        process = self.processes[-1]
        process.stdin.write(f"{code} {why}\n")
        process.stdin.close()
        process.wait(GIVE_UP_S)


@pytest.fixture(autouse=True)
def measurements(workspace, monkeypatch) -> Iterator[Measurements]:
    """No page measures this machine for real: that takes 15 s of both cores."""
    stand_in = Measurements(Store(workspace))
    monkeypatch.setattr("ui.training.measuring.start_measuring", stand_in.start)
    yield stand_in
    for process in stand_in.processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


@pytest.fixture
def open_page():
    """Open a page by its file name; returns the AppTest, which holds all that the page shows.

    `draft` is the recipe that the Train page has.
    """

    def open_(name: str, draft: Recipe | None = None, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=GIVE_UP_S)
        if draft is not None:
            app.session_state["draft"] = draft.to_dict()
        for key, value in query.items():
            app.query_params[key] = value
        return app.switch_page(f"pages/{name}.py").run()

    return open_


@pytest.fixture(scope="session")
def pets_home(tmp_path_factory) -> Path:
    """A workspace with a small data set of two classes, one unreadable file set aside."""
    home = tmp_path_factory.mktemp("pets")
    folder = make_photos(home / "photos", {"cat": 8, "dog": 8}, size=(48, 40))
    (folder / "cat" / "broken.jpg").write_text("no picture")
    add_dataset(Store(Workspace(home / "thaw")), folder, "pets")
    return home / "thaw"


@pytest.fixture
def pets(pets_home, store) -> VersionInfo:
    """The data set of `pets_home`, in the test's own workspace."""
    copy_workspace(pets_home, store.workspace.root)
    return store.datasets.version("pets")


@pytest.fixture
def cats(store, tmp_path):
    """30 cats and 30 dogs; three shots of one dog, and one cat's photo that is also among the dogs."""
    folder = make_photos(tmp_path / "cats", {"cat": 30, "dog": 30}, size=(96, 72))
    for number in (1, 2):
        with Image.open(folder / "dog" / "dog_005.jpg") as photo:
            photo.resize((96 - 8 * number, 72 - 6 * number)).save(folder / "dog" / f"dog_005 again {number}.jpg")
    shutil.copy(folder / "cat" / "cat_007.jpg", folder / "dog" / "a cat.jpg")
    return add_dataset(store, folder, "cats")


@pytest.fixture
def trained(trained_home, monkeypatch) -> Store:
    monkeypatch.setenv("THAW_HOME", str(trained_home))
    return Store(Workspace.current())


@pytest.fixture
def own(trained_home, tmp_path, monkeypatch) -> Store:
    """A copy of the workspace with one finished run, to write into; without what pages of other tests prepared."""
    copy_workspace(trained_home, tmp_path / "own", "exports", ".thaw-*")
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "own"))
    return Store(Workspace.current())
