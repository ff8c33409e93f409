"""A decoded picture as 8-bit RGB: upright, transparent parts on white, many grey levels brought into 256."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, ImageChops, ImageOps

from learner.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

GREY_WINDOW = (0.5, 99.5)
"""Percentiles of the pixels that become black and white where a picture holds more grey levels than 8 bits do."""
_WINDOW_SAMPLE = 2**20
"""Pixels that the window is taken from at most, evenly spread."""
_STRIP_PIXELS = 2**20


def turn_upright(image: Image.Image) -> None:
    """As its EXIF mark says."""
    # The picture itself is whole; broken EXIF data only means that no rotation is known.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def camera_and_time(image: Image.Image) -> tuple[str, float | None]:
    """What its EXIF data say of the camera, and when it was taken (seconds since 1970)."""
    camera, taken_at = "", None
    with suppress(Exception):  # broken EXIF data only means that nothing is known
        exif = image.getexif()
        parts = [str(exif.get(tag, "")).replace("\0", "").strip() for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
        camera = " ".join(filter(None, parts))[:100]
        said = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        if said:
            moment = datetime.strptime(str(said).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
            taken_at = moment.timestamp()
    return camera, taken_at


def to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """`image` as 8-bit RGB, and what had to be done for it, a sentence or nothing."""
    if image.mode.startswith("I") or image.mode == "F":
        return _window(image)
    if image.has_transparency_data:
        return _by_strips(image, _on_white), ""
    if image.mode == "RGB":
        return image, ""
    # Adobe writes CMYK upside down, and Pillow turns every CMYK JPEG; without Adobe's mark it was upright before.
    inverted = image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info
    try:
        return _by_strips(image, lambda strip: (ImageChops.invert(strip) if inverted else strip).convert("RGB")), ""
    except ValueError as error:
        raise ImageError(f"Its colours ({image.mode}) cannot be read here. Save it as an RGB JPEG or PNG.") from error


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Pieces of the whole width with the row that each begins at: what is done to them takes no copy of the whole."""
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    rgb = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgb.paste(convert(strip), (0, top))
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _window(image: Image.Image) -> tuple[Image.Image, str]:
    """Grey of 16 or 32 bits or of floats in 8 bits: its own darkest level is black, its own brightest white.

    Scanners use a part of their range and leave a few pixels far outside it, hence `GREY_WINDOW` (in medical imaging
    the grey-level window, there set by hand).
    """
    import numpy as np

    known = _some_levels(image)
    if not known.size:
        raise ImageError("None of its pixels holds a number. Save it again from the program it came from.")
    low, high = (float(level) for level in np.percentile(known, GREY_WINDOW, method="nearest"))
    share = f"{GREY_WINDOW[0]:g}–{GREY_WINDOW[1]:g} % of its pixels"
    if low == high:  # nearly all pixels are alike, as in a mask
        low, high = float(known.min()), float(known.max())
        share = "all of its pixels"

    def windowed(strip: Image.Image) -> Image.Image:
        levels = np.nan_to_num(np.asarray(strip).astype(np.float32), nan=low, posinf=high, neginf=low)
        grey = ((levels.clip(low, high) - low) * (255 / max(high - low, 1e-12))).round()
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")

    depth = " of 16 bits" if image.mode.startswith("I;16") else ""
    treatment = f"Grey levels {low:.6g}–{high:.6g}{depth} are shown as black to white ({share})."
    return _by_strips(image, windowed), treatment


def _some_levels(image: Image.Image) -> "np.ndarray":
    """At most about `_WINDOW_SAMPLE` of its grey levels, evenly spread; those that are no numbers are left out."""
    import numpy as np

    step = max(image.width * image.height // _WINDOW_SAMPLE, 1)
    some = [np.asarray(strip).ravel()[-top * image.width % step :: step] for top, strip in _strips(image)]
    levels = np.concatenate(some)
    return levels[np.isfinite(levels)]
