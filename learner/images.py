"""Read one picture, whatever its format, as plain RGB. Knows nothing of data sets or models."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from learner.errors import ImageError

MAX_MEGAPIXELS = 200
"""A larger picture is refused: 200 megapixels take 600 MB of memory."""

DRAFT = 2
"""A JPEG that will be made smaller is decoded at no less than so many times the size that it will have."""

SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
    "PPM": ".ppm",
}
"""The formats that are opened, by Pillow's name, with the suffix their copies get. Formats that need another program
(EPS runs Ghostscript) are left out on purpose."""
_FORMATS = [name for name in SUFFIX_OF_FORMAT if name != "MPO"]  # Pillow opens MPO through JPEG

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
"""Lower-case suffixes of the files that are tried; what a file really is decides its content."""

# Pillow refuses twice its own limit by itself, before any memory is taken, and only warns below that.
Image.MAX_IMAGE_PIXELS = MAX_MEGAPIXELS * 1_000_000 // 2
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Examined:
    """What a data set keeps of a picture that was decoded from the first byte to the last."""

    image: Image.Image
    """RGB, rotated as EXIF says."""
    suffix: str
    """By content, not by name: `.jpg`, `.png` …"""
    camera: str = ""
    """Maker and model by EXIF; empty where unknown."""
    taken_at: float | None = None
    """Seconds by the camera's own clock, as if that showed UTC; EXIF knows no time zone."""
    treatment: str = ""
    """What was done to show it in 8 bits, a sentence; empty for most."""

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height


def read_image(source: Path | BinaryIO, at_least: int | None = None) -> Image.Image:
    """The first frame as 8-bit RGB, rotated as EXIF says, transparency laid on white.

    16-bit grey is scaled to 8 bits by the depth its brightest pixel needs (8, 12 or 16 bits), never clipped.
    With `at_least`, a JPEG may come out smaller, by a half, a quarter or an eighth, but with both sides of at least so
    many pixels: decoding it so is several times faster.
    Raises ImageError, with the file's name, when `source` is not a whole image of at most `MAX_MEGAPIXELS`.
    """
    named = source if isinstance(source, Path) else getattr(source, "name", None)
    name = Path(named).name if isinstance(named, str | Path) else "The picture"
    try:
        return examine(source, at_least).image
    except ImageError as error:
        raise ImageError(f"{name} cannot be used. {error}") from error


def read_squished(source, size: int) -> Image.Image:
    """The whole image, upright, in RGB, resized to (size, size) pixels; the aspect ratio is not kept.

    Pillow's bilinear filter, as fastai's `Resize(size, method="squish")` applies it; JPEGs much larger than `size` are
    decoded at a half, a quarter or an eighth first.
    Raises ImageError when the file cannot be read.
    """
    return read_image(source, at_least=DRAFT * size).resize((size, size), Image.Resampling.BILINEAR)


def examine(source: Path | BinaryIO, at_least: int | None = None) -> Examined:
    """Decode `source` completely, as `read_image` does. Its ImageError leaves the name out, for lists that show it."""
    with _reasons():
        if _is_empty(source):
            raise ImageError("The file is empty. Copy it again from where it came.")
        opened = Image.open(source, formats=_FORMATS)
        if at_least is not None:
            opened.draft(None, (at_least, at_least))
    with opened:
        with _reasons():
            opened.load()
        suffix = SUFFIX_OF_FORMAT[opened.format]
        camera, taken_at = _camera_and_time(opened)
        _turn_upright(opened)
        return Examined(_to_rgb(opened), suffix, camera, taken_at)


def is_image(file: Path) -> bool:
    """Whether the first bytes of `file` are those of a format that is read here."""
    try:
        with _reasons(), Image.open(file, formats=_FORMATS):
            return True
    except ImageError:
        return False


def fit_within(image: Image.Image, side: int) -> Image.Image:
    """A copy whose longest side is about `side` pixels; tiny pictures grow by whole factors and keep their pixels."""
    factor = side // max(image.size)
    if factor >= 2:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    shrink = min(side / max(image.size), 1)
    size = (max(round(image.width * shrink), 1), max(round(image.height * shrink), 1))
    # Shrinking by whole factors first is many times faster and looks the same at a gap of 2 or more.
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _is_empty(source: Path | BinaryIO) -> bool:
    if isinstance(source, Path):
        return source.stat().st_size == 0
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    return size == 0


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever Pillow raises into an ImageError whose sentence says reason and way out."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"It has more than {MAX_MEGAPIXELS} megapixels. Save it smaller; a few thousand pixels a side are plenty."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            "It is not an image, or too damaged to tell. If a picture program opens it, save it there as JPEG or PNG; "
            "otherwise copy it again from where it came."
        ) from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ImageError(
            f"It cannot be opened: {error.strerror}. Check that the file is there and readable."
        ) from error
    except MemoryError as error:
        raise ImageError("It is too large for this computer's memory. Save it smaller.") from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        if "truncated" in str(error).lower():
            raise ImageError(
                "It is cut short: the file ends before the picture does. Copy it again from where it came."
            ) from error
        raise ImageError("It is damaged and cannot be decoded. Copy it again from where it came.") from error


def _turn_upright(image: Image.Image) -> None:
    # The picture itself is whole; broken EXIF data only means that no rotation is known.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _camera_and_time(image: Image.Image) -> tuple[str, float | None]:
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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode == "RGB":
        return image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"Its colours ({image.mode}) cannot be read here. Save it as an RGB JPEG or PNG.") from error


def _deep_grey_to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats: full scale is the smallest common depth that holds every pixel."""
    import numpy as np

    grey = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    scales = (1.0, 255.0, 4095.0, 65535.0) if image.mode == "F" else (255.0, 4095.0, 65535.0)
    full = next((scale for scale in scales if high <= scale), None)
    if low < 0 or full is None:
        grey, full = grey - low, max(high - low, 1e-12)
    return Image.fromarray((grey * (255.0 / full)).round().astype(np.uint8))
