"""A folder into which pictures come, and a table with a row for each. The table is all that is remembered.

A picture is known by its name and the moment it was last changed, so one that is written over is a new one.
"""

import csv
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from learner.datasets.images import IMAGE_SUFFIXES
from learner.errors import ImageError, ThawError
from learner.serving.drift import FALSE_ALARMS, WINDOW, Drift
from learner.serving.model import Answer, ServedModel
from learner.wording import count

BATCH = 8
SETTLED_S = 2.0
"""A picture is looked at once nothing was written to it for so long."""
_BEFORE, _AFTER = ["file", "changed"], ["none_of_these", "distance", "error"]


class FolderAway(ThawError):
    """The folder cannot be read; it may come back."""


@dataclass
class Seen:
    """What one look at the folder brought."""

    pictures: int = 0
    unread: int = 0
    warnings: list[str] = field(default_factory=list)


class Watch:
    """A model, a folder and a table. Used with `with`."""

    def __init__(self, model: ServedModel, folder: Path, table: Path, top_k: int = 3):
        """Reads what the table holds. Raises ThawError where it is another table, or cannot be written."""
        self._model, self._folder, self._table = model, folder, table
        self._top_k = min(top_k, len(model.classes))
        ranked = [f"{what}_{rank}" for rank in range(1, self._top_k + 1) for what in ("class", "prob")]
        self._headings = [*_BEFORE, *ranked, *_AFTER]
        self._drift = Drift(model.distances, model.validation_images)
        self._known: set[tuple[str, str]] = set()
        self._decode = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        try:
            self._remember()
            self._file = table.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise _not_written(table, error) from error

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._decode.shutdown(cancel_futures=True)

    @property
    def tells_drift(self) -> bool:
        """Whether the model knows enough of its validation images."""
        return self._drift.can_tell

    @property
    def rows(self) -> int:
        """How many pictures the table has."""
        return len(self._known)

    def look(self, now: float | None = None) -> Seen:
        """Look at what is new, and write it down. Raises FolderAway; ThawError where the table cannot be written."""
        seen = Seen()
        waiting = list(self._new(time.time() if now is None else now))
        for start in range(0, len(waiting), BATCH):
            self._answer(waiting[start : start + BATCH], seen)
        return seen

    def _remember(self) -> None:
        """Take the rows that are there for known; a last line that was torn off goes."""
        if not self._table.exists() or self._table.stat().st_size == 0:
            with self._table.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(self._headings)
            return
        with self._table.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
        with self._table.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames != self._headings:
                raise ThawError(
                    f"{self._table} is another table than this model writes with --top-k {self._top_k}. Name a new "
                    "file."
                )
            for row in rows:
                self._known.add((row["file"], row["changed"]))
                if row["distance"]:
                    self._drift.add(float(row["distance"]))

    def _new(self, now: float) -> Iterator[tuple[Path, tuple[str, str]]]:
        """Pictures that the table does not have, the oldest first."""
        found = []
        for folder, inner, names in os.walk(self._folder, onerror=_raise):
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in names:
                path = Path(folder) / name
                if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                try:
                    changed = path.stat().st_mtime
                except FileNotFoundError:  # gone since it was listed
                    continue
                key = (path.relative_to(self._folder).as_posix(), _moment(changed))
                if key not in self._known and not 0 <= now - changed < SETTLED_S:
                    found.append((changed, path, key))
        return ((path, key) for _, path, key in sorted(found))

    def _answer(self, pictures: list[tuple[Path, tuple[str, str]]], seen: Seen) -> None:
        read = list(self._decode.map(self._read, (path for path, _ in pictures)))
        pixels = [one for one in read if not isinstance(one, str)]
        answers: Iterator[Answer] = iter(())
        if pixels:
            answers = iter(
                self._model.answers(self._model.look(np.stack(pixels)), self._top_k, self._model.threshold())
            )
        for (_, key), one in zip(pictures, read, strict=True):
            answer = None if isinstance(one, str) else next(answers)
            self._write(key, answer, one if isinstance(one, str) else "")
            self._known.add(key)
            seen.pictures += 1
            seen.unread += answer is None
            if answer is not None and answer.distance is not None and self.tells_drift:
                self._warn(self._drift.add(answer.distance), seen)

    def _read(self, path: Path) -> np.ndarray | str:
        try:
            return self._model.read(path)
        except ImageError as error:
            return str(error.__cause__ or error)

    def _write(self, key: tuple[str, str], answer: Answer | None, error: str) -> None:
        ranked: list[object] = [""] * (2 * self._top_k)
        if answer is not None:
            ranked = [cell for pair in zip(answer.labels, answer.probs, strict=True) for cell in pair]
        none, distance = (None, None) if answer is None else (answer.none_of_these, answer.distance)
        said = "" if none is None else "yes" if none else "no"
        try:
            csv.writer(self._file).writerow([*key, *ranked, said, "" if distance is None else distance, error])
            self._file.flush()
        except OSError as problem:
            raise _not_written(self._table, problem) from problem

    def _warn(self, p: float | None, seen: Seen) -> None:
        if p is not None and p < FALSE_ALARMS:
            seen.warnings.append(
                f"The last {count(WINDOW, 'picture')} lie further from the training photos than the validation photos "
                f"did (p = {p:.1g}; without any change, {FALSE_ALARMS:.1%} of such groups are warned of). Look at "
                "them: camera, light or what is on them may have changed."
            )


def _raise(error: OSError) -> None:
    raise FolderAway(f"{error.filename} cannot be read: {error.strerror or error}.") from error


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _not_written(table: Path, error: OSError) -> ThawError:
    return ThawError(f"{table} cannot be written: {error.strerror or error}. Name another file, or make room.")
