"""A linear head at its optimum: scikit-learn and arithmetic say the same, and what was left out was not learnt from."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from learner.models.logistic import STRENGTHS, USUAL_STRENGTH, solve

CLASSES = 3


def made(images: int, numbers: int = 6, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features (images, 1, numbers) far from standardised, and classes that follow from them but for some noise."""
    random = np.random.default_rng(seed)
    plain = random.normal(size=(images, numbers))
    truth = np.random.default_rng(99).normal(size=(numbers, CLASSES))
    targets = (plain @ truth + noise * random.gumbel(size=(images, CLASSES))).argmax(axis=1)
    return (plain * 7 + 40)[:, None].astype(np.float32), targets


def folds_of(images: int, folds: int = 5) -> np.ndarray:
    return np.arange(images) % folds


def objective(views: np.ndarray, shares: np.ndarray, weights: np.ndarray, strength: float):
    """Mean cross entropy of standardised features plus half the strength times the squared weights, by hand.

    A tenth of the mean variance is added to each number's own.
    """
    features = views.reshape(-1, views.shape[2]).astype(np.float64)
    shares, weights = np.repeat(shares, views.shape[1], axis=0), np.repeat(weights, views.shape[1])
    weights = weights / weights.sum()
    mean = weights @ features
    variance = weights @ (features - mean) ** 2
    standard = (features - mean) / np.sqrt(variance + variance.mean() / 10)

    def value(flat: np.ndarray) -> float:
        weight, bias = np.split(flat.reshape(standard.shape[1] + 1, -1), [standard.shape[1]])
        losses = -(shares * log_softmax(standard @ weight + bias, axis=1)).sum(axis=1)
        return float(weights @ losses + strength / 2 * (weight**2).sum())

    return value, standard


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("classes", [2, CLASSES])
def test_it_is_the_optimum_of_its_objective(views, classes):
    features, targets = made(120)
    targets = np.minimum(targets, classes - 1)
    features = np.concatenate([features + 3 * view for view in range(views)], axis=1)
    weights = np.random.default_rng(1).uniform(0.2, 3, 120)
    solution = solve(features, targets, classes, folds_of(120), weights)
    value, standard = objective(features, np.eye(classes)[targets], weights, solution.strength)
    best = minimize(value, np.zeros((features.shape[2] + 1) * classes))
    weight, bias = np.split(best.x.reshape(-1, classes), [features.shape[2]])
    expected = log_softmax(standard @ weight + bias, axis=1)
    logits = features.reshape(-1, features.shape[2]) @ solution.weight.T + solution.bias
    np.testing.assert_allclose(log_softmax(logits, axis=1), expected, atol=0.02)


def test_the_strength_with_the_lowest_log_loss_of_left_out_images_is_taken_and_is_near_the_truly_best():
    features, targets = made(150, numbers=30, noise=3)
    solution = solve(features, targets, CLASSES, folds_of(150))
    assert solution.strength == min(solution.checked, key=lambda one: one.log_loss).strength
    new, truth = made(4000, numbers=30, seed=5, noise=3)

    def true_loss(strength: float) -> float:
        one = solve(features, targets, CLASSES, np.full(150, -1), strengths=(strength,))
        said = log_softmax(new[:, 0] @ one.weight.T + one.bias, axis=1)
        return -said[np.arange(4000), truth].mean()

    losses = {strength: true_loss(strength) for strength in STRENGTHS}
    assert losses[solution.strength] <= min(losses.values()) + 0.05
    assert losses[STRENGTHS[-1]] > losses[solution.strength] + 0.2  # a bad choice would be seen


def test_a_left_out_image_is_asked_about_by_a_fit_that_has_seen_none_of_its_views():
    """Labels that are pure chance cannot be told better than by chance, however often an image is shown."""
    random = np.random.default_rng(0)
    views = np.repeat(random.normal(size=(200, 1, 50)), 4, axis=1).astype(np.float32)
    targets = random.integers(CLASSES, size=200)
    solution = solve(views, targets, CLASSES, folds_of(200))
    assert all(one.accuracy < 1 / CLASSES + 4 * np.sqrt(2 / 9 / 200) for one in solution.checked)
    assert solution.checked[0].log_loss == pytest.approx(np.log(CLASSES), abs=0.1)


def test_probabilities_for_targets_count_as_so_many_images_of_each_class():
    """Every image half of two classes is what the image twice is, once of each."""
    features, targets = made(60)
    other = (targets + 1) % CLASSES
    soft = (np.eye(CLASSES)[targets] + np.eye(CLASSES)[other]) / 2
    twice = np.concatenate([features, features])
    one = solve(features, soft, CLASSES, np.full(60, -1), strengths=(0.1,))
    two = solve(twice, np.concatenate([targets, other]), CLASSES, np.full(120, -1), strengths=(0.1,))
    np.testing.assert_allclose(one.weight, two.weight, atol=2e-4)


def test_an_image_of_twice_the_weight_counts_as_two():
    features, targets = made(60)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    again = np.concatenate([np.arange(60), np.arange(20)])
    one = solve(features, targets, CLASSES, np.full(60, -1), weights, strengths=(0.1,))
    two = solve(features[again], targets[again], CLASSES, np.full(80, -1), strengths=(0.1,))
    np.testing.assert_allclose(one.weight, two.weight, atol=2e-4)


def test_a_class_that_only_one_fold_has_is_left_out_of_the_check_and_learnt_in_the_end():
    features, targets = made(60)
    targets = np.minimum(targets, 1)
    targets[0] = 2
    solution = solve(features, targets, CLASSES, folds_of(60))
    assert solution.checked[0].images == 59
    assert solution.bias[2] > -100


def test_where_nothing_can_be_checked_a_usual_strength_is_taken():
    features, targets = made(10)
    solution = solve(features, targets, CLASSES, np.full(10, -1))
    assert solution.strength == USUAL_STRENGTH and solution.checked == []


def test_where_only_one_class_counts_it_is_what_every_image_is_said_to_be():
    features, targets = made(20)
    solution = solve(features, targets, CLASSES, folds_of(20), (targets == 1).astype(float))
    assert ((features[:, 0] @ solution.weight.T + solution.bias).argmax(axis=1) == 1).all()


def test_the_path_ends_when_weaker_strengths_only_make_it_worse():
    features, targets = made(60, numbers=40, noise=8)
    solution = solve(features, targets, CLASSES, folds_of(60))
    assert len(solution.checked) < len(STRENGTHS)


def test_who_listens_may_stop_it():
    features, targets = made(60)

    def stop(_fits: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(features, targets, CLASSES, folds_of(60), tell=stop)


def test_a_number_that_hardly_varied_does_not_decide_about_a_new_image():
    """One that was nearly constant, beside others that tell the classes, and a new image where it is not."""
    features, targets = made(100, noise=0.1)
    faint = np.random.default_rng(2).normal(0, 0.01, (100, 1, 1)).astype(np.float32)
    solution = solve(np.concatenate([features, faint], axis=2), targets, CLASSES, folds_of(100))
    new = np.concatenate([features[:, 0], np.full((100, 1), 5.0)], axis=1)  # five hundred deviations from the mean
    said = new @ solution.weight.T + solution.bias
    assert (said.argmax(axis=1) == targets).mean() > 0.9
