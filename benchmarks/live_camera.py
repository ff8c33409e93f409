"""Pictures a second that the Predict page's live camera has answered, in a real Chromium on the same machine.

The browser shows a film of its own instead of a camera (640 × 480), squishes each picture to what the model takes and
sends it to the server; the figures are those that the page itself shows, so browser, server and model are in them.

python benchmarks/live_camera.py [--weights vgg16.safetensors] [--seconds 20] [--write]
"""

import re
import statistics
import sys
import time
from argparse import Namespace
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.live_page import served
from benchmarks.report import BenchmarkError, figure, parser, publish, table
from tools.browser import installed

AIM = 5.0
PHOTOS = 80
STARTING_MS = 120_000
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
SAID = re.compile(r"([\d.]+) pictures a second; the model took (\d+) ms")
BACKBONES = ("vgg16", "tf_efficientnet_lite0")
HEAD = {"name": "Head", "trainable": "head", "solve": True}


def main() -> None:
    options = arguments()
    if installed() is None:
        raise BenchmarkError("There is no Chromium to open the page in. Get one: python tools/browser.py")
    rows, slowest = [], float("inf")
    with Home(options.weights) as home:
        home.add(elpv_data.write_classes(elpv_data.cells(PHOTOS), home.folder / "cells"), "cells")
        weights = {"vgg16": "auto" if options.weights else "random"}
        runs = {}
        for backbone in BACKBONES:
            recipe = {"dataset": "cells", "backbone": backbone, "weights": weights.get(backbone, "auto")}
            runs[backbone] = home.train("cells", {**recipe, "phases": [HEAD]})[0]["run"]
        with served(home) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
            for backbone, run in runs.items():
                rates, took = watched(browser.new_page(), f"{address}/predict?run={run}", options.seconds)
                slowest = min(slowest, min(rates))
                rows.append(
                    [
                        backbone,
                        figure(statistics.median(rates), 1),
                        figure(min(rates), 1),
                        figure(statistics.median(took), 0),
                    ]
                )
            browser.close()
    verdict = "met" if slowest >= AIM else "missed"
    text = [
        f"{options.seconds} s each, read from the page twice a second; models at 224 px, browser and server on the "
        "same cores. The page asks for no more than 15 pictures a second.",
        table(("model", "pictures a second, median", "least", "the model alone, median (ms)"), rows),
        f"The aim, {figure(AIM, 0)} pictures a second and more, is {verdict}.",
    ]
    publish("live_camera", "A live camera", text, options.write)


def watched(page: Page, address: str, seconds: int) -> tuple[list[float], list[float]]:
    """What the page says of its pictures a second, and of the model's time in ms, again and again."""
    page.goto(address)
    page.get_by_text("Live camera", exact=True).click(timeout=STARTING_MS)
    page.get_by_role("button", name="Start the camera").click()
    shown = page.locator(".live .rate")
    shown.filter(has_text="pictures a second").wait_for(timeout=STARTING_MS)
    time.sleep(3)
    rates, took, end = [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        if said := SAID.search(shown.text_content() or ""):
            rates.append(float(said[1]))
            took.append(float(said[2]))
        time.sleep(0.5)
    page.close()
    if not rates:
        raise BenchmarkError(f"The page at {address} answered no picture.")
    return rates, took


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; default: random, as fast")
    made.add_argument("--seconds", type=int, default=20, help="how long each model is watched; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
