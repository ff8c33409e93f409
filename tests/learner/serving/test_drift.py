"""Drift is noticed, and seldom seen where there is none."""

import numpy as np
import pytest

from learner.serving.drift import FALSE_ALARMS, WINDOW, Drift


def quantiles(distances) -> list[float]:
    return np.quantile(distances, np.linspace(0, 1, 101)).tolist()


@pytest.mark.parametrize("images", [20, 60, 2000])
def test_pictures_like_the_validation_photos_are_warned_of_no_more_often_than_is_said(images):
    random, alarms, windows = np.random.default_rng(images), 0, 4000
    for _ in range(windows):
        drift = Drift(quantiles(random.gamma(2, size=images)), images)
        p = [drift.add(distance) for distance in random.gamma(2, size=WINDOW)][-1]
        alarms += p < FALSE_ALARMS
    # 4 are expected; 12 or more come by chance in less than 1 in 1,000 tries of this test (Poisson)
    assert alarms < 12


def test_pictures_that_lie_further_are_noticed_within_a_window_and_nearer_ones_are_no_trouble():
    random = np.random.default_rng(0)
    known = quantiles(random.normal(0.3, 0.05, 200))
    further, nearer = Drift(known, 200), Drift(known, 200)
    assert [further.add(one) for one in random.normal(0.36, 0.05, WINDOW)][-1] < FALSE_ALARMS
    assert [nearer.add(one) for one in random.normal(0.2, 0.05, WINDOW)][-1] > 0.5


def test_only_full_windows_are_judged_and_each_picture_counts_once():
    drift = Drift(quantiles(np.linspace(0, 1, 100)), 100)
    judged = [drift.add(0.5) is not None for _ in range(2 * WINDOW)]
    assert [place for place, one in enumerate(judged) if one] == [WINDOW - 1, 2 * WINDOW - 1]


@pytest.mark.parametrize(("images", "enough"), [(0, False), (1, False), (3, True), (50, True)])
def test_a_model_of_too_few_validation_photos_says_that_it_cannot_tell(images, enough):
    # With n validation photos all nearer than 50 pictures, p is about 1 / C(50 + n, n): 1/51 for 1, 1/23,426 for 3.
    assert Drift(quantiles([0.1] * max(images, 1)), images).can_tell is enough
