"""What converts to LiteRT.

It cannot be installed as a dependency: litert-torch 0.10 wants litert-converter 0.5, that xdsl 0.28, that
typing_extensions below 4.13, and Thaw's pydantic 2.14 a newer one. Of these only xdsl's limit clashes, and nothing here
loads xdsl. So the packages that the conversion loads go, without their dependencies, where only that process looks.
Needs no torch.
"""

import sys
from pathlib import Path

from learner.exports.fetching import Fetched

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
CONVERTER = Fetched("litert-torch", VERSION, "pip", "ERROR:", needed_by="LiteRT", longest_s=1200)


def require_converter() -> Path:
    """The folder with `PACKAGES` in it, which are fetched where they are missing. Raises ModelError."""
    return CONVERTER.require(_bring)


def _bring(working: Path, ready: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    CONVERTER.run([*pip, "--disable-pip-version-check", "--target", str(ready), *PACKAGES], working)
