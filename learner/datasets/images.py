"""Read one picture, whatever its format, as plain RGB. Knows nothing of data sets or models."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from learner.datasets.colours import camera_and_time, to_rgb, turn_upright
from learner.datasets.trailing_data import carries_another_file
from learner.errors import ImageError
from learner.jobs.memory import Budget

MAX_MEGAPIXELS = 200
"""A larger picture is refused: in colour, 200 megapixels take 800 MB of memory."""
MAX_SIDE = 65_535
"""Pixels; more than a JPEG can have. Every row of pixels costs memory of its own, however short it is."""
MAX_DECODED_BYTES = 1_200_000_000
"""What decoding one picture may take, and all pictures that a process decodes at a time."""
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""A pixel in memory; 4 in all other modes, also in RGB."""
_MORE_BYTES_OF_FORMAT = {"WEBP": 12, "AVIF": 12, "HEIF": 8, "JPEG2000": 16, "TIFF": 4, "GIF": 4}
"""A pixel in the memory of decoders that hold the whole picture too."""
_PROGRESSIVE_BYTES = 6

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
    "HEIF": ".heic",
    "JPEG2000": ".jp2",
    "PPM": ".ppm",
}
"""The formats that are opened, by Pillow's name, with the suffix their copies get. Formats that need another program
(EPS runs Ghostscript) are left out on purpose."""
_FORMATS = [name for name in SUFFIX_OF_FORMAT if name not in ("MPO", "HEIF")]  # Pillow opens MPO through JPEG

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
        ".heic",
        ".heif",
        ".hif",
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


