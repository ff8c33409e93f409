"""Jobs of any kind: starting a process, watching it, asking it to stop, noticing that it died.

A job is a folder `$THAW_HOME/uploads/job-…` with request.json (what to do), state.json (how far it is), log.txt, and
`cancel` once somebody asked it to stop. Only the job's own process writes its state while that process lives.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import psutil

from learner.atomic import write_json
from learner.datasets.importing import ImportProgress, Report
from learner.errors import ImportCancelled, ThawError
from learner.workspace import Workspace

KINDS = {"arrival": "learner.datasets.jobs.import_steps", "check": "learner.advice.label_check"}
"""Kind of job → the module that does it, which has the functions of `Kind`. Only that kind's jobs import it."""
ENDED = ("done", "failed", "cancelled")
AT_WORK = ("waiting", "running")
"""A job in any other state has no process."""
STARTS_WITHIN_S = 60.0
"""A job that has not begun after this time never will: the page that asked for it was interrupted."""


@dataclass(frozen=True)
class Job:
    """A job as its folder holds it."""

    workspace: Workspace
    folder: Path
    request: dict[str, Any]
    state: dict[str, Any]
    """`status` is `waiting`, `running`, one of `ENDED`, or whatever a kind ends with to wait for a person; `message`
    says how it ended; `at` is when it got there, in Unix seconds."""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def status(self) -> str:
        return self.state["status"]

    @property
    def progress(self) -> ImportProgress | None:
        progress = self.state.get("progress")
        return ImportProgress(**progress) if progress else None

    @property
    def message(self) -> str:
        return self.state.get("message", "")

    @property
    def created_at(self) -> float:
        return self.request["created_at"]

    @property
    def log(self) -> Path:
        """What the process printed; holds the traceback after a defect."""
        return self.folder / "log.txt"


class Kind(Protocol):
    """What the module of a kind of job has."""

    @staticmethod
    def what(job: Job) -> str:
        """`The import of pets`: the job in a sentence that says what became of it."""

    @staticmethod
    def run(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Do it, in the job's own process; returns the state it ends in (`status`, `message`, and what a kind adds).

        Raises ImportCancelled when `cancelled` said so, and any ThawError for what a person can put right.
        """

    @staticmethod
    def clear(job: Job, end: dict[str, Any], lost: bool) -> None:
        """Remove what `job` needs no longer, now that it ends with `end`; with `lost`, whatever its process left too.

        Repeating it must do no harm.
        """


def start(workspace: Workspace, kind: str, **request: Any) -> str:
    """Begin a job of `kind` with a process of its own; returns its id at once."""
    job_id = f"job-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
    unfinished = workspace.uploads / f".{job_id}"
    unfinished.mkdir(parents=True)
    write_json(unfinished / "request.json", {"kind": kind, **request, "created_at": time.time()})
    write_json(unfinished / "state.json", {"status": "waiting", "at": time.time()})
    folder = unfinished.rename(workspace.uploads / job_id)
    _launch(workspace, folder)
    return job_id


def start_again(job: Job, **request: Any) -> None:
    """Begin the next stage of a job that has no process now, with these parts of its request changed."""
    (job.folder / "cancel").unlink(missing_ok=True)
    write_json(job.folder / "request.json", {**job.request, **request})
    write_json(job.folder / "state.json", {"status": "waiting", "at": time.time()})
    _launch(job.workspace, job.folder)


def _launch(workspace: Workspace, folder: Path) -> None:
    code = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")]))
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "learner.datasets.jobs", str(folder.resolve())],
            env={**os.environ, "THAW_HOME": str(workspace.root.resolve()), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Somebody must wait for it, or it stays in the process table for as long as the web process lives.
    threading.Thread(target=process.wait, name=folder.name, daemon=True).start()


def every(workspace: Workspace, kind: str) -> list[Job]:
    """All jobs of `kind` that were not removed, newest first; what `read` does is done to each."""
    found = [read(workspace, folder.name) for folder in workspace.uploads.glob("job-*")]
    some = [job for job in found if job and job.request["kind"] == kind]
    return sorted(some, key=lambda job: (job.created_at, job.id), reverse=True)


def read(workspace: Workspace, job_id: str) -> Job | None:
    """The job; None when there is none. One whose process is gone without an ending is ended here as failed."""
    folder = workspace.uploads / Path(job_id).name
    try:
        job = _as_written(workspace, folder)
        if "kind" not in job.request:  # an older Thaw left it
            return None
        if _is_lost(job):
            # Its process may have written its ending between our reading and our looking for it.
            job = _as_written(workspace, folder)
            if _is_lost(job):
                job = _bury(job)
    except (FileNotFoundError, NotADirectoryError):  # removed by another page meanwhile
        return None
    return job


def ask_to_stop(job: Job) -> None:
    """It stops at its next look at `cancelled`. Does nothing to a job without a process."""
    if job.status in AT_WORK:
        (job.folder / "cancel").touch()


def remove(job: Job) -> None:
    """Delete the job's folder with all that it kept."""
    shutil.rmtree(job.folder, ignore_errors=True)


def run(folder: Path) -> None:
    """Do the job in `folder`; what happens is in its state.json. The job's own process calls this."""
    job = _as_written(Workspace.current(), folder)
    kind = _kind(job)
    born = {"pid": os.getpid(), "process_created_at": psutil.Process().create_time()}

    def tell(progress: ImportProgress | None) -> None:
        write_json(
            folder / "state.json", {"status": "running", **born, "progress": asdict(progress) if progress else None}
        )

    tell(None)
    try:
        end = kind.run(job, tell, (folder / "cancel").exists)
    except ImportCancelled as error:
        end = {"status": "cancelled", "message": str(error)}
    except ThawError as error:
        end = {"status": "failed", "message": str(error)}
    except Exception:
        traceback.print_exc()
        end = {
            "status": "failed",
            "message": f"{kind.what(job)} met a defect in Thaw, and nothing of it was kept. The details are in "
            f"{job.log}; please report them. Other data sets are not affected.",
        }
    kind.clear(job, end, lost=False)
    write_json(folder / "state.json", {**end, "at": time.time()})


def _kind(job: Job) -> Kind:
    return cast(Kind, importlib.import_module(KINDS[job.request["kind"]]))


def _as_written(workspace: Workspace, folder: Path) -> Job:
    request, state = (json.loads((folder / name).read_text("utf-8")) for name in ("request.json", "state.json"))
    return Job(workspace, folder, request, state)


def _is_lost(job: Job) -> bool:
    if job.status not in AT_WORK:
        return False
    if job.status == "waiting":
        return time.time() - job.state["at"] > STARTS_WITHIN_S
    try:
        process = psutil.Process(job.state["pid"])
        # A number is given to a new process some day; the time of birth tells the two apart.
        same = abs(process.create_time() - job.state["process_created_at"]) < 1.0
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _bury(job: Job) -> Job:
    """Clear up after a process that died, and write its ending for it. Repeating it does no harm."""
    kind = _kind(job)
    end = {
        "status": "failed",
        "message": f"{kind.what(job)} ended without a word: it was killed, ran out of memory, or the computer "
        "restarted. Nothing of it was kept. Start it again.",
    }
    kind.clear(job, end, lost=True)
    write_json(job.folder / "state.json", {**end, "at": time.time()})
    return _as_written(job.workspace, job.folder)
