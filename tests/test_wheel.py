"""The wheel holds all of Thaw: its command runs far from any clone, with recipes, pages and settings."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import IO

import psutil
import pytest

from learner.recipe import recipe_names
from learner.version import __version__
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT
from tests.serving import free_port

MOVED = {
    "recipes": "learner/recipe/shipped",
    "pages": "thaw_app/pages",
    ".streamlit": "thaw_app/.streamlit",
    "streamlit_app.py": "thaw_app/streamlit_app.py",
}
"""Where the wheel has what stands at the top of a clone."""


@dataclass(frozen=True)
class Installed:
    """What pip would install, unpacked. All is run in a folder that has a `ui` of another kind."""

    packages: Path
    thaw: str
    """The path of its command."""
    elsewhere: Path

    def start(self, *arguments: str, output: int | IO = subprocess.PIPE) -> subprocess.Popen:
        settings = {**os.environ, "PYTHONPATH": str(self.packages), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, *arguments]
        return subprocess.Popen(
            command, cwd=self.elsewhere, env=settings, text=True, stdout=output, stderr=subprocess.STDOUT
        )

    def tell(self, *arguments: str) -> str:
        return self.start(*arguments).communicate(timeout=GIVE_UP_S)[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    done = subprocess.run([*build, str(folder), str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob(f"thaw-{__version__}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "packages")
    (about,) = (folder / "packages").glob("*.dist-info")
    (command,) = PathDistribution(about).entry_points
    assert command.name == "thaw"
    script = folder / "bin" / "thaw"
    script.parent.mkdir()
    script.write_text(f"from {command.module} import {command.attr}\nif __name__ == '__main__':\n  {command.attr}()\n")
    elsewhere = folder / "elsewhere"
    (elsewhere / "ui").mkdir(parents=True)
    (elsewhere / "ui" / "__init__.py").write_text("raise SystemExit('This is not the ui of Thaw')\n")
    return Installed(folder / "packages", str(script), elsewhere)


def test_every_file_of_the_program_is_in_it_and_little_stands_at_its_top(installed):
    ours = [path for name in ("learner", "ui", *MOVED) for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    files = [path.relative_to(ROOT) for path in ours if path.is_file() and "__pycache__" not in path.parts]
    assert {"page.html", "script.py.mako", "app.js", "mark.svg", "config.toml"} <= {file.name for file in files}
    for file in files:
        inside = Path(MOVED.get(file.parts[0], file.parts[0]), *file.parts[1:])
        assert (installed.packages / inside).read_bytes() == (ROOT / file).read_bytes()
    top = {path.name for path in installed.packages.iterdir()}
    assert top == {"learner", "ui", "thaw_app", f"thaw-{__version__}.dist-info"}


def test_its_command_has_those_of_the_library_and_app(installed):
    told = installed.tell(installed.thaw, "--help")
    assert told.startswith("Usage: thaw ")
    assert {"app", "train", "worker", "predict", "export", "data", "runs", "results"} <= set(told.split())


def test_it_knows_the_recipes_that_ship(installed, workspace):
    told = installed.tell(installed.thaw, "train", "--dataset", "pets", "--recipe", "none-of-them")
    assert f"no shipped recipe of that name ({', '.join(recipe_names())})" in " ".join(told.split())


def test_its_pages_open(installed, workspace):
    code = "import sys; from streamlit.testing.v1 import AppTest\n"
    code += "app = AppTest.from_file(sys.argv[1], default_timeout=300).run().switch_page('pages/data.py').run()\n"
    code += "print([title.value for title in app.title], [error.value for error in [*app.error, *app.exception]])"
    told = installed.tell("-P", "-c", code, str(installed.packages / "thaw_app" / "streamlit_app.py"))
    assert told.splitlines()[-1] == "['Data'] []", told


def test_app_starts_page_and_worker_with_thaws_settings_and_ctrl_c_ends_both(installed, workspace, tmp_path):
    port, log = free_port(), tmp_path / "log.txt"
    with log.open("w") as output:
        process = installed.start(installed.thaw, "app", "--port", str(port), output=output)
    try:
        both = ("Thaw is ready: ", "Ready for runs. ")
        until(lambda: process.poll() is not None or all(sign in log.read_text() for sign in both))
        assert process.returncode is None, log.read_text()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/data", timeout=GIVE_UP_S)
        assert page.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(GIVE_UP_S)
    told = log.read_text()
    assert code == 0, told
    assert f"URL: http://127.0.0.1:{port}\n" in told  # .streamlit/config.toml: without it, all of the network may ask
    started = dict(re.findall(r"(web|worker) started \(pid=(\d+)\)", told))
    assert started.keys() == {"web", "worker"}
    assert not any(psutil.pid_exists(int(pid)) for pid in started.values())
