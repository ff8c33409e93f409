"""What tests of exports and of commands share."""

import contextlib
import io
import json
import os
import runpy
import sys
from pathlib import Path

import pytest


@pytest.fixture
def provers_here(monkeypatch) -> None:
    """Provers run in this process, which has torch already; loading it anew takes a fresh one 4 to 8 s.

    That they run alone, without Thaw, is held by the tests that export, one of each kind.
    """

    from learner.exports import proving

    def run(kind: str, path: Path, *more: str) -> dict:
        said, before = io.StringIO(), Path.cwd()
        monkeypatch.setattr(sys, "argv", [kind, str(path.resolve()), *more])
        try:
            with contextlib.redirect_stdout(said):
                runpy.run_path(str(proving.PROVERS / f"{proving.FORMATS[kind].prover}.py"), run_name="__main__")
        finally:
            os.chdir(before)
        return json.loads(said.getvalue().splitlines()[-1])

    monkeypatch.setattr(proving, "_run", run)
