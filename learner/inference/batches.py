"""Batches of pictures to predict: the files, what models said of them so far, and what a person says of that.

A batch is a folder `$THAW_HOME/predictions/<id>/`: `batch.json`; `arrived/` until it is taken in; then
`pictures/`, named by content, and `pictures.jsonl`; `answers/<model>.jsonl`, a line for each picture, and
`answers/<model>.json` about the model; `marks.json`; and `stopped` while a person wants no more answers.
Needs no torch.
"""

import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from learner.atomic import read_json, write_json, written_whole
from learner.datasets.disk import bytes_in
from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.uploads import upload_folder
from learner.errors import DatasetError
from learner.wording import count
from learner.workspace import Workspace

KEPT_DAYS = 14
"""A batch is cleared away so long after it came."""
LIMIT_SETTING = "THAW_PREDICTIONS_GB"
USUAL_LIMIT_GB = 10.0
"""Of all batches together; the oldest are cleared away before their time where that is not enough."""
IN_USE_S = 3600.0
"""A batch that was looked at or answered for within so long is in use."""
COVERAGES = (0.8, 0.9, 0.95, 0.98, 1.0)
"""Shares of known pictures that a person can choose to have answered."""

_ID_LENGTH = 100
_writing = threading.Lock()
"""Two tabs of one server may mark at once."""


@dataclass(frozen=True)
class Picture:
    """One file of a batch."""

    number: int
    """Its place, from 0."""
    name: str
    """As it came, for people."""
    file: str = ""
    """Relative to the batch's folder; empty where it could not even be kept."""
    sha256: str = ""
    label: str = ""
    """Its class, where it came from a data set."""
    error: str = ""
    """Why it could not be kept."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a picture."""

    number: int
    classes: list[str]
    """At most `TOP`, most probable first; none where it could not be read."""
    probs: list[float]
    distance: float | None = None
    nearest: list[int] = field(default_factory=list)
    """See `learner.inference.predictor.Prediction`."""
    error: str = ""


@dataclass(frozen=True)
class AnswersInfo:
    """The model that answered."""

    run: int
    classes: list[str]
    stages: list[str]
    knows_none: bool
    """Whether it can say "none of these"."""
    thresholds: dict[str, float]
    """The distance beyond which a picture is none of the classes, by coverage (`COVERAGES`, as text)."""

    def is_none(self, answer: Answer, coverage: float) -> bool:
        """Whether the picture is none of the classes when that share of known ones shall be answered."""
        return self.knows_none and answer.distance is not None and answer.distance > self.thresholds[str(coverage)]


@dataclass(frozen=True)
class Mark:
    """What a person says of a picture."""

    label: str = ""
    """The class it shows; empty where only an answer was said to be wrong."""
    wrong: str = ""
    """The answer that was said to be wrong."""


