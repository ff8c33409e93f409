"""The Data page as hands use it: files dropped, pictures chosen by keyboard and mouse, photos taken by a camera."""

import re
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from learner.datasets import add_dataset
from learner.datasets.rows import rows_of
from tests.patience import until
from tests.samples import make_photos, make_zip


def open_data(page: Page, address: str) -> None:
    page.goto(f"{address}/data")
    expect(page.get_by_role("heading", level=1)).to_have_text("Data")


def drop(page: Page, *paths: Path) -> None:
    """Let files or folders fall on the drop zone, as a file manager's."""
    expect(page.get_by_text("Drop a folder, photos or an archive here")).to_be_visible()
    box = page.locator(".drop").bounding_box()
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send(
            "Input.dispatchDragEvent",
            {"type": kind, "x": box["x"] + box["width"] / 2, "y": box["y"] + 20, "data": data},
        )


def slow_down(page: Page, bytes_a_second: float) -> Callable[[float], None]:
    """Let uploads take their time; returns what changes that, where -1 is no limit."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")

    def change(bytes_a_second: float) -> None:
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
        devtools.send("Network.emulateNetworkConditions", conditions)

    change(bytes_a_second)
    return change


def test_a_folder_is_dropped_looked_at_and_imported(serve, page, store, tmp_path):
    folder = make_photos(tmp_path / "Ausflug nach Übersee", {"Kätzchen": 6, "Hündchen": 5}, size=(48, 40))
    (folder / ".DS_Store").write_bytes(b"x")
    open_data(page, serve())
    drop(page, folder)
    expect(page.get_by_role("heading", name="Found in Ausflug nach Übersee")).to_be_visible()
    expect(page.get_by_text("The images lie in one folder for each of 2 classes (Hündchen, Kätzchen).")).to_be_visible()
    page.get_by_role("button", name="Import 11 images").click()
    expect(page.get_by_text("11 images in 2 classes")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(11)
    expect(page.get_by_role("option", name="Kätzchen: Kätzchen/Kätzchen_000.jpg")).to_be_visible()


@pytest.fixture
def slow_upload(serve, page, workspace, tmp_path) -> Path:
    """Two large files on a slow line, some of which has arrived."""
    folder = tmp_path / "large"
    folder.mkdir()
    for name in ("1.zip", "2.zip"):
        (folder / name).write_bytes(bytes(3_000_000))
    open_data(page, serve())
    slow_down(page, 400_000)
    drop(page, folder)
    expect(page.get_by_text(re.compile(r"^Uploading: 0 of 2 files, .* of 6 MB"))).to_be_visible()
    until(lambda: list(workspace.uploads.glob(".files-*/*.part")))
    return workspace.uploads


def test_an_upload_that_is_cancelled_leaves_nothing_and_says_so(slow_upload, page):
    page.get_by_role("button", name="Cancel the upload").click()
    expect(page.get_by_text("The upload was cancelled; nothing of it was kept.")).to_be_visible()
    until(lambda: list(slow_upload.iterdir()) == [])
    expect(page.get_by_role("button", name="Choose a folder")).to_be_visible()


def test_a_reload_in_the_middle_of_an_upload_leaves_nothing(slow_upload, page):
    page.on("dialog", lambda dialog: dialog.accept())  # the browser asks whether to leave
    page.reload()
    expect(page.get_by_text("Drop a folder, photos or an archive here")).to_be_visible()
    until(lambda: list(slow_upload.iterdir()) == [])


def test_an_upload_goes_on_while_the_first_data_set_comes_in(serve, page, tmp_path):
    photos = make_photos(tmp_path / "pets", {"cat": 4, "dog": 4}, size=(48, 40))
    (photos / "notes.bin").write_bytes(bytes(3_000_000))
    open_data(page, serve())
    line = slow_down(page, 30_000)  # 100 s: longer than a busy machine takes for the sample
    drop(page, make_zip(photos, tmp_path / "pets.zip"))
    expect(page.get_by_text(re.compile("^Uploading: "))).to_be_visible()
    page.get_by_role("button", name="Use the sample: handwritten digits").click()
    expect(page.get_by_role("button", name="Done adding")).to_be_visible(timeout=90_000)  # digits are there
    expect(page.get_by_text(re.compile("^Uploading: "))).to_be_visible()
    line(-1)
    expect(page.get_by_role("heading", name="Found in pets.zip")).to_be_visible()


STEADY = """() => {
  const film = document.querySelector('[data-testid="stCameraInput"] video');
  const stream = film?.readyState === 4 && film.srcObject?.active ? film.srcObject.id : null;
  if (!stream || window.camera?.stream !== stream) window.camera = { stream, since: performance.now() };
  return stream && performance.now() - window.camera.since > 1000;
}"""
"""Whether the camera shows one film for a second."""


def photograph(page: Page, photo: Locator) -> None:
    """Press the camera's button until the photo is there.

    Streamlit starts the camera once more when it has learnt its width; a press in between takes nothing. A press that
    took a photo must not be followed by another one, however long a busy machine takes to show it.
    """

    def taken() -> bool:
        button = page.get_by_role("button", name="Take Photo")
        expect(button).to_be_visible()
        page.wait_for_function(STEADY)
        with suppress(PlaywrightTimeout):
            button.click(timeout=5000)
        with suppress(AssertionError):
            expect(photo).to_be_visible(timeout=30_000)
        return photo.is_visible()

    until(taken)


SNOW = """
const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
const grain = () => { for (let x = 0; x < canvas.width; x += 10) for (let y = 0; y < canvas.height; y += 10) {
    pen.fillStyle = `hsl(${360 * Math.random()} 80% 50%)`; pen.fillRect(x, y, 10, 10); } };
