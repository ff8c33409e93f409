"""What a data set of 250, 2,500 and 25,000 photos costs: time an image, memory, disk. Prints a table.

The ELPV photos are repeated, each copy a little shifted and brightened, so that no two files are the same. The network
has random weights, which changes no time.

python benchmarks/scaling.py [--sizes 250 2500 25000] [--backbone vgg16 --image-size 224] [--write]
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.report import figure, megabytes, parser, publish, table

EPOCHS = 2
SHIFT, BRIGHTER = 8, 0.01
"""Copies differ by up to 8 x 8 shifts (pixels) and, after these, by steps of brightness (share)."""
QUALITY = 90


@dataclass(frozen=True)
class Cost:
    """Of one data set. Disk is what Thaw keeps beside the photos themselves, at most at any moment."""

    images: int
    added_s: float
    trained_s: float
    """Of the whole training process."""
    epoch_s: float
    peak_rss: int
    peak_anon: int
    cache: int
    thumbnails: int


def main() -> None:
    options = arguments()
    costs = []
    for size in options.sizes:
        print(f"Now: {size:,} photos", file=sys.stderr, flush=True)
        costs.append(cost(size, options))
    publish("scaling", "Larger data sets", paragraphs(costs, options), options.write)


def cost(size: int, options: Namespace) -> Cost:
    recipe = {
        "backbone": options.backbone,
        "weights": "random",
        "image_size": options.image_size,
        "phases": [{"name": "Warm-up", "trainable": "head", "epochs": EPOCHS}],
    }
    with Home() as home:
        cache, thumbnails = home.workspace / "cache", home.workspace / "cache" / "thumbnails"
        photos = write_photos(size, home.folder / "photos")
        added = home.add(photos, "photos")
        run, trained = home.train("photos", recipe, watch=lambda: disk_use(cache, leave_out=thumbnails))
        return Cost(
            size,
            added.seconds,
            trained.seconds,
            mean(epoch["seconds"] for epoch in run["epochs"]),
            trained.peak_rss,
            trained.peak_anon,
            trained.peak_watched,
            disk_use(thumbnails),
        )


def write_photos(size: int, folder: Path) -> Path:
    """`size` different photos in class folders, always the same ones."""
    cells = elpv_data.cells(min(size, len(elpv_data.cells())))
    for label in {cell.label for cell in cells}:
        (folder / label).mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        counts = [len(range(index, size, len(cells))) for index in range(len(cells))]
        list(pool.map(write_copies, cells, counts, [folder] * len(cells), chunksize=32))
    return folder


def write_copies(cell: elpv_data.Cell, count: int, folder: Path) -> None:
    """`count` JPEGs of one photo, no two of them alike."""
    with Image.open(cell.file) as opened:
        photo = opened.convert("L")
    for number in range(count):
        brighter, shift = divmod(number, SHIFT * SHIFT)
        top, left = divmod(shift, SHIFT)
        copy = photo.crop((left, top, photo.width - SHIFT + left, photo.height - SHIFT + top))
        factor = 1 - BRIGHTER * brighter
        copy.point([round(factor * value) for value in range(256)]).save(
            folder / cell.label / f"{cell.file.stem}-{number}.jpg", quality=QUALITY
        )


def disk_use(folder: Path, leave_out: Path | None = None) -> int:
    """Bytes that the files below `folder` take on the disk, which for files with holes is less than their size."""
    return sum(512 * entry.stat().st_blocks for entry in files(folder, leave_out))


def files(folder: Path, leave_out: Path | None) -> Iterator[os.DirEntry]:
    """Files come and go while this looks at them."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    yield entry
                elif Path(entry) != leave_out:
                    yield from files(Path(entry), leave_out)
    except FileNotFoundError:
        return


def paragraphs(costs: list[Cost], options: Namespace) -> list[str]:
    def each(seconds: float, one: Cost) -> str:
        return figure(1000 * seconds / one.images, 1)

    headings = ("photos", "import (ms)", "training (ms)", "an epoch (ms)", "memory", "of it anonymous")
    rows = [
        [
            f"{one.images:,}",
            each(one.added_s, one),
            each(one.trained_s, one),
            each(one.epoch_s, one),
            megabytes(one.peak_rss),
            megabytes(one.peak_anon),
            megabytes(one.cache),
            megabytes(one.thumbnails),
        ]
        for one in costs
    ]
    return [
        f"{options.backbone} at {options.image_size} px with random weights, {EPOCHS} epochs of the head, the recipe's "
        "other settings as they are by default; photos of 292 × 292 pixels.",
        table((*headings, "photos and features", "thumbnails"), rows),
        "Times are an image's share: of the import, of the whole training process with its start, and of one of its "
        "epochs, validation included. *memory*: the highest sum over the training's processes of resident memory, in "
        "which pages of files that could be dropped count too, and of anonymous memory, which could not. The last two "
        "columns are disk in the workspace's `cache` folder: decoded photos and outputs of frozen stages, and the "
        "pages' thumbnails.",
    ]


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="+", default=[250, 2500, 25000], help="default: 250 2500 25000")
    made.add_argument("--backbone", default="tf_efficientnet_lite0", help="default: %(default)s, to end in minutes")
    made.add_argument("--image-size", type=int, default=96, help="pixels a side; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
