"""The temperature, on logits of models that mean what they say, or are too sure by a factor that is known.

Labels are drawn from the probabilities that logits stand for, so nobody can know more than these.
"""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from learner.evaluation.metrics import calibration_curve
from learner.models.calibration import calibrated, cross_fitted, fit_temperature

SIMULATED = 100


def honest(random: np.random.Generator, images: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Logits (images, classes) of a model that is right in three cases of four and knows it, and targets (images,)."""
    logits = random.normal(scale=2, size=(images, classes))
    up_to = softmax(logits, axis=1).cumsum(axis=1)
    return logits, (up_to > random.random((images, 1))).argmax(axis=1)


def log_loss(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets].mean()


def likeliest(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature of the least log loss on these images themselves: the plain way."""

    def loss(log_temperature):
        return log_loss(logits, targets, np.exp(log_temperature))

    return np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)


def costs(images: int, too_sure: float, *ways) -> np.ndarray:
    """(ways, SIMULATED): by how much the log loss of new images rises if so many images decide the temperature."""
    random = np.random.default_rng(images)
    logits, targets = honest(random, 5000)
    plain = log_loss(too_sure * logits, targets)
    found = np.empty((len(ways), SIMULATED))
    for one in range(SIMULATED):
        seen, labels = honest(random, images)
        for row, way in enumerate(ways):
            found[row, one] = log_loss(too_sure * logits, targets, way(too_sure * seen, labels)) - plain
    return found


def standard_error(values: np.ndarray) -> float:
    return values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("factor", [0.5, 1.5, 3.0])
def test_a_model_that_is_too_sure_by_a_factor_is_told_that_factor(factor):
    logits, targets = honest(np.random.default_rng(3), 5000)
    probs = softmax(logits, axis=1)
    # What an image tells of log T is the variance of its logits by its probabilities (Fisher information).
    told = ((probs * logits**2).sum(axis=1) - (probs * logits).sum(axis=1) ** 2).sum()
    found = fit_temperature(factor * logits, targets)
    assert abs(np.log(found / factor)) < 3 / np.sqrt(told)
    assert calibration_curve(calibrated(factor * logits, found), targets)["error"] < 0.03


@pytest.mark.parametrize("images", [20, 50, 200])
def test_a_model_that_means_what_it_says_is_hardly_spoilt_by_few_images(images):
    ours, plain = costs(images, 1.0, fit_temperature, likeliest)
    by_theory = 1 / (2 * images)  # what one number fitted by likelihood costs on new images, where images are many
    assert plain.mean() > by_theory / 2
    assert ours.mean() < by_theory / 3
    assert (plain - ours).mean() > 3 * standard_error(plain - ours)


@pytest.mark.parametrize(("images", "share"), [(20, 0.2), (50, 0.5), (200, 0.9)])
def test_a_model_that_is_twice_too_sure_is_helped_the_more_the_more_images_show_it(images, share):
    ours, knowing = costs(images, 2.0, fit_temperature, lambda logits, targets: 2.0)
    assert ours.mean() < share * knowing.mean() < 0
    assert ours.mean() + 3 * standard_error(ours) < 0


def test_a_temperature_between_1_and_the_likeliest_is_chosen_where_images_are_few():
    random = np.random.default_rng(5)
    moved = 0
    for _ in range(20):
        logits, targets = honest(random, 40)
        found, extreme = fit_temperature(3 * logits, targets), likeliest(3 * logits, targets)
        assert found == 1 or 1 < found < extreme
        moved += found != 1
    assert moved > 10


# Small and lopsided


def test_where_all_images_are_right_probabilities_stay_as_they_are():
    assert fit_temperature(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, 1])) == 1.0
    logits, _ = honest(np.random.default_rng(0), 200)
    assert fit_temperature(logits, logits.argmax(axis=1)) == 1.0


def test_where_all_images_are_wrong_the_model_is_made_less_sure():
    logits, _ = honest(np.random.default_rng(0), 40)
    targets = logits.argmin(axis=1)
    found = fit_temperature(logits, targets)
    assert 1 < found <= 20
    assert log_loss(logits, targets, found) < log_loss(logits, targets)


def test_one_wrong_image_of_many_proves_nothing():
    """Its own fold is left out once, and the others are all right: nothing but this image speaks for another number."""
    logits = np.tile([[3.0, 0.0], [0.0, 3.0]], (10, 1))
    targets = np.tile([0, 1], 10)
    targets[0] = 1
    assert fit_temperature(logits, targets) == 1.0