setInterval(grain, 100);
navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
"""
"""A camera of which no two pictures are the same: the browser's own shows the same film at each start."""


def test_photos_of_a_camera_become_a_data_set(serve, page, store):
    page.add_init_script(SNOW)
    open_data(page, serve())
    page.get_by_text("Camera", exact=True).click()
    for label, number in (("mug", 2), ("pen", 2)):
        box = page.get_by_role("combobox", name=re.compile("Class that the next photos show"))
        box.fill(label)
        box.press("Enter")
        for taken in range(1, number + 1):
            photograph(page, page.get_by_text(f"{label}: {taken} photo"))
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.get_by_role("link", name="Data", exact=True).click()
    expect(page.get_by_text("pen: 2 photos")).to_be_visible()
    page.reload()  # the photos are on the server already
    expect(page.get_by_text("pen: 2 photos")).to_be_visible()
    page.get_by_role("button", name="Make camera with 4 photos").click()
    expect(page.get_by_text("4 images in 2 classes")).to_be_visible()
    labels = [row.label for row in rows_of(store, store.datasets.version("camera"))]
    assert sorted(labels) == ["mug", "mug", "pen", "pen"]


@pytest.fixture
def cats(store, tmp_path):
    return add_dataset(store, make_photos(tmp_path / "cats", {"cat": 6, "dog": 6}, size=(48, 40)), "cats")


def picture(page: Page, name: str) -> Locator:
    return page.get_by_role("option", name=f"{name.partition('_')[0]}: ").filter(has_text=f"{name}.jpg")


def chosen(page: Page) -> Locator:
    return page.get_by_role("option", selected=True)


