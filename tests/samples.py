"""Small real images for tests: classes that differ in colour and shape, so that a model can learn them."""

import colorsys
import random
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

from PIL import Image, ImageDraw

from learner.recipe import Phase, Recipe

ROOT = Path(__file__).parents[1]
SMALL = "test_resnet"
"""timm's smallest network with batch-norm: five stages, 0.4 million parameters."""
SMALL_STAGES = ["stem", "layer1", "layer2", "layer3", "layer4"]

CATS_AND_DOGS = {"cat": 6, "dog": 6}


def copy_workspace(home: Path, to: Path, *but: str) -> None:
    """All of it but files of such names, while a process that another test began may have its database open."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("thaw.db*", *but), dirs_exist_ok=True)
    with closing(sqlite3.connect(home / "thaw.db")) as original, closing(sqlite3.connect(to / "thaw.db")) as copy:
        original.backup(copy)


def make_photos(
    folder: Path, classes: dict[str, int] = CATS_AND_DOGS, size: tuple[int, int] = (64, 48), seed: int = 0
) -> Path:
    """Write `classes[label]` JPEGs of `size` (width, height) into `folder/label/`; returns `folder`.

    No two images are the same. A class keeps its hue and shape whatever the seed, as long as `classes` has the same
    labels.
    """
    for index, label in enumerate(sorted(classes)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(classes[label]):
            chance = random.Random(f"{seed} {label} {number}")
            photo = make_photo(index, len(classes), size, chance)
            photo.save(folder / label / f"{label}_{number:03}.jpg", quality=90)
    return folder


def write_probabilities(folder: Path, every: int = 2) -> Path:
    """A table beside `make_photos` of two classes, cat and dog; returns it.

    One photo in `every` of each class is what its folder says with probability 2/3 only; the others are certain.
    """
    rows = ["file,probability:cat,probability:dog"]
    for photo in sorted(folder.rglob("*.jpg")):
        is_cat, number = photo.parent.name == "cat", int(photo.stem[-3:])
        cat = (0.667 if is_cat else 0.333) if number % every == 0 else float(is_cat)
        rows.append(f"{photo.relative_to(folder)},{cat},{1 - cat:.3f}")
    table = folder / "labels.csv"
    table.write_text("\n".join(rows))
    return table


def make_photo(index: int, classes: int, size: tuple[int, int], chance: random.Random) -> Image.Image:
    """One photo of class `index` of `classes`: its shape in its hue, somewhere on a noisy grey ground."""
    width, height = size
    grain = Image.frombytes("RGB", (8, 6), chance.randbytes(8 * 6 * 3)).resize(size)
    photo = Image.blend(Image.new("RGB", size, (128, 128, 128)), grain, 0.4)
    hue = index / max(classes, 1) + chance.uniform(-0.02, 0.02)
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, 0.9, chance.uniform(0.75, 1)))
    side = round(min(size) * chance.uniform(0.55, 0.8))
    left, top = chance.randint(0, width - side), chance.randint(0, height - side)
    box = (left, top, left + side, top + side)
    draw = ImageDraw.Draw(photo)
    shape = index % 4
    if shape == 0:
        draw.ellipse(box, fill=colour)
    elif shape == 1:
        draw.rectangle(box, fill=colour)
    elif shape == 2:
        draw.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], fill=colour)
    else:
        draw.ellipse(box, outline=colour, width=max(side // 5, 2))
    return photo


def make_zip(folder: Path, file: Path, inside: str = "") -> Path:
    """Pack `folder` into the .zip file `file`, under the folder `inside`; returns `file`."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(inside) / path.relative_to(folder))
    return file


def small_recipe(dataset: str = "pets", phases: list[Phase] | None = None, **changes) -> Recipe:
    """A recipe that trains in about a second."""
    small = {"backbone": SMALL, "weights": "random", "image_size": 32, "batch_size": 8}
    return Recipe(dataset, **small | changes, phases=phases or [Phase("Warm-up", epochs=1, lr=0.01)])


TWO_PHASES = small_recipe(
    phases=[Phase("Warm-up", epochs=1), Phase("Fine-tuning", trainable="all", epochs=1, lr=[1e-4, 1e-3])]
)
"""A recipe as most people write it."""

CLASSIC = Recipe("pets", phases=[Phase("Warm-up", epochs=2), Phase("Fine-tuning", trainable="all", epochs=3)])
"""The head by steps, then everything, and nothing else set."""
