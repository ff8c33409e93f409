"""Run a `model.onnx` with onnxruntime on its own photos, one by one and all at once; prints JSON."""

import base64
import io
import json
import sys

import numpy
import onnxruntime
from PIL import Image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
golden, side = json.loads(about["golden"]), json.loads(about["image_size"])
pixels = numpy.stack(
    [
        numpy.asarray(
            Image.open(io.BytesIO(base64.b64decode(photo["png"]))).resize((side, side), Image.Resampling.BILINEAR)
        )
        for photo in golden
    ]
)


def ask(images):
    return session.run(["probabilities", "distance", "none_of_these"], {"pixels": images})


probs, distances, none = ask(pixels)
photos = []
for place, photo in enumerate(golden):
    alone, distance, stranger = ask(pixels[place : place + 1])
    apart = float(abs(alone[0] - probs[place]).max())  # one image and several must not differ
    answer = {"probs": alone[0].tolist(), "distance": float(distance[0]), "none": bool(stranger[0]), "apart": apart}
    photos.append({"file": photo["file"], "expected": photo["probs"]} | answer)

# Whether "none of these" is said where it must be: of photos that become stranger and stranger, too.
threshold = json.loads(about["threshold"])
noise = numpy.random.default_rng(0).integers(0, 256, pixels.shape)
wrong = 0
for share in (0, 0.1, 0.2, 0.4, 0.7, 1):
    blended = (pixels * (1 - share) + noise * share).astype(numpy.uint8)
    for images in (blended, 255 - blended):
        _, distances, none = ask(images)
        far = numpy.zeros(len(images), bool) if threshold is None else distances > threshold
        close = numpy.zeros(len(images), bool) if threshold is None else abs(distances - threshold) < 1e-5
        wrong += int((none != far)[~close].sum())
told = {
    "classes": json.loads(about["classes"]),
    "threshold": threshold,
    "photos": photos,
    "wrongly_known": wrong,
    "versions": {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__},
}
print(json.dumps(told))
