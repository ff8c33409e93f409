"""Prove a web demo: its model by onnxruntime, and the page itself in a browser where there is one; prints JSON."""

import base64
import contextlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
OWN = (".cache/ms-playwright/chromium-*/chrome-linux*/chrome", "Library/Caches/ms-playwright/chromium-*/**/Chromium")
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LONGEST_S = 600


def main() -> None:
    """Hold the page's answers, in a browser where there is one, against its model's; print what was seen as JSON."""
    folder = Path(sys.argv[1])
    about = json.loads((folder / "about.js").read_text("utf-8").removeprefix("window.thawAbout = ").rstrip(";\n"))
    told = by_onnxruntime(folder)
    expected = {photo["file"]: photo["probs"] for photo in about["golden"]}
    if (about["classes"], about["threshold"]) != (told["classes"], told["threshold"]):
        sys.exit("The page says other classes, or another limit, than its model.")
    program = browser()
    seen = by_browser(program, folder / "index.html") if program else None
    if seen is None:
        told["note"] = "No Chromium, Chrome or Edge could be started here: the page checks itself when it is opened."
    else:
        answers, version = seen
        told["photos"] = answers
        told["versions"]["Chromium"] = version
    for photo in told["photos"]:
        photo["expected"] = expected[photo["file"]]
    print(json.dumps(told))


def by_onnxruntime(folder: Path) -> dict:
    """What the prover of ONNX says of the model in `model.js`."""
    text = (folder / "model.js").read_text("ascii")
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model.onnx"
        model.write_bytes(base64.b64decode(text[text.index('"') + 1 : text.rindex('"')]))
        sys.argv[1] = str(model)
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(Path(__file__).with_name("onnx.py")), run_name="__main__")
    return json.loads(said.getvalue())


def browser() -> str | None:
    """A Chromium, Chrome or Edge of this machine."""
    if os.name == "nt":
        return None  # its DevTools pipe takes other handles there
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [*filter(None, map(shutil.which, NAMES)), *PLACES]
    own = (str(path) for pattern in OWN for path in Path.home().glob(pattern))
    return next((path for path in [*found, *own] if Path(path).is_file()), None)


def by_browser(program: str, page: Path) -> tuple[list, str] | None:
    """The page's answers to its photos in a fresh browser, and the browser's version; None where it does not start."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        devtools = DevTools(program, profile)
        try:
            if not devtools.starts():
                return None
            return devtools.answers(page), devtools.version
        finally:
            devtools.close()


class DevTools:
    """A headless browser on two pipes: it reads commands from its descriptor 3 and answers on 4."""

    def __init__(self, program: str, profile: str):
        import fcntl  # not on Windows

        theirs_in, self.out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        self.into, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        self.process = subprocess.Popen(
            [program, *flags, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: (os.dup2(theirs_in, 3), os.dup2(theirs_out, 4)),
            pass_fds=(3, 4),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.kept, self.version = 0, b"", ""

    def starts(self) -> bool:
        try:
            self.version = self.ask("Browser.getVersion")["product"].partition("/")[2]
        except OSError:
            return False
        return True

    def answers(self, page: Path) -> list:
        """What the page left of its own check. Exits with its reason where it refuses."""
        target = self.ask("Target.createTarget", url=page.as_uri())["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            code = "document.documentElement.dataset.check || ''"
            said = self.ask("Runtime.evaluate", session, expression=code).get("result", {}).get("value")
            if said:
                report = json.loads(said)
                if "error" in report:
                    sys.exit(report["error"])
                return report["photos"]
            time.sleep(0.1)
        sys.exit("The page did not finish its check within 10 minutes.")

    def ask(self, method: str, session: str | None = None, **parameters: object) -> dict:
        """Raises OSError when the browser is gone."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        os.write(self.out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            while b"\0" not in self.kept:
                piece = os.read(self.into, 1 << 16)
                if not piece:
                    raise OSError("the browser ended")
                self.kept += piece
            line, _, self.kept = self.kept.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"The browser refused: {answer['error'].get('message')}")
                return answer["result"]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.out)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.into)


if __name__ == "__main__":
    main()
