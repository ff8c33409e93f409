"""What every benchmark prints, and where it keeps it: a markdown section between two marks in docs/benchmarks.md.

Nothing here imports torch, so that a process that only measures others stays small.
"""

import os
import platform
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
CACHE = Path(__file__).parent / ".cache"
"""What the benchmarks download; git ignores it and it may be deleted."""
MATRIX_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""The processor's instructions for matrix products, best first, as Linux names them."""


class BenchmarkError(SystemExit):
    """Something a person can put right: ends the script with its sentence on stderr and exit code 1."""


def parser(description: str) -> ArgumentParser:
    """A parser with what every benchmark takes."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md as well")
    return made


def publish(name: str, title: str, paragraphs: Iterable[str], write: bool) -> None:
    """Print a section; with `write` it replaces the section `name` of docs/benchmarks.md, or becomes its last one."""
    text = "\n\n".join([f"## {title}", f"`{command()}` on {machine()}.", *paragraphs])
    print(text, flush=True)
    if write:
        DOCUMENT.write_text(with_section(DOCUMENT.read_text("utf-8"), name, text), "utf-8")


def with_section(document: str, name: str, text: str) -> str:
    """`document` with `text` between `<!-- name -->` and `<!-- /name -->`, which are added at its end if missing.

    Raises BenchmarkError when there is only one of the two marks, or they stand in the wrong order.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{first}\n{text.strip()}\n{last}"
    if first not in document and last not in document:
        return f"{document.rstrip()}\n\n{section}\n".lstrip()
    before, _, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not end:
        raise BenchmarkError(f"{first} and {last} must both stand in {DOCUMENT.name}, in this order, or neither.")
    return before + section + after


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; the first column is text, the others are figures, and None is a dash."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1)]
    lines += [["–" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Processor, memory, and the versions of what computes."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastai", "timm"))
    return f"{processor()}, {memory:.0f} GiB, Python {platform.python_version()}, {packages}"


def processor() -> str:
    """Cores, model, and the best of its instructions for matrix products: virtual machines hide the model."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    best = next((flag for flag in MATRIX_FLAGS if flags and flag in flags[1].split()), None)
    name = model[1].strip() if model else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {name}" + (f" ({best})" if best else "")


def command() -> str:
    """The command that was given, without the folders of files, which mean nothing on another machine."""
    words = [re.sub(r"(^|=)~?/.*/", r"\1", word) for word in sys.argv[1:] if word != "--write"]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def figure(value: float | None, places: int | None = None) -> str | None:
    """A number with `places` after the point: if not told, one below 10 and none from there on."""
    if value is None:
        return None
    return f"{value:,.{(1 if abs(value) < 10 else 0) if places is None else places}f}"


def megabytes(count: int | None) -> str | None:
    """Bytes as MB (10⁶)."""
    return None if count is None else f"{figure(count / 1e6)} MB"


def share(value: float | None) -> str | None:
    """A share of 1 in per cent."""
    return None if value is None else f"{100 * value:.1f} %"
