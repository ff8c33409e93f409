"""Run a `model.onnx` with onnxruntime on its own photos, one by one and all at once; prints JSON.

With a file of pixels and one for answers, it is asked about these, too, and timed.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy
import onnxruntime

HERE = Path(__file__).parent


def open_session(threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])


def asking(session):
    return lambda images: session.run(["probabilities", "distance", "none_of_these"], {"pixels": images})


session = open_session(1)
about = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
told = runpy.run_path(str(HERE / "golden.py"))["check"](asking(session), about)
told["versions"] = {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}
if len(sys.argv) > 2:
    session = open_session(0)  # as many threads as onnxruntime thinks best
    told |= runpy.run_path(str(HERE / "timing.py"))["measure"](asking(session), *sys.argv[2:])
print(json.dumps(told))
