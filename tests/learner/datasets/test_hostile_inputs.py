"""Inputs made to take memory or time: each is answered with a sentence, in few seconds of computing and little memory.

Each row is done in a process of its own, a fork of one that has loaded what is needed. It measures itself by the
computing that it and its children did, so that a busy machine cannot fail it.
"""

import io
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from learner.datasets.images import examine, read_squished
from learner.datasets.layouts import listing_of, recognise
from learner.datasets.sources import open_source
from learner.datasets.uploads import save_uploads
from learner.errors import ThawError
from learner.recipe.files import read_recipe
from learner.workspace import Workspace

ROOT = Path(__file__).parents[3]
MB = 2**20


# How the inputs are made


def text(content: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / "recipe.yaml").write_text(content)
        return folder / "recipe.yaml"

    return build


def laughs() -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


def png(width: int, height: int, depth: int, color: int, whole: bool = False) -> Callable[[Path], Path]:
    """A PNG that is black where it is `whole`; otherwise it ends behind its header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def build(folder: Path) -> Path:
        row = bytes(1 + width * depth * {0: 1, 2: 3, 6: 4}[color] // 8)
        packed = zlib.compressobj(1)
        data = b"".join(packed.compress(row) for _ in range(height if whole else 0)) + packed.flush()
        header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        file = folder / "picture.png"
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
        return file

    return build


def excel(rows: bytes, padding: int = 0) -> Callable[[Path], Path]:
    """A folder with an Excel file; its sheet holds `rows` of XML, and so many blanks."""
    main = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = b"http://schemas.openxmlformats.org/package/2006"
    kinds = b"application/vnd.openxmlformats-officedocument.spreadsheetml."
    parts = {
        "[Content_Types].xml": b'<Types xmlns="%s/content-types"><Default Extension="rels" ContentType="application/'
        b'vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="%ssheet.'
        b'main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="%sworksheet+xml"/></Types>'
        % (package, kinds, kinds),
        "_rels/.rels": b'<Relationships xmlns="%s/relationships"><Relationship Id="r1" Type="%s/officeDocument" '
        b'Target="xl/workbook.xml"/></Relationships>' % (package, relations),
        "xl/workbook.xml": b'<workbook %s xmlns:r="%s"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets>'
        b"</workbook>" % (main, relations),
        "xl/_rels/workbook.xml.rels": b'<Relationships xmlns="%s/relationships"><Relationship Id="r1" '
        b'Type="%s/worksheet" Target="worksheets/sheet1.xml"/></Relationships>' % (package, relations),
    }

    def build(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "labels.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name, content in parts.items():
                packed.writestr(name, content)
            sheet = b"<worksheet %s><sheetData>%s%s</sheetData></worksheet>" % (main, rows, b" " * padding)
            packed.writestr("xl/worksheets/sheet1.xml", sheet)
        return folder

    return build


def cell(place: str) -> bytes:
    row = "".join(filter(str.isdigit, place))
    return f'<row r="{row}"><c r="{place}" t="inlineStr"><is><t>a</t></is></c></row>'.encode()


def csv(line: str, times: int = 2) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / "labels.csv").write_text(f"{line}\n" * times)
        return folder

    return build


def many_empty_in_zip(folder: Path) -> Path:
    """120,000 of them, as `zipfile` would write them."""
    body, directory = bytearray(), bytearray()
    for number in range(120_000):
        name = b"%d.jpg" % number
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, *[0] * 7, len(name), *[0] * 5, len(body))
        directory += name
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, *[0] * 7, len(name), 0) + name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 120_000 & 0xFFFF, 120_000 & 0xFFFF, len(directory), len(body), 0)
    (folder / "many.zip").write_bytes(body + directory + end)
    return folder / "many.zip"


def deep_in_tar(folder: Path) -> Path:
    """2,000 files 1,900 folders deep."""
    with tarfile.open(folder / "deep.tar.gz", "w:gz", compresslevel=1) as archive:
        for number in range(2000):
            entry = tarfile.TarInfo("d/" * 1900 + f"{number}.jpg")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    return folder / "deep.tar.gz"


def nothing(folder: Path) -> Path:
    return folder


# What is done with them


def recipe(file: Path) -> str:
    return str(read_recipe(str(file), "pets"))


def look(path: Path) -> str:
    with closing(open_source(path)) as source:
        listing = listing_of(source)
        return f"{listing.set_aside} {recognise(listing)}" if not listing.set_aside else str(listing.set_aside[0])


def opened(path: Path) -> str:
    with closing(open_source(path)) as source:
        return f"{len(source.entries)} entries, {len(source.set_aside):,} set aside: {source.set_aside[0][1]}"


def decode(file: Path) -> str:
    return str(examine(file).image.size)


def decode_four_at_once(file: Path) -> str:
    with ThreadPoolExecutor(4) as pool:
        sizes = {small.size for small in pool.map(read_squished, [file] * 4, [224] * 4)}
    return f"{sizes}, {'more' if now_mb() > 300 else 'less'} than 300 MB kept"


def upload_one_name(folder: Path) -> str:
    source = save_uploads(Workspace(folder), ((name, io.BytesIO(b"x")) for name in ["1.jpg"] * 3000))
    return f"{len(list(source.iterdir())):,} files"


def upload_a_long_path(folder: Path) -> str:
    return str(save_uploads(Workspace(folder), [("ab/" * 2000 + "1.jpg", io.BytesIO(b"x"))]))


@dataclass(frozen=True)
class Hostile:
    name: str
    build: Callable[[Path], Path]
    action: Callable[[Path], str]
    said: str
    """A regular expression for the answer."""
    most_mb: int = 250
    most_seconds: float = 10.0


ROWS = [
    Hostile("laughs", text(laughs()), recipe, r"line 1 has an alias or an anchor .* Write the value out"),
    Hostile("lists", text("[" * 20_000), recipe, r"line 1 is nested more than 20 deep\. A recipe needs"),
    Hostile("mappings", text("{a: " * 20_000), recipe, r"line 1 is nested more than 20 deep"),
    Hostile("long recipe", text("# " * 50_001), recipe, "more than 100,000 characters, .* Shorten it"),
    Hostile("long number", text("seed: " + "9" * 5000), recipe, r"value of more than 3,000 characters\. Shorten it"),
    Hostile("no such day", text("seed: 2026-99-99"), recipe, r"not valid YAML: month must be in 1\.\.12"),
    Hostile("thin picture", png(1, 200_000_000, 1, 0), decode, r"1 × 200,000,000 pixels, and at most 65,535 a side"),
    Hostile("deep picture", png(14_100, 14_100, 16, 6), decode, r"would take 1\.6 GB of memory.* Save it smaller"),
    Hostile("four of 60 megapixels", png(8000, 7500, 8, 6, whole=True), decode_four_at_once, "less than 300", 1300, 40),
    Hostile("far cells", excel(cell("A1") + cell("XFD1048576")), look, r"more than 1,000 columns\. Keep only"),
    Hostile("far rows", excel(cell("A1") + cell("A1048576")), look, "holds no images"),
    Hostile("much XML", excel(cell("A1"), 120 * MB), look, r"unpacks to more than 64 MB\. Keep only"),
    Hostile("many columns", csv(",".join(map(str, range(100_000)))), look, r"more than 1,000 columns\. Keep only"),
    Hostile("equal columns", csv(",".join(["name"] * 3000)), look, r"more than 1,000 columns\. Keep only"),
    Hostile("many cells", csv("a,b", 2_100_000), look, r"more than 4,000,000 cells\. Keep only", 1000, 30),
    Hostile("empty entries", many_empty_in_zip, opened, r"0 entries, 120,000 set aside: The file is empty\. Copy"),
    Hostile(
        "deep entries", deep_in_tar, opened, r"0 entries, 2,000 set aside: It lies more than 100 folders deep\. Put"
    ),
    Hostile("one name", nothing, upload_one_name, "3,000 files"),
    Hostile("long path", nothing, upload_a_long_path, r"a name is longer than the disk can keep\. Give the file"),
]


# The runner


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[[str, Path], dict]]:
    """What a process said and took that did an action with a path."""
    command = [sys.executable, "-m", "tests.learner.datasets.test_hostile_inputs"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:

        def ask(action: str, place: Path) -> dict:
            print(json.dumps([action, str(place)]), file=forks.stdin, flush=True)
            return json.loads(forks.stdout.readline())

        yield ask
        forks.stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_it_is_answered_in_words_in_little_time_and_memory(row, tmp_path, measured):
    found = measured(row.action.__name__, row.build(tmp_path))
    assert found["code"] == 0, found
    print(row.name, found)
    assert re.search(row.said, found["said"]), found["said"]
    assert found["seconds"] < row.most_seconds
    assert found["mb"] < row.most_mb


def seconds_computed() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def now_mb(kind: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(kind))


def measure(action: str, place: str) -> dict:
    """Do it; returns what was said with what it took."""
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    resource.setrlimit(resource.RLIMIT_DATA, (6 * 2**30, 6 * 2**30))
    before = seconds_computed()
    try:
        said = globals()[action](Path(place))
    except ThawError as error:
        said = str(error)
    mb = max(now_mb("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
    return {"said": said, "seconds": seconds_computed() - before, "mb": mb}


def fork_for_each() -> None:
    """Of every line a process does the action; answered is what it found, with the code that it ended with."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, json.dumps(measure(*json.loads(line))).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as found:
            answer = json.loads(found.read() or "{}")
        print(json.dumps(answer | {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)


if __name__ == "__main__":
    fork_for_each()
