"""Pictures for the Predict page on their way in and out of a real web process."""

import httpx
import pytest

from learner.inference import batch_work, batches
from tests.samples import make_photos, make_zip
from tests.web.test_upload_routes import begin, put


@pytest.fixture
def arrived(client, workspace, tmp_path) -> batches.Batch:
    """A batch that came as an archive."""
    packed = make_zip(make_photos(tmp_path / "walk"), tmp_path / "walk.zip").read_bytes()
    upload = begin(client)
    assert put(client, upload, "walk.zip", packed).status_code == 204
    answer = client.post(f"/api/uploads/{upload}/done", params={"for": "predict"})
    assert answer.status_code == 200 and "job" not in answer.json()
    return batches.find(workspace, answer.json()["batch"])


def picture(client: httpx.Client, kind: str, batch_id: str, sha256: str) -> httpx.Response:
    return client.get(f"/api/pictures/{kind}/{sha256}.jpg", params={"batch": batch_id})


def test_an_upload_for_predict_becomes_a_batch_and_no_import(arrived, workspace):
    assert arrived.title == "walk.zip" and not arrived.is_ingested
    assert list(workspace.uploads.iterdir()) == []
    batch_work.ingest(arrived, lambda *_: None, lambda: False)
    assert len(arrived.pictures()) == 12


def test_its_pictures_are_shown_small_and_large(arrived, client):
    batch_work.ingest(arrived, lambda *_: None, lambda: False)
    sha256 = arrived.pictures()[0].sha256
    for kind in ("thumbnail", "preview"):
        answer = picture(client, kind, arrived.id, sha256)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("batch_id", ["none", "..", "../datasets", ""])
def test_nothing_but_pictures_of_batches_is_shown(arrived, client, batch_id):
    assert picture(client, "preview", batch_id, "0" * 64).status_code == 404


def test_a_file_that_is_no_picture_is_not_shown(client, workspace):
    batch = batches.begin(workspace, "letter", "camera")
    batch.add("letter.jpg", b"Dear all")
    assert picture(client, "preview", batch.id, batch.pictures()[0].sha256).status_code == 404


def test_an_upload_for_predict_without_files_is_told(client):
    answer = client.post(f"/api/uploads/{begin(client)}/done", params={"for": "predict"})
    assert (answer.status_code, answer.json()["error"].split(".")[0]) == (400, "No files arrived")
