"""Known data sets that can be had by a click: what they are, where they come from, how they are laid out.

Sizes and licences are what their publishers say; nothing of them is part of Thaw.
"""

import csv
import importlib.util
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from learner.datasets.gallery_names import FLOWERS_17, FLOWERS_102, IMAGENETTE, numbered
from learner.datasets.sources import Cancelled, Progress, open_source
from learner.errors import DatasetError, ImportCancelled

MIRROR_SETTING = "THAW_GALLERY_BASE"
"""A mirror of the known sets: an address that takes the place of scheme and host in theirs."""
SEE_PAGE = "See its page"
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"


@dataclass(frozen=True)
class Known:
    """A data set that somebody publishes."""

    key: str
    title: str
    description: str
    classes: int
    images: int
    num_bytes: int
    """To download; 0 where nothing is downloaded or its size is not known before."""
    license: str
    address: str
    """Its page, for people."""
    urls: tuple[str, ...]
    """The files; empty where it comes from an installed package."""
    layout: dict[str, Any]
    """Fields of a `learner.datasets.layouts.Choice`."""


_ALL = (
    Known(
        "digits",
        "Handwritten digits",
        "Tiny grey pictures of 8 × 8 pixels, to try Thaw out in a minute. Needs no internet.",
        10,
        1797,
        0,
        SEE_PAGE,
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        (),
        {"kind": "folders"},
    ),
    Known(
        "elpv",
        "Solar cells (ELPV)",
        "Electroluminescence photos of solar cells, 300 × 300 pixels; defective from a probability of 0.5.",
        2,
        2624,
        90_801_454,
        "CC BY-NC-SA 4.0",
        "https://github.com/zae-bayern/elpv-dataset",
        (),
        {"kind": "folders"},
    ),
    Known(
        "flower-photos",
        "Flowers (TensorFlow)",
        "Daisies, dandelions, roses, sunflowers and tulips, in sizes as they come from cameras.",
        5,
        3670,
        228_813_984,
        "Creative Commons Attribution; LICENSE.txt in it names the photographers",
        "https://www.tensorflow.org/datasets/catalog/tf_flowers",
        ("https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",),
        {"kind": "folders"},
    ),
    Known(
        "flowers-17",
        "Flowers 17 (Oxford)",
        "17 flowers that are common in Britain, 80 photos of each.",
        17,
        1360,
        60_000_000,
        SEE_PAGE,
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/",
        (f"{_OXFORD}/flowers/17/17flowers.tgz",),
        {"kind": "numbered", "per_class": 80, "classes": numbered(FLOWERS_17)},
    ),
    Known(
        "flowers-102",
        "Flowers 102 (Oxford)",
        "102 flowers with splits of their own; the test images are three quarters of all.",
        102,
        8189,
        344_878_000,
        SEE_PAGE,
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        (
            f"{_OXFORD}/flowers/102/102flowers.tgz",
            f"{_OXFORD}/flowers/102/imagelabels.mat",
            f"{_OXFORD}/flowers/102/setid.mat",
        ),
        {"kind": "setid", "classes": numbered(FLOWERS_102)},
    ),
    Known(
        "flowers-102-fastai",
        "Flowers 102 (fastai's copy)",
        "The same photos with the splits in text files; its classes are numbers.",
        102,
        8189,
        345_236_087,
        SEE_PAGE,
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        (f"{_FASTAI}/oxford-102-flowers.tgz",),
        {
            "kind": "table",
            "table": "labels.csv",
            "file_column": "file",
            "label_column": "class",
            "split_column": "split",
        },
    ),
    Known(
        "pets",
        "Cats and dogs (Oxford-IIIT Pet)",
        "37 breeds of cats and dogs, about 200 photos of each; the breed is part of the file's name.",
        37,
        7390,
        791_918_971,
        "CC BY-SA 4.0",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        (f"{_OXFORD}/pets/data/images.tar.gz",),
        {"kind": "names", "pattern": r"([^/]+)_\d+\.jpg$"},
    ),
    Known(
        "imagenette-160",
        "Imagenette, 160 pixels (fastai)",
        "Ten classes of ImageNet that are easily told apart, the shorter side 160 pixels.",
        10,
        13_394,
        99_003_388,
        "Apache 2.0; the photos are from ImageNet, see its page",
        "https://github.com/fastai/imagenette",
        (f"{_FASTAI}/imagenette2-160.tgz",),
        {"kind": "splits", "classes": IMAGENETTE},
    ),
    Known(
        "imagenette-320",
        "Imagenette, 320 pixels (fastai)",
        "Ten classes of ImageNet that are easily told apart, the shorter side 320 pixels.",
        10,
        13_394,
        341_663_724,
        "Apache 2.0; the photos are from ImageNet, see its page",
        "https://github.com/fastai/imagenette",
        (f"{_FASTAI}/imagenette2-320.tgz",),
        {"kind": "splits", "classes": IMAGENETTE},
    ),
    Known(
        "knifey-spoony",
        "Knives, spoons and forks (knifey-spoony)",
        "Cutlery, 200 × 200 pixels, taken from films; its 530 test images have other backgrounds.",
        3,
        4700,
        0,
        "Free for any use",
        "https://github.com/Hvass-Labs/knifey-spoony",
        ("https://github.com/Hvass-Labs/knifey-spoony/raw/master/knifey-spoony.tar.gz",),
        {"kind": "splits"},
    ),
)
KNOWN: dict[str, Known] = {known.key: known for known in _ALL}
"""By key, in the order they are shown in."""


