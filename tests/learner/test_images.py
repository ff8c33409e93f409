"""Any picture becomes upright 8-bit RGB, and whatever is not a whole picture is refused in words."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from learner.errors import ImageError
from learner.images import MAX_MEGAPIXELS, fit_within, read_image
from tests.samples import make_photo

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


@pytest.mark.parametrize(("deepest", "expected"), [(255, 128), (4095, 128), (65535, 128)])
def test_deep_grey_is_scaled_by_the_depth_it_uses_and_never_clipped(deepest, expected):
    grey = np.array([[0, deepest // 2, deepest]], dtype=np.uint16)
    read = np.asarray(read_image(saved(Image.fromarray(grey), "PNG")))[0, :, 0]
    assert read[0] == 0
    assert abs(int(read[1]) - expected) <= 1
    assert read[2] == 255


def test_grey_written_as_floats_keeps_its_range():
    grey = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    read = np.asarray(read_image(saved(Image.fromarray(grey), "TIFF")))[0, :, 0]
    assert read.tolist() == [0, 128, 255]


def test_black_and_white_and_grey_become_rgb():
    assert read_image(saved(Image.new("1", (3, 3), 1), "PNG")).getpixel((1, 1)) == (255, 255, 255)
    assert read_image(saved(Image.new("L", (3, 3), 77), "PNG")).getpixel((1, 1)) == (77, 77, 77)


def test_the_first_frame_of_an_animation_is_the_picture():
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    file = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert close(read_image(file).getpixel((4, 4)), RED)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM"])
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
