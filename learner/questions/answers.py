"""An answer as a file, named after what decides it; and next to it, while it is looked for, a sentence on how far."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from learner.atomic import read_json, write_json, written_whole
from learner.workspace import Workspace

T = TypeVar("T")


def answer_file(workspace: Workspace, question: str, decides: Any) -> Path:
    """Where the answer stands; `decides` is all that it follows from, in values that JSON knows."""
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return workspace.root / "cache" / question / f"{digest[:32]}.json"


def keep_answer(file: Path, answer: Any) -> None:
    """Write a dataclass, or what JSON knows, whole or not at all."""
    write_json(file, asdict(answer) if hasattr(answer, "__dataclass_fields__") else answer)


def forget_oldest(folder: Path, most: int) -> None:
    """Of large answers keep the newest `most`; what is asked for again is found again."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in files[:-most]:
        file.unlink(missing_ok=True)


def read_answer(file: Path, kind: type[T]) -> T | None:
    """What was kept there; None where nothing was, or by another version of Thaw."""
    try:
        return kind(**read_json(file))
    except (OSError, ValueError, TypeError):
        return None


def say_progress(file: Path, text: str) -> None:
    """Leave a sentence for whoever waits for that file."""
    with written_whole(_progress_file(file)) as temporary:
        temporary.write_text(text, "utf-8")


def read_progress(file: Path) -> str:
    """The latest sentence; empty where nothing was said yet, or the process has ended."""
    try:
        return _progress_file(file).read_text("utf-8")
    except OSError:
        return ""


def forget_progress(file: Path) -> None:
    """Nobody looks for that answer any more."""
    _progress_file(file).unlink(missing_ok=True)


def _progress_file(file: Path) -> Path:
    return file.with_suffix(".txt")
