"""Any picture becomes upright 8-bit RGB, and whatever is not a whole picture is refused in words."""

import io
import random
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageChops

from learner.datasets.images import IMAGE_SUFFIXES, MAX_MEGAPIXELS, SUFFIX_OF_FORMAT, examine, fit_within, read_image
from learner.errors import ImageError
from tests.patience import GIVE_UP_S
from tests.samples import make_photo

pillow_heif.register_heif_opener()  # so that Pillow writes HEIC here

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, format: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def close(pixel: tuple[int, ...], colour: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def photo(size: tuple[int, int] = (320, 240)) -> Image.Image:
    return make_photo(0, 2, size, random.Random(1))


def test_a_photo_taken_with_the_camera_turned_comes_out_upright():
    lying = Image.new("RGB", (40, 20), RED)
    lying.paste(BLUE, (20, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90° clockwise to see it
    upright = read_image(saved(lying, "JPEG", exif=exif, quality=95, subsampling=0))
    assert upright.size == (20, 40)
    assert close(upright.getpixel((10, 4)), RED)
    assert close(upright.getpixel((10, 36)), BLUE)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_data_does_not_lose_the_picture():
    assert read_image(saved(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).size == (320, 240)


def test_transparency_is_laid_on_white():
    half = Image.new("RGBA", (10, 10), (255, 0, 0, 128))
    half.putpixel((0, 0), (0, 0, 0, 0))
    read = read_image(saved(half, "PNG"))
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert close(read.getpixel((5, 5)), (255, 127, 127), 2)


def test_a_transparent_palette_colour_is_white_and_the_others_keep_their_colour():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((0, 0), 0)
    read = read_image(saved(palette, "GIF", transparency=0))
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((2, 2)) == RED


def test_cmyk_as_print_shops_send_it_becomes_rgb():
    read = read_image(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert read.mode == "RGB"
    assert close(read.getpixel((8, 8)), RED)


def test_cmyk_without_adobes_mark_is_not_upside_down():
    upside_down = ImageChops.invert(Image.new("CMYK", (16, 16), (0, 255, 255, 0)))  # Pillow inverts what it writes
    jpeg = saved(upside_down, "JPEG", quality=95).getvalue()
    mark = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    plain = io.BytesIO(jpeg[:mark] + jpeg[mark + 16 :])
    assert close(read_image(plain).getpixel((8, 8)), RED)


def heic(image: Image.Image, orientation: int = 1) -> io.BytesIO:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, "HEIF", quality=95, exif=exif.tobytes())


def test_a_phones_heic_is_turned_upright_once():
    lying = Image.new("RGB", (80, 40), RED)
    lying.paste(BLUE, (40, 0, 80, 40))
    file = heic(lying, orientation=6)
    assert b"irot" in file.getvalue()  # turned by the format's own mark, with EXIF's beside it, as phones write it
    upright = read_image(file)
    assert upright.size == (40, 80)
    assert close(upright.getpixel((20, 8)), RED)
    assert close(upright.getpixel((20, 72)), BLUE)


def test_heic_and_avif_keep_their_own_suffix_whatever_they_are_called(tmp_path):
    for format, suffix in (("HEIF", ".heic"), ("AVIF", ".avif")):
        file = tmp_path / f"{format}.jpg"
        file.write_bytes(saved(photo(), format).getvalue())
        examined = examine(file)
        assert (examined.suffix, examined.image.size) == (suffix, (320, 240))


def test_heic_is_read_whole_where_a_jpeg_may_be_read_smaller():
    assert read_image(saved(photo(), "JPEG"), at_least=50).size < (320, 240)
    with_thumbnail = io.BytesIO()
    pillow_heif.from_pillow(photo()).save(with_thumbnail, quality=90, thumbnails=[160])
    assert read_image(with_thumbnail, at_least=50).size == (320, 240)


def test_reading_other_formats_does_not_load_the_reader_of_heic(tmp_path):
    photo().save(tmp_path / "1.jpg")
    code = "import sys; from pathlib import Path; from learner.datasets.images import examine; "
    code += f"examine(Path({str(tmp_path / '1.jpg')!r})); assert 'pillow_heif' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=GIVE_UP_S)


def png_of_16_bits(colour_type: int, *levels: int) -> io.BytesIO:
    """A PNG of one pixel whose channels have `levels` of 65,535: grey 0, RGB 2, grey and alpha 4, RGB and alpha 6."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"\0" + struct.pack(f">{len(levels)}H", *levels))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def test_png_of_16_bits_in_colour_and_with_alpha():
    assert read_image(png_of_16_bits(2, 65535, 32768, 0)).getpixel((0, 0)) == (255, 128, 0)
    assert read_image(png_of_16_bits(4, 32768, 65535)).getpixel((0, 0)) == (128, 128, 128)
    assert read_image(png_of_16_bits(4, 32768, 0)).getpixel((0, 0)) == (255, 255, 255)
    assert read_image(png_of_16_bits(6, 65535, 0, 0, 65535)).getpixel((0, 0)) == RED


def deep_grey(low: int, high: int, kind=np.uint16) -> np.ndarray:
    """20 × 100 pixels: 10 far too dark, 10 far too bright, the others evenly from `low` to `high`."""
    levels = np.linspace(low, high, 1980).round().astype(kind)
    return np.concatenate([np.zeros(10, kind), levels, np.full(10, 60000, kind)]).reshape(20, 100)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_medical_grey_of_16_bits_keeps_its_range(format):
    examined = examine(saved(Image.fromarray(deep_grey(312, 3071)), format))
    seen = np.asarray(examined.image)[:, :, 0].ravel()
    assert (seen[0], seen[10], seen[-11], seen[-1]) == (0, 0, 255, 255)
    assert abs(int(seen[1000]) - 128) <= 1
    assert examined.treatment == (
        "Grey levels 312–3071 of 16 bits are shown as black to white (0.5–99.5 % of its pixels)."
    )


def test_ordinary_pictures_need_no_treatment():
    for mode in ("RGB", "L", "P", "1", "RGBA", "LA"):
        assert examine(saved(Image.new(mode, (4, 4)), "PNG")).treatment == ""


def test_training_and_examining_see_the_same_grey(tmp_path):
    file = tmp_path / "scan.png"
    Image.fromarray(deep_grey(100, 2000)).save(file)
    assert read_image(file, at_least=4).tobytes() == examine(file).image.tobytes()


@pytest.mark.parametrize("level", [0, 1000, 65535])
def test_grey_that_is_the_same_everywhere_is_black_and_not_an_error(level):
    constant = np.full((4, 4), level, np.uint16)
    assert np.asarray(read_image(saved(Image.fromarray(constant), "PNG"))).max() == 0


def test_a_few_bright_pixels_on_black_stay_visible():
    mask = np.zeros((100, 100), np.uint16)
    mask[50, 50] = 4000
    examined = examine(saved(Image.fromarray(mask), "PNG"))
    assert examined.image.getpixel((50, 50)) == (255, 255, 255)
    assert "all of its pixels" in examined.treatment


def test_grey_of_32_bits_and_pixels_that_are_no_numbers():
    grey = np.array([[-100000, 0, 100000]], np.int32)
    assert np.asarray(read_image(saved(Image.fromarray(grey), "TIFF")))[0, :, 0].tolist() == [0, 128, 255]
    grey = np.array([[np.nan, 0.0, 0.5, 1.0, np.inf]], np.float32)
    assert np.asarray(read_image(saved(Image.fromarray(grey), "TIFF")))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(ImageError, match="None of its pixels holds a number"):
        read_image(saved(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"))


def test_grey_written_as_floats_keeps_its_range():
    grey = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    read = np.asarray(read_image(saved(Image.fromarray(grey), "TIFF")))[0, :, 0]
    assert read.tolist() == [0, 128, 255]


def test_black_and_white_and_grey_become_rgb():
    assert read_image(saved(Image.new("1", (3, 3), 1), "PNG")).getpixel((1, 1)) == (255, 255, 255)
    assert read_image(saved(Image.new("L", (3, 3), 77), "PNG")).getpixel((1, 1)) == (77, 77, 77)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP"])
def test_the_first_frame_is_the_picture(format):
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    file = saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert close(read_image(file).getpixel((4, 4)), RED)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_in_its_usual_compressions(compression):
    assert read_image(saved(photo(), "TIFF", compression=compression)).size == (320, 240)


def test_every_format_has_a_suffix_that_is_tried():
    assert set(SUFFIX_OF_FORMAT.values()) <= IMAGE_SUFFIXES
    assert {".heic", ".heif", ".hif"} <= IMAGE_SUFFIXES


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "BMP", "TIFF", "GIF", "PPM"])
def test_a_file_that_is_cut_short_is_an_error_and_not_half_a_picture(tmp_path, format):
    file = tmp_path / "holiday.jpg"
    whole = saved(photo(), format).getvalue()
    file.write_bytes(whole)
    assert read_image(file).size == (320, 240)
    file.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(ImageError, match=r"^holiday\.jpg cannot be used\. .*opy it again from where it came\.$"):
        read_image(file)


def test_a_progressive_jpeg_that_is_cut_short_is_named_so():
    whole = saved(photo(), "JPEG", progressive=True).getvalue()
    with pytest.raises(ImageError, match="cut short"):
        read_image(io.BytesIO(whole[: len(whole) // 2]))


def test_a_text_file_called_jpg_is_not_an_image(tmp_path):
    file = tmp_path / "notes.jpg"
    file.write_text("cats are nice")
    with pytest.raises(
        ImageError, match=r"^notes\.jpg cannot be used\. It is not an image.*save it there as JPEG or PNG"
    ):
        read_image(file)


def test_an_empty_file_and_a_missing_one_say_so(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png cannot be used\. The file is empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match=r"gone\.png cannot be used\. It cannot be opened: No such file"):
        read_image(tmp_path / "gone.png")


def test_a_picture_of_more_megapixels_than_the_limit_is_refused_before_it_is_unpacked():
    side = int((MAX_MEGAPIXELS * 1e6) ** 0.5) + 10
    bomb = saved(Image.new("1", (side, side)), "PNG")
    assert len(bomb.getvalue()) < 100_000
    with pytest.raises(ImageError, match=f"more than {MAX_MEGAPIXELS} megapixels. Save it smaller"):
        read_image(bomb)


def test_300_megapixels_are_refused_by_the_header_alone():
    header = struct.pack(">IIBBBBB", 20000, 15000, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    picture += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 0) + b"IDAT" + bytes(4)
    with pytest.raises(ImageError, match=f"more than {MAX_MEGAPIXELS} megapixels"):
        read_image(io.BytesIO(picture))


def small_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("run.sh", "echo hello")
    return file.getvalue()


PAGE = b"<!DOCTYPE html><html><body>hello</body></html>"
SCRIPT = b"\n<SCRIPT>alert(1)</SCRIPT>"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "HEIF", "AVIF"])
def test_a_picture_with_an_archive_behind_it_is_refused(format):
    with pytest.raises(ImageError, match=r"^It carries another file behind the picture\. If you trust it"):
        examine(io.BytesIO(saved(photo(), format).getvalue() + small_zip()))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize(
    "behind",
    [PAGE, SCRIPT, b"<?php system(1); ?>", b"%PDF-1.7 x", b"MZ\x90\0", b"\x7fELF\2", b"#!/bin/sh\n", b"*/=1;alert(1)"],
)
def test_a_picture_with_a_page_or_a_program_behind_it_is_refused(format, behind):
    with pytest.raises(ImageError, match="carries another file"):
        examine(io.BytesIO(saved(photo(), format).getvalue() + behind))


def test_a_progressive_jpeg_with_a_thumbnail_and_a_page_behind_it_is_refused():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    inner = b"Exif\0\0" + exif.tobytes()[6:] + saved(photo((40, 30)), "JPEG").getvalue()
    jpeg = saved(photo(), "JPEG", progressive=True, exif=inner).getvalue()
    assert examine(io.BytesIO(jpeg)).image.size == (320, 240)
    with pytest.raises(ImageError, match="carries another file"):
        examine(io.BytesIO(jpeg + PAGE))


def test_what_phones_append_is_no_harm():
    jpeg = saved(photo(), "JPEG").getvalue()
    film = b"\0\0\0\x18ftypmp42" + random.Random(1).randbytes(200_000)
    notes = b"\0\0\1\nImage_UTC_Data1700000000000SEFHk\0\0\0SEFT"
    second = saved(photo((64, 48)), "JPEG").getvalue()
    for behind in (film, notes, second, b"\0" * 1000, b"\r\n"):
        assert examine(io.BytesIO(jpeg + behind)).image.size == (320, 240)


def test_bytes_inside_a_picture_that_look_like_a_page_are_no_harm():
    comment = b"\xff\xfe" + struct.pack(">H", len(PAGE) + 2) + PAGE
    jpeg = saved(photo(), "JPEG").getvalue()
    assert examine(io.BytesIO(jpeg[:2] + comment + jpeg[2:])).image.size == (320, 240)


def test_postscript_is_never_handed_to_an_interpreter():
    with pytest.raises(ImageError, match="not an image"):
        read_image(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n"))


def test_thumbnails_shrink_large_pictures_and_enlarge_tiny_ones_by_whole_pixels():
    assert fit_within(photo((640, 320)), 192).size == (192, 96)
    assert fit_within(photo((150, 100)), 192).size == (150, 100)
    digit = Image.new("RGB", (8, 8), RED)
    digit.putpixel((0, 0), BLUE)
    large = fit_within(digit, 192)
    assert large.size == (192, 192)
    assert [large.getpixel((x, 0)) for x in (0, 23, 24)] == [BLUE, BLUE, RED]


def test_an_extremely_narrow_picture_still_has_a_thumbnail():
    assert fit_within(Image.new("RGB", (4000, 3)), 192).size == (192, 1)
