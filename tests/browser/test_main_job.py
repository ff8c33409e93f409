"""The main job as a person does it: photos in, a trained model out."""

import json
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from playwright.sync_api import Page, expect

from learner.datasets import add_dataset
from learner.training.process import execute
from tests.samples import ROOT, TWO_PHASES, make_photos, make_zip

TRAINING_MS = 600_000
MEASURING_MS = 600_000
TOTAL = re.compile(r"^About .+ in all")


@pytest.mark.parametrize("name", ["data", "train", "runs", "results", "predict"])
def test_a_pages_own_address_as_the_first_request_to_a_fresh_server_comes_out_right(serve, page, name):
    page.goto(f"{serve()}/{name}")
    expect(page.get_by_role("heading", level=1)).to_have_text(name.capitalize())
    for step in ("Data", "Train", "Runs", "Results", "Predict"):
        expect(page.get_by_role("link", name=step, exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(name.capitalize())


def test_the_first_click_on_a_fresh_server_is_not_lost(serve, page, store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 5, "dog": 5}), "pets")
    page.goto(f"{serve()}/data")
    page.get_by_role("radio", name="Versions").click()
    expect(page.get_by_text("A version never changes")).to_be_visible()


def test_from_a_zip_of_photos_to_a_learner_pkl_that_plain_fastai_opens(serve, start, page, tmp_path):
    start("learner", "worker", fresh=True)
    photos = make_photos(tmp_path / "pets", {"cat": 15, "dog": 15}, size=(48, 40))
    page.goto(serve())

    # Data: upload a zip
    page.locator("input.files").set_input_files(make_zip(photos, tmp_path / "pets.zip"))
    expect(page.get_by_text("The images lie in one folder for each of 2 classes (cat, dog).")).to_be_visible()
    page.get_by_role("button", name="Import 30 images").click()
    expect(page.get_by_text("30 images in 2 classes")).to_be_visible()
    expect(page.get_by_role("option", name="cat: cat/")).to_have_count(15)

    # Train: the machine is measured by itself; change the epochs of the second phase to 150, to have time to watch
    page.get_by_role("button", name="Plan the training on pets").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    expect(page.get_by_text("Measuring this machine, about")).to_be_visible()
    expect(page.get_by_text(TOTAL)).to_be_visible(timeout=MEASURING_MS)
    edit_epochs(page, row=1, epochs=150)
    expect(page.get_by_text(re.compile("^Fine-tuning, 150 epochs: (about|under) "))).to_be_visible()
    expect(page.get_by_role("img", name="head learns; stem, block1").first).to_be_visible()
    page.get_by_role("button", name="Start training").click()

    # Runs: the curve grows while it trains, and a reload loses nothing
    expect(page.get_by_role("heading", name="Run 1: training")).to_be_visible()
    chart = page.get_by_test_id("stVegaLiteChart").first
    expect(chart).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_text(re.compile(r"Fine-tuning: .* epoch \d+ of 150")).first).to_be_visible(timeout=TRAINING_MS)
    early = chart.screenshot()
    while chart.screenshot() == early:
        page.wait_for_timeout(500)
        expect(page.get_by_role("heading", name="Run 1: training")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=re.compile("Run 1: (training|finished)"))).to_be_visible()
    expect(page.get_by_role("heading", name="Run 1: finished")).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_role("heading", name="Expected and true")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^Together "))).to_be_visible()

    # Results: the confusion matrix, and the model to take away
    page.get_by_role("button", name="See what it gets right and wrong").click()
    page.get_by_role("radio", name="Mistakes").click()
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    page.get_by_role("radio", name="Per cent of the true class").click()
    page.get_by_role("radio", name="Take away").click()
    offered = page.get_by_role("button", name="Download learner.pkl")
    expect(offered).to_be_visible(timeout=TRAINING_MS)  # once it has proved itself
    with page.expect_download() as download:
        offered.click()
    pickle = tmp_path / "learner.pkl"
    download.value.save_as(pickle)

    # Predict: the page, the command and plain fastai agree
    page.get_by_role("button", name="Try it on new pictures").click()
    picture = next((photos / "dog").iterdir())
    expect(page.get_by_text("This model knows cat, dog")).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(picture)
    answer = page.get_by_text(re.compile(r"^(cat|dog), [\d.]+ %$"))
    expect(answer).to_be_visible(timeout=TRAINING_MS)
    said, share = re.match(r"(\w+), ([\d.]+) %", answer.inner_text()).groups()
    label, prob = predict_with_plain_fastai(pickle, picture)
    assert said == label
    assert float(share) / 100 == pytest.approx(prob, abs=1e-3 + 0.0005)  # the page shows one decimal of a per cent
    command = [sys.executable, "-m", "learner", "predict", "1", str(picture), "--json"]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert told["predictions"][0]["classes"][0] == label
    assert told["predictions"][0]["probs"][0] == pytest.approx(prob, abs=1e-3)


def test_a_second_tab_and_a_restarted_web_process_show_the_same_run(serve, page, store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 5, "dog": 5}), "pets")
    run_id = store.submit(TWO_PHASES)
    page.goto(f"{serve()}/runs?run={run_id}")
    expect(page.get_by_role("heading", name="Run 1: waiting")).to_be_visible()
    second = page.context.new_page()
    second.goto(f"{serve()}/runs")
    assert execute(store, store.runs.claim()) == "finished"
    for tab in (page, second):
        tab.bring_to_front()
        expect(tab.get_by_role("heading", name="Run 1: finished")).to_be_visible(timeout=TRAINING_MS)


def edit_epochs(page: Page, row: int, epochs: int) -> None:
    """Change a cell of the phases' table by the keyboard; the table is drawn on a canvas and has no cells to click."""
    table = page.get_by_test_id("stDataFrame").first
    cell = table.get_by_test_id(f"glide-cell-3-{row}")
    expect(cell).to_be_attached()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    for _ in range(5):  # the page above may grow just then, when its measurement is done, and the click go elsewhere
        table.scroll_into_view_if_needed()
        box = table.bounding_box()
        page.mouse.click(box["x"] + 80, box["y"] + box["height"] / 4 * 1.5)  # the first phase's name, of four rows
        for key in ["ArrowRight"] * 2 + ["ArrowDown"] * row:
            page.keyboard.press(key)
        with suppress(AssertionError):
            expect(cell).to_have_attribute("aria-selected", "true", timeout=5_000)
            break
    expect(cell).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    editor = page.locator("#portal input")
    editor.fill(str(epochs))
    editor.press("Enter")
    expect(cell).to_have_text(str(epochs))


def predict_with_plain_fastai(pickle, picture) -> tuple[str, float]:
    """Class and probability by fastai alone: importing this project fails there."""
    code = (
        "import sys, json\n"
        "sys.modules['learner'] = None\n"
        "from fastai.learner import load_learner\n"
        "label, index, probs = load_learner(sys.argv[1]).predict(sys.argv[2])\n"
        "print(json.dumps([label, float(probs[index])]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(pickle), str(picture)]
    done = subprocess.run(command, cwd=pickle.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, prob = json.loads(done.stdout.splitlines()[-1])
    return label, prob
