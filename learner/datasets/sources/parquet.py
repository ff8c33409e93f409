"""A Parquet file with images in a column, as Hugging Face's data sets have them. Its other columns become a table.

Source: https://huggingface.co/docs/datasets/image_dataset
"""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from learner.datasets.names import shown
from learner.datasets.sources import limits
from learner.datasets.sources.entries import Entry
from learner.errors import DatasetError, ImageError

TABLE = "Parquet"
"""Name of the table."""
_FILE = "file"
_MAX_GROUP_BYTES = 2**30
"""A row group is held in memory; writers make them of about 100 MB."""
_MOST_COLUMNS, _MOST_CHARACTERS = 100, 1000


class ParquetSource:
    """A `.parquet` file, open for reading: an entry for each row that has an image.

    `tables` has what its other columns say, `(columns, rows)` by name. Numbers that stand for classes (Hugging Face's
    ClassLabel) are replaced by their names. Raises DatasetError where there is no column of images.
    """

    def __init__(self, file: Path):
        import pyarrow
        import pyarrow.parquet

        self.name = file.name
        self.set_aside: list[tuple[str, str]] = []
        self._group: tuple[int, Any] = (-1, None)
        self._reading = threading.Lock()
        self._meter = limits.Meter(file.name, file.stat().st_size)
        self._damaged = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
        try:
            self._file = pyarrow.parquet.ParquetFile(file)
            self._check()
            self._column, self._inner = _image_column(self._file.schema_arrow)
            self.entries, self.tables = self._list()
        except self._damaged as error:
            raise DatasetError(
                f"{file.name} is a Parquet file that is damaged or was not copied completely. Copy it again."
            ) from error

    def _check(self) -> None:
        about = self._file.metadata
        limits.check_count(self.name, about.num_rows)
        for place in range(about.num_row_groups):
            if about.row_group(place).total_byte_size > _MAX_GROUP_BYTES:
                raise DatasetError(
                    f"{self.name} keeps more than {_MAX_GROUP_BYTES / 2**30:.0f} GB in one of its row groups, which is "
                    "more than is read at once. Write it again with smaller ones (row_group_size)."
                )

    def _list(self) -> tuple[list[Entry], dict[str, tuple[list[str], list[list[str]]]]]:
        entries, rows = [], []
        columns = self._table_columns()
        names = _class_names(self._file.schema_arrow)
        number = 0
        for group in range(self._file.num_row_groups):
            told = [self._cells(group, column, names.get(column, [])) for column in columns]
            for place in range(self._file.metadata.row_group(group).num_rows):
                path = f"{number:06}.jpg"  # whatever it is; the content tells
                entries.append(Entry(path, (group, place)))
                rows.append([path, *(cells[place] for cells in told)])
                number += 1
        return entries, {TABLE: ([_FILE, *columns], rows)} if columns else {}

    def _table_columns(self) -> list[str]:
        import pyarrow.types as types

        plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
        fields = [field for field in self._file.schema_arrow if any(is_kind(field.type) for is_kind in plain)]
        return [field.name for field in fields if field.name not in (self._column, _FILE)][:_MOST_COLUMNS]

    def _cells(self, group: int, column: str, names: list[str]) -> list[str]:
        values = self._file.read_row_group(group, columns=[column]).column(column).to_pylist()
        if names:
            values = [names[one] if isinstance(one, int) and 0 <= one < len(names) else "" for one in values]
        return ["" if one is None else shown(" ".join(str(one).split()))[:_MOST_CHARACTERS] for one in values]

    def read(self, entry: Entry) -> bytes:
        group, place = entry.key
        with self._reading:
            if self._group[0] != group:
                self._group = (-1, None)  # the one before is let go first
                try:
                    table = self._file.read_row_group(group, columns=[self._column])
                except self._damaged as error:
                    raise ImageError("This part of the file is damaged. Copy the file again.") from error
                self._meter.add(table.nbytes)
                column = table.column(self._column).combine_chunks()
                self._group = (group, column.field(self._inner) if self._inner else column)
            data = self._group[1][place].as_py()
        if not data:
            raise ImageError("Its row holds no image, only a path. Download the data set with its images.")
        limits.check_size(len(data))
        return data

    def close(self) -> None:
        self._file.close()


def _image_column(schema: Any) -> tuple[str, str]:
    """The column with images, and the field in it that holds the bytes; empty where the column holds them itself."""
    import pyarrow.types as types

    def is_bytes(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    for field in schema:
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name, "bytes"
    for field in schema:
        if is_bytes(field.type):
            return field.name, ""
    raise DatasetError(
        f"This Parquet file has no column of images; its columns are {', '.join(map(str, schema.names[:8]))}."
    )


def _class_names(schema: Any) -> dict[str, list[str]]:
    """By column, the names of its numbers, as Hugging Face writes them into the file."""
    with suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in about["names"]]
            for column, about in features.items()
            if isinstance(about, dict) and about.get("_type") == "ClassLabel" and isinstance(about.get("names"), list)
        }
    return {}
