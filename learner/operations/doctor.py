"""`python -m learner doctor`: looks at all that Thaw needs, changes nothing, and says of each thing how it is."""

import importlib.metadata
import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from sqlalchemy import Engine

from learner.datasets.disk import why_not_kept
from learner.errors import StoreError, ThawError
from learner.exports.formats import PROVERS
from learner.models.weights import weights_at_hand
from learner.operations.network import host_names, port_and_address
from learner.store.database import NEWEST_REVISION, connect, known_revisions, revision_of
from learner.store.objects import Objects, address, shown_address
from learner.store.queue import Queue
from learner.store.runs import Runs
from learner.store.workers import Workers
from learner.wording import count, file_size
from learner.workspace import Workspace

State = Literal["ok", "attention", "failed"]
LITTLE_DISK_BYTES = 5_000_000_000
"""Less than this is soon used up: a feature cache or a backbone's weights take some of it."""
NO_DISK_BYTES = 500_000_000
PINS = Path(__file__).parents[2] / "requirements.txt"
"""Of a clone; an installed Thaw has none and knows only which packages it needs."""
_MOST_NAMED = 5
_GPU_SIGNS = ("/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/kfd")
_ASK_TORCH = (
    "import torch; c = torch.cuda.is_available(); m = torch.backends.mps.is_available();"
    " print(torch.cuda.get_device_name(0) if c else 'Apple GPU' if m else '')"
)
_TORCH_LOADS_S = 120


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    told: str
    """A sentence."""
    remedy: str = ""
    """What to do; empty where nothing is wrong."""


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Look at everything, one after another; whatever goes wrong while looking is a finding, too."""
    looks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", _python),
        ("Packages", _packages),
        ("Workspace", lambda: _workspace(workspace)),
        *([("Files", _files)] if address() else []),
        ("Disk", lambda: _disk(workspace)),
        ("Database", lambda: _database(workspace)),
        ("Workers", lambda: _workers(workspace)),
        ("Weights", lambda: _weights(workspace)),
        ("GPU", _gpu),
        ("Browser", _browser),
        ("Port", lambda: Finding("Port", *port_and_address())),
        ("Host names", lambda: Finding("Host names", *host_names())),
    ]
    for what, look in looks:
        try:
            yield look()
        except ThawError as error:
            yield Finding(what, "failed", _sentence(error), "Do what it says, and look again.")
        except Exception as error:  # a defect must not hide what else there is to find
            told = f"This could not be looked at ({type(error).__name__}: {_sentence(error)})"
            yield Finding(what, "failed", told, "Tell whoever looks after Thaw.")


# The installation


def _python() -> Finding:
    return Finding("Python", "ok", f"Python {platform.python_version()}, {sys.executable}.")


def _packages() -> Finding:
    if PINS.is_file():
        return packages_as_in(PINS.read_text("utf-8").splitlines(), f"pip install -r {PINS}")
    try:
        needed = importlib.metadata.requires("thaw") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "Packages", "attention", "There is no list of the packages that Thaw needs.", "Install it again."
        )
    return packages_as_in(needed, "pip install thaw")


def packages_as_in(lines: list[str], way_out: str) -> Finding:
    """Hold what is installed against the lines of a requirements file."""
    missing, others, right = [], [], 0
    for line in lines:
        try:
            wanted = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:  # an empty line, or an option
            continue
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(wanted.name)
            continue
        if wanted.specifier.contains(version, prereleases=True):
            right += 1
        else:
            others.append(f"{wanted.name} is {version}, not {wanted.specifier}")
    remedy = f"Install them: {way_out}"
    if missing:
        return Finding("Packages", "failed", f"Not installed: {_some(missing)}.", remedy)
    if others:
        return Finding("Packages", "attention", f"Other versions than those tested: {_some(others)}.", remedy)
    return Finding("Packages", "ok", f"{count(right, 'package')} in versions that work together.")


# What is kept


def _workspace(workspace: Workspace) -> Finding:
    root = workspace.root
    if workspace.unfinished_restore.exists():
        told = f"A backup is being restored into {root}, or that was ended before it was done."
        return Finding("Workspace", "failed", told, "Wait, or do it again: python -m learner restore FILE")
    if root.exists() and not root.is_dir():
        return Finding("Workspace", "failed", f"{root} is a file.", "Set THAW_HOME to a folder.")
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("Workspace", "failed", why_not_kept("A file", error, there), "Set THAW_HOME to another folder.")
    if there != root:
        return Finding("Workspace", "ok", f"{root} is not there yet; Thaw makes it when it is first used.")
    return Finding("Workspace", "ok", f"{root} can be written.")


def _files() -> Finding:
    try:
        Objects("doctor").check()
    except StoreError as error:
        return Finding("Files", "failed", str(error), "Do what it says, and look again.")
    return Finding("Files", "ok", f"{shown_address()} can be written, read and cleared up.")


def _disk(workspace: Workspace) -> Finding:
    there = next(folder for folder in (workspace.root, *workspace.root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    told = f"{file_size(free)} are free where the workspace is."
    remedy = "Free some space: python -m learner cache says what Thaw keeps, and `cache clear` frees the most."
    if free < NO_DISK_BYTES:
        return Finding("Disk", "failed", told, remedy)
    return Finding("Disk", "attention", told, remedy) if free < LITTLE_DISK_BYTES else Finding("Disk", "ok", told)


def _engine(workspace: Workspace) -> Engine | None:
    """None where the file is not there yet: looking must not make it."""
    engine = connect(workspace.database_url, workspace.schema)
    place = engine.url.database
    if engine.dialect.name == "sqlite" and place and not place.startswith("file:") and not Path(place).exists():
        return None
    return engine


def _database(workspace: Workspace) -> Finding:
    engine = _engine(workspace)
    if engine is None:
        return Finding("Database", "ok", "There is none yet; Thaw makes it when it is first used.")
    name = "SQLite" if engine.dialect.name == "sqlite" else "PostgreSQL"
    with engine.connect() as connection:
        revision = revision_of(connection)
        if revision is not None and revision not in known_revisions():
            told = f"A newer Thaw has changed it: its tables are at step {revision}, not {NEWEST_REVISION}."
            return Finding("Database", "failed", told, "Update Thaw.")
        wrong = _damage(connection.exec_driver_sql) if name == "SQLite" else ""
    if wrong:
        told = f"It is damaged: {wrong}."
        return Finding(
            "Database", "failed", told, "Restore a backup into a new workspace: python -m learner restore FILE"
        )
    if revision != NEWEST_REVISION:
        told = f"{name} answers; its tables are at step {revision or 0}, and this Thaw needs {NEWEST_REVISION}."
        return Finding("Database", "attention", told, "Back it up, then start Thaw, which brings them up to date.")
    whole = ", and the file is whole" if name == "SQLite" else ""
    return Finding("Database", "ok", f"{name} answers, its tables are up to date (step {revision}){whole}.")


def _damage(ask: Callable) -> str:
    """What SQLite finds wrong with its file, the first of it; empty where all is well."""
    first = ask("PRAGMA integrity_check(1)").scalar()
    if first != "ok":
        return " ".join(str(first).split())
    lost = ask("PRAGMA foreign_key_check").first()
    return f"a row of {lost[0]} belongs to one of {lost[2]} that is not there" if lost else ""


def _workers(workspace: Workspace) -> Finding:
    engine = _engine(workspace)
    alive, waiting = [], 0
    if engine is not None:
        with engine.connect() as connection:
            current = revision_of(connection) == NEWEST_REVISION
        if current:
            alive, waiting = Workers(engine).alive(), len(Queue(Runs(engine)).waiting())
    waits = f"; {count(waiting, 'run')} in the queue" if waiting else ""
    if alive:
        hosts = ", ".join(sorted({worker.host for worker in alive}))
        return Finding("Workers", "ok", f"{count(len(alive), 'worker')} on {hosts}{waits}.")
    return Finding("Workers", "attention", f"No worker is running{waits}.", "Start one: python -m learner worker")


def _weights(workspace: Workspace) -> Finding:
    found = weights_at_hand(workspace)
    places = {"file": "in weights/", "hub cache": "in the Hugging Face cache", "package": "installed with Thaw"}
    told = "; ".join(f"{arch} {places.get(source.kind, source.kind)}" for arch, source in found.items())
    if "vgg16" in found:
        return Finding("Weights", "ok", f"At hand: {told}.")
    offline = os.environ.get("HF_HUB_OFFLINE", "").strip() not in ("", "0")
    way_out = f"put vgg16.safetensors into {workspace.weights}"
    if not found and offline:
        return Finding("Weights", "failed", "None is at hand, and HF_HUB_OFFLINE keeps Thaw from the hub.", way_out)
    asked = "HF_HUB_OFFLINE keeps Thaw from the hub" if offline else "the hub is asked when a run needs them"
    told = f"VGG16's are not at hand, and {asked}. At hand: {told or 'none'}."
    return Finding("Weights", "attention", told, f"To train VGG16 without internet, {way_out}.")


# The machine


def _gpu() -> Finding:
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (apple or shutil.which("nvidia-smi") or any(Path(sign).exists() for sign in _GPU_SIGNS)):
        return Finding("GPU", "ok", f"None is there; runs train on the processor ({count(cores, 'core')}).")
    try:  # torch takes seconds to load, and a broken driver may take this process along
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_TORCH_LOADS_S, check=False
        )
    except subprocess.TimeoutExpired:
        told = f"One is there, but torch did not answer within {_TORCH_LOADS_S} s."
        return Finding("GPU", "attention", told, "See whether its driver works: nvidia-smi")
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no reason"])[-1]
        return Finding("GPU", "failed", f"torch does not load: {last}.", "Install what requirements.txt names.")
    if name := asked.stdout.strip():
        return Finding("GPU", "ok", f"torch trains on {name}.")
    told = "One is there, but torch cannot use it, so runs train on the processor."
    return Finding("GPU", "attention", told, "Install a driver, and a torch for it: https://pytorch.org/get-started")


def _browser() -> Finding:
    found = runpy.run_path(str(PROVERS / "web.py"), run_name="doctor")["browser"]()
    if found:
        return Finding("Browser", "ok", f"Web demos are proven in {found}.")
    told = "No Chromium, Chrome or Edge was found, so web demos are proven without their page."
    return Finding("Browser", "attention", told, "Install one, or set CHROMIUM to its path.")


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _sentence(error: Exception) -> str:
    cause = error if isinstance(error, StoreError) else getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
