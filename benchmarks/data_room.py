"""What it takes to bring 25,000 photos in, to check them, and to look at them, beside CleanVision on the same photos.

The photos are drawn: a shape in the hue of its class on its own random ground. Among them are a known number of exact
copies, of copies saved again smaller, and of photos under a wrong class, so that what is found can be counted.

python benchmarks/data_room.py [--images 25000] [--classes 10] [--no-peer] [--write]
"""

import json
import os
import random
import sys
import zipfile
from argparse import Namespace
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import environments
from benchmarks.home import Home
from benchmarks.processes import Finished, measured
from benchmarks.report import ROOT, BenchmarkError, figure, megabytes, parser, publish, share, table

SIZE = (640, 480)
GROUND = (16, 12)
EXACT, SMALLER, WRONG = 0.01, 0.02, 0.01
"""Shares of the photos that are exact copies, smaller copies, and photos under a wrong class."""
VIEWS = ("pictures", "checks", "split", "card", "versions")


@dataclass(frozen=True)
class Planted:
    """Paths below the folder of photos."""

    exact: set[str]
    smaller: dict[str, str]
    """Copy → original."""
    wrong: set[str]


def main() -> None:
    options = arguments()
    with Home() as home:
        planted = write_photos(options.images, options.classes, home.folder / "photos")
        archive = pack(home.folder / "photos", home.folder / "photos.zip")
        added = home.add(archive, "photos")
        quick = home.learner("data", "check", "photos", "--json")
        labels = home.learner("data", "check", "photos", "--labels", "--json")
        views = view_times(home)
        peer = None if options.no_peer else clean_vision(home.folder / "photos")
        text = paragraphs(options, archive, planted, added, quick, labels, views, peer)
    publish("data_room", "The data room", text, options.write)


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=25_000, help="photos; default: %(default)s")
    made.add_argument("--classes", type=int, default=10, help="of them; default: %(default)s")
    made.add_argument("--no-peer", action="store_true", help="leave CleanVision out")
    return made.parse_args()


