"""Tables that say which class a file belongs to: CSV, TSV and Excel, every cell as text."""

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.layouts.sheets import read_sheet
from learner.datasets.names import first_free, shown, suffix_of
from learner.errors import DatasetError

TABLE_SUFFIXES = frozenset([".csv", ".tsv", ".tab", ".xlsx", ".xlsm"])
MAX_TABLE_BYTES = 64 * 2**20
"""A larger table is set aside; a line for each of a million photos stays below."""
MAX_CELLS = 4_000_000
"""Of all tables of a source; they are kept in memory while a person chooses, these in about 300 MB."""
MAX_COLUMNS = 1000
MAX_CELL_CHARACTERS = 1000
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 100


@dataclass(frozen=True)
class Table:
    """One sheet of text."""

    columns: list[str]
    """As its first row names them, or `column 1`, `column 2` … where that row is data already; no two alike."""
    rows: list[list[str]]
    """Trimmed cells, one for each column."""

    def column(self, name: str) -> list[str]:
        """The cells below `name`; none for an empty name. Raises DatasetError when there is no such column."""
        if not name:
            return [""] * len(self.rows)
        if name not in self.columns:
            raise DatasetError(f"The table has no column {name!r}. Its columns are {', '.join(self.columns)}.")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def is_table(path: str) -> bool:
    """Whether the name ends as that of a table does which can be read."""
    return suffix_of(path) in TABLE_SUFFIXES


def read_table(path: str, data: bytes, paths: Iterable[str] = (), most_cells: int = MAX_CELLS) -> Table:
    """The table in `data`; `paths` are the files beside it, which tell a first row of data from one of headings.

    Text may be UTF-8, UTF-16 or Windows-1252 (Latin-1), and parted by commas, semicolons, tabs, bars or blanks. Of an
    Excel file, the first sheet is read. Raises DatasetError with a reason that leaves the name out.
    """
    if len(data) > MAX_TABLE_BYTES:
        raise DatasetError(f"It is a table of more than {MAX_TABLE_BYTES // 2**20} MB. Keep only the columns needed.")
    excel = suffix_of(path) in (".xlsx", ".xlsm")
    every = (
        read_sheet(data, MAX_TABLE_BYTES, most_cells, MAX_COLUMNS, MAX_CELL_CHARACTERS)
        if excel
        else _lines(_decoded(data))
    )
    rows = list(_counted(every, most_cells))
    if not rows:
        raise DatasetError("It is an empty table.")
    width = max(len(rows[0]), Counter(map(len, rows)).most_common(1)[0][0])
    if len(rows) * width > most_cells:
        raise DatasetError(_TOO_MANY_CELLS.format(most_cells))
    rows = [(row + [""] * (width - len(row)))[:width] for row in rows]
    names = {name for path in paths for name in _names_of(path)}
    if any(_names_a_file(cell, names) for cell in rows[0]):
        return Table([f"column {number}" for number in range(1, width + 1)], rows)
    return Table(_headings(rows[0]), rows[1:])


_TOO_MANY_CELLS = "It is a table of more than {:,} cells. Keep only the columns needed."


def _counted(rows: Iterable[list[str]], most_cells: int) -> Iterator[list[str]]:
    """Rows that hold anything, their cells trimmed. Raises DatasetError as soon as there are too many cells."""
    count = 0
    for row in rows:
        if len(row) > MAX_COLUMNS:
            raise DatasetError(f"It is a table of more than {MAX_COLUMNS:,} columns. Keep only the columns needed.")
        count += len(row)
        if count > most_cells:
            raise DatasetError(_TOO_MANY_CELLS.format(most_cells))
        cells = [_clean(cell) for cell in row]
        if any(cells):
            yield cells


def _clean(cell: str) -> str:
    return shown(" ".join(cell.split()))[:MAX_CELL_CHARACTERS]


def _names_of(path: str) -> tuple[str, str]:
    name = path.rpartition("/")[2].casefold()
    return name, name.rpartition(".")[0]


def _names_a_file(cell: str, names: set[str]) -> bool:
    name = cell.replace("\\", "/").rpartition("/")[2].casefold()
    # `image.jpg` may stand beside a column headed `image`; names with a number are no headings.
    return suffix_of(name) in IMAGE_SUFFIXES or (name in names and any(map(str.isdigit, name)))


