"""How long a refresh of the live Runs page takes while training has both cores, with ten tabs open. Prints a table.

Real Chromium pages look at the run in progress, on the same machine, so they cost the training and the server more than
a person's browser elsewhere would. A refresh begins when a page asks the server for it, and has arrived with the
server's word that it is done; it is shown when the page changed last before its next request.

python benchmarks/live_page.py [--tabs 10] [--seconds 40] [--write]
"""

import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.report import ROOT, BenchmarkError, figure, parser, publish, table
from learner.recipe import Recipe
from learner.store import Store
from learner.wording import count
from learner.workspace import Workspace
from tools.browser import installed

AIM_MS = 500
PHOTOS = 150
SETTLE_S = 5
STARTING_S = 180
RECIPE = {
    "dataset": "cells",
    "backbone": "vgg16",
    "weights": "random",
    "precision": "auto",
    "phases": [{"name": "Everything", "trainable": "all", "epochs": 500, "lr": 1e-5}],
}
LISTEN = """
window.heard = {sent: [], received: [], changed: []}
const text = bytes => btoa(Array.from(new Uint8Array(bytes), byte => String.fromCharCode(byte)).join(''))
const Plain = window.WebSocket
window.WebSocket = class extends Plain {
  constructor(...given) {
    super(...given)
    this.addEventListener('message', event => {
      const at = performance.now()
      if (event.data.byteLength < 2000) heard.received.push([at, text(event.data)])
    })
  }
  send(data) {
    heard.sent.push([performance.now(), text(data)])
    super.send(data)
  }
}
new MutationObserver(() => heard.changed.push(performance.now()))
  .observe(document, {subtree: true, childList: true, characterData: true, attributes: true})
"""
"""Notes in a page, in ms, when it asked for what, what it was told, and when anything in it changed."""


@dataclass(frozen=True)
class Refresh:
    """One part of a page drawn anew, in ms since the page asked for it."""

    arrived: float
    shown: float


def main() -> None:
    options = arguments()
    if installed() is None:
        raise BenchmarkError("There is no Chromium to open the page in. Get one: python tools/browser.py")
    with Home() as home:
        home.add(elpv_data.write_classes(elpv_data.cells(PHOTOS), home.folder / "cells"), "cells")
        store = Store(Workspace(home.workspace))
        with served(home) as address:
            run_id = store.submit(Recipe.from_dict(RECIPE))
            wait_until_it_learns(store, run_id)
            alone = speed(store, run_id, options.seconds / 2)
            refreshes, beside = watched(store, run_id, address, options)
    shown = [refresh.shown for refresh in refreshes]
    rows = [
        [name, *percentiles(times)]
        for name, times in (
            ("until the new figures have arrived", [refresh.arrived for refresh in refreshes]),
            ("until the page shows them", shown),
        )
    ]
    verdict = "met" if percentile_95(shown) < AIM_MS else "missed"
    text = [
        f"{count(options.tabs, 'Chromium page')} on one run of VGG16 at 224 px, all of it learning from {PHOTOS} ELPV "
        f"photos; {len(refreshes):,} refreshes in {options.seconds} s, of all parts of the page. The training made "
        f"{figure(alone, 1)} images a second before the pages were opened and {figure(beside, 1)} beside them: "
        "it gives way to the browser.",
        table(("a refresh", "median (ms)", "95th percentile (ms)", "longest (ms)"), rows),
        f"The aim, under {AIM_MS} ms at the 95th percentile, is {verdict}.",
    ]
    publish("live_page", "The live page", text, options.write)


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The web process and a worker on the home's workspace; the address of the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"THAW_HOME": str(home.workspace), "HF_HUB_OFFLINE": "1", "PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for module in (("ui.server",), ("learner", "worker"))
    ]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def wait_until_it_learns(store: Store, run_id: int) -> None:
    end = time.monotonic() + STARTING_S
    while time.monotonic() < end:
        run = store.runs.get(run_id)
        if run.progress.get("batch"):
            return
        if run.status not in ("queued", "running"):
            raise BenchmarkError(f"The run ended as {run.status}. {run.reason}")
        time.sleep(0.2)
    raise BenchmarkError(f"The run did not begin to learn within {STARTING_S} s.")


def speed(store: Store, run_id: int, seconds: float) -> float:
    """Median of what the run says of its images a second meanwhile."""
    said, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        if rate := store.runs.get(run_id).progress.get("images_per_s"):
            said.append(rate)
        time.sleep(0.5)
    return statistics.median(said or [0.0])


def watched(store: Store, run_id: int, address: str, options: Namespace) -> tuple[list[Refresh], float]:
    """Every refresh of the tabs in the time given, and the speed of training meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox", "--disable-gpu"])
        pages = []
        for _ in range(options.tabs):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.add_init_script(LISTEN)
            page.goto(f"{address}/runs?run={run_id}")
            page.get_by_text("of the whole run").wait_for(timeout=1000 * STARTING_S)
            pages.append(page)
        time.sleep(SETTLE_S)
        for page in pages:
            page.evaluate("heard = {sent: [], received: [], changed: []}")
        rate = speed(store, run_id, options.seconds)
        refreshes = [refresh for page in pages for refresh in refreshes_of(heard(page))]
        browser.close()
    if not refreshes:
        raise BenchmarkError("No page asked for anything; the live page is not live.")
    return refreshes, rate


def heard(page: Page) -> dict:
    return json.loads(page.evaluate("JSON.stringify(heard)"))


def refreshes_of(heard: dict) -> list[Refresh]:
    """Every part of the page that it asked for and that has anything to show: arrived with the end of that drawing.

    A request that comes while another part is drawn interrupts that, and then both are drawn, with one end.
    """
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    asked = [(at, _parsed(BackMsg, message).rerun_script.fragment_id) for at, message in heard["sent"]]
    told = [(at, _parsed(ForwardMsg, message)) for at, message in heard["received"]]
    done = [at for at, what in told if what.script_finished == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY]
    found = []
    for at, part in asked:
        drawn = next((when for when, what in told if when > at and part and what.delta.fragment_id == part), None)
        arrived = None if drawn is None else next((when for when in done if when >= drawn), None)
        if arrived is None:
            continue
        following = next((later for later, _ in asked if later > arrived), heard["changed"][-1])
        shown = max((change for change in heard["changed"] if at < change <= following), default=arrived)
        found.append(Refresh(arrived - at, max(arrived, shown) - at))
    return found


def _parsed(kind: type, message: str):
    return kind.FromString(base64.b64decode(message))


def percentiles(times: list[float]) -> list[str | None]:
    return [figure(value, 0) for value in (statistics.median(times), percentile_95(times), max(times))]


def percentile_95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--tabs", type=int, default=10, help="pages that look at the run; default: %(default)s")
    made.add_argument("--seconds", type=int, default=40, help="how long is measured; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