@dataclass(frozen=True)
class Batch:
    """Pictures that arrived together."""

    workspace: Workspace
    id: str
    title: str
    """For people: a file's name, `12 files`, an address without its path's secrets."""
    kind: str
    """`files`, `address`, `camera` or `dataset`."""
    created_at: float
    url: str = ""

    @property
    def folder(self) -> Path:
        return _folder(self.workspace) / self.id

    @property
    def is_ingested(self) -> bool:
        return (self.folder / "pictures.jsonl").exists()

    @property
    def is_stopped(self) -> bool:
        """Whether a person wants no more answers for now."""
        return (self.folder / "stopped").exists()

    def stop(self, stopped: bool) -> None:
        with suppress(FileNotFoundError):  # deleted in another tab
            (self.folder / "stopped").touch() if stopped else (self.folder / "stopped").unlink()

    def pictures(self) -> list[Picture]:
        """In the order they came; none before it is taken in."""
        return [Picture(**row) for row in _read_lines(self.folder / "pictures.jsonl")]

    def path(self, picture: Picture) -> Path:
        return self.folder / picture.file

    def answers(self, model: str) -> dict[int, Answer]:
        """By the picture's number, those that are there so far."""
        rows = _read_lines(self.answers_file(model))
        return {row["number"]: Answer(**row) for row in rows}

    def asked(self, model: str) -> AnswersInfo | None:
        """None before that model was asked."""
        values = read_json(self.answers_file(model).with_suffix(".json"))
        return AnswersInfo(**values) if values else None

    def write_asked(self, model: str, asked: AnswersInfo) -> None:
        write_json(self.answers_file(model).with_suffix(".json"), asdict(asked), ensure_ascii=False)

    def answers_file(self, model: str) -> Path:
        """Where a model's answers come in, a line each."""
        return self.folder / "answers" / f"{model}.jsonl"

    def marks(self) -> dict[int, Mark]:
        rows = read_json(self.folder / "marks.json", {})
        return {int(number): Mark(**row) for number, row in rows.items()}

    def mark(self, marks: dict[int, Mark | None]) -> None:
        """Keep what a person says of pictures, by number; None takes a mark back."""
        with _writing:
            every = {**self.marks(), **marks}
            kept = {number: asdict(mark) for number, mark in every.items() if mark is not None}
            write_json(self.folder / "marks.json", kept, ensure_ascii=False)

    def add(self, name: str, data: bytes) -> None:
        """One more picture, such as one that the camera took."""
        with _writing:
            pictures = self.pictures()
            self.write_pictures([*pictures, self.keep(len(pictures), name, data)])

    def keep(self, number: int, name: str, data: bytes) -> Picture:
        """Put a file into the batch's folder, named by its content."""
        sha256 = hashlib.sha256(data).hexdigest()
        suffix = PurePosixPath(name).suffix.lower()
        file = f"pictures/{sha256}{suffix if suffix in IMAGE_SUFFIXES else ''}"
        if not (self.folder / file).exists():
            with written_whole(self.folder / file) as temporary:
                temporary.write_bytes(data)
        return Picture(number, name, file, sha256)

    def write_pictures(self, pictures: list[Picture]) -> None:
        """These are what the batch holds; from then on it is taken in."""
        with written_whole(self.folder / "pictures.jsonl") as temporary:
            lines = [json.dumps(asdict(picture), ensure_ascii=False) + "\n" for picture in pictures]
            temporary.write_text("".join(lines), "utf-8")


def verdict(picture: Picture, answer: Answer | None, mark: Mark | None) -> bool | None:
    """Whether the answer is right, by what a person said or the data set says; None where nobody says."""
    if answer is None or not answer.classes:
        return None
    truth = mark.label if mark and mark.label else "" if mark else picture.label
    if truth:
        return answer.classes[0] == truth
    return False if mark and mark.wrong == answer.classes[0] else None


def begin(workspace: Workspace, title: str, kind: str = "files", url: str = "") -> Batch:
    """An empty batch; old ones are cleared away, and more of them where all take more than their limit."""
    clear_old(workspace)
    clear_beyond(workspace, _limit_bytes())
    batch = Batch(workspace, f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}", title, kind, time.time(), url)
    unfinished = batch.folder.with_name(f".{batch.id}")
    unfinished.mkdir(parents=True)
    values = asdict(batch)
    del values["workspace"]
    write_json(unfinished / "batch.json", values, ensure_ascii=False)
    unfinished.rename(batch.folder)
    return batch


def begin_upload(workspace: Workspace, source: Path) -> Batch:
    """A batch of a finished upload, whose files become the batch's own; `ingest` looks at them later."""
    files = sum(path.is_file() for path in source.rglob("*")) if source.is_dir() else 1
    named = source.name != "upload" or not source.is_dir()  # several files lie in a folder that is called so
    batch = begin(workspace, source.name if named else count(files, "file"))
    upload_folder(workspace, source).rename(batch.folder / "arrived")
    return batch