def write_photos(number: int, classes: int, folder: Path) -> Planted:
    """`number` photos in all, the planted ones among them, always the same ones."""
    chance = random.Random(0)
    drawn = number - round(number * EXACT) - round(number * SMALLER)
    labels = [f"class {index % classes}" for index in range(drawn)]
    wrong = set(chance.sample(range(drawn), round(number * WRONG)))
    shown = [
        f"class {(index + 1 + chance.randrange(classes - 1)) % classes}" if index in wrong else labels[index]
        for index in range(drawn)
    ]
    for label in set(shown):
        (folder / label).mkdir(parents=True)
    files = [folder / label / f"{index:06}.jpg" for index, label in enumerate(shown)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw_photo, range(drawn), labels, [classes] * drawn, files, chunksize=64))
    right = [index for index in range(drawn) if index not in wrong]
    copied = chance.sample(right, number - drawn)
    exact, smaller = set(), {}
    for place, index in enumerate(copied):
        original = files[index]
        copy = original.with_name(f"copy of {original.name}")
        if place < round(number * EXACT):
            copy.write_bytes(original.read_bytes())
            exact.add(below(copy))
        else:
            Image.open(original).resize((SIZE[0] // 2, SIZE[1] // 2)).save(copy, quality=70)
            smaller[below(copy)] = below(original)
    return Planted(exact, smaller, {below(files[index]) for index in wrong})


def below(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def draw_photo(seed: int, label: str, classes: int, file: Path) -> None:
    """A shape in the hue of its class, somewhere on a random ground."""
    chance, kind = random.Random(seed), int(label.split()[1])
    width, height = GROUND
    photo = Image.frombytes("RGB", GROUND, chance.randbytes(3 * width * height)).resize(SIZE, Image.Resampling.BICUBIC)
    photo = Image.blend(photo, Image.new("RGB", SIZE, (128, 128, 128)), 0.5)
    side = round(SIZE[1] * chance.uniform(0.4, 0.75))
    left, top = chance.randint(0, SIZE[0] - side), chance.randint(0, SIZE[1] - side)
    hue = (360 * kind // classes + chance.randint(-6, 6)) % 360
    colour = f"hsv({hue}, {chance.randint(75, 100)}%, {chance.randint(60, 100)}%)"
    drawing, box = ImageDraw.Draw(photo), (left, top, left + side, top + side)
    if kind % 3 == 0:
        drawing.ellipse(box, fill=colour)
    elif kind % 3 == 1:
        drawing.rectangle(box, fill=colour)
    else:
        drawing.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], fill=colour)
    photo.save(file, quality=88)


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(folder.rglob("*.jpg")):
            packed.write(file, file.relative_to(folder.parent))
    return archive


def view_times(home: Home) -> dict[str, tuple[float, float]]:
    """View of the Data page → seconds of its first showing, and the median of five more, without the browser's part."""
    done = measured([sys.executable, __file__, "--views"], {"THAW_HOME": str(home.workspace), "HF_HUB_OFFLINE": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def print_view_times() -> None:
    import statistics
    import time

    import streamlit
    from streamlit.testing.v1 import AppTest

    def seconds(app: AppTest) -> float:
        began = time.perf_counter()
        app.run()
        if app.exception or app.error:
            raise BenchmarkError("The Data page failed.")
        return time.perf_counter() - began

    def opened() -> AppTest:
        return AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=120).run()

    opened().switch_page("pages/data.py").run()  # loads modules
    times = {}
    for view in VIEWS:
        app = opened().switch_page("pages/data.py")
        streamlit.cache_resource.clear()  # as on a server that has just started
        app.session_state["data-view"] = view
        first = seconds(app)
        times[view] = (first, statistics.median(seconds(app) for _ in range(5)))
        if view not in app.segmented_control(key="data-view").value:
            raise BenchmarkError(f"The Data page shows no {view}.")
    print(json.dumps(times))


def clean_vision(folder: Path) -> tuple[Finished, dict]:
    """What CleanVision finds in the same folder, in an environment of its own."""
    try:
        python = environments.python_of("cleanvision")
    except BenchmarkError as error:
        raise BenchmarkError(f"{error} Or use --no-peer.") from None
    done = measured([str(python), str(Path(__file__).parent / "peers" / "cleanvision_check.py"), str(folder)], {})
    return done, json.loads(done.stdout.splitlines()[-1])


def paragraphs(
    options: Namespace,
    archive: Path,
    planted: Planted,
    added: Finished,
    quick: Finished,
    labels: Finished,
    views: dict[str, tuple[float, float]],
    peer: tuple[Finished, dict] | None,
) -> list[str]:
    findings = {finding["key"]: finding for finding in json.loads(quick.stdout)["findings"]}
    doubts = {finding["key"]: finding for finding in json.loads(labels.stdout)["findings"]}
    near = [set(group) for group in groups_of(findings, "near", "near_labels", "near_splits")]
    pairs = sum(any({copy, original} <= group for group in near) for copy, original in planted.smaller.items())
    false = sum(len(group) for group in near) - 2 * pairs
    exact = {path for group in groups_of(findings, "exact_done", "exact") for path in group}
    doubted = {path for group in groups_of(doubts, "wrong_label") for path in group}
    rows = [
        timing("`data add`: read, verify, measure, compare, copy", added, options.images),
        timing("`data check`: the quick checks", quick, options.images),
        timing("`data check --labels`: by a pretrained network too", labels, options.images),
    ]
    found = [
        ["exact copies found", share(len(exact & planted.exact) / len(planted.exact)), None],
        ["smaller copies found with their original", share(pairs / len(planted.smaller)), None],
        ["images taken for near duplicates that are none", false, None],
        ["wrong classes doubted", share(len(doubted & planted.wrong) / len(planted.wrong)), None],
        ["doubted classes that are wrong", share(len(doubted & planted.wrong) / max(len(doubted), 1)), None],
    ]
    if peer:
        done, theirs = peer
        rows.append(timing("CleanVision: its checks, two processes", done, options.images))
        groups = [set(group) for group in theirs["near"]]
        pairs = sum(any({copy, original} <= group for group in groups) for copy, original in planted.smaller.items())
        same = {path for group in theirs["exact"] for path in group}
        found[0][2] = share(len(same & planted.exact) / len(planted.exact))
        found[1][2] = share(pairs / len(planted.smaller))
        found[2][2] = sum(len(group) for group in groups) - 2 * pairs
    shown = [[view, figure(1000 * first), figure(1000 * again)] for view, (first, again) in views.items()]
    counts = Counter(exact=len(planted.exact), smaller=len(planted.smaller), wrong=len(planted.wrong))
    return [
        f"{options.images:,} drawn photos of {SIZE[0]} × {SIZE[1]} pixels in {options.classes} classes, "
        f"{megabytes(archive.stat().st_size)} as a .zip; among them {counts['exact']:,} exact copies, "
        f"{counts['smaller']:,} copies at half the size and {counts['wrong']:,} under a wrong class. One run.",
        table(("what", "seconds", "ms an image", "peak memory", "of it anonymous"), rows),
        table(("what was planted", "Thaw", "CleanVision"), found),
        "The Data page with these photos, without the browser's part: the first showing on a server, and the median of "
        "five more.",
        table(("view", "first (ms)", "again (ms)"), shown),
    ]


def timing(what: str, done: Finished, images: int) -> list[str | None]:
    memory = [megabytes(done.peak_rss), megabytes(done.peak_anon)]
    return [what, figure(done.seconds), figure(1000 * done.seconds / images, 2), *memory]


def groups_of(findings: dict[str, dict], *keys: str) -> list[list[str]]:
    return [group for key in keys if key in findings for group in findings[key]["groups"]]


if __name__ == "__main__":
    print_view_times() if sys.argv[1:] == ["--views"] else main()
