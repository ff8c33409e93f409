"""The web demo: a folder whose page predicts in the browser, opened from the disk, without server or internet."""

import base64
import json
import shutil
from pathlib import Path

from learner.exports.contents import Contents
from learner.exports.onnx import write_onnx
from learner.exports.web_runtime import LICENCE, LOADER, SCRIPT, WASM, require_runtime

OURS = ("index.html", "style.css", "resize.js", "app.js")


def write_web(contents: Contents, target: Path) -> None:
    """Write the folder `target`. Raises ModelError where the runtime cannot be had.

    A page that is opened from the disk may load scripts and nothing else, so that the model and the runtime are
    scripts too: `model.js` and `runtime/*.js` each set one name to their bytes in base64.
    """
    runtime = require_runtime()
    (target / "runtime").mkdir(parents=True)
    here = Path(__file__).parent
    for name in OURS:
        shutil.copyfile(here / name, target / name)
    (target / "about.js").write_text(f"window.thawAbout = {as_script(contents.about())};\n", "utf-8")
    model = target / "model.onnx"
    write_onnx(contents, model)
    _as_base64(model, target / "model.js", "thawModel")
    model.unlink()
    shutil.copyfile(runtime / SCRIPT, target / "runtime" / SCRIPT)
    shutil.copyfile(LICENCE, target / "runtime" / "LICENSE.txt")
    _as_base64(runtime / LOADER, target / "runtime" / "loader.js", "thawLoader")
    _as_base64(runtime / WASM, target / "runtime" / "wasm.js", "thawWasm")


def as_script(values: dict) -> str:
    """JSON that is safe inside a script."""
    return json.dumps(values, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _as_base64(file: Path, script: Path, name: str) -> None:
    script.write_text(f'window.{name} = "{base64.b64encode(file.read_bytes()).decode()}";\n', "ascii")
