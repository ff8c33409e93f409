"""What converts to LiteRT, fetched once through pip into a folder of its own beside the environment.

It cannot be installed as a dependency: litert-torch 0.10 wants litert-converter 0.5, that xdsl 0.28, that
typing_extensions below 4.13, and Thaw's pydantic 2.14 a newer one. Of these only xdsl's limit clashes, and nothing here
loads xdsl. So the packages that the conversion loads go, without their dependencies, where only that process looks.
Needs no torch.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from learner.errors import ModelError

VERSION = "0.10.0"
PACKAGES = (
    f"litert-torch=={VERSION}",
    "litert-converter==0.5.0",
    "ai-edge-litert==2.3.0",
    "ai-edge-quantizer==0.10.0",
    "jax==0.10.2",
    "jaxlib==0.10.2",
    "torchao==0.18.0",
    "opt-einsum==3.4.0",
    "immutabledict==4.2.1",
    "absl-py==2.5.1",
    "backports.strenum==1.2.8",
)
LONGEST_S = 1200


def converter_folder() -> Path:
    """Where they are kept."""
    return Path(sys.prefix) / "share" / "thaw" / f"litert-torch-{VERSION}"


def require_converter() -> Path:
    """The folder with `PACKAGES` in it, which are fetched where they are missing. Raises ModelError."""
    folder = converter_folder()
    if folder.is_dir():
        return folder
    try:
        _fetch(folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error.strerror or error}. {_ways_out()}") from error
    return folder


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        ready = Path(temporary) / "ready"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        try:
            done = subprocess.run(
                [*pip, "--disable-pip-version-check", "--target", str(ready), *PACKAGES],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"pip did not bring litert-torch within 20 minutes. {_ways_out()}") from None
        if done.returncode:
            lines = [line.removeprefix("ERROR:").strip() for line in done.stderr.splitlines() if "ERROR:" in line]
            reason = f" ({lines[0]})" if lines else ""
            raise ModelError(f"pip could not bring litert-torch {VERSION}{reason}. {_ways_out()}")
        shutil.rmtree(folder, ignore_errors=True)
        ready.replace(folder)


def _ways_out() -> str:
    return "LiteRT needs it once; connect to the internet and try again, or export ONNX."
