"""The Train page finds learning rates: asking for one, waiting, using it, and what stands in the way."""

import pytest
import yaml

from learner.jobs.device import exclusive_device
from learner.planning.estimate import resolve_recipe
from learner.questions.answers import keep_answer
from learner.questions.rates import RateFind, rates_file
from learner.recipe import Phase, Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from tests.machine import measuring_lock
from tests.pages.reading import button, press, run_until, unfold, words
from ui.training.finder import find_chart, in_short

RECIPE = Recipe(
    "pets",
    backbone=FALLBACK_ARCH,
    image_size=32,
    batch_size=8,
    precision="fp32",
    phases=[Phase("Warm-up", epochs=1), Phase("Fine-tuning", trainable="block6", epochs=2)],
)
FOUND = RateFind(
    phase="Fine-tuning",
    rates=[1e-6 * 1.2**step for step in range(80)],
    losses=[1 - step / 160 for step in range(70)] + [float(step) for step in range(1, 11)],
    suggestions={"valley": 0.0023, "steep": 0.004, "minimum": 0.009, "slide": 0.001},
    chosen="valley",
    lr=[0.000115, 0.0023],
    why="Valley is the middle of the longest stretch.",
    notes=["Tried on 100 of 200 training images."],
    seconds=12.3,
)


def shown(app) -> Recipe:
    """The recipe that the page shows as a file."""
    return Recipe.from_dict(yaml.safe_load(app.code[0].value))


@pytest.fixture
def train_page(open_page, pets, measurements):
    """On a machine that was measured for `RECIPE`."""
    app = open_page("train")
    measurements.end()
    app.session_state["draft"] = RECIPE.to_dict()
    app.session_state["draft_number"] = 1
    app.run()
    measurements.end()
    return unfold(app.run(), "Find learning rates")


def test_nothing_is_tried_beside_a_measurement_of_the_machine(open_page, pets):
    app = unfold(open_page("train"), "Find learning rates")
    assert button(app, "Find a rate for Fine-tuning").disabled
    assert "this can begin after it" in button(app, "Find a rate for Fine-tuning").help


def test_every_phase_has_a_button(train_page):
    labels = [button.label for button in train_page.button]
    assert {"Find a rate for Warm-up", "Find a rate for Fine-tuning"} <= set(labels)


def test_a_found_rate_is_drawn_explained_and_used_with_all_else_kept(train_page, store):
    keep_answer(rates_file(store.workspace, resolve_recipe(store, RECIPE), 1), FOUND)
    app = train_page.run()
    assert "Valley is the middle of the longest stretch. Tried on 100 of 200 training images. Found in 12 s." in words(
        app
    )
    press(app, "Use 1.2e-4 to 0.0023")
    used = shown(app)
    assert used.phases[1].lr == [0.000115, 0.0023]
    assert used.phases[0] == RECIPE.phases[0] and used.batch_size == 8 and used.backbone == FALLBACK_ARCH
    assert button(app, "1.2e-4 to 0.0023 is used").disabled  # and the drawing is still there
    assert not app.exception


def test_a_rate_is_found_while_the_page_waits(train_page, store):
    app = press(train_page, "Find a rate for Warm-up")
    assert "Finding a rate for **Warm-up**" in words(app)
    run_until(app, lambda app: "Finding a rate" not in words(app))
    assert "Found in" in words(app)
    assert button(app, "Find a rate for Fine-tuning")
    app.button(key="use_rate 0").click().run()
    assert isinstance(shown(app).phases[0].lr, float)
    assert not app.exception and store.runs.all() == []


def test_a_search_can_be_stopped(train_page, workspace):
    with measuring_lock(workspace):  # so that it is not done before it is stopped
        app = press(train_page, "Find a rate for Warm-up")
        app = press(app, "Stop").run()
    assert "Finding a rate" not in words(app) and not button(app, "Find a rate for Warm-up").disabled


def test_while_a_run_trains_the_page_says_why_there_is_none(train_page, store):
    with exclusive_device(store.workspace):
        app = press(train_page, "Find a rate for Warm-up")
        run_until(app, lambda app: "This machine is training" in words(app))
    assert "Try again once the run has ended." in words(app)
    assert not button(app, "Find a rate for Warm-up").disabled


def test_rates_are_told_shortly():
    assert in_short(0.0023) == "0.0023"
    assert in_short([1e-5, 0.001]) == "1e-5 to 0.001"
    assert in_short({"block5": 1e-5, "head": 0.001}) == "1e-5 to 0.001"


def test_the_chart_names_every_suggestion_and_leaves_the_explosion_out():
    spec = find_chart(FOUND).to_dict()
    named = [rows[0]["name"] for rows in spec["datasets"].values() if "name" in rows[0]]
    assert sorted(named) == ["minimum 0.009", "slide 0.001", "steep 0.004", "valley 0.0023"]
    bold = [layer for layer in str(spec).split("'mark': ") if "'fontWeight': 'bold'" in layer]
    assert len(bold) == 1
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1] == pytest.approx(1.3)
    assert "valley suggests 0.0023" in spec["description"]
