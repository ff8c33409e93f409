"""How long it takes to `--help`, to the first page in a browser, and until a worker is ready. Prints a table.

python benchmarks/startup.py [RUNS] [--write]
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.report import ROOT, BenchmarkError, figure, parser, publish, table
from learner.store import Store
from learner.workspace import Workspace
from tools.browser import installed


def main() -> None:
    made = parser(__doc__)
    made.add_argument("runs", type=int, nargs="?", default=5, help="of each; default: %(default)s")
    options = made.parse_args()
    if installed() is None:
        raise BenchmarkError("There is no Chromium to open the page in. Get one: python tools/browser.py")
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    rows = []
    for name, measure in (("`--help`", help_s), ("first page, fresh server", first_page_s), ("worker ready", worker_s)):
        in_empty_workspace(measure)  # fills the file system's cache
        seconds = [in_empty_workspace(measure) for _ in range(options.runs)]
        rows.append([name, *(figure(of(seconds), 2) for of in (statistics.median, min, max))])
    text = [
        "Empty workspace, everything in the file system's cache, Chromium on the same cores.",
        table(("what", f"median of {options.runs} (s)", "fastest", "slowest"), rows),
    ]
    publish("startup", "Start-up", text, options.write)


def in_empty_workspace(measure: Callable[[], float]) -> float:
    with tempfile.TemporaryDirectory() as home:
        os.environ["THAW_HOME"] = home
        return measure()


def help_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "learner", "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_page_s() -> float:
    """From the server's start until the Data page stands in an already open browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        began = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "ui.server"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.2).close()
                    break
                except OSError:
                    time.sleep(0.02)
            page.goto(f"http://127.0.0.1:{port}")
            page.get_by_role("button", name="Use the sample: handwritten digits").wait_for()
            return time.perf_counter() - began
        finally:
            browser.close()
            server.terminate()
            server.wait()


def worker_s() -> float:
    store = Store(Workspace.current())
    began = time.perf_counter()
    worker = subprocess.Popen([sys.executable, "-m", "learner", "worker"], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not store.workers.alive():
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
