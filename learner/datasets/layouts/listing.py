"""What a source holds, written down small: the paths of its files, and the few files that tell classes."""

from dataclasses import dataclass, field
from typing import Any

from learner.datasets.layouts.tables import Table
from learner.datasets.sources import Source


@dataclass
class Listing:
    """All that a layout is found from; it touches no disk and can be kept as JSON."""

    name: str
    """Of the source, for people."""
    paths: list[str]
    """Of every file, folders parted by `/`."""
    tables: dict[str, Table] = field(default_factory=dict)
    """By path: every CSV, TSV and Excel file that could be read."""
    mats: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """By path: the numbers in `imagelabels.mat` (`labels`) and `setid.mat` (`trnid`, `valid`, `tstid`)."""
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of what the source could not give at all."""

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {**vars(self), "tables": {path: vars(table) for path, table in self.tables.items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Listing":
        tables = {path: Table(**table) for path, table in values["tables"].items()}
        set_aside = [(path, reason) for path, reason in values["set_aside"]]
        return cls(**{**values, "tables": tables, "set_aside": set_aside})


def listing_of(source: Source) -> Listing:
    """Read the names of all files, and the tables among them."""
    raise NotImplementedError
