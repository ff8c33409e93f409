"""What a source holds, written down small: the paths of its files, and the few files that tell classes."""

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from learner.datasets.layouts.annotations import COCO, is_annotations, read_annotations, read_sidecars, split_in
from learner.datasets.layouts.tables import MAX_CELLS, Table, is_table, read_table
from learner.datasets.sources import Source
from learner.errors import DatasetError, ImageError

MAX_TABLES = 20
"""More tables than this are no lists of files but something kept beside each image."""
MAX_MAT_BYTES = 2**20
BESIDE = "files beside the images"
"""Name of the table that these make."""
_MAT_VARIABLES = {"imagelabels.mat": ("labels",), "setid.mat": ("trnid", "valid", "tstid")}


@dataclass
class Listing:
    """All that a layout is found from; it touches no disk and can be kept as JSON."""

    name: str
    """Of the source, for people."""
    paths: list[str]
    """Of every file, folders parted by `/`."""
    tables: dict[str, Table] = field(default_factory=dict)
    """By path: every CSV, TSV and Excel file that could be read, COCO's JSON and JSON lines; `*/labels.csv` is all
    those of one name and the same columns in several folders."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """Which files such a table is made of."""
    mats: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """By path: the numbers in `imagelabels.mat` (`labels`) and `setid.mat` (`trnid`, `valid`, `tstid`)."""
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of what cannot be read at all."""

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {**vars(self), "tables": {path: vars(table) for path, table in self.tables.items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Listing":
        tables = {path: Table(**table) for path, table in values["tables"].items()}
        set_aside = [(path, reason) for path, reason in values["set_aside"]]
        return cls(**{**values, "tables": tables, "set_aside": set_aside})


def listing_of(source: Source, check: Callable[[], None] = lambda: None) -> Listing:
    """Write down the names of all files and read the tables among them; no image is opened.

    `check` is called between files and may raise.
    """
    listing = Listing(source.name, [entry.path for entry in source.entries], set_aside=list(source.set_aside))
    _read_beside(source, listing, check)
    taken = {path for paths in listing.parts.values() for path in paths}
    lists = (entry for entry in source.entries if is_table(entry.path) or is_annotations(entry.path))
    tables = sorted(
        (entry for entry in lists if entry.path not in taken),
        key=lambda entry: (not is_table(entry.path), entry.path.count("/")),
    )
    mats = [entry for entry in source.entries if _file_name(entry.path) in _MAT_VARIABLES]
    unreadable: dict[str, str] = {}
    cells_left = MAX_CELLS - sum(len(table.columns) * len(table.rows) for table in listing.tables.values())
    for entry in [*tables[:MAX_TABLES], *mats]:
        check()
        try:
            data = source.read(entry)
        except ImageError as error:
            unreadable[entry.path] = str(error)
            continue
        try:
            if entry in tables:
                table = (
                    read_table(entry.path, data, listing.paths, cells_left)
                    if is_table(entry.path)
                    else read_annotations(entry.path, data, cells_left)
                )
                if table is None:
                    continue
                cells_left -= len(table.columns) * (len(table.rows) + 1)
                listing.tables[entry.path] = table
            else:
                listing.mats[entry.path] = _numbers(data, _MAT_VARIABLES[_file_name(entry.path)])
        except DatasetError as error:
            unreadable[entry.path] = str(error)
    listing.paths = [path for path in listing.paths if path not in unreadable]
    listing.set_aside += unreadable.items()
    _merge(listing)
    return listing


def _read_beside(source: Source, listing: Listing, check: Callable[[], None]) -> None:
    """Take in what a source's own tables and files beside each image say."""
    for name, (columns, rows) in getattr(source, "tables", {}).items():
        split = split_in(name.rpartition("/")[0])  # `train-00000-of-00002`
        if split and "split" not in columns:
            columns, rows = [*columns, "split"], [[*row, split] for row in rows]
        listing.tables[name] = Table(columns, rows)
    beside = read_sidecars(source.entries, source.read, check)
    if beside:
        listing.tables[BESIDE], listing.parts[BESIDE] = beside


def _merge(listing: Listing) -> None:
    """Make one of tables with one name and the same columns, such as one in each of the folders train and valid."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path, table in listing.tables.items():
        name = "COCO" if table.columns == COCO and path not in listing.parts else path.rpartition("/")[2]
        alike[(name, *table.columns)].append(path)
    paths = set(listing.paths)
    for (name, *columns), parts in alike.items():
        if len(parts) < 2:
            continue
        rows = [
            [f"{folder}/{cell}" if f"{folder}/{cell}" in paths else cell for cell in row]
            for part in parts
            for folder in [part.rpartition("/")[0]]
            for row in listing.tables.pop(part).rows
        ]
        listing.tables[f"*/{name}"] = Table(columns, rows)
        listing.parts[f"*/{name}"] = parts


def _file_name(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _numbers(data: bytes, names: tuple[str, ...]) -> dict[str, list[int]]:
    """The variables `names` of a MATLAB file (version 5), as whole numbers. Only numbers are read, nothing is run."""
    from scipy.io import loadmat

    reason = "It is a MATLAB file that does not hold what its name says. Download it again."
    if len(data) > MAX_MAT_BYTES:
        raise DatasetError(reason)
    try:
        content = loadmat(io.BytesIO(data), variable_names=names)
        return {name: [int(number) for number in content[name].ravel()] for name in names}
    except Exception as error:  # damaged files make scipy raise almost anything
        raise DatasetError(reason) from error
