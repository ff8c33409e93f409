"""Data sets as tables, lines and JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from learner.cli.printing import out, table_of
from learner.datasets import Summary, summarize
from learner.datasets.rows import rows_of
from learner.store import Store, VersionInfo
from learner.wording import count

MOST_LINES = 20
"""Of a list of images or files; the rest is counted."""


def print_dataset(store: Store, version: VersionInfo) -> None:
    """Images per class and split, the version's note, what is not used and what was set aside."""
    summary = summarize(store, version)
    out.print(
        f"{version.name}, version {version.number}: {count(summary.images, 'image')} in "
        f"{count(len(summary.classes), 'class', 'classes')}",
        markup=False,
    )
    print_counts(summary.counts)
    if version.note:
        out.print(version.note, markup=False)
    if summary.excluded:
        unused = [(row.path, row.reason) for row in rows_of(store, version) if row.excluded]
        print_list(f"{count(summary.excluded, 'image')} kept but not used:", unused)
    if summary.set_aside:
        aside = [(row.path, row.reason) for row in summary.set_aside]
        print_list(f"{count(len(aside), 'file')} set aside:", aside)


def print_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Images by class, a column a split."""
    splits = sorted({split for numbers in counts.values() for split in numbers})
    headings = [split or "images" for split in splits]
    table = table_of("Class", *headings, right=headings)
    for label, numbers in counts.items():
        table.add_row(Text(label or "no class yet"), *(str(numbers.get(split, 0)) for split in splits))
    out.print(table)


def print_list(heading: str, rows: Sequence[tuple[str, str]], indent: str = "") -> None:
    """A heading and lines of a path and what there is to say of it; the first lines only where there are many."""
    out.print(f"{indent}{heading}", markup=False)
    for path, what in rows[:MOST_LINES]:
        out.print(f"{indent}  {path}: {what}" if what else f"{indent}  {path}", markup=False)
    if len(rows) > MOST_LINES:
        out.print(f"{indent}  … and {len(rows) - MOST_LINES:,} more; --json lists all")


def summary_dict(summary: Summary) -> dict[str, Any]:
    """What `--json` tells of a version of a data set."""
    version = summary.version
    return {
        "name": version.name,
        "version": version.number,
        "note": version.note,
        "images": summary.images,
        "classes": summary.classes,
        "counts": summary.counts,
        "excluded": summary.excluded,
        "set_aside": [{"path": row.path, "reason": row.reason} for row in summary.set_aside],
    }
