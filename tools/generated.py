"""Pages of docs that are written by a program: writing one, or saying that it is out of date."""

import argparse
import sys
from pathlib import Path


def write_or_check(page: Path, text: str, words: list[str] | None = None) -> int:
    """Write `text` to the page, or with `--check` among `words` only compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=f"Write docs/{page.name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is out of date")
    check = parser.parse_args(words).check
    if page.exists() and page.read_text("utf-8") == text:
        return 0
    if check:
        print(f"docs/{page.name} is out of date. Write it: python {sys.argv[0]}", file=sys.stderr)
        return 1
    page.write_text(text, "utf-8")
    return 0
