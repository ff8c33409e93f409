"""Processes of Thaw that begin with torch loaded: forked from one that has loaded it, which takes about 8 seconds.

Apart from that they are processes as any other, with streams, signals, an environment and an exit code of their own.
"""

import inspect
import multiprocessing
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import forkserver, process, reduction, spawn
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.preloaded"])
_PIPES = ["p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"]
_THEIRS = ["p2cread", "c2pwrite", "errwrite"]

_all_prepared = spawn.get_preparation_data


def _prepared(name: str) -> dict[str, object]:
    """What a forked process does first, less the main program of this one: a page, while an AppTest draws it."""
    return {key: value for key, value in _all_prepared(name).items() if not key.startswith("init_main_from")}


spawn.get_preparation_data = _prepared

Fresh = subprocess.Popen
"""For the tests that hold that such a program starts from nothing, too."""


class Popen(subprocess.Popen):
    """Forks what is slow to load, and starts everything else as ever."""

    forked = None

    def _execute_child(self, *everything) -> None:
        how = inspect.signature(super()._execute_child).bind(*everything).arguments
        command = [os.fspath(word) for word in how["args"]]
        if command[0] != sys.executable or not _is_slow_to_load(*command[1:]):
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
        self.forked = SERVER.Process(target=_become, args=(program, _Streams(streams), address()))
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


def _is_slow_to_load(how: str, what: str = "", *arguments: str) -> bool:
    """Thaw, its web process (Predict loads torch in it), and what opens an export with torch, without Thaw."""
    if how == "-m":
        return what == "streamlit" or what.partition(".")[0] == "learner"
    return how == "-I" and Path(what).name == "alone.py" and Path(arguments[1]).name in ("learner.py", "safetensors.py")


@dataclass(frozen=True)
class _Program:
    name: str
    """A module, or a file that gets the names of the packages that it must not find as its first argument."""
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


def address() -> dict[str, str]:
    """How the server is reached, which is started if need be."""
    forkserver._forkserver.ensure_running()  # the module's own function is not what `reach` replaces
    known = vars(forkserver._forkserver)
    key = known.get("_forkserver_authkey")  # newer Pythons have one
    return {"address": known["_forkserver_address"], **({"key": key.hex()} if key else {})}


def reach(address: dict[str, str]) -> None:
    """From now on the server at `address`, which another process started, forks this one's processes."""
    known = {"_forkserver_address": address["address"], "ensure_running": lambda: None}
    if "key" in address:
        known["_forkserver_authkey"] = bytes.fromhex(address["key"])
    vars(forkserver._forkserver).update(known)
    if forkserver._forkserver._forkserver_alive_fd is None:  # in a process that the server did not fork
        forkserver._forkserver._forkserver_alive_fd = os.pipe()[1]


def _become(program: _Program, streams: _Streams, server: dict[str, str]) -> None:
    for own, descriptor in enumerate(streams.descriptors):
        os.dup2(descriptor, own)
    for descriptor in streams.descriptors:
        os.close(descriptor)
    reach(server)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115  they end with the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if program.own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(program.environment)
    os.chdir(program.folder)
    for folder in filter(None, program.environment.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(folder, "sitecustomize.py").exists():  # Python runs it at the start of any process
            runpy.run_path(str(Path(folder, "sitecustomize.py")))
    subprocess.Popen = Popen
    sys.argv = [program.name, *program.arguments]
    if program.name.endswith(".py"):
        hidden = program.arguments[0].split(",")
        for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
            del sys.modules[name]
        runpy.run_path(program.name, run_name="__main__")
    else:
        runpy.run_module(program.name, run_name="__main__", alter_sys=True)
