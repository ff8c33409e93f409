"""Files that are whole or not there: written under another name, then renamed."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_STEM = 32
"""Characters of a file's name that its unfinished copy bears: enough to find it by, and never too long a name."""

_checks: dict[Path, Callable[[], None]] = {}
"""By folder, what `replacing_only_where` was told."""


@contextmanager
def replacing_only_where(check: Callable[[], None], folder: Path) -> Iterator[None]:
    """Meanwhile `check` is called right before a file below `folder` is replaced; what it raises keeps the old one."""
    _checks[folder] = check
    try:
        yield
    finally:
        del _checks[folder]


def replace(temporary: Path, path: Path) -> None:
    """Give a file that is whole now its name, in the place of any that has it."""
    for folder, check in _checks.items():
        if path.is_relative_to(folder):
            check()
    temporary.replace(path)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` at the end: nobody ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:MAX_STEM]}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Any, ensure_ascii: bool = True) -> None:
    """Keep `values` as JSON; without `ensure_ascii` people can read letters of any script in it."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=ensure_ascii), "utf-8")


def read_json(path: Path, otherwise: Any = None) -> Any:
    """What `write_json` kept, or `otherwise` where there is no such file. Raises ValueError for a damaged one."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return otherwise
