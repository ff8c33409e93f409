"""The Predict page as hands use it: many dropped, a table, marks, the data set; pasted and photographed pictures."""

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from learner.datasets.rows import rows_of
from learner.inference import batches
from tests.browser.test_data_by_hand import drop, photograph
from tests.samples import copy_workspace, make_photos, make_zip


@pytest.fixture
def model(trained_home, workspace) -> None:
    """A finished run on `pets`, without what other tests asked it."""
    copy_workspace(trained_home, workspace.root, "predictions")


def open_predict(page: Page, address: str) -> None:
    page.goto(f"{address}/predict")
    expect(page.get_by_text("This model knows cat, dog.")).to_be_visible()


def test_many_are_dropped_sorted_marked_and_join_the_data_set(model, store, serve, page, tmp_path):
    photos = make_photos(tmp_path / "new", {"cat": 5, "dog": 5}, seed=8)
    (photos / "letter.jpg").write_text("no picture")
    open_predict(page, serve())
    drop(page, make_zip(photos, tmp_path / "walk.zip"))
    expect(page.get_by_role("heading", name="walk.zip")).to_be_visible()
    expect(page.get_by_text("Most similar training photos")).to_be_visible()
    assert re.search(r"batch=[\w-]+", page.url)
    expect(page.get_by_text("Not read (1)")).to_be_visible()

    page.get_by_text("Table", exact=True).click()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download 11 rows as CSV").click()
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == 12 and lines[0].startswith("File,Answer,Probability,Second answer")

    page.get_by_text("Pictures", exact=True).click()
    tile = page.get_by_role("option", name=re.compile(r"cat_00\d\.jpg"))
    expect(tile).to_have_count(5)
    tile.first.click()
    tile.nth(4).click(modifiers=["Shift"])
    box = page.locator(".st-key-marking-chosen").get_by_role("combobox", name="No, they are")
    box.fill("cat")
    box.press("Enter")
    page.locator(".st-key-marking-chosen").get_by_role("button", name="Mark as that").click()
    join = page.get_by_role("button", name="Add 5 photos to pets")
    expect(join).to_be_visible()
    page.reload()
    expect(join).to_be_visible()
    join.click()
    expect(page.get_by_text("5 photos joined pets, which is at version 2 now.")).to_be_visible()
    rows = rows_of(store, store.datasets.version("pets"))
    assert sorted(row.label for row in rows) == ["cat"] * 15 + ["dog"] * 10
    page.get_by_role("button", name="Train again with them").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")


def test_a_picture_is_pasted(model, serve, page, workspace, tmp_path):
    photo = next(make_photos(tmp_path / "new", {"cat": 1, "dog": 1}, seed=8).rglob("*.jpg"))
    open_predict(page, serve())
    expect(page.get_by_role("button", name="Paste a picture")).to_be_visible()
    page.evaluate(
        """async (bytes) => {
            const blob = await (await fetch('data:image/jpeg;base64,' + bytes)).blob();
            const data = new DataTransfer();
            data.items.add(new File([blob], 'image.jpg', { type: 'image/jpeg' }));
            document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
        }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )
    expect(page.get_by_text("Most similar training photos")).to_be_visible()
    [batch] = batches.recent(workspace)
    assert [picture.name for picture in batch.pictures()] == ["pasted 1.jpeg"]
    assert batch.path(batch.pictures()[0]).read_bytes() == photo.read_bytes()


def test_a_picture_is_taken_by_the_camera(model, serve, page, workspace):
    page.context.grant_permissions(["camera"])
    open_predict(page, serve())
    page.get_by_text("Camera", exact=True).click()
    photograph(page, page.get_by_text("Most similar training photos"))
    [batch] = batches.recent(workspace)
    assert (batch.kind, len(batch.pictures())) == ("camera", 1)


def test_the_model_looks_through_a_live_camera_until_it_is_stopped(model, serve, page):
    page.context.grant_permissions(["camera"])
    open_predict(page, serve())
    page.get_by_text("Live camera", exact=True).click()
    live = page.get_by_role("group", name="Live camera")
    start, stop = (live.get_by_role("button", name=f"{verb} the camera") for verb in ("Start", "Stop"))
    expect(stop).to_be_hidden()
    start.click()
    expect(live.locator(".verdict")).to_have_text(re.compile(r"None of these|(cat|dog), \d+\.\d %"))
    expect(live.get_by_role("listitem")).to_have_count(2)
    expect(live.locator(".rate")).to_have_text(re.compile(r"\d+\.\d pictures a second; the model took \d+ ms"))
    stop.click()
    expect(start).to_be_visible()
    expect(live.get_by_role("listitem")).to_have_count(0)
    assert live.locator("video").evaluate("film => film.srcObject") is None

    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')) }"
    )
    start.click()
    expect(live.get_by_role("alert")).to_have_text(re.compile("The camera was refused. Allow it for this page"))
    expect(start).to_be_visible()
