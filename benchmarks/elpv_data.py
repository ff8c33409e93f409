"""Photos of solar cells, functional and defective: the ELPV data set, from its wheel, as folders that Thaw imports.

2,624 grey photos of 300 x 300 pixels with a probability of a defect each. Deitsch et al. 2019, Automatic classification
of defective photovoltaic module cells in electroluminescence images, Solar Energy 185, 455–468; CC BY-NC-SA 4.0.
The photos stay in a cache that git ignores.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sklearn.model_selection import train_test_split

from benchmarks.report import CACHE, BenchmarkError

PACKAGE = "elpv-dataset"
FOLDER = CACHE / "elpv"
DEFECTIVE_FROM = 0.5
"""Least probability of a defect that counts as defective: the experts gave 0, 1/3, 2/3 and 1."""


@dataclass(frozen=True)
class Cell:
    """One photo of a solar cell."""

    file: Path
    probability: float
    """Of a defect, 0 to 1."""
    kind: str
    """`mono` or `poly`, for the crystals."""

    @property
    def label(self) -> str:
        return "defective" if self.probability >= DEFECTIVE_FROM else "functional"


def cells(count: int | None = None, seed: int = 0) -> list[Cell]:
    """All photos, downloaded once, or `count` of them drawn by `seed` with the same share of each class."""
    if not (FOLDER / "labels.csv").exists():
        _download()
    return subset(read_cells(FOLDER), count, seed)


def read_cells(folder: Path) -> list[Cell]:
    """The photos that `labels.csv` in `folder` lists: path, probability and kind in a line, parted by blanks."""
    lines = (line.split() for line in (folder / "labels.csv").read_text("utf-8").splitlines())
    return [Cell(folder / path, float(probability), kind) for path, probability, kind in filter(None, lines)]


def subset(every: list[Cell], count: int | None, seed: int) -> list[Cell]:
    """`count` of the cells with the same share of each class; all of them when None or as many as there are."""
    if count is None or count == len(every):
        return every
    if not 0 < count < len(every):
        raise BenchmarkError(f"There are {len(every):,} photos, so {count:,} cannot be drawn from them.")
    return _parted(every, count, seed)[0]


def split(every: list[Cell], seed: int, valid: float, test: float = 0.0) -> dict[str, list[Cell]]:
    """The cells as `train`, `valid` and, unless `test` is 0, `test`: disjoint, each with the same share of each class.

    `test` is a share of all cells, `valid` a share of those that are left.
    """
    parts = {"train": every}
    for name, portion in (("test", test), ("valid", valid)):
        if portion:
            parts["train"], parts[name] = _parted(parts["train"], 1 - portion, seed)
    return {name: parts[name] for name in ("train", "valid", "test") if name in parts}


def write_classes(every: Iterable[Cell], folder: Path) -> Path:
    """Put the photos into `folder`/functional and `folder`/defective, by hard links where the disk allows them."""
    for cell in every:
        target = folder / cell.label / cell.file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(cell.file)
        except OSError:
            shutil.copyfile(cell.file, target)
    return folder


def write_split(parts: dict[str, list[Cell]], folder: Path) -> Path:
    """Put each part into a folder of its name, with one folder a class in it."""
    for name, part in parts.items():
        write_classes(part, folder / name)
    return folder


def _parted(every: list[Cell], first: int | float, seed: int) -> list[list[Cell]]:
    """Two lists with the same share of each class; `first` is the number or the share of cells in the first one."""
    try:
        return train_test_split(every, train_size=first, stratify=[cell.label for cell in every], random_state=seed)
    except ValueError as error:
        raise BenchmarkError(f"{len(every):,} photos are too few to part by class ({error}). Take more.") from None


def _download() -> None:
    """Fetch the wheel with pip and unpack its photos; a download that breaks off leaves nothing behind."""
    CACHE.mkdir(exist_ok=True)
    print("Downloading the ELPV photos (91 MB, once).", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(Path(temporary).glob("*.whl"), None)
        if done.returncode or wheel is None:
            reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no wheel came")
            raise BenchmarkError(
                f"The ELPV photos could not be downloaded by pip: {reason.removeprefix('ERROR: ')}. "
                f"With internet, `pip download --no-deps {PACKAGE}` must work in this environment."
            )
        unpacked = unpack(wheel, Path(temporary) / "elpv")
        unpacked.replace(FOLDER)


def unpack(wheel: Path, folder: Path) -> Path:
    """Write the wheel's `labels.csv` and photos into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            path = PurePosixPath(entry)
            if "data" in path.parts and path.suffix in (".csv", ".png"):
                target = folder.joinpath(*path.parts[path.parts.index("data") + 1 :])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
    if not (folder / "labels.csv").exists():
        raise BenchmarkError(f"{wheel.name} holds no data/labels.csv; the package {PACKAGE} has changed.")
    return folder
