"""The training room as a person uses it: a run is paused, killed, looked after and had back, all from the page."""

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from learner.datasets import add_dataset
from learner.recipe import Phase
from learner.store import Store
from tests.patience import until
from tests.samples import TWO_PHASES, make_photos, small_recipe

TRAINING_MS = 600_000
EPOCHS = 1000
"""Of fine-tuning: so many that the run never ends before the page has shown what it does."""
LONG = small_recipe(
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", trainable="all", epochs=EPOCHS, lr=[1e-5, 1e-3])]
)


@pytest.fixture
def pets(store, tmp_path) -> Store:
    add_dataset(store, make_photos(tmp_path / "pets", {"cat": 30, "dog": 30}), "pets")
    return store


def heading(page: Page, status: str) -> None:
    expect(page.get_by_role("heading", name=f"Run 1: {status}")).to_be_visible(timeout=TRAINING_MS)


def queue_is(page: Page, *run_ids: int) -> None:
    """Wait until these runs wait, in this order."""
    rows = page.get_by_test_id("stExpander").get_by_role("listitem")
    expect(rows).to_have_text([re.compile(f"^Run {run_id} ·") for run_id in run_ids])


def learns_beyond(page: Page, epoch: int) -> None:
    """Wait until the page shows fine-tuning in a later epoch than that."""
    told = page.get_by_text(re.compile(rf"^Fine-tuning: phase 2 of 2 · epoch \d+ of {EPOCHS} "))
    until(lambda: told.count() and int(re.search(r"epoch (\d+)", told.inner_text())[1]) > epoch, every_s=0.5)


def test_a_run_is_paused_resumed_killed_stopped_deleted_and_had_back(serve, start, page, pets):
    pets.submit(LONG)
    page.goto(f"{serve()}/runs")
    heading(page, "waiting")
    start("learner", "worker")
    learns_beyond(page, 0)

    page.get_by_role("button", name="Pause after this epoch").click()
    heading(page, "paused")
    expect(page.get_by_text("Nothing is lost: resume it whenever you like.")).to_be_visible()
    page.reload()
    heading(page, "paused")
    paused_after = len(pets.runs.epochs(1))
    assert 2 < paused_after < 2 + EPOCHS

    page.get_by_role("button", name="Resume").click()
    heading(page, "training")
    learns_beyond(page, paused_after - 2 + 1)  # two epochs of warm-up; one more, as what the page says may be older
    os.kill(pets.runs.get(1).pid, signal.SIGKILL)
    expect(page.get_by_text("The training process ended by signal SIGKILL")).to_be_visible()
    expect(page.get_by_text(re.compile("taken up again from where it stood|goes on by itself"))).to_be_visible()

    learns_beyond(page, len(pets.runs.epochs(1)) - 2)
    page.get_by_role("button", name="Stop and keep what it has learnt").click()
    heading(page, "stopped")
    numbers = [epoch.epoch for epoch in pets.runs.epochs(1)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > paused_after
    expect(page.get_by_text("of the validation images right, in")).to_be_visible()
    page.get_by_role("button", name="Delete run").click()
    expect(page.get_by_text("Deleted run 1.")).to_be_visible()
    expect(page.get_by_text("No runs yet.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    heading(page, "stopped")
    assert pets.workspace.checkpoint(1).exists()


def test_what_one_tab_does_to_the_queue_the_other_shows(serve, page, pets):
    for _ in range(3):
        pets.submit(TWO_PHASES)
    address = serve()
    page.goto(f"{address}/runs?run=3")
    second = page.context.new_page()
    second.goto(f"{address}/runs?run=1")
    queue_is(second, 1, 2, 3)
    page.bring_to_front()  # a tab that nobody sees is drawn seldom
    page.locator(".st-key-Earlier-3").get_by_role("button").click()
    second.bring_to_front()
    queue_is(second, 1, 3, 2)
    assert [run.id for run in pets.queue.waiting()] == [1, 3, 2]
    second.get_by_role("button", name="Take it out of the queue").click()
    heading(second, "stopped")
    page.bring_to_front()
    queue_is(page, 3, 2)
    expect(page.get_by_text("The queue: 2 runs")).to_be_visible()
