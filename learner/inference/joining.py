"""Pictures of a batch whose class a person has said join a data set: they are its next version. Needs no torch."""

import csv
import io
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from learner.atomic import read_json, write_json
from learner.datasets import uploads
from learner.datasets.jobs import start_import
from learner.datasets.layouts import Choice
from learner.datasets.rows import rows_of
from learner.errors import DatasetError
from learner.inference.batches import Batch, Picture
from learner.store import Store
from learner.wording import count


@dataclass(frozen=True)
class Joining:
    """Marked pictures on their way into a data set."""

    job: str
    dataset: str
    sha256s: list[str]


def marked(batch: Batch) -> list[tuple[Picture, str]]:
    """Pictures whose class a person has said, each content once, with that class."""
    marks = batch.marks()
    labelled = {
        picture.sha256: (picture, marks[picture.number].label)
        for picture in reversed(batch.pictures())
        if picture.number in marks and marks[picture.number].label and picture.file
    }
    return sorted(labelled.values(), key=lambda pair: pair[0].number)


def labels_in(store: Store, dataset: str, sha256s: Iterable[str]) -> dict[str, str]:
    """Of these contents, those that the data set's newest version holds, with their class there."""
    wanted = set(sha256s)
    rows = rows_of(store, store.datasets.version(dataset))
    return {row.sha256: row.label for row in rows if row.sha256 in wanted}


def join(store: Store, batch: Batch, dataset: str) -> Joining:
    """Import the marked pictures that `dataset` does not hold yet, with their classes: its next version.

    A job does it (`learner.datasets.jobs`). Raises DatasetError when there is nothing to import.
    """
    every = marked(batch)
    there = labels_in(store, dataset, [picture.sha256 for picture, _ in every])
    new = [(picture, label) for picture, label in every if picture.sha256 not in there]
    if not new:
        raise DatasetError(f"There is nothing new for {dataset}: mark pictures that it does not hold yet.")
    upload = uploads.begin_upload(store.workspace)
    try:
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["file", "class"])
        for picture, label in new:
            plain = re.sub(r"[^\w.-]+", "_", PurePosixPath(picture.name).stem)[:80]
            name = f"{plain}_{picture.sha256[:8]}{Path(picture.file).suffix}"
            with upload.receiving(name) as file, batch.path(picture).open("rb") as original:
                shutil.copyfileobj(original, file, 2**20)
            writer.writerow([name, label])
        with upload.receiving("labels.csv") as file:
            file.write(table.getvalue().encode())
        source = upload.finish()
    except BaseException:  # a page may be interrupted at any line
        upload.throw_away()
        raise
    job = start_import(
        store.workspace,
        source,
        dataset,
        delete_source_after=True,
        note=f"{count(len(new), 'picture')} marked on Predict",
        choice=Choice("table", table="labels.csv", file_column="file", label_column="class"),
        mode="add",
    )
    joining = Joining(job, dataset, [picture.sha256 for picture, _ in new])
    write_json(batch.folder / "joined.json", asdict(joining))
    return joining


def joining(batch: Batch) -> Joining | None:
    """The last time that marked pictures joined a data set."""
    kept = read_json(batch.folder / "joined.json")
    return Joining(**kept) if kept else None


def images_added(store: Store, joined: Joining) -> tuple[int, list[tuple[str, str]]]:
    """How many of those are in use in the data set's newest version, and (path, reason) of those that are not."""
    wanted = set(joined.sha256s)
    rows = [row for row in rows_of(store, store.datasets.version(joined.dataset)) if row.sha256 in wanted]
    unused = [(row.path, row.reason) for row in rows if row.excluded]
    return len(rows) - len(unused), unused
