"""Results tell how a head was solved, what a phase brought, and how much the choice of the best epoch flatters."""

import pytest

from learner.recipe import Head, Phase
from tests.finished import finish
from tests.pages.reading import words
from tests.pages.results.answers import is_whole, table

PHASES = [Phase("Solve the head", solve=True), Phase("Fine-tuning", trainable="all", epochs=2, interpolate=True)]
CHECKED = [
    {"strength": strength, "log_loss": loss, "accuracy": 0.75, "images": 12, "log_loss_error": 0.1}
    for strength, loss in ((1.0, 0.7), (0.1, 0.6))
]
TRIED = [{"point": 0.0, "loss": 0.5, "accuracy": 0.8}, {"point": 1.0, "loss": 0.4, "accuracy": 0.85}]
INTERPOLATED = {"point": 1.0, "tried": TRIED, "images": 20, "gain": 0.1, "gain_interval": [-0.1, 0.3]}
INTERPOLATED |= {"accuracy_gain": 0.05, "accuracy_gain_interval": [-0.1, 0.2]}


@pytest.fixture
def solved(store, pets) -> int:
    """A finished run whose head was solved, and whose second phase took its end."""
    run_id = finish(store, phases=PHASES, head=Head("solved"))
    facts = {"solved": {"0": {"strength": 0.1, "checked": CHECKED}}, "interpolated": {"1": INTERPOLATED}}
    store.runs.add_facts(run_id, **facts)
    return run_id


def test_a_solved_head_is_told_with_a_chart_of_each_figure(open_page, solved):
    app = open_page("results")
    assert is_whole(app)
    assert "Strength of regularisation: 0.1, the best of 2 tried by cross-validation on 12 training images" in words(
        app
    )
    alts = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    assert [alt for alt in alts if alt.startswith("Log loss over the strength")] == [
        "Log loss over the strength of regularisation, with 95 % intervals: 0.1: 0.600, 1: 0.700"
    ]
    assert any(alt.startswith("Accuracy over the strength") for alt in alts)


def test_a_phase_that_took_the_best_point_is_told_with_all_that_were_tried(open_page, solved):
    app = open_page("results")
    assert "Its end was taken. Against its start that changed the log loss by −0.100 (−0.300 to +0.100)" in words(app)
    points = table(app, "Log loss")
    assert points.index.tolist() == ["Start", "End"]
    assert points[""].tolist() == ["", "taken"] and points["Log loss"].tolist() == ["0.500", "0.400"]


def test_a_head_of_which_nothing_could_be_tried_has_no_chart(open_page, store, solved):
    store.runs.add_facts(solved, solved={"0": {"strength": 0.1, "checked": []}})
    app = open_page("results")
    assert is_whole(app) and "the usual one" in words(app)
    assert not any("strength" in chart.proto.alt for chart in app.get("vega_lite_chart"))


def test_how_much_the_choice_flatters_is_said_where_it_is_known(open_page, store, pets):
    run_id = finish(store)
    assert "chosen on the validation images, so expect slightly less on new photos" in words(open_page("results"))
    figures = {"phase": 0, "train_loss": 1.0, "valid_loss": 1.0, "accuracy": 0.9, "error_rate": 0.1}
    figures |= {"lrs": [], "seconds": 1.0}
    with store.runs.session() as session, session.begin():
        session.delete(store.runs.epochs(run_id)[0])
    for number, loss in ((1, 1.0), (2, 0.5)):
        store.runs.add_epoch(run_id, False, epoch=number, parts=[[2, 2 * loss, 2]] * 10, **figures)
    text = words(open_page("results"))
    assert "The best of 2 states of the network was chosen on the validation images. That hardly flatters" in text
    assert "so expect slightly less" not in text
