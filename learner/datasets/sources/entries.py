"""What every kind of source has in common: a list of entries that can be read one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from learner.datasets.names import plural

Progress = Callable[[int, int, float | None], None]
"""Called with the bytes done, the bytes in all (0 where unknown) and the seconds left (None until there is a guess)."""
Cancelled = Callable[[], bool]
"""Asked now and then whether a person wants to stop."""


@dataclass(frozen=True)
class Entry:
    """One file of a source."""

    path: str
    """Relative to the source, folders parted by `/`, fit to be shown; no two entries of a source have the same."""
    key: Any
    """What its source reads it by."""


class Source(Protocol):
    """A folder or archive that is open for reading; `read` may be called from several threads."""

    name: str
    entries: list[Entry]
    set_aside: list[tuple[str, str]]
    """(path, reason) of what cannot be read at all."""

    # What some have besides: `tables`, by name (columns, rows) that say more of the entries, all cells text.

    def read(self, entry: Entry) -> bytes:
        """The whole file. Raises ImageError when this one cannot be read, DatasetError when none should be."""

    def close(self) -> None: ...


def describe_kinds(paths: list[str]) -> str:
    """`12 files (8 .txt, 4 .pdf)`, for messages that say what was found."""
    kinds: dict[str, int] = {}
    for path in paths:
        suffix = Path(path).suffix.lower() or "without a suffix"
        kinds[suffix] = kinds.get(suffix, 0) + 1
    most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
    return f"{plural(len(paths), 'file')} ({', '.join(f'{count:,} {kind}' for kind, count in most)})"
