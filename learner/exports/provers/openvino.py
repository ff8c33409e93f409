"""Run a `model.xml` with OpenVINO on its own photos, one by one and all at once; prints JSON.

With a file of pixels and one for answers, it is asked about these, too, and timed.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy
import openvino

HERE = Path(__file__).parent
NAMES = ("probabilities", "distance", "none_of_these")

model = openvino.Core().read_model(sys.argv[1])
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
about = {name: json.loads(model.get_rt_info(["thaw", name]).value) for name in model.get_rt_info(["thaw"]).value}


def ask(images):
    said = compiled(images)
    return [numpy.array(said[name]) for name in NAMES]


told = runpy.run_path(str(HERE / "golden.py"))["check"](ask, about)
told["versions"] = {"OpenVINO": openvino.__version__.partition("-")[0], "numpy": numpy.__version__}
if len(sys.argv) > 2:
    told |= runpy.run_path(str(HERE / "timing.py"))["measure"](ask, *sys.argv[2:])
print(json.dumps(told))
