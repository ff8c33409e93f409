"""Open a folder as timm opens a model of the Hugging Face hub, and ask it about its own photos; prints JSON."""

import base64
import io
import json
import sys
from pathlib import Path

import timm
import torch
from PIL import Image

folder = Path(sys.argv[1])
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
about = json.loads((folder / "thaw.json").read_text("utf-8"))
photos = []
for photo in about["golden"]:
    picture = Image.open(io.BytesIO(base64.b64decode(photo["png"]))).convert("RGB")
    with torch.inference_mode():
        probs = model(transform(picture)[None]).softmax(1)[0]
    photos.append({"file": photo["file"], "probs": probs.tolist(), "expected": photo["probs"]})
versions = {"torch": torch.__version__.partition("+")[0], "timm": timm.__version__}
print(json.dumps({"classes": model.pretrained_cfg["label_names"], "photos": photos, "versions": versions}))
