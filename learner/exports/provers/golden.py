"""Ask a model about the photos that travel in it, and about strangers: for the programs beside this one."""

import base64
import io

import numpy
from PIL import Image


def check(ask, about, together=True):
    """`ask(images)` gives probabilities, distances and flags of pixels (images, side, side, 3) of bytes.

    `about` is what the export tells of itself. Without `together` the model takes one image at a time.
    """
    side = about["image_size"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(photo["png"]))) for photo in about["golden"]]
    pixels = numpy.stack([numpy.asarray(each.resize((side, side), Image.Resampling.BILINEAR)) for each in pictures])
    probs = ask(pixels)[0] if together else None
    photos = []
    for place, photo in enumerate(about["golden"]):
        alone, distance, stranger = ask(pixels[place : place + 1])
        apart = 0.0 if probs is None else float(abs(alone[0] - probs[place]).max())  # one and several must not differ
        answer = {"probs": alone[0].tolist(), "distance": float(distance[0]), "none": bool(stranger[0]), "apart": apart}
        photos.append({"file": photo["file"], "expected": photo["probs"]} | answer)
    wrong = wrongly_known(ask, pixels, about["threshold"], together)
    return {"classes": about["classes"], "threshold": about["threshold"], "photos": photos, "wrongly_known": wrong}


def wrongly_known(ask, pixels, threshold, together):
    """How often "none of these" is not said where it must be: of photos that become stranger and stranger, too."""
    noise = numpy.random.default_rng(0).integers(0, 256, pixels.shape)
    wrong = 0
    for share in (0, 0.1, 0.2, 0.4, 0.7, 1):
        blended = (pixels * (1 - share) + noise * share).astype(numpy.uint8)
        for images in (blended, 255 - blended):
            for some in [images] if together else numpy.split(images, len(images)):
                _, distances, none = ask(some)
                far = numpy.zeros(len(some), bool) if threshold is None else distances > threshold
                close = numpy.zeros(len(some), bool) if threshold is None else abs(distances - threshold) < 1e-5
                wrong += int((none != far)[~close].sum())
    return wrong