_BUDGET = Budget(MAX_DECODED_BYTES)


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

    Grey of more than 8 bits is windowed: `GREY_WINDOW` of its pixels become black to white.
    With `at_least`, a JPEG may come out smaller, by a half, a quarter or an eighth, but with both sides of at least so
    many pixels: decoding it so is several times faster.
    Raises ImageError, with the file's name, when `source` is not a whole image within the limits.
    """
    with _named(source), _decoded(source, at_least) as examined:
        return examined.image


def read_within(source: Path | BinaryIO, side: int) -> Image.Image:
    """`fit_within` of the picture, without its full size ever being held beside that of others. Raises ImageError."""
    with reading(source, at_least=side) as image:
        return fit_within(image, side)


def read_squished(source, size: int) -> Image.Image:
    """The whole image, upright, in RGB, resized to (size, size) pixels; the aspect ratio is not kept.

    Pillow's bilinear filter, as fastai's `Resize(size, method="squish")` applies it; JPEGs much larger than `size` are
    decoded at a half, a quarter or an eighth first.
    Raises ImageError when the file cannot be read.
    """
    with reading(source, at_least=DRAFT * size) as image:
        return image.resize((size, size), Image.Resampling.BILINEAR)


@contextmanager
def reading(source: Path | BinaryIO, at_least: int | None = None) -> Iterator[Image.Image]:
    """What `read_image` returns, for as long as the block runs; no other picture may be read in it.

    All pictures that are open so take at most `MAX_DECODED_BYTES` together. Take a copy of what shall outlive it.
    """
    with _named(source), _decoded(source, at_least) as examined:
        try:
            yield examined.image
        finally:
            _forget_pixels(examined.image)


@contextmanager
def examining(source: Path | BinaryIO) -> Iterator[Examined]:
    """What `examine` returns, for as long as the block runs, as `reading` does."""
    with _decoded(source) as examined:
        try:
            _refuse_another_file(source)
            yield examined
        finally:
            _forget_pixels(examined.image)


def examine(source: Path | BinaryIO) -> Examined:
    """Decode `source` completely, as `read_image` does, and look behind the picture too.

    Its ImageError leaves the name out, for lists that show it.
    """
    with _decoded(source) as examined:
        _refuse_another_file(source)
        return examined


def _refuse_another_file(source: Path | BinaryIO) -> None:
    if carries_another_file(_all_bytes(source)):
        raise ImageError(
            "It carries another file behind the picture. If you trust it, open it in a picture program and save it "
            "again as JPEG or PNG."
        )


@contextmanager
def _named(source: Path | BinaryIO) -> Iterator[None]:
    """Errors say which file it is."""
    try:
        yield
    except ImageError as error:
        named = source if isinstance(source, Path) else getattr(source, "name", None)
        name = Path(named).name if isinstance(named, str | Path) else "The picture"
        raise ImageError(f"{name} cannot be used. {error}") from error


@contextmanager
def _decoded(source: Path | BinaryIO, at_least: int | None = None) -> Iterator[Examined]:
    with _reasons():
        if _is_empty(source):
            raise ImageError("The file is empty. Copy it again from where it came.")
        opened = Image.open(source, formats=_formats_of(source))
        if at_least is not None and opened.format in ("JPEG", "MPO"):  # HEIC would give its thumbnail instead
            opened.draft(None, (at_least, at_least))
    with opened, _BUDGET.taken(_checked_cost(opened)):
        yield _whole(opened)


def _checked_cost(opened: Image.Image) -> int:
    """Bytes that decoding will take at its worst, from what the header says. Raises ImageError for too many."""
    if max(opened.size) > MAX_SIDE:
        width, height = opened.size
        raise ImageError(
            f"It is {width:,} × {height:,} pixels, and at most {MAX_SIDE:,} a side are read. Cut it into pieces or "
            "save it smaller."
        )
    decoded = _BYTES_OF_MODE.get(opened.mode, 4)
    more = _MORE_BYTES_OF_FORMAT.get(opened.format or "", 0) + _PROGRESSIVE_BYTES * bool(opened.info.get("progressive"))
    turned = decoded if _may_be_turned(opened) else 0
    converted = 4 if opened.mode != "RGB" or opened.has_transparency_data else 0
    pixels = opened.width * opened.height
    least = pixels * max(decoded + more, decoded + converted)
    if least > MAX_DECODED_BYTES:
        raise ImageError(
            f"Opening it would take {least / 1e9:.1f} GB of memory, and at most {MAX_DECODED_BYTES / 1e9:.1f} GB are "
            "given to one picture. Save it smaller; a few thousand pixels a side are plenty."
        )
    return max(least, pixels * (decoded + turned))


def _forget_pixels(image: Image.Image) -> None:
    # `close` would also close a stream that is not ours.
    image.im = None  # type: ignore[assignment]  # as it is before Pillow has read them


def _may_be_turned(image: Image.Image) -> bool:
    if image.format == "PNG":  # its EXIF data may stand behind the pixels
        return True
    with suppress(Exception):  # broken EXIF data only means that no rotation is known
        return int(image.getexif().get(ExifTags.Base.Orientation, 1)) > 1
    return False


def _whole(opened: Image.Image) -> Examined:
    """Decode what `opened` has seen the header of."""
    with _reasons():
        opened.load()
    suffix = SUFFIX_OF_FORMAT[opened.format or ""]
    camera, taken_at = camera_and_time(opened)
    turn_upright(opened)
    rgb, treatment = to_rgb(opened)
    if rgb is not opened:
        _forget_pixels(opened)
    return Examined(rgb, suffix, camera, taken_at, treatment)


def is_image(file: Path) -> bool:
    """Whether the first bytes of `file` are those of a format that is read here."""
    try:
        with _reasons(), Image.open(file, formats=_formats_of(file)):
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
    return not _start(source, 1)


def _start(source: Path | BinaryIO, count: int) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return stream.read(count)
    source.seek(0)
    start = source.read(count)
    source.seek(0)
    return start


def _all_bytes(source: Path | BinaryIO) -> bytes:
    return _start(source, -1)


def _formats_of(source: Path | BinaryIO) -> list[str]:
    """HEIC's reader takes as long to load as all the others together, so it waits for the first such file."""
    if _start(source, 8)[4:] != b"ftyp":
        return _FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return [*_FORMATS, "HEIF"]


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
