"""Open a `model.mlpackage` with coremltools, and on a Mac run it on its own photos, one by one; prints JSON.

Elsewhere it is only read: what it takes and gives, and what it tells of itself. With a file of pixels and one for
answers, it is asked about these, too, and timed, on a Mac.
"""

import contextlib
import io
import json
import logging
import runpy
import sys
from pathlib import Path

import numpy
from PIL import Image

logging.disable(logging.WARNING)  # of what coremltools misses here
with contextlib.redirect_stderr(io.StringIO()):
    import coremltools

HERE = Path(__file__).parent
NAMES = ["probabilities", "distance", "none_of_these"]
runs_here = sys.platform == "darwin"
model = coremltools.models.MLModel(
    sys.argv[1], compute_units=coremltools.ComputeUnit.CPU_ONLY, skip_model_load=not runs_here
)
about = {
    name: json.loads(value)
    for name, value in model.user_defined_metadata.items()
    if not name.startswith("com.github.apple")
}
described = model.get_spec().description
if [each.name for each in described.input] != ["pixels"] or sorted(each.name for each in described.output) != sorted(
    NAMES
):
    sys.exit("It takes or gives other values than it should.")


def ask(images):
    said = model.predict({"pixels": Image.fromarray(images[0])})
    return [
        numpy.asarray(said[name], kind).reshape(1, -1)[:, slice(None) if name == NAMES[0] else 0]
        for name, kind in zip(NAMES, (float, float, bool), strict=True)
    ]


if runs_here:
    told = runpy.run_path(str(HERE / "golden.py"))["check"](ask, about, together=False)
    if len(sys.argv) > 2:
        told |= runpy.run_path(str(HERE / "timing.py"))["measure"](ask, *sys.argv[2:], batch=1)
else:
    photos = [{"file": photo["file"], "expected": photo["probs"]} for photo in about["golden"]]
    told = {"classes": about["classes"], "threshold": about["threshold"], "photos": photos, "did_not_run": True}
told["versions"] = {"coremltools": coremltools.__version__}
print(json.dumps(told))
