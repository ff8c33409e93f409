"""From a confusion to a proof, as a person does it: find wrong labels, correct them, train again, see what it fixed."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from learner.datasets import add_dataset
from learner.evaluation.results import load_predictions
from learner.recipe import Phase
from learner.store import Store
from learner.training.process import execute
from learner.wording import count
from learner.workspace import Workspace
from tests.machine import keep_small_speeds
from tests.samples import copy_workspace, make_photos, small_recipe

TRAINING_MS = 600_000
MISLABELLED = 8
"""Of 14 training cats: so many are labelled as dogs that the model takes cats for dogs."""


@pytest.fixture(scope="module")
def spoilt_home(tmp_path_factory) -> Path:
    """A workspace with a finished run on photos of which many training cats are labelled as dogs."""
    home, photos = tmp_path_factory.mktemp("spoilt"), tmp_path_factory.mktemp("photos") / "pets"
    store = Store(Workspace(home))
    train = make_photos(photos / "train", {"cat": 14, "dog": 14}, seed=1)
    make_photos(photos / "valid", {"cat": 10, "dog": 10}, seed=2)
    for photo in sorted((train / "cat").iterdir())[:MISLABELLED]:
        photo.rename(train / "dog" / photo.name)
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    phases = [
        Phase("Warm-up", epochs=2, lr=0.01),
        Phase("Fine-tuning", trainable="all", epochs=6, lr=[1e-3, 1e-2]),
    ]
    run_id = store.submit(small_recipe(phases=phases, precision="fp32"), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return home


@pytest.fixture
def spoilt(spoilt_home, workspace) -> Store:
    """Its copy, to write into."""
    copy_workspace(spoilt_home, workspace.root)
    return Store(workspace)


def wrong_photos(store: Store, run_id: int) -> set[str]:
    """Validation photos that a run has wrong, read from its table."""
    table = load_predictions(store.workspace.run_folder(run_id))
    return set(table[table["label"] != table["predicted"]]["path"])


def settle(page: Page) -> None:
    """Wait until the page is drawn: drawing it anew closes a list that is open."""
    page.wait_for_timeout(400)  # until the server has heard of what was done last
    expect(page.locator('[data-test-script-state="running"]')).to_have_count(0)


def choose_class(page: Page, label: str, name: str) -> None:
    """Choose an entry of the select box `label`."""
    settle(page)
    box = page.get_by_role("combobox", name=label, exact=True)
    box.click()
    page.get_by_role("option", name=name, exact=True).click()
    expect(box).to_have_value(name)
    expect(page.get_by_role("option", name=name, exact=True)).to_have_count(0)


def test_labels_are_corrected_and_the_next_run_shows_what_that_fixed(serve, page, spoilt):
    before = wrong_photos(spoilt, 1)
    assert len(before) >= 2, "the spoilt labels should mislead the model"
    page.goto(f"{serve()}/results?run=1&view=mistakes")

    # A pair of the confusion matrix, in words, leads to its photos.
    pair = page.get_by_role("button", name=re.compile("cat taken for dog$"))
    expect(pair).to_be_visible()
    pair.click()
    grid = page.get_by_role("listbox")
    mistaken = {path for path in before if path.startswith("valid/cat")}
    expect(grid.get_by_role("option")).to_have_count(len(mistaken))

    # The wrong labels are among the training photos.
    page.get_by_role("radio", name=re.compile("^Training")).click()
    page.get_by_role("radio", name="All", exact=True).click()
    choose_class(page, "Shows", "dog")
    choose_class(page, "Model said", "Any class")
    choose_class(page, "Sort", "By name")
    expect(grid.get_by_role("option")).to_have_count(14 + MISLABELLED)
    settle(page)
    for number in range(MISLABELLED):
        photo = grid.get_by_role("option", name=f"train/dog/cat_{number:03}.jpg")
        photo.click()
        expect(photo).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text(f"{MISLABELLED} photos chosen")).to_be_visible()
    choose_class(page, "Class", "cat")
    page.get_by_role("button", name="Relabel").click()
    expect(page.get_by_text("Corrections that wait.")).to_be_visible()
    expect(page.get_by_text(f"{MISLABELLED} images relabelled as cat")).to_be_visible()

    page.get_by_role("button", name="Save and train again").click()
    expect(page.get_by_role("heading", name=re.compile("^Run 2: "))).to_be_visible()
    assert execute(spoilt, spoilt.runs.claim()) == "finished"
    expect(page.get_by_role("heading", name="Run 2: finished")).to_be_visible(timeout=TRAINING_MS)
    page.get_by_role("button", name="See what it gets right and wrong").click()

    now = wrong_photos(spoilt, 2)
    assert before - now, "correct labels should fix something"
    expect(page.get_by_text(re.compile(rf"^Fixed: {len(before - now)} photos?$"))).to_be_visible()
    expect(page.get_by_text(re.compile(rf"^Broken: {len(now - before)} photos?$"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("now cat, before dog")).first).to_be_visible()
    expect(page.get_by_text("McNemar's exact test")).to_be_visible()

    # The first run leads there too.
    page.goto(f"{page.url.split('/results')[0]}/results?run=1&view=mistakes")
    page.get_by_role("button", name="Run 2 learnt from what you corrected here").click()
    expect(page.get_by_text(re.compile(rf"^Fixed: {len(before - now)} photos?$"))).to_be_visible()


def test_a_clicked_cell_of_the_matrix_shows_its_photos(serve, page, spoilt):
    page.goto(f"{serve()}/results?run=1&view=mistakes")
    chart = page.get_by_test_id("stVegaLiteChart").locator("svg")
    expect(chart).to_be_visible()
    table = load_predictions(spoilt.workspace.run_folder(1))
    right_dogs = table[(table["label"] == "dog") & (table["predicted"] == "dog")]
    cells = chart.get_by_label(re.compile("^Predicted: dog; True: dog; .*Images: "))
    cells.last.click()  # its middle, where the figure stands
    expect(page.get_by_text(f"{count(len(right_dogs), 'photo')} of {len(table)}.")).to_be_visible()
    names = page.get_by_role("listbox").get_by_role("option")
    expect(names).to_have_count(len(right_dogs))
    page.get_by_text("Show what each answer came from").click()
    drawn = re.compile("^data:image/jpeg")
    expect(names.first.locator("img")).to_have_attribute("src", drawn)
    settle(page)
    names.first.click()
    expect(page.get_by_text(re.compile("(What|Nothing in layer4) spoke for dog"))).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Most similar training photos")).to_be_visible()
