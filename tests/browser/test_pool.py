"""Photos without a class, as hands label them: dropped beside a data set, asked about, labelled by keys, trained on."""

import re

import pytest
from playwright.sync_api import expect

from learner.advice.pool import pool_of, said_of
from learner.datasets.editing import edits_of
from learner.datasets.rows import rows_of
from tests.browser.test_data_by_hand import drop
from tests.patience import until
from tests.samples import copy_workspace, make_photos, make_zip


@pytest.fixture
def model(trained_home, workspace) -> None:
    """A finished run on 20 photos."""
    copy_workspace(trained_home, workspace.root)


def labels(store) -> dict[str, str]:
    return said_of(edits_of(store, "pets"))[1]


def test_photos_are_dropped_labelled_by_keys_and_trained_on(model, store, serve, page, tmp_path):
    found = make_zip(make_photos(tmp_path / "found", {"cat": 3, "dog": 3}, seed=7), tmp_path / "found.zip")
    page.goto(f"{serve()}/data?view=pool")
    expect(page.get_by_text("No photos wait for a class.")).to_be_visible()
    drop(page, found)
    ask = page.get_by_role("button", name="Ask the model which to label first")
    ask.click()
    labeller = page.get_by_role("group", name="Label photos")
    expect(labeller.get_by_text(re.compile(r"The model says (cat|dog) \d+ %"))).to_be_visible()
    waiting = {row.path for row in pool_of(rows_of(store, store.datasets.version("pets")))}
    assert len(waiting) == 6

    shown = labeller.locator("img")
    first = shown.get_attribute("alt")
    page.keyboard.press("1")
    expect(shown).not_to_have_attribute("alt", first)
    second = shown.get_attribute("alt")
    page.keyboard.press("0")
    expect(shown).not_to_have_attribute("alt", second)
    third = shown.get_attribute("alt")
    labeller.get_by_role("button", name="2 dog").click()
    until(lambda: labels(store) == {first: "cat", second: "", third: "dog"})
    page.keyboard.press("ArrowLeft")
    until(lambda: labels(store) == {first: "cat", second: ""})
    expect(shown).to_have_attribute("alt", third)
    labeller.get_by_role("combobox", name="Another class").fill("bird")
    page.keyboard.press("Enter")
    until(lambda: labels(store) == {first: "cat", second: "", third: "bird"})
    page.keyboard.press("ArrowLeft")
    until(lambda: third not in labels(store))

    expect(page.get_by_text("After about 20 labels it is worth a run.")).to_be_visible()
    page.get_by_role("button", name="Save and train again with 2 labels").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    run = store.runs.get(2)
    rows = {row.path: row for row in rows_of(store, store.datasets.version("pets"))}
    assert (run.baseline, rows[first].label, rows[first].split) == (1, "cat", "train")
    assert {row.path for row in pool_of(rows.values())} == waiting - {first, second}