def begin_with(workspace: Workspace, title: str, pictures: Sequence[tuple[str, Path, str]]) -> Batch:
    """A batch of (name, file, class) of a data set. Files are linked where the disk allows it, else copied."""
    batch = begin(workspace, title, "dataset")
    rows = []
    (batch.folder / "pictures").mkdir()
    for number, (name, file, label) in enumerate(pictures):
        kept = batch.folder / "pictures" / file.name  # data sets name files by content too
        if not kept.exists():
            try:
                kept.hardlink_to(file)
            except OSError:
                shutil.copyfile(file, kept)
        rows.append(Picture(number, name, f"pictures/{kept.name}", file.stem, label))
    batch.write_pictures(rows)
    return batch


def find(workspace: Workspace, batch_id: str) -> Batch:
    """A batch that a person looks at now. Raises DatasetError when there is no such batch (any more)."""
    batch = _read(workspace, batch_id)
    with suppress(OSError):
        os.utime(batch.folder / "batch.json")
    return batch


def _read(workspace: Workspace, batch_id: str) -> Batch:
    known = len(batch_id) <= _ID_LENGTH
    values = read_json(_folder(workspace) / Path(batch_id).name / "batch.json") if known else None
    if not values:
        raise DatasetError("These pictures are gone: they were deleted, or cleared away. Ask about them again.")
    return Batch(workspace, **values)


def recent(workspace: Workspace) -> list[Batch]:
    """All batches, newest first."""
    found = []
    for file in _folder(workspace).glob("[!.]*/batch.json"):
        with suppress(DatasetError):  # deleted meanwhile
            found.append(_read(workspace, file.parent.name))
    return sorted(found, key=lambda batch: batch.created_at, reverse=True)


def batch_pictures(workspace: Workspace, batch_id: str) -> Path:
    """The folder that holds a batch's pictures, named by content."""
    return _folder(workspace) / Path(batch_id).name / "pictures"


def remove(batch: Batch) -> None:
    """Delete its pictures and answers; a batch that is gone already is no mistake."""
    gone = batch.folder.with_name(f".{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        batch.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def clear_old(workspace: Workspace, days: float = KEPT_DAYS) -> None:
    """Remove batches that came so long ago, and what a deletion or a kill left of others."""
    before = time.time() - days * 24 * 3600
    for batch in recent(workspace):
        if batch.created_at < before:
            remove(batch)
    for folder in _folder(workspace).glob("*"):
        with suppress(FileNotFoundError):  # another tab clears up too
            if not (folder / "batch.json").exists() and folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def clear_beyond(workspace: Workspace, limit_bytes: int) -> None:
    """Remove batches, the oldest first, until all take no more. The newest stays, and those that are in use."""
    kept = recent(workspace)
    sizes = {batch.id: bytes_in(batch.folder) for batch in kept}
    total = sum(sizes.values())
    for batch in reversed(kept[1:]):
        if total <= limit_bytes:
            return
        if not _in_use(batch):
            remove(batch)
            total -= sizes[batch.id]


def batches_bytes(workspace: Workspace) -> int:
    """What all batches take on the disk; pictures that a data set holds too take nothing here."""
    return bytes_in(_folder(workspace))


def _in_use(batch: Batch) -> bool:
    changing = (batch.folder, batch.folder / "batch.json", batch.folder / "pictures", *batch.folder.glob("answers/*"))
    newest = 0.0
    for path in changing:
        with suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return time.time() - newest < IN_USE_S


def _limit_bytes() -> int:
    setting = os.environ.get(LIMIT_SETTING, "").strip()
    try:
        gigabytes = float(setting) if setting else USUAL_LIMIT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise DatasetError(f"{LIMIT_SETTING} is {setting!r}. Set it to a number of gigabytes, such as 10.")
    return int(gigabytes * 2**30)


def model_key(run_id: int, checkpoint: Path) -> str:
    """What answers are kept under: the run and its checkpoint as it is now. Raises DatasetError when that is gone."""
    try:
        return f"{run_id}-{checkpoint.stat().st_mtime_ns}"
    except FileNotFoundError:
        raise DatasetError(f"The model of run {run_id} is gone. Choose another run.") from None


# Files


def _folder(workspace: Workspace) -> Path:
    return workspace.root / "predictions"


def _read_lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that is being written counts for nothing yet."""
    try:
        return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]
    except FileNotFoundError:
        return []
