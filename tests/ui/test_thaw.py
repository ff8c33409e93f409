"""`thaw app` starts what the Procfile says, and does not begin where something else listens."""

import socket

import pytest

from learner.errors import ThawError
from tests.samples import ROOT
from ui.thaw import PROCESSES, app


def test_it_starts_what_the_procfile_starts():
    said = "".join(f"{name}: exec python -m {' '.join(arguments)}\n" for name, arguments in PROCESSES.items())
    assert (ROOT / "Procfile").read_text("utf-8") == said


def test_a_port_that_is_taken_is_told_before_anything_starts():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ThawError, match=f"Port {port} is taken.*choose another"):
            app(port)
