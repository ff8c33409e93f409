"""Run a `model.tflite` with LiteRT on the photos in the JSON file beside it, one by one; prints JSON.

With a file of pixels and one for answers, it is asked about these, too, and timed. A last argument that is a folder
holds LiteRT, where it is not installed.
"""

import json
import os
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

import numpy

HERE = Path(__file__).parent
if Path(sys.argv[-1]).is_dir():
    sys.path.append(sys.argv.pop())

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

target = Path(sys.argv[1])
about = json.loads(target.with_suffix(".json").read_text("utf-8"))
model = Interpreter(str(target), num_threads=os.cpu_count())
run = model.get_signature_runner()


def ask(images):
    said = run(pixels=images)
    return said["probabilities"], said["distance"], said["none_of_these"]


told = runpy.run_path(str(HERE / "golden.py"))["check"](ask, about, together=False)
told["versions"] = {"LiteRT": version("ai-edge-litert"), "numpy": numpy.__version__}
if len(sys.argv) > 2:
    told |= runpy.run_path(str(HERE / "timing.py"))["measure"](ask, *sys.argv[2:], batch=1)
print(json.dumps(told))