def fetch(
    key: str, folder: Path, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> tuple[Path, dict[str, Any]]:
    """Bring the known set `key` into `folder`; returns what to open as a source, and the fields of its layout.

    Raises DatasetError when there is no such set, or it cannot be had here and now, and ImportCancelled.
    """
    known = KNOWN.get(key)
    if known is None:
        raise DatasetError(f"There is no known data set {key!r}. There are: {', '.join(KNOWN)}.")
    folder.mkdir(parents=True, exist_ok=True)
    if not known.urls:
        return _INSTALLED[key](folder / key, cancelled or (lambda: False)), known.layout
    from learner.datasets.sources.web import download  # brings an HTTP client, which pages need not wait for

    files = [download(_at_mirror(url), folder, progress, cancelled) for url in known.urls]
    if key == "flowers-102-fastai":
        _write_table(files[0], folder, progress, cancelled)
        return folder, known.layout
    return (files[0] if len(files) == 1 else folder), known.layout


def _at_mirror(url: str) -> str:
    base = os.environ.get(MIRROR_SETTING, "").strip().rstrip("/")
    return f"{base}{urlsplit(url).path}" if base else url


def _digits(folder: Path, cancelled: Cancelled) -> Path:
    from learner.datasets.samples import DigitsSource  # brings scikit-learn when it is made

    digits = DigitsSource()
    for entry in digits.entries:
        _go_on(cancelled)
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(digits.read(entry))
    return folder


DEFECTIVE_FROM = 0.5
"""Least probability of a defect that counts as defective: the experts gave 0, 1/3, 2/3 and 1."""


def _elpv(folder: Path, cancelled: Cancelled) -> Path:
    spec = importlib.util.find_spec("elpv_dataset")
    folders = spec.submodule_search_locations if spec else None
    data = Path(folders[0]) / "data" if folders else Path()
    if not folders or not (data / "labels.csv").exists():
        raise DatasetError(
            f"The photos of solar cells come as a Python package ({KNOWN['elpv'].num_bytes / 1e6:.0f} MB) that is not "
            "installed. Run “pip install elpv-dataset” where Thaw is installed, then choose them again."
        )
    for line in (data / "labels.csv").read_text("utf-8").splitlines():
        _go_on(cancelled)
        if not line.split():
            continue
        path, probability, _crystal = line.split()
        photo = data / path
        target = folder / ("defective" if float(probability) >= DEFECTIVE_FROM else "functional") / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(photo)
        except OSError:  # another disk, or one without links
            shutil.copyfile(photo, target)
    return folder


_INSTALLED: dict[str, Callable[[Path, Cancelled], Path]] = {"digits": _digits, "elpv": _elpv}


def _go_on(cancelled: Cancelled) -> None:
    if cancelled():
        raise ImportCancelled("The import was stopped; nothing of it was kept. Start it again whenever you like.")


def _write_table(archive: Path, folder: Path, progress: Progress | None, cancelled: Cancelled | None) -> None:
    """One labels.csv of the lines in train.txt, valid.txt and test.txt: `jpg/image_03860.jpg 16`."""
    rows = []
    with closing(open_source(archive, folder, progress, cancelled)) as source:
        for entry in source.entries:
            name = entry.path.rpartition("/")[2]
            if name not in ("train.txt", "valid.txt", "test.txt"):
                continue
            for line in source.read(entry).decode("utf-8", "replace").splitlines():
                file, _, label = line.rpartition(" ")
                rows.append((file, label, name.removesuffix(".txt")))
    if not rows:
        raise DatasetError(f"{archive.name} holds no train.txt, so it is not the set it should be. Report this.")
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("file", "class", "split"), *rows])
