"""The live curves are right for a run of any age, and cheap to draw anew."""

import altair as alt

from learner.recipe import Phase
from learner.store import Epoch, Step
from ui import charts
from ui.components import AMBER, ICE

PHASES = [Phase("Warm-up", epochs=2), Phase("Fine-tuning", trainable="all", epochs=3)]


def step(at: float, loss: float | None = 1.0, lrs: tuple[float, ...] = (0.0, 0.1), **figures: float) -> Step:
    return Step(run_id=1, at=at, train_loss=loss, lrs=list(lrs), **figures)


def epoch(number: int, valid_loss: float | None = 0.5, phase: int = 0) -> Epoch:
    return Epoch(
        run_id=1,
        epoch=number,
        phase=phase,
        train_loss=1.0,
        valid_loss=valid_loss,
        accuracy=0.9,
        error_rate=0.1,
        lrs=[],
        seconds=1,
    )


def test_every_chart_is_valid_vega_lite():
    for spec in (
        charts.curves([epoch(1)], [step(0.5)], PHASES),
        charts.rate_curves([epoch(1)], [step(0.5)], PHASES, ["a", "head"]),
        charts.gradient_curve([epoch(1)], [step(0.5, grad_norm=2.0)], PHASES),
        charts.throughput_curve([epoch(1)], [step(0.5, images_per_s=9.0)], PHASES),
        charts.comparison({"run 1": [(1, 0.5)]}, "Epoch", "Accuracy"),
        charts.comparison({"run 1": [(0.5, 1.2)]}, "Minutes of training", "Validation loss", dark=True),
    ):
        alt.LayerChart.from_dict(spec)  # validates against the schema
    for chart in (
        charts.class_counts({"cat": {"train": 3, "valid": 1}}, ["cat"]),
        charts.sizes({(64, 48): 3}),
        charts.brightness([(0.0, 32.0, 3)], dark=True),
    ):
        chart.to_dict()


def test_bands_follow_the_phases_and_end_where_training_stands():
    bands = charts.curves([epoch(1), epoch(2)], [step(2.5)], PHASES)["datasets"]["bands"]
    assert [(band["start"], band["end"], band["tint"]) for band in bands] == [(0, 2, ICE), (2, 2.5, AMBER)]


def test_a_phase_that_was_ended_early_is_as_long_as_it_was():
    epochs = [epoch(1), epoch(2, phase=1), epoch(3, phase=1)]
    assert charts.phase_spans(epochs, [], PHASES) == [(0, 0.0, 1.0), (1, 1.0, 3)]


def test_a_phase_that_has_not_begun_has_no_band():
    assert charts.phase_spans([epoch(1), epoch(2)], [], PHASES) == [(0, 0.0, 2)]
    assert charts.phase_spans([], [], PHASES) == [(0, 0.0, 1.0)]


def test_gradient_and_throughput_leave_out_what_was_not_measured():
    steps = [step(0.5), step(1.0, grad_norm=2.5, images_per_s=40.0), step(1.5, grad_norm=1.5)]
    rows = charts.gradient_curve([], steps, PHASES)["datasets"]["figures"]
    assert rows == [{"epoch": 1.0, "figure": 2.5}, {"epoch": 1.5, "figure": 1.5}]
    rows = charts.throughput_curve([], steps, PHASES)["datasets"]["figures"]
    assert rows == [{"epoch": 1.0, "figure": 40.0}]


def test_compared_runs_have_a_line_a_colour_and_a_dash_each_and_a_name_at_the_end():
    lines = {f"run {number}": [(1, 0.5), (2, 0.6)] for number in range(6)} | {"run 9": []}
    tables = charts.comparison(lines, "Epoch", "Accuracy")["datasets"]
    for told_apart_by in ("ink", "dash"):
        assert len({row[told_apart_by] for row in tables["lines"]}) == 6
    assert [(row["run"], row["x"], row["y"]) for row in tables["ends"]] == [
        (f"run {number}", 2, 0.6) for number in range(6)
    ]


def test_names_of_lines_that_end_together_are_moved_apart():
    lines = {"high": [(1, 1.0)], "low": [(1, 0.5)], "lower": [(1, 0.49)]}
    places = {row["run"]: row["place"] for row in charts.comparison(lines, "Epoch", "Accuracy")["datasets"]["ends"]}
    assert (places["lower"], places["high"]) == (0.49, 1.0)
    assert places["low"] >= places["lower"] + 0.07


def test_names_of_many_phases_stand_in_two_rows_so_that_narrow_bands_stay_readable():
    def rows(phases):
        return [band["row"] for band in charts.curves([epoch(9)], [], phases)["datasets"]["bands"]]

    assert rows(PHASES) == [0, 0]
    assert rows([*PHASES, Phase("Polish", trainable="all", epochs=1)]) == [0, 1, 0]
    assert rows([Phase("Solve the head", solve=True), Phase("All", trainable="all", epochs=8)]) == [0, 1]
    # A phone's chart has room for about 33 letters: for 11 in a third of it.
    assert rows([Phase("Solve the head", solve=True), Phase("All", trainable="all", epochs=2)]) == [0, 1]
    assert rows([Phase("Warm-up", epochs=1), Phase("All", trainable="all", epochs=2)]) == [0, 0]


def test_a_run_without_an_epoch_yet_shows_its_steps():
    tables = charts.curves([], [step(0.04), step(0.08)], PHASES)["datasets"]
    assert [row["epoch"] for row in tables["train"]] == [0.04, 0.08]
    assert tables["valid"] == []


def test_a_loss_that_was_no_number_leaves_a_gap():
    tables = charts.curves([epoch(1, valid_loss=None)], [step(0.5, loss=None), step(1.0)], PHASES)["datasets"]
    assert [row["epoch"] for row in tables["train"]] == [1.0]


def test_only_groups_that_learn_have_a_rate_and_the_outermost_are_named():
    steps = [step(0.5, lrs=(0.0, 0.0, 0.2)), step(2.5, lrs=(0.01, 0.03, 0.1))]
    tables = charts.rate_curves([], steps, PHASES, ["block1", "block2", "head"])["datasets"]
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


def test_the_names_of_both_lines_stand_on_either_side_where_these_meet():
    def sides(valid_loss: float, highest: float) -> list[str]:
        tables = charts.curves([epoch(1, valid_loss)], [step(0.5, highest)], PHASES)["datasets"]
        return sorted(name.removeprefix("end ") for name in tables if name.startswith("end ") and tables[name])

    assert sides(valid_loss=0.75, highest=1.0) == ["accuracy above", "loss below"]  # 0.9 of 1.1 is above 0.75 of 1
    assert sides(valid_loss=0.95, highest=1.0) == ["accuracy below", "loss above"]
    assert sides(valid_loss=0.05, highest=1.0) == ["accuracy above", "loss above"]  # no room below
