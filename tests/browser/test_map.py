"""The map of the photos as hands use it: made, a cell looked at, a lasso drawn, photos relabelled; by keyboard too."""

import re

import pytest
from playwright.sync_api import Page, expect

from learner.datasets.editing import edits_of
from learner.evaluation.results import load_predictions
from tests.samples import copy_workspace


@pytest.fixture
def model(trained_home, workspace) -> None:
    """A finished run on 20 photos."""
    copy_workspace(trained_home, workspace.root)


def around(page: Page) -> list[tuple[float, float]]:
    """The corners of a way around everything."""
    field = page.locator(".map .field")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]


def lasso(page: Page) -> None:
    """Drag around everything."""
    first, *places = around(page)
    page.mouse.move(*first)
    page.mouse.down()
    for place in places:
        page.mouse.move(*place, steps=3)
    page.mouse.up()


def lasso_by_finger(page: Page) -> None:
    """The same on a phone."""
    touch = page.context.new_cdp_session(page)
    for kind, places in zip(("touchStart", *["touchMove"] * 4), around(page), strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [dict(zip("xy", places, strict=True))]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    touch.detach()


def test_a_map_is_made_and_photos_on_it_are_found_chosen_and_corrected(model, store, serve, page):
    page.goto(f"{serve()}/results?run=1&view=map")
    page.get_by_role("button", name="Make the map").click()
    points, tiles = page.get_by_role("application"), page.locator(".picker .tile")
    expect(points).to_have_attribute("aria-label", re.compile(r"20 photos as marks, .* predicted wrong"))
    expect(page.locator(".map .legend button")).to_have_text(["cat (10)", "dog (10)"])

    table = load_predictions(store.run_folder(1))
    true, said = table.iloc[0][["label", "predicted"]]
    expected = len(table[(table["label"] == true) & (table["predicted"] == said)])
    cells = page.get_by_test_id("stVegaLiteChart").locator(".mark-rect").last.locator("path")
    cells.nth(2 * ["cat", "dog"].index(true) + ["cat", "dog"].index(said)).click(force=True)
    page.get_by_role("button", name=re.compile(rf"Choose the {expected} photos? of this cell")).click()
    expect(tiles).to_have_count(expected)
    page.get_by_role("button", name="Show all photos again").click()
    expect(page.get_by_text("Click a cell to see where its validation photos lie.")).to_be_visible()

    for drag in (lasso, lasso_by_finger):
        drag(page)
        expect(page.get_by_text("20 photos chosen")).to_be_visible()
        expect(tiles).to_have_count(20)
        page.get_by_role("button", name="Let go of 20 photos").click()
        expect(page.get_by_text("20 photos chosen")).to_be_hidden()

    points.focus()
    page.keyboard.press("ArrowRight")
    shown = page.locator(".map .card figcaption")
    expect(shown).to_have_text(re.compile(r"(cat|dog).*\.jpg", re.DOTALL))
    path = shown.inner_text().splitlines()[-1]
    page.keyboard.press("Space")
    expect(page.get_by_text("1 photo chosen")).to_be_visible()
    page.get_by_role("button", name="Set aside").click()
    expect(page.get_by_text("Corrections that wait.")).to_be_visible()
    kept = [(edit.action, edit.paths) for edit in edits_of(store, "pets") if edit.action != "move"]
    assert kept == [("exclude", (path,))]
    expect(page.get_by_text("1 photo chosen")).to_be_hidden()
