"""`make pictures`: take every picture in docs/pictures from a real run, from a messy zip to the web demo on a phone."""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, ViewportSize, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.browser import installed  # noqa: E402
from tools.messy_zip import CLASSES, Mess, make  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DESK, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
SHORT_MS, WAIT_MS, LONG_MS = 5_000, 60_000, 600_000
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]
IMAGE_SIZE = "128"
SETTLED_MS = 500
"""After this the server has heard of what was done last, and a drawing has its final size."""
MOST_BYTES = 250_000
"""A larger picture gets 256 colours."""
IN_SIGHT = """images => images.filter(image => {
    const box = image.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight && !image.complete;
}).length"""


def main() -> int:
    """Take every picture; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="the folder that the pictures are written to")
    folder = parser.parse_args().to
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thaw-pictures-") as temporary, sync_playwright() as playwright:
        place = Path(temporary)
        taken = place / "taken"
        taken.mkdir()
        mess = make(place)
        browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
        with thaw(place) as address:
            Tour(browser, address, mess, place, taken).take()
        browser.close()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
        for picture in sorted(taken.iterdir()):
            make_small(picture)
            shutil.copy(picture, folder)
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}, after {time.monotonic() - began:.0f} s.")
    return 0


@contextmanager
def thaw(place: Path) -> Iterator[str]:
    """Thaw as `make app` starts it, on an empty workspace, with no hub and no weights but the bundled ones."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("THAW_", "STREAMLIT_"))}
    environment.pop("DATABASE_URL", None)
    environment |= {
        "THAW_HOME": str(place / "workspace"),
        "HF_HOME": str(place / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PORT": str(port),
    }
    with (place / "log.txt").open("w") as log:
        served = subprocess.Popen(
            [sys.executable, "-m", "ui.thaw", "app"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{address}/_stcore/health", served)
            yield address
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(60)


def wait_for(address: str, served: subprocess.Popen) -> None:
    """Until the page answers, or its process has ended."""
    for _ in range(600):
        with suppress(OSError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        if served.poll() is not None:
            raise SystemExit("Thaw ended before its page answered.")
        time.sleep(0.2)
    raise SystemExit("Thaw's page did not answer within two minutes.")


def make_small(picture: Path) -> None:
    """Write the picture again with 256 colours, where that takes less of the disk."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    image.save(picture, optimize=True)
    if picture.stat().st_size > MOST_BYTES:
        image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(picture, optimize=True)


class Tour:
    """A person's way through Thaw, who knows of each photo what it shows."""

    def __init__(self, browser: Browser, address: str, mess: Mess, place: Path, taken: Path):
        self.browser, self.address, self.mess, self.place, self.taken = browser, address, mess, place, taken
        self.still_wrong = dict(mess.wrong)
        expect.set_options(timeout=WAIT_MS)
        context = browser.new_context(viewport=DESK, color_scheme="light", locale="en-GB", accept_downloads=True)
        context.set_default_timeout(WAIT_MS)
        self.page = context.new_page()

    def take(self) -> None:
        for step in (self.bring, self.check, self.plan, self.train, self.judge, self.correct, self.carry, self.ask):
            began = time.monotonic()
            step()
            print(f"{step.__name__}: {time.monotonic() - began:.0f} s", flush=True)

    # The steps

    def bring(self) -> None:
        """Data: the zip is looked at, then imported."""
        self.page.goto(f"{self.address}/data")
        self.page.locator("input.files").set_input_files(self.mess.archive)
        expect(self.page.get_by_role("heading", name="Found in")).to_be_visible()
        expect(self.page.get_by_text("will be left out")).to_be_visible()
        self.shot("data-found")
        self.button(re.compile(r"^Import \d+ images")).click()
        expect(self.page.get_by_text(re.compile(r"set aside\. Version 1\.$"))).to_be_visible()
        self.shot("data-images")

    def check(self) -> None:
        """Data: what the checks find, and its remedies; then a clean version."""
        self.page.get_by_role("radio", name="Checks").click()
        self.button("Look for wrong labels").click()
        doubted = self.page.get_by_text(re.compile(r"labels may be wrong"))
        expect(doubted).to_be_visible(timeout=LONG_MS)
        near = self.page.get_by_text(re.compile(r"^\d+ near duplicates in"))
        near.click()
        expect(self.page.get_by_text("Group 1 of")).to_be_visible()
        self.shot("data-checks", self.page.get_by_role("radio", name="Checks"))
        self.button(re.compile(r"^Set these \d+ images aside")).click()
        expect(near).to_be_hidden()
        doubted.click()
        tiles, pictured = self.doubted(), False
        while fine := [tile for path, tile in tiles.items() if path not in self.still_wrong]:
            for tile in fine:
                self.choose(tile)
            if not pictured:
                self.shot("data-doubted", doubted)
                pictured = True
            self.button("Right as they are").click()
            expect(self.page.get_by_role("option", selected=True)).to_have_count(0)
            tiles = self.doubted()
        for path, tile in tiles.items():
            if f"→ {self.still_wrong[path]} " not in tile.inner_text():
                raise SystemExit(f"The check suggests a wrong class for {path}; choose another SEED in the zip.")
        expect(self.button(f"Relabel all {len(tiles)} as suggested")).to_be_visible()  # none is on a second page
        self.button(f"Relabel all {len(tiles)} as suggested").click()
        expect(doubted).to_be_hidden()
        for path in tiles:
            del self.still_wrong[path]
        note = self.page.get_by_placeholder("What you changed and why (optional)")
        note.fill("Copies, and labels that were wrong")
        note.press("Enter")
        self.shot("data-edits")
        self.button("Save as version 2").click()
        expect(self.page.get_by_text(re.compile(r"set aside\. Version 2\.$"))).to_be_visible()

    def plan(self) -> None:
        """Train: the choices, the frost strips and the cost."""
        self.button(re.compile("^Plan the training on")).click()
        self.heading("Train")
        self.pick("Image size (pixels a side)", IMAGE_SIZE)
        total = self.page.get_by_text(re.compile(r"^About .+ in all"))
        expect(total).to_be_visible(timeout=LONG_MS)
        expect(self.page.get_by_text("No worker is running")).to_have_count(0)
        self.shot("train")
        self.shot("train-plan", self.page.get_by_role("img", name=re.compile("^head learns; ")))

    def train(self) -> None:
        """Runs: live, and finished."""
        self.button("Start training").click()
        expect(self.page.get_by_role("heading", name="Run 1: training")).to_be_visible()
        thawing = self.page.get_by_text(re.compile(r"Fine-tuning: .*epoch ([4-9]|\d\d) of"))
        over = self.page.get_by_role("heading", name="Run 1: finished")
        expect(thawing.or_(over).first).to_be_visible(timeout=LONG_MS)
        if over.count():
            raise SystemExit("The run was over before its picture could be taken; choose a larger IMAGE_SIZE.")
        self.shot("runs-live", self.page.get_by_role("heading", name="Run 1: training"), live=True)
        self.finished(1)
        self.shot("runs-finished")

    def judge(self) -> None:
        """Results: figures with intervals, and what is confused."""
        page = self.page
        self.button("See what it gets right and wrong").click()
        self.heading("Results")
        self.shot("results-overview")
        page.get_by_role("radio", name="Mistakes").click()
        expect(page.get_by_test_id("stVegaLiteChart").locator("svg, canvas").first).to_be_visible()
        self.shot("results-mistakes", page.get_by_text("Of which images", exact=True))
        page.get_by_role("radio", name="Map").click()
        self.button("Make the map").click()
        expect(page.get_by_role("application")).to_have_attribute("aria-label", re.compile("as marks"), timeout=LONG_MS)
        self.shot("results-map", page.get_by_role("radio", name="Map"))
        page.get_by_role("radio", name="Mistakes").click()

    def correct(self) -> None:
        """Results: labels that are still wrong are put right; the next run says what that brought."""
        page = self.page
        page.get_by_role("radio", name=re.compile("^Training")).click()
        page.get_by_role("radio", name="All", exact=True).click()
        self.pick("Sort", "Least sure")
        self.relabel_wrong(picture="results-photos")
        page.get_by_role("radio", name=re.compile("^Validation")).click()
        self.settle()
        self.relabel_wrong()
        expect(page.get_by_text("Corrections that wait.")).to_be_visible()
        self.shot("results-corrections")
        self.button("Save and train again").click()
        self.finished(2)
        self.button("See what it gets right and wrong").click()
        expect(page.get_by_text("McNemar's exact test")).to_be_visible()
        self.shot("results-compare", page.get_by_text("Compare with", exact=True))

    def carry(self) -> None:
        """Results: the files to take away; the web demo is opened as on a phone."""
        page = self.page
        page.get_by_role("radio", name="Take away").click()
        expect(self.button(re.compile("^Download learner.pkl"))).to_be_visible(timeout=LONG_MS)
        self.button("Prepare web-demo.zip").click()
        offered = self.button(re.compile("^Download web-demo.zip"))
        expect(offered).to_be_visible(timeout=LONG_MS)
        self.shot("results-take-away", page.get_by_text("Before a file is offered"))
        self.shot("results-web-demo", page.get_by_role("heading", name="Web demo"))
        with page.expect_download() as download:
            offered.click()
        packed = self.place / "web-demo.zip"
        download.value.save_as(packed)
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(self.place / "demo")
        index = next((self.place / "demo").rglob("index.html"))
        phone = self.browser.new_context(
            viewport=PHONE, color_scheme="light", locale="en-GB", is_mobile=True, has_touch=True
        )
        demo = phone.new_page()
        demo.goto(index.as_uri())
        expect(demo.locator("#check")).to_have_text(re.compile("Checked"), timeout=LONG_MS)
        for photo in self.mess.new:
            demo.locator("#file").set_input_files(photo)
            expect(demo.locator("#time")).to_have_text(re.compile("Looked at in"))
            if not demo.locator("#verdict").inner_text().startswith("None of these"):
                break
            demo.evaluate("() => { document.getElementById('time').textContent = '' }")
        demo.screenshot(path=self.taken / "phone-demo.png")
        phone.close()

    def ask(self) -> None:
        """Predict: a new photo, its answer and what that came from."""
        page = self.page
        self.button("Try it on new pictures").click()
        self.heading("Predict")
        expect(page.get_by_text("This model knows")).to_be_visible()
        page.locator("input[type=file]").first.set_input_files(self.new("seven"))
        expect(page.get_by_text("Most similar training photos")).to_be_visible(timeout=LONG_MS)
        expect(page.get_by_text("The more amber, the more a place")).to_be_visible(timeout=LONG_MS)
        self.shot("predict")

    # What they are made of

    def button(self, name: str | re.Pattern) -> Locator:
        return self.page.get_by_role("button", name=name)

    def heading(self, title: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)

    def new(self, name: str) -> Path:
        """A photo that is not in the data set."""
        return next(path for path in self.mess.new if path.name.startswith(name))

    def finished(self, run_id: int) -> None:
        expect(self.page.get_by_role("heading", name=f"Run {run_id}: finished")).to_be_visible(timeout=LONG_MS)

    def choose(self, tile: Locator) -> None:
        tile.click()
        expect(tile).to_have_attribute("aria-selected", "true")

    def pick(self, label: str, name: str) -> None:
        """Choose an entry of the select box `label`."""
        box = self.page.get_by_role("combobox", name=label, exact=True).last
        for _ in range(10):  # a page that is drawn anew closes a list that is open
            self.settle()
            if box.input_value() == name:
                return
            box.click()
            with suppress(PlaywrightTimeout):
                self.page.get_by_role("option", name=name, exact=True).click(timeout=SHORT_MS)
        raise SystemExit(f"{name} could not be chosen for {label}.")

    def doubted(self) -> dict[str, Locator]:
        """Tiles of the photos that are doubted, by path."""
        self.settle()
        tiles = self.page.get_by_role("option")
        expect(tiles.first).to_be_visible()
        return {(tile.get_attribute("aria-label") or "").partition(": ")[2]: tile for tile in tiles.all()}

    def relabel_wrong(self, picture: str = "") -> None:
        """Give the photos of this page that lie under a wrong class their own; `picture` shows the first choice."""
        for name in CLASSES.values():
            chosen = []
            for tile in self.page.get_by_role("option").all():
                path = (tile.get_attribute("aria-label") or "").partition(": ")[0]
                if self.still_wrong.get(path) == name:
                    self.choose(tile)
                    chosen.append(path)
            if not chosen:
                continue
            if picture:
                self.shot(picture, self.page.get_by_role("heading", name="Photos", exact=True))
                picture = ""
            self.pick("Class", name)
            self.button("Relabel").click()
            expect(self.page.get_by_text(f"relabelled as {name}")).to_be_visible()
            self.settle()
            for path in chosen:
                del self.still_wrong[path]

    def settle(self) -> None:
        """Wait until the page is drawn, its pictures are there, and nothing flies over it."""
        self.page.wait_for_timeout(SETTLED_MS)
        expect(self.page.locator('[data-test-script-state="running"]')).to_have_count(0)
        expect(self.page.get_by_test_id("stSpinner")).to_have_count(0)
        expect(self.page.get_by_test_id("stToast")).to_have_count(0)

    def shot(self, name: str, top: Locator | None = None, live: bool = False) -> None:
        """Take the picture `name`, from the page's top or from `top` on."""
        if not live:
            self.settle()
        self.page.mouse.move(5, 5)
        if top is None:
            self.page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
        else:
            top.evaluate("one => { one.style.scrollMargin = 0; one.scrollIntoView({ block: 'start' }); }")
            self.page.get_by_test_id("stMain").evaluate("main => main.scrollBy(0, -12)")
        self.page.wait_for_timeout(SETTLED_MS)
        while self.page.locator("img").evaluate_all(IN_SIGHT):
            self.page.wait_for_timeout(100)
        self.page.screenshot(path=self.taken / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
