"""Files of labels that are no tables but say the same: COCO's JSON, JSON lines, a file beside each image (WebDataset).

Each is read as a `Table`, so that all that is known of tables holds for them too.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.layouts.folders import split_of
from learner.datasets.layouts.tables import MAX_CELL_CHARACTERS, MAX_CELLS, MAX_COLUMNS, MAX_TABLE_BYTES, Table
from learner.datasets.names import shown, suffix_of
from learner.datasets.sources.entries import Entry
from learner.errors import DatasetError, ImageError

COCO = ["file", "class", "split"]
"""Columns of a COCO file: a row for each class that is on an image."""
_SIDECARS = (".cls", ".json")
"""What stands beside each image in shards of WebDataset: a class alone, or an object that names it."""
_CLASS_KEYS = ("label", "cls", "class", "class_name", "category")
_MAX_SIDECAR_BYTES = 64 * 2**10


def is_annotations(path: str) -> bool:
    """Whether the name ends as that of a file does which may list labels."""
    return suffix_of(path) in (".json", ".jsonl")


def read_annotations(path: str, data: bytes, most_cells: int = MAX_CELLS) -> Table | None:
    """The table that the file stands for; None where it is something else. Raises DatasetError with a reason."""
    if len(data) > MAX_TABLE_BYTES:
        raise DatasetError(f"It lists more than {MAX_TABLE_BYTES // 2**20} MB of labels. Keep only what is needed.")
    try:
        table = _json_lines(data) if suffix_of(path) == ".jsonl" else _coco(path, json.loads(data))
    except (ValueError, RecursionError):
        return None
    if table and len(table.columns) * len(table.rows) > most_cells:
        raise DatasetError(f"It lists more than {most_cells:,} cells. Keep only what is needed.")
    return table


def _coco(path: str, content: Any) -> Table | None:
    """Source: https://cocodataset.org/#format-data."""
    try:
        names = {one["id"]: _cell(one["name"]) for one in content["categories"]}
        files = {one["id"]: _cell(one["file_name"]) for one in content["images"]}
        on: dict[Any, set[str]] = defaultdict(set)
        for one in content["annotations"]:
            on[one["image_id"]].add(names[one["category_id"]])
    except (KeyError, TypeError):
        return None
    split = split_in(path.rpartition("/")[2])
    return Table(COCO, [[file, name, split] for key, file in files.items() for name in sorted(on[key]) or [""]])


def split_in(name: str) -> str:
    """`train` for `instances_train2017.json` and `train-00000-of-00002`."""
    words = "".join(letter if letter.isalpha() else " " for letter in name).split()
    return next((split for word in words if (split := split_of(word))), "")


def _json_lines(data: bytes) -> Table | None:
    rows = [json.loads(line) for line in data.splitlines() if line.strip()]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    columns = list(dict.fromkeys(key for row in rows for key, cell in row.items() if not isinstance(cell, dict | list)))
    if not columns or len(columns) > MAX_COLUMNS:
        return None
    return Table(
        [_cell(column) for column in columns], [[_cell(row.get(column)) for column in columns] for row in rows]
    )


def _cell(value: Any) -> str:
    return "" if value is None else shown(" ".join(str(value).split()))[:MAX_CELL_CHARACTERS]


def read_sidecars(
    entries: Iterable[Entry], read: Callable[[Entry], bytes], check: Callable[[], None]
) -> tuple[Table, list[str]] | None:
    """The classes that files beside the images tell, and the paths of these files; None where most images have none.

    `classes.txt` or `classnames.txt` gives numbers their names, a line each. Source:
    https://github.com/webdataset/webdataset
    """
    by_path = {entry.path: entry for entry in entries}
    images = [path for path in by_path if suffix_of(path) in IMAGE_SUFFIXES]
    for suffix in _SIDECARS:
        beside = {path: entry for path in images if (entry := by_path.get(path[: -len(suffix_of(path))] + suffix))}
        if not images or len(beside) <= len(images) / 2:
            continue
        rows = []
        for path, entry in beside.items():
            check()
            rows.append([path, _told(read, entry, suffix)])
        if any(label for _, label in rows):
            names, listed = _names(by_path, read)
            told = [[path, _name_of(label, names), split_in(path.partition("/")[0])] for path, label in rows]
            return Table(COCO, told), [*(entry.path for entry in beside.values()), *listed]
    return None


def _told(read: Callable[[Entry], bytes], entry: Entry, suffix: str) -> str:
    try:
        text = read(entry)[:_MAX_SIDECAR_BYTES].decode("utf-8", "replace").strip()
        if suffix == ".cls":
            return _cell(text)
        content = json.loads(text)
        return next((_cell(content[key]) for key in _CLASS_KEYS if key in content), "")
    except (ImageError, ValueError, TypeError, RecursionError):
        return ""


def _names(by_path: dict[str, Entry], read: Callable[[Entry], bytes]) -> tuple[list[str], list[str]]:
    for path, entry in by_path.items():
        if path.rpartition("/")[2].lower() in ("classes.txt", "classnames.txt"):
            try:
                lines = read(entry)[:_MAX_SIDECAR_BYTES].decode("utf-8", "replace").splitlines()
            except ImageError:
                continue
            return [_cell(line) for line in lines], [path]
    return [], []


def _name_of(label: str, names: list[str]) -> str:
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else label
