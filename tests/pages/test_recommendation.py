"""The Train page recommends a strategy: measured when a person asks, told in sentences, used with one button."""

import pytest
import yaml

from learner.jobs.device import exclusive_device
from learner.planning.estimate import resolve_recipe
from learner.questions.answers import keep_answer
from learner.questions.strategy import Recommendation, recommendation_file
from learner.recipe import Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from tests.pages.reading import button, press, run_until, unfold, words

FOUND = Recommendation(
    "pets", 1, FALLBACK_ARCH, 8, 8, 16, 0.625, [0.386, 0.815], 0.5, "some", "size_similarity", seconds=12.0
)


def shown(app) -> Recipe:
    """The recipe that the page shows as a file."""
    return Recipe.from_dict(yaml.safe_load(app.code[0].value))


@pytest.fixture
def train_page(open_page, pets, measurements):
    app = open_page("train")
    measurements.end()
    return unfold(app.run(), "What suits this data set?")


def until_measured(app):
    return run_until(app, lambda app: "Stop" not in [button.label for button in app.button])


def test_nothing_is_measured_before_a_person_asks(open_page, pets):
    app = open_page("train")
    assert "Measure pets" not in words(app)
    assert "Measure pets" in words(unfold(app, "What suits this data set?"))


def test_a_recommendation_has_its_figures_and_is_used_with_one_button(train_page, store):
    settled = resolve_recipe(store, Recipe("pets", backbone=FALLBACK_ARCH))
    keep_answer(recommendation_file(store.workspace, settled), FOUND)
    app = train_page.run()
    told = words(app)
    assert "**Train the upper stages and the head, with the lower stages frozen.** A class has 8 images" in told
    assert "62.5 % (38.6–81.5) of 16 images right" in told and "gets 50.0 %" in told and "rule of thumb" in told
    press(app, "Use size_similarity")
    recipe = shown(app)
    assert (recipe.backbone, recipe.phases[-1].trainable, recipe.phases[-1].lr) == (FALLBACK_ARCH, "block5", "auto")
    assert not app.exception


def test_it_is_measured_while_the_page_waits(train_page, store):
    app = until_measured(press(train_page, "Measure pets"))
    assert "It is a rule of thumb: try it." in words(app)
    assert button(app, "Use size_similarity")
    assert not app.exception and store.runs.all() == []


def test_while_a_run_trains_the_page_says_why_nothing_is_measured(train_page, store):
    with exclusive_device(store.workspace):
        app = until_measured(press(train_page, "Measure pets"))
    assert "This machine is training." in words(app) and not button(app, "Measure pets").disabled
