"""How much a choice flatters: nothing where it is clear, as much as chance gives where it is luck."""

import math

import numpy as np
import pytest

from learner.evaluation.optimism import (
    PARTS,
    Optimism,
    candidates_of,
    change,
    optimism,
    optimism_of,
    optimism_text,
    parts_of,
)
from learner.store import Epoch


def parts(*losses: float, images: int = 10, right: int = 8) -> list[list[float]]:
    """Of one state: the mean loss of each part."""
    return [[images, images * loss, right] for loss in losses]


def drawn(random: np.random.Generator, images: int, states: int) -> tuple[np.ndarray, float]:
    """(images, states) of losses that differ between states by chance alone, and the mean loss without that chance."""
    own, chance = random.normal(size=(images, 1)), random.normal(size=(images, states))
    return 5 + 0.9 * own + 0.3 * chance, 5 + 0.9 * own.mean()


def test_parts_have_every_class_evenly_and_keep_neighbours_together():
    targets = np.repeat([0, 1], 20)
    made = parts_of(np.arange(40.0), (np.arange(40) < 20).astype(float), targets)
    assert [row[0] for row in made] == [4] * PARTS
    assert made[0] == [
        4,
        0 + 1 + 38 + 39,
        2,
    ]  # two of the first class, and of the second, shifted by one part, the last
    assert sum(row[1] for row in made) == sum(range(40)) and sum(row[2] for row in made) == 20


def test_classes_of_one_image_each_are_spread_over_the_parts():
    assert [row[0] for row in parts_of(np.ones(20), np.ones(20), np.arange(20))] == [2] * PARTS


def test_a_loss_that_is_no_number_is_kept_as_none():
    losses = np.ones(20)
    losses[0] = math.nan
    assert parts_of(losses, np.ones(20), np.zeros(20, dtype=int))[0][1] is None


def test_a_choice_that_every_part_would_make_flatters_by_nothing():
    found = optimism([parts(*[0.5] * 10, right=8), parts(*[0.3] * 10, right=9), parts(*[0.4] * 10, right=10)])
    assert (found.log_loss, found.accuracy) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert (found.candidates, found.images) == (3, 100)
    assert optimism_text(found).endswith("That hardly flatters: it is the best on other draws of these images, too.")


def test_a_choice_that_hangs_on_which_images_were_drawn_flatters_by_what_it_loses_on_others():
    # Who sees only the first half takes the first state, which loses 0.6 on the second half; who sees only the second
    # half takes the second, which loses 0.5 on the first half. The first was chosen for its 0.4 on both together.
    found = optimism([parts(0.2, 0.6, images=20, right=18), parts(0.5, 0.5, images=20, right=14)])
    assert found.log_loss == pytest.approx((0.6 + 0.5) / 2 - 0.4, rel=0.05)
    # Against the mean of both, of 16 right: 2 more, where the chosen were 2 more and then 2 fewer.
    assert found.accuracy == pytest.approx(2 / 20, rel=0.1)
    assert f"about {found.log_loss:.3f} in log loss and {100 * found.accuracy:.1f} points in" in optimism_text(found)


def test_what_does_not_flatter_in_accuracy_is_said():
    text = optimism_text(Optimism(log_loss=0.0214, accuracy=-0.01, candidates=27, images=37))
    assert "The best of 27 states" in text and "about 0.021 in log loss and not in accuracy" in text


@pytest.mark.parametrize("states", [3, 10])
def test_of_equal_states_the_luckiest_flatters_by_as_much_as_it_is_estimated_to(states):
    random, told, true = np.random.default_rng(1), [], []
    for _ in range(300):
        losses, without = drawn(random, 200, states)
        targets, right = np.arange(200) % 4, np.ones(200)
        told.append(optimism([parts_of(losses[:, state], right, targets) for state in range(states)]).log_loss)
        true.append(without - losses.mean(axis=0).min())  # each has the same loss on new images like these
    assert np.mean(told) == pytest.approx(np.mean(true), rel=0.15)


def test_a_state_that_diverged_is_never_chosen():
    lost = [[10, None, 1]] * 10
    good, better = parts(*[0.5] * 10), parts(*[0.4] * 10)
    assert optimism([good, better, lost]).candidates == 2
    assert optimism([good, lost]) is None


def test_nothing_is_said_without_a_choice_of_few_images_or_of_an_older_run():
    one = parts(*[0.5] * 10)
    assert optimism([one]) is None
    assert optimism([parts(*[0.5] * 10, images=1)] * 2) is None
    assert optimism([one, one[:5]]) is None
    old = [Epoch(epoch=1, phase=0), Epoch(epoch=2, phase=0, parts=one)]
    assert optimism_of(old, {}) is None and optimism_of(old[:1] * 2, {}) is None and optimism_of([], {}) is None


def test_the_points_of_a_phase_take_the_place_of_its_last_epoch():
    marked = [parts(loss) for loss in range(6)]
    epochs = [Epoch(epoch=number, phase=phase, parts=marked[number]) for number, phase in ((0, 0), (1, 1), (2, 1))]
    tried = [{"point": 0.0, "parts": marked[3]}, {"point": 1.0, "parts": marked[4]}]
    assert candidates_of(epochs, {"1": {"tried": tried}}) == [marked[0], marked[4]]  # it starts from the first epoch
    assert candidates_of(epochs[:1], {"0": {"tried": tried}}) == marked[3:5]
    assert candidates_of(epochs, {}) == marked[:3]
    assert candidates_of(epochs, {"1": {"tried": [{"point": 0.0}, {"point": 1.0}]}}) is None  # of an older Thaw


def test_a_change_is_as_sure_as_the_parts_agree():
    before = parts(*[0.5] * 10)
    assert change(before, parts(*[0.6] * 10), "loss") == pytest.approx((0.1, 0.1))
    assert change(before, parts(*[0.5] * 10, right=7), "accuracy") == pytest.approx((-0.1, -0.1))
    low, high = change(before, parts(*[0.5, 0.7] * 5), "loss")
    assert (low + high) / 2 == pytest.approx(0.1)
    # deviation of the ten differences 0 and 0.2: 0.1 √(10/9); Student's t with 9 degrees of freedom: 2.262
    assert high - 0.1 == pytest.approx(2.262 * 0.1 * math.sqrt(10 / 9) / math.sqrt(10), rel=1e-3)


def test_no_change_is_told_of_what_cannot_be_compared():
    one = parts(*[0.5] * 10)
    assert change([], [], "loss") is None and change(one, one[:9], "loss") is None
    assert change(one, parts(*[0.5] * 10, images=9), "loss") is None
    assert change(one, [[10, None, 8], *one[1:]], "loss") is None
    assert change(one, [[10, None, 8], *one[1:]], "accuracy") == (0, 0)
