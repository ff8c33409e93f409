"""What a SOURCE on the command line stands for, and what was recognised in it."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from learner.datasets.gallery import KNOWN, fetch
from learner.datasets.importing import ImportProgress, Report, about_disk
from learner.datasets.layouts import Choice, Listing, Proposal, listing_of, preview, recognise
from learner.datasets.samples import SAMPLE_NAME, SAMPLE_NOTE, DigitsSource
from learner.datasets.sources import Source, hub, open_source
from learner.errors import DatasetError
from learner.workspace import Workspace

GALLERY = "gallery:"


@dataclass(frozen=True)
class Arrival:
    """An open source and what it holds."""

    source: Source
    listing: Listing
    proposals: list[Proposal]
    """The layouts that fit, best first."""
    origin: str
    """Where it came from, a sentence for the version's note; empty for what lies on this machine."""


@contextmanager
def arrived(workspace: Workspace, source: str, report: Report) -> Iterator[Arrival]:
    """Open `source`: a folder, an archive, an image, a web address, `digits`, `gallery:KEY` or `hf:OWNER/NAME`.

    What is downloaded or unpacked lies in a folder of its own that is gone at the end. Raises DatasetError when there
    is nothing that could be imported.
    """
    try:
        workspace.uploads.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="command-", dir=workspace.uploads) as scratch:
            opened, known, origin = _open(source, Path(scratch), report)
            with closing(opened):
                report(ImportProgress(0, 0, "Looking through the files."))
                listing = listing_of(opened)
                proposals = recognise(listing)
                if known:
                    proposals = [preview(listing, known), *(one for one in proposals if one.choice != known)]
                yield Arrival(opened, listing, proposals, origin)
    except OSError as error:
        raise DatasetError(about_disk(error, workspace.root)) from error


def _open(source: str, scratch: Path, report: Report) -> tuple[Source, Choice | None, str]:
    """The source, its layout where that is known, and its origin."""
    if source == SAMPLE_NAME and not Path(source).exists():
        return DigitsSource(), Choice("folders"), SAMPLE_NOTE
    choice, origin, path = None, "", Path(source)
    if source.startswith(GALLERY):
        path, layout = fetch(source.removeprefix(GALLERY), scratch, _bytes(report, "Downloading."))
        choice = Choice.from_dict(layout)
        known = KNOWN[source.removeprefix(GALLERY)]
        origin = f"{known.title}, {known.address}. Licence: {known.license}."
    elif repository := hub.named(source):
        path = hub.fetch(repository, scratch, _bytes(report, "Downloading."), None)
        origin = f"{repository.name}, {repository.address}."
    elif "://" in source:
        from learner.datasets.sources.web import download  # brings an HTTP client

        path = download(source, scratch, _bytes(report, "Downloading."))
        address = urlsplit(source)
        origin = f"Downloaded from {address.scheme}://{address.hostname}{address.path}."  # the rest may hold a key
    return open_source(path, scratch, _bytes(report, "Unpacking.")), choice, origin


def _bytes(report: Report, what: str) -> Callable[[int, int, float | None], None]:
    return lambda done, total, left: report(ImportProgress(done, total, what, left, unit="bytes"))
