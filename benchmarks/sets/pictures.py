"""What a builder makes of a package: pictures with a label, and the folders of files they become."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Picture:
    """One labelled picture, before it is written as LABEL/NAME.png."""

    label: str
    name: str
    image: Image.Image

    @property
    def digest(self) -> str:
        """Of what is to be seen: the same for the same pixels, whatever the file."""
        seen = self.image.convert("RGB")
        return hashlib.sha256(repr(seen.size).encode() + seen.tobytes()).hexdigest()


def write(pictures: Iterable[Picture], folder: Path, jpeg: bool = False, per_class: int | None = None) -> None:
    """Write each picture once, at most `per_class` of a class, drawn by what they show.

    Pictures that are there twice would lie on both sides of a split: of those in one class the first stays, those in
    several classes all go, as nothing tells which label is right.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Picture] = {}
    for picture in pictures:
        digest = picture.digest
        labels[digest].add(picture.label)
        first.setdefault(digest, picture)
    classes: dict[str, list[Picture]] = defaultdict(list)
    for digest in sorted(first):
        if len(labels[digest]) == 1:
            classes[first[digest].label].append(first[digest])
    ending, options = _format(jpeg)
    for label, some in classes.items():
        (folder / label).mkdir(parents=True)
        for picture in some[:per_class]:
            picture.image.save(folder / label / f"{picture.name}.{ending}", **options)


def on_white(image: Image.Image) -> Image.Image:
    """RGB, with white where the picture is transparent."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _format(jpeg: bool) -> tuple[str, dict[str, Any]]:
    return ("jpg", {"quality": 92}) if jpeg else ("png", {})