@pytest.mark.parametrize("images", [1, 2, 3, 4, 6])
def test_fewer_images_than_folds_are_enough_for_an_answer(images):
    logits, targets = honest(np.random.default_rng(images), images)
    targets = (logits.argmax(axis=1) + 1) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.05 <= fit_temperature(logits, targets) <= 20
        assert cross_fitted(logits, targets).sum(axis=1) == pytest.approx(np.ones(images))


def test_a_class_of_one_image_is_missing_in_the_other_folds_and_does_no_harm():
    logits, targets = honest(np.random.default_rng(1), 60)
    rare = np.c_[logits, np.full(60, -4.0)]
    without = targets.copy()
    targets[0] = 3  # of probability below 2 %: the model is told to be less sure
    found = fit_temperature(3 * rare, targets)
    assert np.isfinite(found) and found > fit_temperature(3 * rare, without) > 1
    assert np.isfinite(cross_fitted(3 * rare, targets)).all()


def test_folds_hold_as_many_of_each_class_whatever_the_order_they_come_in():
    """Sorted by class, as a folder lists them, no fold is without a class: the answer is nearly that of mixed ones."""
    logits, targets = honest(np.random.default_rng(4), 100)
    order = np.argsort(targets, kind="stable")
    mixed, by_class = fit_temperature(3 * logits, targets), fit_temperature(3 * logits[order], targets[order])
    assert mixed == fit_temperature(3 * logits, targets) != 1
    assert by_class == pytest.approx(mixed, rel=1e-2)


# What is shown for the images it was fitted on


@pytest.mark.parametrize("too_sure", [1.0, 2.0])
def test_cross_fitted_probabilities_show_no_gain_that_new_images_would_not_have(too_sure):
    random = np.random.default_rng(9)
    new, labels = honest(random, 5000)
    shown, flattering = [], []
    for _ in range(SIMULATED):
        logits, targets = honest(random, 25)
        logits = too_sure * logits
        temperature = fit_temperature(logits, targets)
        real = log_loss(too_sure * new, labels) - log_loss(too_sure * new, labels, temperature)
        before = log_loss(logits, targets)
        own = cross_fitted(logits, targets)[np.arange(25), targets]
        shown.append(before + np.log(own).mean() - real)
        flattering.append(before - log_loss(logits, targets, temperature) - real)
    assert np.mean(flattering) > 3 * standard_error(np.array(flattering))
    assert np.mean(shown) < 2 * standard_error(np.array(shown))


def test_cross_fitted_probabilities_name_the_same_classes():
    logits, targets = honest(np.random.default_rng(2), 90)
    assert (cross_fitted(3 * logits, targets).argsort(axis=1) == logits.argsort(axis=1)).all()


def test_of_many_images_cross_fitted_probabilities_are_nearly_those_of_the_model():
    logits, targets = honest(np.random.default_rng(2), 5000)
    probs = calibrated(3 * logits, fit_temperature(3 * logits, targets))
    assert np.abs(cross_fitted(3 * logits, targets) - probs).max() < 0.02


def test_a_temperature_against_true_probabilities_is_the_one_of_the_least_expected_log_loss():
    """Many labels drawn from the probabilities of each image say the same as these."""
    random = np.random.default_rng(8)
    logits = random.normal(scale=2, size=(4000, 3))
    shares = softmax(logits, axis=1)
    found = fit_temperature(2.5 * logits, shares)
    assert found == pytest.approx(2.5, rel=0.02)  # of the prior little is left
    drawn = np.repeat(np.arange(4000), 20)
    labels = (shares[drawn].cumsum(axis=1) > random.random((len(drawn), 1))).argmax(axis=1)
    assert found == pytest.approx(fit_temperature(2.5 * logits[drawn], labels), rel=0.02)


def test_a_probability_of_one_calibrates_as_its_class():
    logits, targets = honest(np.random.default_rng(9), 300)
    certain = np.eye(3)[targets]
    assert fit_temperature(3 * logits, certain) == pytest.approx(fit_temperature(3 * logits, targets))
    np.testing.assert_allclose(cross_fitted(3 * logits, certain), cross_fitted(3 * logits, targets))
    right = 5 * certain
    assert fit_temperature(right, certain) == fit_temperature(right, targets) == 1.0
