"""How long it takes to `--help`, to the first page in a browser, and until a worker is ready. Prints a table.

python benchmarks/startup.py [RUNS]
"""

import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from learner.store import Store  # noqa: E402
from learner.workspace import Workspace  # noqa: E402
from tools.browser import installed  # noqa: E402


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    rows = [("--help", help_s), ("first page, fresh server", first_page_s), ("worker ready", worker_s)]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"| what | median of {runs} (s) | fastest | slowest |\n|---|---|---|---|")
    for name, measure in rows:
        measure()  # fills the file system's cache
        seconds = [in_empty_workspace(measure) for _ in range(runs)]
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |")


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
        while not store.runs.workers():
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
