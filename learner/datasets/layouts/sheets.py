"""Excel files, each read by a process of its own with limits on memory and time (`sheet_program`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from learner.errors import DatasetError

SECONDS = 20
"""Of computing; 100,000 rows take three."""
PATIENCE_S = 120.0
"""How long a busy machine may take for that."""
MEMORY_BYTES = 1536 * 2**20
_PROGRAM = Path(__file__).with_name("sheet_program.py")


def read_sheet(
    data: bytes, most_bytes: int, most_cells: int, most_columns: int, most_characters: int
) -> list[list[str]]:
    """The first sheet's rows that hold anything, as text. Raises DatasetError beyond the limits, and for no sheet."""
    most = {"bytes": most_bytes, "cells": most_cells, "columns": most_columns, "characters": most_characters}
    words = json.dumps({**most, "memory": MEMORY_BYTES, "seconds": SECONDS})
    try:
        ran = subprocess.run(
            [sys.executable, "-I", str(_PROGRAM), words],
            input=data,
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads would take addresses, which are limited
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(_TOO_MUCH) from None
    lines = ran.stdout.splitlines()
    refused = json.loads(lines[-1]) if lines and ran.returncode == 0 else None
    if not isinstance(refused, str):  # it was ended
        raise DatasetError(_TOO_MUCH)
    if refused:
        raise DatasetError(refused)
    return [json.loads(line) for line in lines[:-1]]


_TOO_MUCH = (
    f"It is an Excel file that takes more than {SECONDS} seconds or {MEMORY_BYTES / 2**30:g} GB of memory to read. "
    "Save it as CSV, with only the columns needed."
)
