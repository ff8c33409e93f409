"""The web demo in a real browser, opened from the disk: it answers as Python does, and refuses where it would not."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from learner.exports import Export, export
from learner.inference.predictor import Predictor
from learner.store import Store


@pytest.fixture(scope="module")
def demo(trained, tmp_path_factory) -> Export:
    """Of the trained run, as a folder."""
    store, run_id = trained
    return export(store, run_id, "web", tmp_path_factory.mktemp("demo") / "demo")


@pytest.fixture
def opened(page, demo) -> Page:
    """The demo's page, once it has checked itself."""
    page.goto((demo.path / "index.html").as_uri())
    expect(page.locator("#check")).to_have_text(re.compile(r"Checked: 6 photos give the same answers .*0\.0"))
    return page


@pytest.fixture(scope="module")
def pictures(photos, tmp_path_factory) -> list[Path]:
    """A photo as it is, one that only its EXIF mark turns upright, a grey one, a transparent one, a large one."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = Image.open(next((photos / "valid" / "dog").glob("*.jpg"))).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    photo.save(folder / "plain.jpg", quality=95)
    photo.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    photo.convert("L").save(folder / "grey.png")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    clear.save(folder / "clear.png")
    photo.resize((611, 457), Image.Resampling.BICUBIC).save(folder / "large.png")
    return sorted(folder.iterdir())


def test_the_demo_was_proven_in_a_browser_before_it_was_written(demo):
    assert "Chromium" in demo.proof.versions and demo.proof.note == ""
    assert "Chromium" in demo.proof.sentence and demo.proof.largest < 1e-3
    assert sum(path.stat().st_size for path in demo.path.rglob("*")) == demo.bytes


def test_pictures_get_the_answers_that_python_gives_them(opened, trained, pictures):
    store, run_id = trained
    said = Predictor.open(str(run_id), Store(store.workspace)).predict(pictures)
    for picture, ours in zip(pictures, said, strict=True):
        opened.locator("#file").set_input_files(picture)
        expect(opened.locator("#time")).to_have_text(re.compile("Looked at in"))
        theirs = {
            row.locator("span").first.inner_text(): float(row.locator("meter").get_attribute("value"))
            for row in opened.locator("#bars li").all()
        }
        assert theirs == pytest.approx(dict(zip(ours.classes, ours.probs, strict=True)), abs=5e-3), picture.name
        stranger = ours.distance > Predictor.open(str(run_id), store).spec.threshold()
        assert opened.locator("#verdict").inner_text().startswith("None of these" if stranger else ours.classes[0])
        opened.evaluate("() => { document.getElementById('time').textContent = '' }")


def test_a_picture_is_dropped_and_a_file_that_is_none_is_told(opened, pictures, tmp_path):
    data = "() => { const data = new DataTransfer(); const canvas = document.createElement('canvas');"
    data += " return new Promise(done => canvas.toBlob(blob => {"
    data += " data.items.add(new File([blob], 'drawn.png', {type: 'image/png'})); done(data); })) }"
    opened.dispatch_event("body", "drop", {"dataTransfer": opened.evaluate_handle(data)})
    expect(opened.locator("#time")).to_have_text(re.compile(r"Looked at in \d+ ms"))
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    opened.locator("#file").set_input_files(text)
    expect(opened.locator("#verdict")).to_have_text(re.compile(r"notes\.png is no picture that this browser can read"))


def test_the_camera_is_looked_through_until_it_is_stopped(opened):
    opened.get_by_role("button", name="Start the camera").click()
    expect(opened.locator("#time")).to_have_text(re.compile(r"Looked at in \d+ ms"))
    expect(opened.locator("#camera")).to_be_visible()
    opened.get_by_role("button", name="Stop the camera").click()
    expect(opened.locator("#camera")).to_be_hidden()
    expect(opened.locator("#verdict")).to_have_text("No picture yet.")


def test_without_a_camera_it_says_so(opened):
    opened.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')) }"
    )
    opened.get_by_role("button", name="Start the camera").click()
    expect(opened.locator("#verdict")).to_have_text(re.compile("The camera was refused. Allow it for this page"))
    expect(opened.get_by_role("button", name="Start the camera")).to_be_enabled()


def test_it_asks_no_server_for_anything(page, demo):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((demo.path / "index.html").as_uri())
    expect(page.locator("#check")).to_have_text(re.compile("Checked"))
    assert asked and all(url.startswith(("file:", "blob:")) for url in asked)


def test_a_page_whose_answers_are_not_the_runs_predicts_nothing(page, demo, tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    for path in demo.path.iterdir():
        (folder / path.name).symlink_to(path)
    about = json.loads((demo.path / "about.js").read_text("utf-8").removeprefix("window.thawAbout = ").rstrip(";\n"))
    about["golden"][1]["probs"].reverse()
    (folder / "about.js").unlink()
    (folder / "about.js").write_text(f"window.thawAbout = {json.dumps(about)};\n")
    page.goto((folder / "index.html").as_uri())
    expect(page.locator("#check")).to_have_text(re.compile(r"does not predict here: on 2\.png .* differs by 0\.\d"))
    expect(page.locator("#file")).to_be_disabled()
    expect(page.get_by_role("button", name="Start the camera")).to_be_disabled()


def test_on_a_phone_held_upright_nothing_hangs_over_and_the_keyboard_reaches_every_control(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    assert opened.evaluate("() => document.documentElement.scrollWidth") <= 390
    reached = []
    for _ in range(2):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("() => document.activeElement.id"))
    assert reached == ["file", "toggle"]
