"""What ships Thaw elsewhere fits it: files that are there, programs that start, settings that are documented."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import httpx
import pytest
import yaml

from learner.exports.formats import PROVERS
from tests.learner.exports.conftest import contents, onnx_model  # noqa: F401
from tests.patience import GIVE_UP_S, until
from tests.ready import Fresh
from tests.samples import ROOT
from tests.serving import free_port

SPACE = ROOT / "deploy" / "huggingface-space"
DOCKERFILES = [ROOT / "Dockerfile", SPACE / "Dockerfile"]
PROGRAMS = [*DOCKERFILES, ROOT / "compose.yaml", *sorted((ROOT / "deploy" / "systemd").iterdir())]


def pins(file: str) -> dict[str, str]:
    lines = (line.partition(";")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines())
    found = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_a_served_model_has_the_versions_that_everything_has():
    everything, serve = pins("requirements.txt"), pins("requirements-serve.txt")
    assert serve.items() <= everything.items() and not serve.keys() & {"torch", "fastai", "timm", "streamlit"}


def test_a_model_is_served_with_those_packages_alone(onnx_model, photos):  # noqa: F811
    of_module = metadata.packages_distributions()
    wanted = pins("requirements-serve.txt").keys()
    refused = sorted(
        module
        for module, owners in of_module.items()
        if not {owner.lower().replace("_", "-") for owner in owners} & wanted
    )
    port = free_port()
    program = f"import runpy, sys; sys.argv[:] = {['learner', 'serve', str(onnx_model), '--port', str(port)]!r}; "
    program += f"sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('learner', run_name='__main__')"
    script = onnx_model.parent / "serve.py"
    script.write_text(program)
    process = Fresh([sys.executable, "-I", PROVERS / "alone.py", ",".join(refused), script], stderr=subprocess.PIPE)
    try:

        def ready() -> bool:
            assert process.poll() is None, process.stderr.read().decode()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
            except httpx.TransportError:
                return False

        until(ready)
        photo = next((photos / "valid").rglob("*.jpg"))
        said = httpx.post(f"http://127.0.0.1:{port}/v1/predict", files={"images": photo.read_bytes()}).json()
        assert said["predictions"][0]["classes"]
    finally:
        process.terminate()
        process.communicate(timeout=GIVE_UP_S)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_an_image_copies_what_is_there(file):
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", file.read_text("utf-8"), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources and all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.name)
def test_what_is_started_is_a_program_of_thaws(file):
    text = re.sub(r'[",\[\]]', " ", file.read_text("utf-8"))
    modules = re.findall(r"python +-m +(\S+)", text)
    assert modules and all(importlib.util.find_spec(module) for module in modules if module != "pip")
    commands = re.findall(r"python +-m +learner +(\w+)", text)
    known = json.loads(_commands())
    assert set(commands) <= set(known)


def _commands() -> str:
    from learner.cli import app

    return json.dumps([command.name or command.callback.__name__ for command in app.registered_commands])


def test_every_setting_that_is_set_is_documented():
    documented = (ROOT / "docs" / "formats.md").read_text("utf-8")
    files = [*PROGRAMS, SPACE / "README.md", ROOT / "deploy" / "nginx.conf", ROOT / "deploy" / "Caddyfile"]
    named = {name for file in files for name in re.findall(r"\bTHAW_[A-Z_]+\b", file.read_text("utf-8"))}
    assert {name for name in named if f"`{name}" not in documented} <= {"THAW_PASSWORD"}  # compose's own


def test_services_depend_on_services_that_are_there_and_only_this_machine_reaches_them():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_spaces_folder_is_put_together(tmp_path):
    environment = {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    subprocess.run([SPACE / "assemble.sh", tmp_path], check=True, capture_output=True, env=environment)
    top = Path(tmp_path)
    assert yaml.safe_load((top / "README.md").read_text("utf-8").split("---")[1])["sdk"] == "docker"
    assert (top / "Dockerfile").read_text("utf-8") == (SPACE / "Dockerfile").read_text("utf-8")
    assert (top / "streamlit_app.py").is_file() and (top / "learner").is_dir() and not (top / "tests").exists()
