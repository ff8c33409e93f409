"""A program of its own: the first sheet of the Excel file on standard input, as lines of JSON on standard output.

A small Excel file can ask for gigabytes and for minutes, so the program takes no more than it is told to, and the
process that began it goes on whatever becomes of it. It imports nothing of Thaw, as that would take longer than most
sheets do. Each line is the list of a row's cells; the last one is a text, empty or why the file is refused.
"""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, time
from typing import Any

NOT_READABLE = "It is not an Excel file that can be read. Save it as CSV."


class Refused(Exception):
    """The message says why, for people."""


def limit_itself(memory_bytes: int, seconds: int) -> None:
    """Windows cannot; there only the time limit of the process that waits counts."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def rows_of(data: bytes, most: dict[str, int]) -> Iterator[list[str]]:
    """Rows that hold anything, without the empty cells at their end. Raises Refused beyond the limits `most`."""
    from openpyxl import load_workbook
    from openpyxl.cell.cell import ERROR_CODES

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        if sum(part.file_size for part in packed.infolist()) > most["bytes"]:
            raise Refused(
                f"It is an Excel file that unpacks to more than {most['bytes'] // 2**20} MB. Keep only the columns "
                "needed, or save it as CSV."
            )
    sheet = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False).worksheets[0]
    sheet.reset_dimensions()  # what the file says of its size is only a claim
    cells = characters = 0
    for values in sheet.iter_rows(values_only=True):
        row = ["" if value in ERROR_CODES else _text(value)[: most["characters"]] for value in _without_end(values)]
        if not row:
            continue
        if len(row) > most["columns"]:
            raise Refused(f"It is a table of more than {most['columns']:,} columns. Keep only the columns needed.")
        cells += len(row)
        characters += sum(map(len, row))
        if cells > most["cells"] or characters > most["bytes"]:
            raise Refused(f"It is a table of more than {most['cells']:,} cells. Keep only the columns needed.")
        yield row


def _without_end(values: tuple[Any, ...]) -> tuple[Any, ...]:
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return values[:end]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def main() -> None:
    """Write the rows of the Excel file on stdin to stdout, one as JSON a line, within the limits in the arguments."""
    most = json.loads(sys.argv[1])
    data = sys.stdin.buffer.read()
    limit_itself(most["memory"], most["seconds"])
    refused = ""
    try:
        for row in rows_of(data, most):
            print(json.dumps(row))
    except Refused as error:
        refused = str(error)
    except Exception:  # damaged files make openpyxl raise almost anything
        refused = NOT_READABLE
    print(json.dumps(refused), flush=True)


if __name__ == "__main__":
    main()
