"""Look up what requirements.txt pins in PyPI's list of known vulnerabilities; `make lint` calls this.

Exits with 1 and names each one that is known. Where the list cannot be reached, it says so and passes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120
UNREACHED = "The list of known vulnerabilities could not be reached, so nothing was checked."


def main() -> int:
    """Ask pip-audit, which downloads and installs nothing for this."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "requirements.txt"), "--format", "json"]
    how = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "5"]
    try:
        asked = subprocess.run([*command, *how], capture_output=True, text=True, timeout=PATIENCE_S)
        packages = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print(UNREACHED)
        return 0
    said, code = verdict(packages)
    print(said)
    return code


def verdict(packages: list[dict[str, Any]]) -> tuple[str, int]:
    """What pip-audit found of each package, in words, and the exit code."""
    known = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in packages
        for flaw in one.get("vulns", [])
    ]
    if known:
        return "\n".join(known), 1
    checked = sum("vulns" in one for one in packages)
    if not checked:
        return UNREACHED, 0
    return f"No vulnerability is known in {checked} of {len(packages)} packages; the others are not in the list.", 0


if __name__ == "__main__":
    sys.exit(main())
