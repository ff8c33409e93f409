"""`make test`: see that there is a Chromium for the browser tests; install one where there is none."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> str | None:
    """A Chromium of the system's, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None  # noqa: PTH110


def main() -> int:
    """Install Chromium where there is none; returns an exit code, 0 once there is one."""
    if installed():
        return 0
    ways = []
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        ways += [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
    ways.append([sys.executable, "-m", "playwright", "install", "chromium"])
    print("Installing Chromium for the browser tests.")
    for command in ways:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode == 0 and installed():
            return 0
    print("No Chromium could be installed. Install one, or set CHROMIUM to the program's path.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
