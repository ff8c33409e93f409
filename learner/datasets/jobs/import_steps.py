"""What the process of an arrival does: download, look, import; and what is kept of it for how long.

A job's folder also holds `listing.json` and `findings.json` once it was looked at, and `download` for what came from
the web.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.atomic import write_json
from learner.datasets.files import clear_unfinished, import_lock
from learner.datasets.importing import STOPPED, ImportProgress, Report, about_disk, import_from
from learner.datasets.jobs.processes import Job
from learner.datasets.layouts import Choice, listing_of, preview, recognise
from learner.datasets.names import plural, sentence
from learner.datasets.samples import add_sample
from learner.datasets.sources import Source, hub, open_source
from learner.datasets.summary import summarize
from learner.datasets.uploads import remove_upload
from learner.errors import DatasetError, ImportCancelled
from learner.store import Store, VersionInfo

if TYPE_CHECKING:
    from learner.datasets.gallery import Known


def title_of(job: Job) -> str:
    """What arrives, for people: a file, folder or known set, or an address without its secrets."""
    return job.request["title"] or Path(job.request["source"]).name


def known_set(key: str) -> "Known":
    """Raises DatasetError when there is no such known set."""
    from learner.datasets.gallery import KNOWN

    if key not in KNOWN:
        raise DatasetError(f"There is no known data set {key!r}. There are: {', '.join(KNOWN)}.")
    return KNOWN[key]


def what(job: Job) -> str:
    """`The import of pets`, or `The look at pets.zip`."""
    return f"The import of {job.request['name']}" if job.request["name"] else f"The look at {title_of(job)}"


def run(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Look or import, whichever the stage is."""
    return (_look if job.request["stage"] == "look" else _import)(job, tell, cancelled)


def clear(job: Job, end: dict[str, Any], lost: bool) -> None:
    """Files stay for as long as they may still be imported."""
    if lost and job.request["stage"] == "import":
        with import_lock(job.workspace, job.request["name"], wait=None) as alone:
            if alone:
                clear_unfinished(Store(job.workspace), job.request["name"])
    if end["status"] == "done" or not (job.folder / "listing.json").exists():
        forget(job)


def _look(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
    def check() -> None:
        if cancelled():
            raise ImportCancelled(STOPPED)

    try:
        path, chosen = _fetched(job, tell, cancelled)
        tell(ImportProgress(0, 0, "Looking through the files."))
        with closing(_open(job, path, tell, cancelled)) as source:
            found = listing_of(source, check)
        proposals = recognise(found)
        if chosen:
            proposals = [preview(found, chosen), *(one for one in proposals if one.choice != chosen)]
        check()
        write_json(job.folder / "findings.json", [proposal.to_dict() for proposal in proposals])
        write_json(job.folder / "listing.json", found.to_dict())
    except OSError as error:
        raise DatasetError(about_disk(error, job.workspace.root)) from error
    return {"status": "found", "message": f"{plural(proposals[0].images, 'image')}. {proposals[0].reason}"}


def _fetched(job: Job, tell: Report, cancelled: Callable[[], bool]) -> tuple[Path, Choice | None]:
    """Where the files are, downloaded first where they must be, and the layout where it is known."""
    request, folder = job.request, job.folder / "download"
    telling = _telling_bytes(tell, "Downloading")
    if repository := hub.named(request["url"]):
        path, chosen = hub.fetch(repository, folder, telling, cancelled), None
    elif request["url"]:
        from learner.datasets.sources.web import download

        path, chosen = download(request["url"], folder, telling, cancelled), None
    elif request["gallery"]:
        from learner.datasets.gallery import fetch

        path, values = fetch(request["gallery"], folder, telling, cancelled)
        chosen = Choice.from_dict(values)
        chosen = None if chosen.kind == "auto" else chosen
    else:
        return Path(request["source"]), None
    request["source"] = str(path)
    write_json(job.folder / "request.json", request)
    return path, chosen


def _open(job: Job, path: Path, tell: Report, cancelled: Callable[[], bool]) -> Source:
    return open_source(path, job.folder, _telling_bytes(tell, "Unpacking"), cancelled)


def _telling_bytes(tell: Report, doing: str) -> Callable[[int, int, float | None], None]:
    return lambda done, total, left: tell(ImportProgress(done, total, f"{doing}.", left, unit="bytes"))


def _import(job: Job, tell: Report, cancelled: Callable[[], bool]) -> dict[str, Any]:
    store, request, started = Store(job.workspace), job.request, time.time()
    if request["sample"]:
        version = add_sample(store, request["name"], tell, cancelled)
    else:
        version = import_from(
            store,
            lambda: _open(job, Path(request["source"]), tell, cancelled),
            request["name"],
            tell,
            cancelled,
            " ".join(filter(None, [sentence(request["note"]), _origin(job)])),
            Choice.from_dict(request["choice"]) if request["choice"] else None,
            request["mode"],
        )
    return {
        "status": "done",
        "version": version.number,
        "message": _about(store, version, version.created_at < started),
    }


def _origin(job: Job) -> str:
    if job.request["gallery"]:
        known = known_set(job.request["gallery"])
        return sentence(f"{known.title}, {known.address}. Licence: {known.license}")
    return f"Downloaded from {title_of(job)}." if job.request["url"] else ""


def _about(store: Store, version: VersionInfo, was_there: bool) -> str:
    summary = summarize(store, version)
    message = (
        f"{version.name}, version {version.number}: {plural(summary.images, 'image')} in "
        f"{plural(len(summary.classes), 'class', 'classes')}."
    )
    if was_there:
        message = f"These images are here already: {message}"
    if summary.excluded:
        message += f" {plural(summary.excluded, 'image is', 'images are')} kept but not used."
    if summary.set_aside:
        message += f" {plural(len(summary.set_aside), 'file was', 'files were')} set aside."
    return message


def forget(job: Job) -> None:
    """Remove what was found, and the files."""
    for name in ("findings.json", "listing.json"):
        (job.folder / name).unlink(missing_ok=True)
    remove_source(job)


def remove_source(job: Job) -> None:
    """Remove the files that came for this job alone."""
    shutil.rmtree(job.folder / "download", ignore_errors=True)
    if job.request["delete_source_after"] and job.request["source"]:
        remove_upload(job.workspace, Path(job.request["source"]))
