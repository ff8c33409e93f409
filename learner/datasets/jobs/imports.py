"""What arrives is looked at first (a download comes before that), then, once a person agrees, imported."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock

from learner.atomic import read_json, write_json
from learner.datasets.importing import ImportProgress, Mode
from learner.datasets.jobs import processes
from learner.datasets.jobs.import_steps import forget, known_set, remove_source, title_of
from learner.datasets.jobs.processes import AT_WORK, ENDED, Job
from learner.datasets.layouts import Choice, Listing, Proposal
from learner.datasets.names import check_name, suggested_name
from learner.datasets.uploads import upload_folder
from learner.errors import DatasetError
from learner.workspace import Workspace

KEPT_DAYS = 7
"""How long something that was found waits for a person, with its files."""


@dataclass(frozen=True)
class ImportJob:
    """An arrival as a page shows it."""

    id: str
    name: str
    """The data set it imports into; one that suggests itself while it is looked at."""
    source: str
    """File or folder name, or address, for people."""
    status: str
    """`waiting`, `running`, `found` (looked at, and waits for `import_found`), `done`, `failed` or `cancelled`."""
    stage: str
    """`look` while it is found out what there is, then `import`."""
    progress: ImportProgress | None
    message: str
    """A sentence about how it ended, or what was found; empty before."""
    version: int | None
    """Number of the version it made, or found to hold the same images; only when `done`."""
    created_at: float
    log: Path
    """What the process printed; holds the traceback after a defect."""
    can_import: bool
    """Whether `import_found` may be called: it was looked at, and its files are still there."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def working(self) -> bool:
        """Whether its process is at work, or about to begin; only then can it be cancelled."""
        return self.status in AT_WORK

    @property
    def findings(self) -> list[Proposal]:
        """The layouts that fit, best first; empty before it was looked at, and for direct imports."""
        return [Proposal.from_dict(row) for row in read_json(self.log.parent / "findings.json", [])]


def start_look(
    workspace: Workspace,
    source: Path | None = None,
    url: str = "",
    delete_source_after: bool = False,
    gallery: str = "",
) -> str:
    """Start looking at what `source` holds, or what a web address or a known set (`learner.datasets.gallery`) gives.

    Returns the job's id at once. The job is `running` with stage `look`, then `found` and waits for `import_found`.
    `delete_source_after` removes the upload once it is imported or dismissed, or cannot be used. Raises DatasetError
    when there is nothing at `source`, it is to be deleted without being an upload, or there is no such known set.
    """
    if source:
        _check_source(workspace, source, delete_source_after)
    elif not url and not gallery:
        raise DatasetError("Nothing was chosen. Give files, a folder, a web address or a known set.")
    title = known_set(gallery).title if gallery else _without_keys(url.strip())
    return _start(workspace, "look", source, delete_source_after, url=url.strip(), gallery=gallery, title=title)


def start_import(
    workspace: Workspace,
    source: Path | None,
    name: str,
    sample: bool = False,
    delete_source_after: bool = False,
    note: str = "",
    choice: Choice | None = None,
    mode: Mode = "replace",
) -> str:
    """Start importing `source` (or the sample digits, which need none) as `name` without asking; returns the job's id.

    `delete_source_after` removes the upload however the import ends; `choice` and `mode` are as in `add_dataset`.
    Raises DatasetError when the name cannot be used, the source is missing, or it is to be deleted without being an
    upload.
    """
    name = check_name(name)
    if not sample:
        _check_source(workspace, source, delete_source_after)
    return _start(
        workspace,
        "import",
        None if sample else source,
        delete_source_after,
        name=name,
        sample=sample,
        title="the sample digits" if sample else "",
        note=note,
        choice=choice.to_dict() if choice else None,
        mode=_checked(mode),
    )


def import_found(
    workspace: Workspace, job_id: str, name: str, choice: Choice, mode: Mode = "replace", note: str = ""
) -> None:
    """Import what a job found, as `name`, by `choice`: the job is `running` again, with stage `import`.

    May be called again after that failed or was cancelled: the files are kept until it is done or dismissed. Raises
    DatasetError when the name or mode cannot be used, or there is nothing to import (any more).
    """
    name, mode = check_name(name), _checked(mode)
    locks = workspace.root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "jobs.lock"):  # two pages may ask at once
        found = _required(workspace, job_id)
        if not _can_import(found):
            raise DatasetError(
                f"{title_of(found)} cannot be imported: it is {found.status} already, or its files are gone."
            )
        processes.start_again(found, stage="import", name=name, choice=choice.to_dict(), mode=mode, note=note)


