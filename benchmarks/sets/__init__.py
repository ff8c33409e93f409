"""Small labelled sets of real images, and how each is used: by name, one row a set.

A set is made once, as CLASS/IMAGE in a cache that git ignores, and is the same files every time.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import CACHE, BenchmarkError
from benchmarks.sets import builders

FOLDER = CACHE / "sets"
MOST_IMAGES = 240
"""Of a set, so that a benchmark over all of them is bearable."""


@dataclass(frozen=True)
class Photo:
    """One labelled image."""

    file: Path
    label: str
    group: str
    """Images of one group lie on one side of every split; an image of its own kind is a group of one."""
    sha256: str
    """Of the file."""

    @property
    def name(self) -> str:
        """CLASS/IMAGE, the same on every machine."""
        return f"{self.label}/{self.file.name}"


@dataclass(frozen=True)
class ImageSet:
    """A set and how it is used."""

    what: str
    """What a report says of it."""
    build: Callable[[Path], None]
    """Writes CLASS/IMAGE into the folder."""
    size: int = 96
    """Pixels of the square that a network sees."""
    mirror: bool = True
    """Whether an image keeps its label when left and right change places."""
    group_of: Callable[[str], str] | None = None
    """The group of an image, from its file's name without ending."""


SETS = {
    "landscapes": ImageSet("photos of land, 5 kinds", builders.landscapes),
    "elpv": ImageSet("photos of solar cells, functional or defective", builders.elpv),
    "emoji": ImageSet("emoji, 15 kinds of things", builders.emoji),
    "cards": ImageSet(
        "playing cards, 13 ranks; whole decks are held back",
        builders.cards,
        mirror=False,
        group_of=lambda name: name.rsplit("-", 2)[0],
    ),
    "fashion": ImageSet("small photos of garments, 10 kinds", builders.fashion, size=64),
    "animalshapes": ImageSet("small silhouettes of 10 animals", builders.animalshapes, size=64),
    "handdigits": ImageSet("handwritten digits, 28 × 28", builders.handdigits, size=64, mirror=False),
    "digits": ImageSet("handwritten digits, 8 × 8", builders.digits, size=64, mirror=False),
}


def photos(name: str, most: int = MOST_IMAGES) -> list[Photo]:
    """The set's images by name, at most `most`, drawn by their content; the set is made where it is missing."""
    folder = FOLDER / name
    if not folder.exists():
        _make(SETS[name], folder)
    return drawn(read(folder, SETS[name].group_of), most)


def read(folder: Path, group_of: Callable[[str], str] | None = None) -> list[Photo]:
    """The images in a folder of class folders, sorted by name."""
    found = []
    for file in folder.glob("*/*"):
        label = file.parent.name
        group = group_of(file.stem) if group_of else f"{label}/{file.name}"
        found.append(Photo(file, label, group, hashlib.sha256(file.read_bytes()).hexdigest()))
    return sorted(found, key=lambda photo: photo.name)


def drawn(every: list[Photo], most: int) -> list[Photo]:
    """At most `most` of them: those whose content has the lowest checksums, which chooses by nothing else."""
    kept = sorted(every, key=lambda photo: (photo.sha256, photo.name))[:most]
    return sorted(kept, key=lambda photo: photo.name)


def digest(every: list[Photo]) -> str:
    """The same for the same images under the same names."""
    lines = "\n".join(f"{photo.name} {photo.group} {photo.sha256}" for photo in every)
    return hashlib.sha256(lines.encode()).hexdigest()


def copy_classes(every: list[Photo], folder: Path) -> Path:
    """Put the images into `folder` as CLASS/IMAGE."""
    for photo in every:
        target = folder / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.file, target)
    return folder


def _make(wanted: ImageSet, folder: Path) -> None:
    """A set that could not be made to its end leaves nothing behind."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        made = Path(temporary) / folder.name
        wanted.build(made)
        if not any(made.glob("*/*")):
            raise BenchmarkError(f"The set {folder.name} came out empty; its package has changed.")
        made.replace(folder)
