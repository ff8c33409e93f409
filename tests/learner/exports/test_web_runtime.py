"""What the web demo runs on is fetched through npm, checked, and kept; where it cannot be had, a person learns why."""

import subprocess
import sys
import tarfile

import pytest

from learner.errors import ModelError
from learner.exports.web_runtime import FILES, RUNTIME, require_runtime
from tests.samples import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An environment that has nothing yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return RUNTIME.folder


def test_what_is_there_is_used_without_asking_anybody(folder, monkeypatch):
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("x")
    monkeypatch.setenv("PATH", "")
    assert require_runtime() == folder


def test_offline_it_says_what_to_do(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    with pytest.raises(
        ModelError,
        match=r"npm could not bring onnxruntime-web 1\.30\.0 \(code ENOTCACHED\).*connect to the internet",
    ):
        require_runtime()
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_another_archive_than_the_one_that_is_known_is_thrown_away(folder, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.add(__file__, "package/dist/ort.wasm.min.js")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n/bin/cp "{tmp_path / "other.tgz"}" onnxruntime-web-1.30.0.tgz\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    with pytest.raises(ModelError, match="is not that package; it was thrown away"):
        require_runtime()
    assert not folder.exists()


def test_an_npm_that_brings_nothing_is_told(folder, tmp_path, monkeypatch):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    with pytest.raises(ModelError, match="is not that package"):
        require_runtime()
    assert not folder.exists()


def test_set_up_goes_on_without_it(tmp_path):
    code = "import runpy, sys; sys.path.insert(0, '.'); sys.prefix = sys.argv[1]\n"
    code += "sys.argv = ['web_runtime.py']; runpy.run_path('tools/web_runtime.py', run_name='__main__')"
    settings = {"PATH": "/usr/bin:/bin", "npm_config_offline": "true", "npm_config_cache": str(tmp_path / "empty")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("The web demo cannot be exported yet. npm could not bring onnxruntime-web 1.30.0")
    assert "Traceback" not in done.stderr