def jobs(workspace: Workspace) -> list[ImportJob]:
    """Every arrival that was not dismissed, newest first.

    One whose process is gone without an ending is marked as failed here, and what it left behind is removed.
    """
    return [_shown(_expired(job)) for job in processes.every(workspace, "arrival")]


def job(workspace: Workspace, job_id: str) -> ImportJob:
    """Raises DatasetError when there is no such import."""
    return _shown(_required(workspace, job_id))


def listing(workspace: Workspace, job_id: str) -> Listing:
    """What a job that was looked at holds, for `layouts.preview` and `layouts.place`.

    Raises DatasetError when there is no such job or nothing was found.
    """
    kept = read_json(_required(workspace, job_id).folder / "listing.json")
    if kept is None:
        raise DatasetError(f"Nothing was found by {job_id}, or it was imported already. Add the files again.")
    return Listing.from_dict(kept)


def cancel(workspace: Workspace, job_id: str) -> None:
    """Ask an import to stop; it does so between two images. Does nothing to one without a process.

    Raises DatasetError when there is no such import.
    """
    processes.ask_to_stop(_required(workspace, job_id))


def dismiss(workspace: Workspace, job_id: str) -> None:
    """Forget an arrival that is not at work, with the files it brought; what it imported stays.

    Raises DatasetError when there is no such import or it still runs.
    """
    found = _required(workspace, job_id)
    if found.status in AT_WORK:
        raise DatasetError(f"The import {job_id} is still running. Stop it first, then dismiss it.")
    remove_source(found)
    processes.remove(found)


def _start(workspace: Workspace, stage: str, source: Path | None, delete_source_after: bool, **request: Any) -> str:
    return processes.start(
        workspace,
        "arrival",
        stage=stage,
        source=str(source.resolve()) if source else "",
        delete_source_after=delete_source_after,
        **{**_NOTHING, **request},
    )


_NOTHING = {
    "url": "", "gallery": "", "title": "", "name": "", "sample": False, "note": "", "choice": None, "mode": "replace",
}  # fmt: skip
"""What a request says where there is nothing to say."""


def _check_source(workspace: Workspace, source: Path | None, delete_source_after: bool) -> None:
    if source is None or not source.exists():
        raise DatasetError(f"There is nothing at {source}. Check the path, and that it is still there.")
    if delete_source_after:
        upload_folder(workspace, source)


def _checked(mode: Mode) -> Mode:
    if mode not in get_args(Mode):
        raise DatasetError(f"There is no way to import called {mode!r}. Use replace or add.")
    return mode


def _required(workspace: Workspace, job_id: str) -> Job:
    found = _read(workspace, job_id)
    if found is None:
        raise DatasetError(f"There is no import {job_id}. It may have been dismissed; the Data page lists the others.")
    return found


def _read(workspace: Workspace, job_id: str) -> Job | None:
    found = processes.read(workspace, job_id)
    return _expired(found) if found and found.request["kind"] == "arrival" else None


def _expired(job: Job) -> Job:
    """`job`, ended when it has waited for a person for too long."""
    if job.status != "found" or time.time() - job.state["at"] < KEPT_DAYS * 86400:
        return job
    message = f"{title_of(job)} waited {KEPT_DAYS} days to be imported, so its files were removed. Add them again."
    end = {"status": "failed", "message": message, "at": time.time()}
    forget(job)
    write_json(job.folder / "state.json", end)
    return Job(job.workspace, job.folder, job.request, end)


def _shown(job: Job) -> ImportJob:
    request = job.request
    return ImportJob(
        id=job.id,
        name=request["name"] or _suggested(job),
        source=title_of(job),
        status=job.status,
        stage=request["stage"],
        progress=job.progress,
        message=job.message,
        version=job.state.get("version"),
        created_at=job.created_at,
        log=job.log,
        can_import=_can_import(job),
    )


def _suggested(job: Job) -> str:
    if job.request["gallery"]:
        return suggested_name(title_of(job))
    return suggested_name(Path(job.request["source"] or title_of(job)).name)


def _without_keys(url: str) -> str:
    """An address without what may be a secret: names, passwords and parameters."""
    start, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
    return f"{start}://{host.rpartition('@')[2]}{slash}{path}" if rest else start


def _can_import(job: Job) -> bool:
    there = job.request["source"] and Path(job.request["source"]).exists()
    return bool(there and job.status not in (*AT_WORK, "done") and (job.folder / "listing.json").exists())
