"""Comparing says how much sooner one run is where all of them got to, and what each phase brought."""

import pytest

from learner.evaluation.compare import (
    Compared,
    PhaseGain,
    Spread,
    common_accuracy,
    compare,
    phase_gains,
    spread,
    whole_gain,
)
from learner.store import Epoch


def epochs(*accuracies: float, seconds: float = 10.0, phases: tuple[int, ...] = ()) -> list[Epoch]:
    return [
        Epoch(epoch=number, phase=phases[number - 1] if phases else 0, accuracy=accuracy, seconds=seconds)
        for number, accuracy in enumerate(accuracies, start=1)
    ]


def test_runs_are_measured_by_the_accuracy_that_all_of_them_reached():
    runs = {7: epochs(0.5, 0.7, 0.9), 8: epochs(0.25, 0.375, 0.5, 0.625, 0.75, seconds=20.0)}
    assert common_accuracy(runs) == 0.75
    assert compare(runs) == [
        Compared(7, best_accuracy=0.9, epochs=3, seconds=30.0, epochs_until=3, seconds_until=30.0),
        Compared(8, best_accuracy=0.75, epochs=5, seconds=100.0, epochs_until=5, seconds_until=100.0),
    ]


def test_the_first_time_counts_even_if_the_accuracy_falls_again():
    [first, _] = compare({1: epochs(0.8, 0.6, 0.9), 2: epochs(0.75)})
    assert (first.epochs_until, first.seconds_until) == (1, 10.0)


def test_a_run_without_an_epoch_has_nothing_to_be_measured_by():
    [first, second] = compare({1: epochs(0.8), 2: []})
    assert (first.best_accuracy, first.epochs_until) == (0.8, None)
    assert second == Compared(2, None, 0, 0.0, None, None)
    assert compare({}) == []


def test_a_phase_gains_what_its_end_is_above_the_end_of_the_one_before():
    run = epochs(0.5, 0.75, 0.625, 0.875, phases=(0, 0, 1, 1))
    assert phase_gains(run) == [PhaseGain(0, 0.75, None), PhaseGain(1, 0.875, 0.125)]
    assert whole_gain(run) == 0.125


@pytest.mark.parametrize(("run", "gains"), [([], []), (epochs(0.5), [PhaseGain(0, 0.5, None)])])
def test_there_is_no_gain_before_a_second_phase(run, gains):
    assert phase_gains(run) == gains
    assert whole_gain(run) is None


def test_a_series_has_a_mean_and_the_deviation_of_a_sample():
    assert spread([0.5, 0.75, 1.0]) == Spread(0.75, 0.25, 3)  # variance: (1/16 + 0 + 1/16) / 2
    assert spread([0.5]) == Spread(0.5, None, 1)
    assert spread([]) is None
