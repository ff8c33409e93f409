"""Run a command to its end and say how long it took and how much memory it and all it started held."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.report import ROOT, BenchmarkError

SAMPLE_S = 0.2


@dataclass(frozen=True)
class Finished:
    """A command that ended well. Memory is the largest sum over its process and all below it, in bytes.

    Pages that processes share count once in each, so a loading process of its own weighs about as much as what it was
    forked from. `peak_anon` counts only pages that no file backs; it is 0 where the system does not tell.
    """

    stdout: str
    seconds: float
    peak_rss: int
    peak_anon: int
    peak_watched: int
    """The largest value of `watch`."""


def measured(command: Sequence[str], environment: Mapping[str, str | None], watch: Callable[[], int] = int) -> Finished:
    """Run `command` at the project's root; `environment` is laid over this process's own, None takes a variable out.

    `watch` is called with every sample, a few times a second, so it must be quick.
    Raises BenchmarkError with the last lines of its stderr when it fails.
    """
    merged = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    peaks = (0, 0, 0)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=merged, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            while _runs(process):
                peaks = tuple(map(max, peaks, (*_memory(process.pid), watch())))
        finally:
            _end(process)
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if process.returncode:
            last = "\n".join(err.read().splitlines()[-15:])
            raise BenchmarkError(f"This command ended with code {process.returncode}: {' '.join(command)}\n{last}")
        return Finished(out.read(), seconds, *peaks)


def _runs(process: subprocess.Popen) -> bool:
    """Whether it still runs after the time between two samples; returns at once when it ends."""
    try:
        process.wait(SAMPLE_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _memory(pid: int) -> tuple[int, int]:
    """Bytes that the process and all below it hold: all pages, and those that no file backs."""
    rss = anon = 0
    for process in _tree(pid):
        try:
            rss += process.memory_info().rss
            anon += _anonymous(process.pid)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # it ended between two looks
    return rss, anon


def _anonymous(pid: int) -> int:
    if not psutil.LINUX:
        return 0
    found = re.search(r"^RssAnon:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _end(process: subprocess.Popen) -> None:
    """End what is left when the benchmark itself is interrupted."""
    if process.poll() is None:
        for left in _tree(process.pid):
            left.terminate()
        process.wait()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