def _again(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _headings(row: list[str]) -> list[str]:
    headings: dict[str, None] = {}
    for number, cell in enumerate(row, start=1):
        name = cell or f"column {number}"
        headings[first_free(partial(_again, name), headings.__contains__)] = None
    return list(headings)


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    zeros = [data[:1000:2].count(0), data[1:1000:2].count(0)]
    if max(zeros) > len(data[:1000]) / 5:  # half of each Latin letter in UTF-16 is zero
        return data.decode("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le", "replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            pass
    return data.decode("latin-1")


def _lines(text: str) -> Iterator[list[str]]:
    delimiter = _delimiter(text)
    if not delimiter:
        yield from (line.split() for line in text.splitlines())
        return
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise DatasetError("It is a damaged table: a quotation mark is not closed, or it is no text.") from error


def _delimiter(text: str) -> str:
    """What parts the first lines into equally many cells, several of them; empty for blanks."""
    lines = [line for line in text[: 2**20].splitlines()[: _SAMPLE_LINES + 1] if line.strip()][:_SAMPLE_LINES]
    rated = [(_evenness(_quoted_cells(lines, delimiter)), delimiter) for delimiter in _DELIMITERS]
    best, delimiter = max(rated, key=lambda pair: pair[0])
    if best > (0.0, 1):
        return delimiter
    share, width = _evenness([line.split() for line in lines])
    return "" if share == 1.0 and width > 1 else ","


def _quoted_cells(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return []


def _evenness(rows: list[list[str]]) -> tuple[float, int]:
    """The share of rows that have the most common number of cells, and that number; no share for single cells."""
    if not rows:
        return 0.0, 1
    width, times = Counter(map(len, rows)).most_common(1)[0]
    return (times / len(rows), width) if width > 1 else (0.0, 1)


# Which column is which

_TOKENS = re.compile(r"[^\W\d_]+|\d+")
_LABEL_WORDS = (
    {"label", "labels", "class", "classes", "classname", "category", "target", "y", "klasse", "classe", "clase"},
    {
        "diagnosis",
        "dx",
        "finding",
        "findings",
        "disease",
        "pathology",
        "species",
        "breed",
        "type",
        "kind",
        "tag",
        "tags",
    },
)
"""Words in the headings of columns that tell classes, the surest first."""
_GROUP_WORDS = {
    "group", "patient", "subject", "person", "individual", "case", "study", "session", "series", "sequence", "burst",
    "object", "animal", "plant", "scene", "video", "clip", "lesion", "site",
}  # fmt: skip
_NUMBER_WORDS = {"id", "ids", "uid", "no", "nr", "number", "name", "key", "code", "index"}


def label_column(table: Table, others: set[str]) -> tuple[str, bool]:
    """The column that most likely tells classes, and whether its heading says so; empty when there is none.

    `others` are the columns that are something else.
    """
    candidates = []
    for place, column in enumerate(table.columns):
        cells = [cell for cell in table.column(column) if cell]
        distinct = len(set(cells))
        tier = next((tier for tier, words in enumerate(_LABEL_WORDS) if words & _words(column)), None)
        if column in others or not cells or (tier is None and not 2 <= distinct <= len(cells) / 2):
            continue
        numeric = all(_number(cell) is not None for cell in cells)
        candidates.append((tier is None, tier or 0, numeric and tier is not None, place, column))
    if not candidates:
        return "", False
    unnamed, *_, column = min(candidates)
    return column, not unnamed


def group_column(table: Table, others: set[str]) -> str:
    """The first column headed by a word such as patient or session, or by its number; empty when there is none."""
    for column in table.columns:
        words = _words(column)
        if column not in others and words & _GROUP_WORDS and words <= _GROUP_WORDS | _NUMBER_WORDS:
            return column
    return ""


def weight_column(table: Table, others: set[str]) -> str:
    """The first column headed as a weight that holds numbers from 0 up; empty when there is none."""
    for column in table.columns:
        if column not in others and {"weight", "weights"} & _words(column):
            cells = [cell for cell in table.column(column) if cell]
            if cells and all(weight_of(cell) is not None for cell in cells):
                return column
    return ""


def weight_of(cell: str) -> float | None:
    """The number from 0 up that a cell holds, also with a decimal comma."""
    number = _number(cell)
    return number if number is not None and 0 <= number < float("inf") else None


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _words(heading: str) -> set[str]:
    """`patientID` and `Patient_id` are both patient and id."""
    return {word.casefold() for word in _TOKENS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", heading))}


# Which file a cell means


class FileIndex:
    """Finds the image that a cell of a table means."""

    def __init__(self, images: list[str]):
        self._whole: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for path in images:
            parts = path.split("/")
            self._whole.setdefault(_key(parts), []).append(path)
            for start in range(len(parts)):
                same = self._ends.setdefault(_key(parts[start:]), [])
                if len(same) < _ENOUGH:
                    same.append(path)

    def contains_name(self, cell: str) -> str:
        """What identifies the images of this name, whatever their folder; empty when there are none."""
        key = _key([cell.replace("\\", "/").rpartition("/")[2]])
        return key if key in self._ends else ""

    def match(self, cells: list[str]) -> list[str]:
        """The path of the image that each cell means; empty where none or several fit.

        A cell may be a name, with or without its suffix, or a path of which one end is the end of the other. Where no
        cell at all fits so (the table was made when the files lay elsewhere), the longest common end decides.
        """
        found = [self._fitting(cell, anywhere=False) for cell in cells]
        return found if any(found) else [self._fitting(cell, anywhere=True) for cell in cells]

    def _fitting(self, cell: str, anywhere: bool) -> str:
        parts = [part for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            fitting = (self._ends if start == 0 or anywhere else self._whole).get(_key(parts[start:]), [])
            fitting = [path for path in fitting if _same_suffix(end, path)]
            if fitting:
                alike = [path for path in fitting if path.endswith(end)] or fitting
                return alike[0] if len(alike) == 1 else ""
        return ""


_ENOUGH = 9
"""Images of one name that are looked at; where there are more, the name alone says nothing."""


def _key(parts: list[str]) -> str:
    """A path to look up by: without an image's suffix, and whatever the case and the form of its letters."""
    path = unicodedata.normalize("NFC", "/".join(parts)).casefold()
    start, dot, suffix = path.rpartition(".")
    return start if dot and f".{suffix}" in IMAGE_SUFFIXES else path


def _same_suffix(cell: str, path: str) -> bool:
    suffix = suffix_of(cell)
    return suffix not in IMAGE_SUFFIXES or suffix == suffix_of(path)
