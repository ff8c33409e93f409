"""Thumbnails through a real web process: made again when missing, and nothing else is ever sent."""

import io

import pytest
from PIL import Image

from learner.datasets import add_dataset
from learner.datasets.files import THUMBNAIL_SIDE, dataset_folder, thumbnail_file
from learner.store import Store
from learner.workspace import Workspace
from tests.samples import make_photos
from ui.web.pictures import PREVIEW_SIDE, preview_url, thumbnail_url


@pytest.fixture(scope="module")
def photo(served, home, tmp_path_factory):
    """A photo of 1600 × 1200 pixels in a data set; (name of the data set, sha256)."""
    folder = make_photos(tmp_path_factory.mktemp("photos"), {"cat": 2, "dog": 2}, size=(1600, 1200))
    store = Store(Workspace(home))
    version = add_dataset(store, folder, "Große und kleine")
    return "Große und kleine", store.datasets.images(version.id)[0].sha256


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        return picture.size


def test_a_thumbnail_and_a_large_view_come_as_small_jpegs_to_be_kept(client, photo):
    small, large = client.get(f"/{thumbnail_url(*photo)}"), client.get(f"/{preview_url(*photo)}")
    assert size_of(small.content) == (THUMBNAIL_SIDE, THUMBNAIL_SIDE * 3 // 4)
    assert size_of(large.content) == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4)
    for answer in (small, large):
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"] and "private" in answer.headers["cache-control"]


def test_a_thumbnail_that_is_missing_is_made_again(client, photo, workspace):
    thumbnail = thumbnail_file(workspace, photo[1])
    thumbnail.unlink()
    assert client.get(f"/{thumbnail_url(*photo)}").status_code == 200
    assert thumbnail.exists()


def test_one_whose_photo_is_gone_or_damaged_is_not_found(client, photo, workspace):
    folder = make_photos(workspace.root.parent / "two", {"a": 2, "b": 2}, seed=3)
    store = Store(workspace)
    gone, damaged = store.datasets.images(add_dataset(store, folder, "two").id)[:2]
    for image in (gone, damaged):
        thumbnail_file(workspace, image.sha256).unlink()
    (dataset_folder(workspace, "two") / gone.file).unlink()
    (dataset_folder(workspace, "two") / damaged.file).write_bytes(b"no picture")
    for image in (gone, damaged):
        assert client.get(f"/{thumbnail_url('two', image.sha256)}").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "thumbnail/{sha256}.png",
        "thumbnail/{short}.jpg",
        "thumbnail/{upper}.jpg",
        "thumbnail/..%2f..%2f{sha256}.jpg",
        "original/{sha256}.jpg",
        "images/{sha256}.jpg",
        "thumbnail/{sha256}.jpg/../../x.jpg",
        "thumbnail/" + "0" * 64 + ".jpg",
    ],
)
def test_anything_else_gives_no_picture(client, photo, address):
    name, sha256 = photo
    named = address.format(sha256=sha256, short=sha256[:-1], upper=sha256.upper())
    answer = client.get(f"/api/pictures/{named}", params={"data": name})
    assert answer.status_code < 500
    assert not answer.headers.get("content-type", "").startswith("image/")


def test_the_data_set_in_the_address_leads_nowhere_else(client, photo, workspace):
    thumbnail_file(workspace, photo[1]).unlink(missing_ok=True)
    for name in ("", "..", "../../..", "/etc", "nothing", "\0"):
        assert client.get(f"/{thumbnail_url(name, photo[1])}").status_code == 404
