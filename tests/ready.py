"""Processes of Thaw that begin with torch loaded: forked from one that has loaded it, which takes about 8 seconds.

Apart from that they are processes as any other, with streams, signals, an environment and an exit code of their own.
"""

import inspect
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import forkserver, process, reduction
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["learner.training", "learner.inference", "learner.cli", "streamlit.web.cli", "altair"])
_PIPES = ["p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"]
_THEIRS = ["p2cread", "c2pwrite", "errwrite"]

Fresh = subprocess.Popen
"""For the tests that hold that such a program starts from nothing, too."""


class Popen(subprocess.Popen):
    """Forks what runs Thaw by `python -m`, and starts everything else as ever."""

    forked = None

    def _execute_child(self, *everything) -> None:
        how = inspect.signature(super()._execute_child).bind(*everything).arguments
        command = [os.fspath(word) for word in how["args"]]
        if command[:2] != [sys.executable, "-m"] or not _is_slow_to_load(*command[2:]):
            super()._execute_child(*everything)
            return
        streams = [own if how[pipe] == -1 else how[pipe] for own, pipe in enumerate(_THEIRS)]
        program = _Program(
            command[2],
            command[3:],
            dict(os.environ if how["env"] is None else how["env"]),
            how["cwd"] or Path.cwd(),
            how["start_new_session"],
        )
        self.forked = SERVER.Process(target=_become, args=(program, _Streams(streams), _server()))
        self.forked.start()
        process._children.discard(self.forked)  # nobody waits for it at this process's end
        self.pid = self.forked.pid
        self._child_created = True
        self._close_pipe_fds(*(how[pipe] for pipe in _PIPES))

    def _internal_poll(self, *arguments, **named) -> int | None:
        if self.forked is None:
            return super()._internal_poll(*arguments, **named)
        if self.returncode is None:
            self.returncode = self.forked.exitcode
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self.forked is None:
            return super()._try_wait(wait_flags)
        self.forked.join(0 if wait_flags & os.WNOHANG else None)
        code = self.forked.exitcode
        if code is None:
            return 0, 0
        return self.pid, -code if code < 0 else code << 8


def _is_slow_to_load(module: str, *arguments: str) -> bool:
    """The web process is among them, as Predict loads torch in it. Of the data sets' jobs only a check needs torch."""
    if module == "learner.datasets.jobs":
        return json.loads((Path(arguments[0]) / "request.json").read_text("utf-8"))["kind"] == "check"
    return module == "streamlit" or module.partition(".")[0] == "learner"


@dataclass(frozen=True)
class _Program:
    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: Path | str
    own_session: bool


@dataclass(frozen=True)
class _Streams:
    """Descriptors of input, output and errors; they keep their meaning on the way to another process."""

    descriptors: list[int]

    def __reduce__(self):
        return _received, ([reduction.DupFd(descriptor) for descriptor in self.descriptors],)


def _received(sent: list) -> _Streams:
    return _Streams([descriptor.detach() for descriptor in sent])


def _server() -> dict[str, object]:
    """How the server is reached; processes that it forked reach the same one."""
    forkserver.ensure_running()
    known = vars(forkserver._forkserver)
    return {name: known[name] for name in ("_forkserver_address", "_forkserver_authkey") if name in known}


def _become(program: _Program, streams: _Streams, server: dict[str, object]) -> None:
    for own, descriptor in enumerate(streams.descriptors):
        os.dup2(descriptor, own)
    for descriptor in streams.descriptors:
        os.close(descriptor)
    vars(forkserver._forkserver).update(server, ensure_running=lambda: None)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115  they end with the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if program.own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(program.environment)
    os.chdir(program.folder)
    subprocess.Popen = Popen
    sys.argv = [program.module, *program.arguments]
    runpy.run_module(program.module, run_name="__main__", alter_sys=True)
