"""Work beside the pages that takes this machine for itself: one process at a time, shared by every tab."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import streamlit as st

LOOK_AGAIN_S = 1.0
"""How often a page looks whether it is done."""


class Beside:
    """Starts a process that is to write a file, and remembers why one failed."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._file: Path | None = None
        self._failures: dict[Path, str] = {}

    def start(self, file: Path, begin: Callable[[], subprocess.Popen]) -> None:
        """Begin what writes `file`, unless something is under way."""
        with self._lock:
            self._look()
            if self._process is None:
                self._failures.pop(file, None)
                self._process, self._file = begin(), file

    def stop(self) -> None:
        """End what is under way; nothing of it is kept."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.communicate()
                self._process = self._file = None

    @property
    def under_way(self) -> Path | None:
        """The file that is being made."""
        with self._lock:
            self._look()
            return self._file

    def failure(self, file: Path) -> str:
        """Why the last try at that file failed; empty where it did not."""
        with self._lock:
            self._look()
            return self._failures.get(file, "")

    def _look(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        code, lines = self._process.returncode, self._process.stderr.read().strip().splitlines()
        if code:
            known = code == 2 and lines
            self._failures[self._file] = lines[-1] if known else "It ended before it had found anything."
        self._process = self._file = None


@st.cache_resource
def get_beside() -> Beside:
    """This server's one."""
    return Beside()
