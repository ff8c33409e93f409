"""Work on a batch of pictures: taking in what arrived, and letting a model answer. Needs no torch."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from learner.datasets.sources import open_source
from learner.errors import DatasetError, ImageError, ImportCancelled
from learner.inference.batches import COVERAGES, Answer, AnswersInfo, Batch, Picture

if TYPE_CHECKING:
    from learner.inference.predictor import Predictor

TOP = 5
"""Classes that are kept of each answer, the most probable ones."""

Tell = Callable[[int, int, str, float | None], None]
"""Takes how much of how much is done, what is being done, and the seconds left, once there is a guess."""
Stopped = Callable[[], bool]


def ingest(batch: Batch, tell: Tell, stopped: Stopped) -> None:
    """Download what is at an address, open archives, and keep every file of a batch, one at a time.

    Raises DatasetError when there is nothing to look at, ImportCancelled when `stopped` says so; it can be begun again.
    """
    arrived = batch.folder / "arrived"
    if batch.url:
        from learner.datasets.sources.web import download

        shutil.rmtree(arrived, ignore_errors=True)

        def telling(done: int, total: int, left: float | None) -> None:
            tell(done, total, "Downloading", left)

        source = download(batch.url, arrived / "upload", telling, stopped)
    else:
        source = arrived / "upload"
    with closing(open_source(source, batch.folder, None, stopped)) as opened:
        entries = opened.entries
        if not entries and not opened.set_aside:
            raise DatasetError(f"There are no files in {batch.title}. Choose others.")
        rows = []
        for number, entry in enumerate(entries):
            if stopped():
                raise ImportCancelled("It was stopped.")
            tell(number, len(entries), "Opening", None)
            try:
                rows.append(batch.keep(number, entry.path, opened.read(entry)))
            except ImageError as error:
                rows.append(Picture(number, entry.path, error=str(error)))
        for path, reason in opened.set_aside:
            rows.append(Picture(len(rows), path, error=reason))
    batch.write_pictures(rows)
    shutil.rmtree(arrived, ignore_errors=True)


def predict_batch(batch: Batch, predictor: "Predictor", run_id: int, model: str, tell: Tell, stopped: Stopped) -> bool:
    """Let the model answer for every picture that it has not answered for yet; each answer is on disk as it comes.

    Returns whether all are done.
    """
    spec = predictor.spec
    thresholds = {str(coverage): spec.threshold(coverage) for coverage in COVERAGES} if spec.neighbours else {}
    about = AnswersInfo(run_id, spec.classes, spec.stages, bool(spec.neighbours), thresholds)
    file = batch.answers_file(model)
    batch.write_asked(model, about)
    _cut_torn_line(file)
    pictures = batch.pictures()
    there = batch.answers(model)
    waiting = [picture for picture in pictures if picture.file and picture.number not in there]
    known, began = len(pictures) - len(waiting), time.monotonic()
    predictions = predictor.predict([batch.path(picture) for picture in waiting], TOP)
    with file.open("a", encoding="utf-8", buffering=1) as lines:
        for done, (picture, said) in enumerate(zip(waiting, predictions, strict=True), start=1):
            error = said.error.replace(batch.path(picture).name, PurePosixPath(picture.name).name)
            answer = Answer(picture.number, said.classes, said.probs, said.distance, said.nearest, error)
            lines.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")
            left = (time.monotonic() - began) / done * (len(waiting) - done)
            tell(known + done, len(pictures), "Looking at the pictures", left)
            if stopped() and done < len(waiting):
                return False
    return True


def _cut_torn_line(file: Path) -> None:
    """Forget the line that a killed process did not end."""
    if file.exists():
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with file.open("r+b") as stream:
                stream.truncate(len(whole))
