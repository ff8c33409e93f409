"""What a process beside the pages found out, as a file; and next to it, while it works, a sentence on how far it is."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def keep_answer(file: Path, answer: Any) -> None:
    """Write a dataclass, whole or not at all."""
    _write(file, json.dumps(asdict(answer)))


def read_answer(file: Path, kind: type[T]) -> T | None:
    """What was kept there; None where nothing was, or by another version of Thaw."""
    try:
        return kind(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def say_progress(file: Path, text: str) -> None:
    """Leave a sentence for whoever waits for that file."""
    _write(file.with_suffix(".txt"), text)


def read_progress(file: Path) -> str:
    """The latest sentence; empty where nothing was said yet."""
    try:
        return file.with_suffix(".txt").read_text("utf-8")
    except OSError:
        return ""


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{uuid.uuid4().hex}")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(file)
