"""Imports in processes of their own: closing the browser or restarting the web process changes nothing for them.

A job is a folder `$THAW_HOME/uploads/job-…` with request.json (what to do), state.json (how far it is), log.txt, and
`cancel` once somebody asked it to stop. Only the job's own process writes its state while that process lives.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

import learner
from learner.datasets.files import clear_unfinished, import_lock, written_whole
from learner.datasets.importing import ImportProgress, add_dataset
from learner.datasets.layouts import Choice, Listing, Proposal
from learner.datasets.names import check_name, plural
from learner.datasets.samples import add_sample
from learner.datasets.summary import summarize
from learner.datasets.uploads import remove_upload, upload_folder
from learner.errors import DatasetError, ImportCancelled, ThawError
from learner.store import Store, VersionInfo
from learner.workspace import Workspace

ENDED = ("done", "failed", "cancelled")
STARTS_WITHIN_S = 60.0
"""A job that has not begun after this time never will: the page that asked for it was interrupted."""
_NICENESS = 5
"""Pages stay quick while an import fills both cores."""


@dataclass(frozen=True)
class ImportJob:
    """An import as a page shows it."""

    id: str
    name: str
    """The data set it imports into."""
    source: str
    """File or folder name, for people."""
    status: str
    """`waiting`, `running`, `found` (waits for the person), `done`, `failed` or `cancelled`."""
    progress: ImportProgress | None
    message: str
    """A sentence about how it ended; empty before."""
    version: int | None
    """Number of the version it made, or found to hold the same images; only when `done`."""
    created_at: float
    log: Path
    """What the process printed; holds the traceback after a defect."""
    stage: str = "import"
    """`look` while it is found out what there is, then `import`."""

    @property
    def findings(self) -> list[Proposal]:
        """The layouts that fit, best first; empty before it was looked, and for direct imports."""
        return []

    @property
    def can_import(self) -> bool:
        """Whether `import_found` may be called: it was looked at, and its files are still there."""
        return False

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def start_import(
    workspace: Workspace,
    source: Path | None,
    name: str,
    sample: bool = False,
    delete_source_after: bool = False,
    note: str = "",
) -> str:
    """Start importing `source` (or the sample digits, which need none) as `name`; returns the job's id at once.

    `delete_source_after` removes the upload however the import ends. Raises DatasetError when the name cannot be used,
    the source is missing, or it is to be deleted without being an upload.
    """
    name = check_name(name)
    if not sample and (source is None or not source.exists()):
        raise DatasetError(f"There is no folder or .zip file at {source}. Check the path, and that it is still there.")
    if delete_source_after and source:
        upload_folder(workspace, source)
    job_id = f"job-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
    request = {
        "name": name,
        "source": str(source.resolve()) if source and not sample else "",
        "sample": sample,
        "delete_source_after": delete_source_after,
        "note": note,
        "created_at": time.time(),
    }
    folder = workspace.uploads / job_id
    unfinished = workspace.uploads / f".{job_id}"
    unfinished.mkdir(parents=True)
    _write(unfinished / "request.json", request)
    _write(unfinished / "state.json", {"status": "waiting"})
    unfinished.rename(folder)
    _launch(workspace, folder)
    return job_id


def start_look(
    workspace: Workspace,
    source: Path | None = None,
    url: str = "",
    delete_source_after: bool = False,
    gallery: str = "",
) -> str:
    """Start looking at what `source` holds, or what a web address or a known set (`learner.datasets.gallery`) gives.

    Returns the job's id at once. The job is `running` with stage `look`, then `found` and waits for `import_found`.
    """
    raise NotImplementedError


def listing(workspace: Workspace, job_id: str) -> Listing:
    """What a `found` job saw; for `layouts.preview` and `layouts.place`. Raises DatasetError when it saw nothing."""
    raise NotImplementedError


def import_found(
    workspace: Workspace, job_id: str, name: str, choice: Choice, mode: str = "replace", note: str = ""
) -> None:
    """Import what a job found, as `name`, by `choice`: the job is `running` again, with stage `import`.

    May be called again after that failed or was cancelled: the source is kept until it is done or dismissed.
    """
    raise NotImplementedError


def _launch(workspace: Workspace, folder: Path) -> None:
    code = str(Path(learner.__file__).parents[1])
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


def jobs(workspace: Workspace) -> list[ImportJob]:
    """Every import that was not dismissed, newest first.

    One whose process is gone without an ending is marked as failed here, and what it left behind is removed.
    """
    found = [_read_job(workspace, folder) for folder in workspace.uploads.glob("job-*")]
    return sorted((job for job in found if job), key=lambda job: (job.created_at, job.id), reverse=True)


def job(workspace: Workspace, job_id: str) -> ImportJob:
    """Raises DatasetError when there is no such import."""
    found = _read_job(workspace, _folder(workspace, job_id))
    if found is None:
        raise DatasetError(f"There is no import {job_id}. It may have been dismissed; the Data page lists the others.")
    return found


def cancel(workspace: Workspace, job_id: str) -> None:
    """Ask an import to stop; it does so between two images. Does nothing to one that has ended.

    Raises DatasetError when there is no such import.
    """
    if not job(workspace, job_id).ended:
        (_folder(workspace, job_id) / "cancel").touch()


def dismiss(workspace: Workspace, job_id: str) -> None:
    """Forget an import that has ended; what it imported stays.

    Raises DatasetError when there is no such import or it still runs.
    """
    if not job(workspace, job_id).ended:
        raise DatasetError(f"The import {job_id} is still running. Stop it first, then dismiss it.")
    shutil.rmtree(_folder(workspace, job_id), ignore_errors=True)


def _folder(workspace: Workspace, job_id: str) -> Path:
    return workspace.uploads / Path(job_id).name


def _read_job(workspace: Workspace, folder: Path) -> ImportJob | None:
    try:
        request = json.loads((folder / "request.json").read_text())
        state = json.loads((folder / "state.json").read_text())
        if _is_lost(request, state):
            # Its process may have written its ending between our reading and our looking for it.
            state = json.loads((folder / "state.json").read_text())
            if _is_lost(request, state):
                state = _bury(workspace, folder, request)
    except FileNotFoundError:  # dismissed by another page meanwhile
        return None
    progress = state.get("progress")
    return ImportJob(
        id=folder.name,
        name=request["name"],
        source="the sample digits" if request["sample"] else Path(request["source"]).name,
        status=state["status"],
        progress=ImportProgress(**progress) if progress else None,
        message=state.get("message", ""),
        version=state.get("version"),
        created_at=request["created_at"],
        log=folder / "log.txt",
    )


def _is_lost(request: dict, state: dict) -> bool:
    if state["status"] in ENDED:
        return False
    if state["status"] == "waiting":
        return time.time() - request["created_at"] > STARTS_WITHIN_S
    try:
        process = psutil.Process(state["pid"])
        # A number is given to a new process some day; the time of birth tells the two apart.
        same = abs(process.create_time() - state["process_created_at"]) < 1.0
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _bury(workspace: Workspace, folder: Path, request: dict) -> dict:
    """Clear up after a process that died, and write its ending for it. Repeating it does no harm."""
    with import_lock(workspace, request["name"], wait=None) as alone:
        if alone:
            clear_unfinished(Store(workspace), request["name"])
    _remove_source(workspace, request)
    state = {
        "status": "failed",
        "message": f"The import of {request['name']} ended without a word: it was killed, ran out of memory, or the "
        "computer restarted. Nothing of it was kept. Start it again.",
    }
    _write(folder / "state.json", state)
    return state


def run_job(folder: Path) -> None:
    """Carry out the request in `folder`; what happens is in its state.json. The job's own process calls this."""
    workspace = Workspace.current()
    request = json.loads((folder / "request.json").read_text())
    born = {"pid": os.getpid(), "process_created_at": psutil.Process().create_time()}

    def tell(progress: ImportProgress | None) -> None:
        _write(folder / "state.json", {"status": "running", **born, "progress": asdict(progress) if progress else None})

    tell(None)
    try:
        version = _import(workspace, request, tell, (folder / "cancel").exists)
        end = {"status": "done", "version": version[0].number, "message": version[1]}
    except ImportCancelled as error:
        end = {"status": "cancelled", "message": str(error)}
    except ThawError as error:
        end = {"status": "failed", "message": str(error)}
    except Exception:
        traceback.print_exc()
        end = {
            "status": "failed",
            "message": f"The import of {request['name']} met a defect in Thaw, and nothing of it was kept. The details "
            f"are in {folder / 'log.txt'}; please report them. Other data sets are not affected.",
        }
    _remove_source(workspace, request)
    _write(folder / "state.json", end)


def _import(workspace: Workspace, request: dict, tell, cancelled) -> tuple[VersionInfo, str]:
    store = Store(workspace)
    started = time.time()
    if request["sample"]:
        version = add_sample(store, request["name"], tell, cancelled)
    else:
        version = add_dataset(store, Path(request["source"]), request["name"], tell, cancelled, request["note"])
    summary = summarize(store, version)
    message = (
        f"{version.name}, version {version.number}: {plural(summary.images, 'image')} in "
        f"{plural(len(summary.classes), 'class', 'classes')}."
    )
    if version.created_at < started:
        message = f"These images are here already: {message}"
    if summary.set_aside:
        message += f" {plural(len(summary.set_aside), 'file was', 'files were')} set aside."
    return version, message


def _remove_source(workspace: Workspace, request: dict) -> None:
    if request["delete_source_after"] and request["source"]:
        remove_upload(workspace, Path(request["source"]))


def _write(path: Path, content: dict) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content))


if __name__ == "__main__":
    os.nice(_NICENESS)
    run_job(Path(sys.argv[1]))
