"""One photo saved twice is found again whatever happened to it on the way; look-alikes are not."""

import hashlib
import io
import random

import pytest
from PIL import ExifTags, Image, ImageEnhance

from learner.datasets import add_dataset
from learner.datasets.duplicates import clusters
from learner.datasets.exclusions import ImageRow
from learner.datasets.facts import measure
from learner.datasets.finalizing import finalize_rows
from learner.datasets.grouping import bursts
from learner.datasets.images import Examined
from learner.datasets.layouts import Choice
from learner.datasets.rows import rows_of
from learner.store import Content
from tests.samples import make_photo, make_photos

SIZE = (320, 240)


def photo(number: int) -> Image.Image:
    return make_photo(number % 4, 4, SIZE, random.Random(number))


def content(picture: Image.Image, name: str = "") -> Content:
    sha256 = hashlib.sha256(name.encode() or picture.tobytes()).hexdigest()
    return Content(**measure(Examined(picture, ".jpg"), sha256, 1))


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: as_jpeg(picture, 40),
        lambda picture: picture.resize((160, 120)),
        lambda picture: picture.resize((640, 480)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
        lambda picture: picture.crop((5, 4, 315, 236)),
    ],
    ids=["saved badly", "half", "double", "brighter", "flatter", "cropped a little"],
)
def test_a_changed_copy_is_found_among_others(change):
    others = [content(photo(number)) for number in range(1, 60)]
    original, copy = content(photo(0), "original"), content(change(photo(0)), "copy")
    found = clusters([*others, original, copy])
    assert set(found) == {original.sha256, copy.sha256}
    assert found[original.sha256] == found[copy.sha256] == min(original.sha256, copy.sha256)[:12]


def test_different_photos_of_one_class_are_no_duplicates():
    assert clusters([content(photo(4 * number)) for number in range(80)]) == {}


def test_two_images_are_compared_as_well_as_many():
    assert len(clusters([content(photo(0), "a"), content(as_jpeg(photo(0), 60), "b")])) == 2
    assert clusters([content(photo(0)), content(photo(4))]) == {}
    assert clusters([content(photo(0))]) == clusters([]) == {}


def test_frames_of_a_video_are_one_cluster_even_where_nothing_else_is_there():
    frames = []
    for number in range(60):
        frame = photo(0)
        frame.putpixel((number, number), (255, 255, 255))
        frames.append(content(frame, str(number)))
    assert len(set(clusters(frames).values())) == 1
    assert len(clusters(frames)) == 60


def test_plain_surfaces_resemble_nothing():
    assert clusters([content(Image.new("RGB", SIZE, (level,) * 3), str(level)) for level in (20, 90, 200)]) == {}


def taken(picture: Content, path: str, split: str = "", **changes) -> ImageRow:
    return ImageRow(path, "", "cat", split, picture.sha256, *changes.pop("size", SIZE), **changes)


def test_a_picture_that_resembles_a_test_image_is_kept_out_and_the_test_set_stays():
    test, copy, other = content(photo(0), "a"), content(as_jpeg(photo(0), 50), "b"), content(photo(1), "c")
    contents = {picture.sha256: picture for picture in (test, copy, other)}
    rows = [taken(test, "1.jpg"), taken(copy, "2.jpg"), taken(other, "3.jpg")]
    settled = finalize_rows(rows, {test.sha256}, contents)
    assert [row.split for row in settled] == ["test", "", ""]
    assert [row.excluded for row in settled] == [False, True, False]
    assert settled[1].reason == "It belongs together with 1.jpg of the test set: what is tested is not learnt."
    assert [row.excluded for row in finalize_rows(rows, set(), contents)] == [False] * 3


def test_declared_groups_keep_out_of_the_test_set_as_near_duplicates_do():
    pictures = [content(photo(number), str(number)) for number in range(3)]
    rows = [taken(picture, f"{n}.jpg", group="Ann" if n < 2 else "Bob") for n, picture in enumerate(pictures)]
    settled = finalize_rows(rows, {pictures[0].sha256}, {})
    assert [row.excluded for row in settled] == [False, True, False]


def test_pictures_of_a_few_pixels_are_compared_exactly_only():
    small = [content(photo(0).resize((8, 8)), str(number)) for number in range(2)]
    rows = [taken(picture, picture.sha256, size=(8, 8)) for picture in small]
    assert [row.cluster for row in finalize_rows(rows, set(), {row.sha256: row for row in small})] == ["", ""]


def shot(seconds: float | None, camera: str = "Nikon") -> Content:
    return Content(camera=camera, taken_at=seconds)


def test_photos_taken_within_seconds_by_one_camera_are_a_burst():
    shots = {"a": shot(0), "b": shot(2), "c": shot(4), "d": shot(60), "e": shot(3, "Leica"), "f": shot(None)}
    assert bursts(shots, 2) == dict.fromkeys("abc", "Nikon, 1970-01-01 00:00:00")
    assert bursts(shots, 1) == {}
    assert set(bursts(shots, 60)) == set("abcd")
    assert bursts({"a": shot(5, ""), "b": shot(5, "")}, 1) == dict.fromkeys("ab", "1970-01-01 00:00:05")


def test_an_import_groups_photos_by_the_moment_they_were_taken(store, tmp_path):
    photos = make_photos(tmp_path / "pets", {"cat": 6, "dog": 6})
    for number in range(6):
        file = photos / "cat" / f"cat_{number:03}.jpg"
        exif = Image.Exif()
        exif[ExifTags.Base.Model] = "Phone"
        exif[ExifTags.Base.DateTime] = f"2026:05:01 12:{number // 2:02}:0{number % 2}"
        Image.open(file).save(file, exif=exif)
    version = add_dataset(store, photos, "pets", choice=Choice(group_seconds=3))
    groups = {row.path: row.group for row in rows_of(store, version)}
    assert [groups[f"cat/cat_{n:03}.jpg"] for n in range(6)] == [
        f"Phone, 2026-05-01 12:{n // 2:02}:00" for n in range(6)
    ]
    assert {group for path, group in groups.items() if path.startswith("dog")} == {""}
