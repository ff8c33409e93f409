"""Run the lines beside a `model.safetensors`, which load it with torch and timm, on its own photos; prints JSON."""

import base64
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import timm
import torch

target = Path(sys.argv[1])
os.chdir(target.parent)
lines: dict[str, Any] = {}
exec(compile(target.with_suffix(".py").read_text("utf-8"), target.with_suffix(".py").name, "exec"), lines)
about, predict = lines["about"], lines["predict"]
photos = []
for photo in about["golden"]:
    probs, none, distance = predict(io.BytesIO(base64.b64decode(photo["png"])))
    answer = {"distance": None if distance is None else float(distance), "none": bool(none)}
    photos.append({"file": photo["file"], "probs": probs.tolist(), "expected": photo["probs"]} | answer)
versions = {"torch": torch.__version__.partition("+")[0], "timm": timm.__version__}
told = {"classes": about["classes"], "threshold": about["threshold"], "photos": photos, "versions": versions}
print(json.dumps(told))
