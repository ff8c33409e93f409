"""A map of 25,000 photos: how long laying it out takes, and how smoothly a page moves it. Prints a table.

The features are made: groups of normally distributed points, as a network would give them; what t-SNE costs hangs on
their number. In the page a real Chromium draws the marks without a GPU, on the same machine as the server; a frame's
time is from one animation frame to the next while the mouse drags.

python benchmarks/photo_map.py [--photos 25000] [--seconds 5] [--write]
"""

import statistics
import sys
import time
from argparse import Namespace
from math import cos, sin, tau
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.live_page import percentile_95, served
from benchmarks.report import BenchmarkError, figure, parser, publish, table
from learner.evaluation.photo_map import PhotoMap, map_file
from learner.jobs.process import use_patient_threads
from learner.questions.answers import keep_answer
from learner.store import Store
from learner.workspace import Workspace
from tools.browser import installed

GROUPS, WIDTH, SPREAD = 100, 512, 4.0
NETWORK = {"dataset": "cells", "backbone": "tf_efficientnet_lite0", "image_size": 64}
HEAD = {"name": "Head", "trainable": "head", "solve": True}
WATCH = """
window.frames = []
window.before = performance.now()
window.watching = true
requestAnimationFrame(function next(at) {
  frames.push(at - before)
  before = at
  if (watching) requestAnimationFrame(next)
})
"""


def main() -> None:
    options = arguments()
    if installed() is None:
        raise BenchmarkError("There is no Chromium to open the page in. Get one: python tools/browser.py")
    use_patient_threads()
    chance = np.random.default_rng(0)
    group = chance.integers(0, GROUPS, options.photos)
    features = chance.normal(0, SPREAD, (options.photos, WIDTH)) + chance.normal(0, 3, (GROUPS, WIDTH))[group]
    from learner.evaluation.map_layout import lay_out

    began = time.monotonic()
    xy = lay_out(features.astype(np.float32))
    laid_out = time.monotonic() - began
    rows = []
    with Home() as home:
        home.add(elpv_data.write_classes(elpv_data.cells(60), home.folder / "cells"), "cells")
        run = home.train("cells", {**NETWORK, "phases": [HEAD]})[0]["run"]
        put_map(Store(Workspace(home.workspace)), run, group, xy)
        with served(home) as address, sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            browser = playwright.chromium.launch(executable_path=installed(), args=flags)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.monotonic()
            page.goto(f"{address}/results?run={run}&view=map")
            page.locator(".map .legend button").first.wait_for(timeout=120_000)
            opened = time.monotonic() - began
            for what, drag in (("moving", "move"), ("drawing a lasso", "lasso"), ("hovering", "")):
                frames = dragged(page, drag, options.seconds)
                rows.append([what, *(figure(one, 0) for one in summary(frames)), f"{len(frames):,}"])
            browser.close()
    text = [
        f"{options.photos:,} photos in {GROUPS} groups. Laying out, from features of {WIDTH} numbers: "
        f"{figure(laid_out, 0)} s. The page, from its address to the marks: {figure(opened, 1)} s.",
        table(("while", "median (ms)", "95th percentile (ms)", "longest (ms)", "frames"), rows),
        "16.7 ms is the screen's own pace.",
    ]
    publish("photo_map", "A map of the photos", text, options.write)


def put_map(store: Store, run_id: int, group: np.ndarray, xy: np.ndarray) -> None:
    """A map with marks of real photos' names, in the place of the run's own."""
    run = store.runs.get(run_id)
    classes, images = run.facts["classes"], store.datasets.images(run.dataset_version_id)
    number = len(xy)
    label = [classes[index % len(classes)] for index in group]
    made = PhotoMap(
        run=run_id,
        dataset="cells",
        version=1,
        classes=classes,
        left_out=0,
        seconds=0,
        path=[f"made/{index:06}.png" for index in range(number)],
        sha256=[images[index % len(images)].sha256 for index in range(number)],
        label=label,
        split=["train" if index % 5 else "valid" for index in range(number)],
        predicted=[classes[0] if index % 17 == 0 else label[index] for index in range(number)],
        probability=[0.9] * number,
        x=[round(float(value), 5) for value in xy[:, 0]],
        y=[round(float(value), 5) for value in xy[:, 1]],
    )
    keep_answer(map_file(store, run), made)


def dragged(page: Page, mode: str, seconds: int) -> list[float]:
    """Milliseconds between frames while the mouse goes round in the map; without a mode its button is up."""
    field = page.locator(".map .field")
    field.scroll_into_view_if_needed()
    if mode:
        page.locator(f".map .{mode}").click()
    box = field.bounding_box()
    assert box is not None
    x, y, reach = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, min(box["width"], box["height"]) * 0.4
    page.mouse.move(x + reach, y)
    if mode:
        page.mouse.down()
    page.evaluate(WATCH)
    end, step = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        step += 1
        page.mouse.move(x + reach * cos(step / 60 * tau), y + reach * sin(step / 60 * tau))
    frames = page.evaluate("() => { watching = false; return frames.slice(1) }")
    if mode:
        page.mouse.up()
        page.wait_for_timeout(1500)
    return frames


def summary(frames: list[float]) -> tuple[float, float, float]:
    return statistics.median(frames), percentile_95(frames), max(frames)


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--photos", type=int, default=25_000, help="marks on the map; default: %(default)s")
    made.add_argument("--seconds", type=int, default=5, help="how long each is watched; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
