"""The planned learning rates: fastai's schedules, one line a part, all phases in a row."""

import pytest

from learner.recipe import Phase
from ui.rate_plan import POINTS, rate_at, rate_chart, rate_rows

STAGES = ["block1", "block2"]


def test_one_cycle_is_the_curve_that_fastai_follows():
    from fastai.callback.schedule import combined_cos

    theirs = combined_cos(0.25, 0.01 / 25, 0.01, 0.01 / 1e5)
    for done in (0, 0.1, 0.2499, 0.25, 0.5, 0.9, 1):
        assert rate_at("one_cycle", 0.01, done) == pytest.approx(float(theirs(done)), rel=1e-6)


def test_flat_cos_stays_for_three_quarters_and_constant_for_ever():
    assert [rate_at("flat_cos", 0.01, done) for done in (0, 0.5, 0.75)] == [0.01] * 3
    assert rate_at("flat_cos", 0.01, 0.875) == pytest.approx(0.005)  # half of the way down
    assert rate_at("flat_cos", 0.01, 1) == pytest.approx(0)
    assert [rate_at("constant", 0.01, done) for done in (0, 1)] == [0.01, 0.01]


def test_phases_follow_each_other_and_frozen_parts_have_no_line():
    phases = [
        Phase("Warm-up", epochs=2, lr=0.002, schedule="constant"),
        Phase("All", trainable="all", epochs=3, lr=[1e-5, 1e-3], schedule="constant"),
    ]
    rows = rate_rows(phases, STAGES, batch_norm=False)
    assert {row["part"] for row in rows if row["epoch"] < 2} == {"head"}
    later = {row["part"]: row["rate"] for row in rows if row["epoch"] > 2}
    assert later == pytest.approx({"block1": 1e-5, "block2": 1e-4, "head": 1e-3})
    assert (min(row["epoch"] for row in rows), max(row["epoch"] for row in rows)) == (0, 5)


def test_parts_with_one_rate_share_a_line_that_names_the_first_and_the_last():
    rows = rate_rows([Phase("All", trainable="all", epochs=1, lr=0.1)], STAGES, batch_norm=True)
    assert {row["part"] for row in rows} == {"block1 to head"}
    assert len(rows) == POINTS + 1


@pytest.mark.parametrize("dark", [False, True])
def test_a_rate_of_zero_is_not_drawn_as_a_logarithm_has_no_place_for_it(dark):
    phases = [Phase("Head", epochs=1, schedule="flat_cos"), Phase("All", trainable="all", epochs=1)]
    assert all(row["rate"] > 0 for row in rate_rows(phases, STAGES, batch_norm=False))
    assert rate_chart(phases, STAGES, batch_norm=False, dark=dark).to_dict()["layer"]


def test_a_solved_head_has_no_rate_and_takes_its_place_all_the_same():
    phases = [Phase("Solve", solve=True), Phase("All", trainable="all", epochs=2, lr=1e-3)]
    rows = rate_rows(phases, STAGES, batch_norm=False)
    assert {row["line"] for row in rows} == {"1 block1 to head"}
    assert min(row["epoch"] for row in rows) == 1
    rate_chart(phases, STAGES, False).to_dict()


def test_the_name_of_a_phase_too_narrow_for_it_stands_in_a_row_of_its_own():
    solved, rest = Phase("Solve the head", solve=True), Phase("Fine-tuning", trainable="all", epochs=30)
    chart = rate_chart([solved, rest], STAGES, batch_norm=False, dark=False).to_dict()
    rows = [
        row
        for table in chart["datasets"].values()
        for row in table
        if row.get("name") in ("Solve the head", "Fine-tuning")
    ]
    assert [(row["start"], row["end"], row["row"]) for row in rows] == [(0, 1, 0), (1, 31, 1)]
