"""Tables that say which class a file belongs to: CSV, TSV and Excel, every cell as text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """One sheet of text."""

    columns: list[str]
    """As its first row names them, or `column 1`, `column 2` … where that row is data already; no two alike."""
    rows: list[list[str]]
    """Trimmed cells, one for each column."""
