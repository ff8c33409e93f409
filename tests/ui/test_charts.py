"""The live curves are right for a run of any age, and cheap to draw anew."""

import altair as alt

from learner.recipe import Phase
from learner.store import Epoch, Step
from ui import charts
from ui.components import AMBER, ICE

PHASES = [Phase("Warm-up", epochs=2), Phase("Fine-tuning", trainable="all", epochs=3)]


def step(at: float, loss: float | None = 1.0, lrs: tuple[float, ...] = (0.0, 0.1)) -> Step:
    return Step(run_id=1, at=at, train_loss=loss, lrs=list(lrs))


def epoch(number: int, valid_loss: float | None = 0.5) -> Epoch:
    return Epoch(
        run_id=1,
        epoch=number,
        phase=0,
        train_loss=1.0,
        valid_loss=valid_loss,
        accuracy=0.9,
        error_rate=0.1,
        lrs=[],
        seconds=1,
    )


def test_both_charts_are_valid_vega_lite():
    for spec in (
        charts.curves([epoch(1)], [step(0.5)], PHASES),
        charts.rate_curves([step(0.5)], PHASES, ["a", "head"]),
    ):
        alt.LayerChart.from_dict(spec)  # validates against the schema


def test_bands_follow_the_phases_and_end_where_training_stands():
    bands = charts.curves([epoch(1), epoch(2)], [step(2.5)], PHASES)["datasets"]["bands"]
    assert [(band["start"], band["end"], band["tint"]) for band in bands] == [(0, 2, ICE), (2, 2.5, AMBER)]


def test_names_of_many_phases_stand_in_two_rows_so_that_narrow_bands_stay_readable():
    def rows(phases):
        return [band["row"] for band in charts.curves([epoch(9)], [], phases)["datasets"]["bands"]]

    assert rows(PHASES) == [0, 0]
    assert rows([*PHASES, Phase("Polish", trainable="all", epochs=1)]) == [0, 1, 0]


def test_a_run_without_an_epoch_yet_shows_its_steps():
    tables = charts.curves([], [step(0.04), step(0.08)], PHASES)["datasets"]
    assert [row["epoch"] for row in tables["train"]] == [0.04, 0.08]
    assert tables["valid"] == []


def test_a_loss_that_was_no_number_leaves_a_gap():
    tables = charts.curves([epoch(1, valid_loss=None)], [step(0.5, loss=None), step(1.0)], PHASES)["datasets"]
    assert [row["epoch"] for row in tables["train"]] == [1.0]


def test_only_groups_that_learn_have_a_rate_and_the_outermost_are_named():
    steps = [step(0.5, lrs=(0.0, 0.0, 0.2)), step(2.5, lrs=(0.01, 0.03, 0.1))]
    tables = charts.rate_curves(steps, PHASES, ["block1", "block2", "head"])["datasets"]
    assert [(row["part"], row["rate"]) for row in tables["rates"]] == [
        ("head", 0.2),
        ("block1", 0.01),
        ("block2", 0.03),
        ("head", 0.1),
    ]
    assert [row["part"] for row in tables["highest"] + tables["lowest"]] == ["head", "block1"]


def test_the_drawing_itself_is_built_only_once():
    first = charts.curves([], [step(0.1)], PHASES)
    second = charts.curves([epoch(1)], [step(0.1), step(0.2)], PHASES)
    assert first["layer"] is second["layer"]