def test_pictures_are_chosen_by_keyboard_alone(serve, page, cats, store):
    open_data(page, serve())
    picture(page, "cat_000").focus()
    for key in ("ArrowRight", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(chosen(page)).to_have_count(2)
    expect(page.get_by_text("2 images chosen")).to_be_visible()
    expect(picture(page, "cat_002")).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect(chosen(page)).to_have_count(3)
    page.keyboard.press("Control+a")
    expect(chosen(page)).to_have_count(12)
    expect(page.get_by_text("12 images chosen")).to_be_visible()
    page.keyboard.press("Escape")
    expect(chosen(page)).to_have_count(0)
    expect(page.get_by_text("Choose images below:")).to_be_visible()
    page.keyboard.press("Enter")
    large = page.get_by_role("dialog", name="Large view")
    expect(large).to_contain_text("cat/cat_003.jpg")
    expect(large.get_by_role("img", name="cat: cat/cat_003.jpg")).not_to_have_js_property("naturalWidth", 0)
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    expect(picture(page, "cat_003")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Set aside")).to_be_enabled()
    page.get_by_role("button", name="Set aside").press("Enter")
    expect(page.get_by_text("1 edit: 1 image set aside.")).to_be_visible()
    expect(page.get_by_text("11 images in 2 classes, 1 set aside")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(11)
    page.keyboard.press("Control+z")
    expect(page.get_by_text("Every edit was undone.")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(12)


def test_pictures_are_chosen_by_mouse_relabelled_and_saved_and_another_tab_sees_it(serve, page, cats, store):
    address = serve()
    open_data(page, address)
    picture(page, "cat_001").click()
    picture(page, "cat_004").click(modifiers=["Shift"])
    expect(page.get_by_text("4 images chosen")).to_be_visible()
    picture(page, "cat_002").click()
    expect(page.get_by_text("3 images chosen")).to_be_visible()
    box = page.get_by_test_id("stLayoutWrapper").locator(".st-key-actions-pictures").get_by_role("combobox").first
    box.fill("lynx")
    box.press("Enter")
    page.get_by_role("button", name="Relabel").click()
    expect(page.get_by_text("1 edit: 3 images relabelled as lynx.")).to_be_visible()
    expect(page.get_by_text("12 images in 3 classes")).to_be_visible()
    second = page.context.new_page()
    open_data(second, address)
    expect(second.get_by_text("1 edit: 3 images relabelled as lynx.")).to_be_visible()
    page.bring_to_front()
    page.get_by_placeholder("What you changed and why (optional)").fill("they have tufted ears")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_text("Version 2.", exact=False).first).to_be_visible()
    expect(page.get_by_role("button", name="Plan the training on cats")).to_be_visible()
    assert store.datasets.version("cats").note == "they have tufted ears. Images: 3 relabelled."
    labels = [row.label for row in rows_of(store, store.datasets.version("cats"))]
    assert labels.count("lynx") == 3


@pytest.fixture
def messy_zip(tmp_path) -> Path:
    """What people have: a class written in two ways, copies, a dark photo, a broken one, rubbish, a trap."""
    photos = make_photos(tmp_path / "Holiday photos", {"cat": 14, "Dog": 12}, size=(160, 120))
    make_photos(photos, {"dog": 4}, size=(160, 120), seed=5)
    for number in range(3):
        shutil.copy(photos / "cat" / f"cat_00{number}.jpg", photos / "cat" / f"copy {number}.jpg")
        with Image.open(photos / "Dog" / f"Dog_00{number}.jpg") as photo:
            photo.resize((150, 112)).save(photos / "Dog" / f"Dog_00{number} small.jpg")
    with Image.open(photos / "cat" / "cat_005.jpg") as photo:
        ImageEnhance.Brightness(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).enhance(0.2).save(
            photos / "cat" / "night.jpg"
        )
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (photos / "notes.txt").write_text("hello")
    packed = make_zip(photos, tmp_path / "Holiday photos.zip", inside="Holiday photos")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("__MACOSX/Holiday photos/._cat_000.jpg", b"x")
        archive.writestr("../../evil.jpg", b"x")
    return packed


def test_from_a_messy_zip_to_a_clean_version(serve, page, store, messy_zip):
    open_data(page, serve())
    page.locator("input.files").set_input_files(messy_zip)
    expect(page.get_by_role("heading", name="Found in Holiday photos.zip")).to_be_visible()
    expect(page.get_by_text("Merge “Dog”, “dog” into one class, Dog")).to_be_visible()
    expect(page.get_by_text("files will be left out")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Import 3. images")).click()
    expect(page.get_by_text("34 images in 2 classes, 3 set aside")).to_be_visible()
    page.get_by_role("radio", name="Checks").click()
    for finding, remedy in (
        ("3 near duplicates in 3 groups", "Set these 3 images aside"),
        ("1 image is very dark", "Set this image aside"),
    ):
        page.get_by_text(finding).click()
        page.get_by_role("button", name=remedy).click()
        expect(page.get_by_text(finding)).to_be_hidden()
    page.get_by_text("files could not be taken in").click()
    page.get_by_placeholder("What you changed and why (optional)").fill("Copies and a night photo")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_text("30 images in 2 classes, 7 set aside. Version 2.")).to_be_visible()
    page.get_by_role("radio", name="Split").click()
    expect(page.get_by_text("No near duplicates and no declared groups")).to_be_visible()
    page.get_by_role("button", name="Plan the training on Holiday photos").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    expect(page.get_by_text("Version 2: 30 images in 2 classes")).to_be_visible()
    assert store.datasets.version("Holiday photos").note == "Copies and a night photo. Images: 4 set aside."
