"""Two runs on the same images: what is compared, and when one is said to beat the other."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from learner.evaluation.intervals import Discordance, holm, wilson
from learner.evaluation.paired import pair_predictions, verdict


def predictions(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """A table of (image, label, predicted, probability)."""
    table = pd.DataFrame(rows, columns=["file", "label", "predicted", "probability"])
    return table.assign(file=[f"images/{name[:2]}/{name}.jpg" for name in table["file"]])


def test_images_are_matched_by_content_and_changes_are_listed_surest_first():
    first = predictions(
        ("a", "cat", "dog", 0.7), ("b", "cat", "dog", 0.9), ("c", "dog", "dog", 0.8), ("d", "dog", "dog", 0.6)
    )
    second = predictions(
        ("d", "dog", "cat", 0.55), ("b", "cat", "cat", 0.6), ("a", "cat", "cat", 0.8), ("c", "dog", "dog", 0.9)
    )
    found = pair_predictions(first, second)
    assert found.counts == Discordance(both=1, broken=1, fixed=2, neither=0)
    assert [file.split("/")[-1] for file in found.fixed["file"]] == ["b.jpg", "a.jpg"]
    assert found.broken[["label", "predicted", "predicted_before"]].values.tolist() == [["dog", "cat", "dog"]]
    assert found.counts.difference == pytest.approx(0.25)


def test_what_only_one_run_saw_or_what_was_relabelled_is_left_out_and_counted():
    first = predictions(("a", "cat", "dog", 0.7), ("b", "cat", "dog", 0.9), ("c", "dog", "dog", 0.8))
    second = predictions(("b", "dog", "dog", 0.6), ("c", "dog", "dog", 0.9), ("x", "cat", "cat", 0.9))
    found = pair_predictions(first, second)
    assert (found.relabelled, found.only_first, found.only_second) == (1, 1, 1)
    assert found.counts == Discordance(both=1, broken=0, fixed=0, neither=0)


def test_runs_without_a_common_image_have_nothing_to_compare():
    found = pair_predictions(predictions(("a", "cat", "dog", 0.7)), predictions(("b", "cat", "dog", 0.9)))
    assert found.counts.images == 0 and found.fixed.empty and found.broken.empty


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (5, 0), (8, 2), (3, 3), (30, 18)])
def test_mcnemars_test_is_the_exact_binomial_one(fixed, broken):
    expected = binomtest(fixed, fixed + broken, 0.5).pvalue if fixed + broken else 1.0
    assert Discordance(both=50, broken=broken, fixed=fixed, neither=4).p_value == pytest.approx(expected)


def test_the_interval_of_the_difference_holds_the_truth_about_95_times_in_100():
    random, chances, held = np.random.default_rng(0), [0.7, 0.06, 0.14, 0.1], 0
    for _ in range(1000):
        low, high = Discordance(*map(int, random.multinomial(80, chances))).interval
        held += low <= chances[2] - chances[1] <= high
    assert 0.93 <= held / 1000 <= 0.98


def test_the_interval_lies_around_the_difference_and_turns_with_the_order():
    one, other = Discordance(40, 3, 9, 5), Discordance(40, 9, 3, 5)
    low, high = one.interval
    assert low < one.difference < high
    assert other.interval == pytest.approx([-high, -low])


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (3, 9), (900, 1000)])
def test_wilsons_interval_is_scipys(right, images):
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson(right, images) == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_several_comparisons_raise_the_p_values():
    # Sorted 0.01, 0.02, 0.04 become 3 × 0.01, 2 × 0.02, and no less than those before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6]) == [0.6] and holm([]) == []


def test_beats_is_said_only_when_the_data_supports_it():
    said = verdict(Discordance(both=80, broken=1, fixed=12, neither=7), "Run 1", "Run 2")
    assert said.startswith("Run 2 beats Run 1")
    assert verdict(Discordance(80, 12, 1, 7), "Run 1", "Run 2").startswith("Run 1 beats Run 2")
    for chance in (Discordance(80, 3, 6, 11), Discordance(100, 0, 0, 0), Discordance(3, 0, 4, 0)):
        assert "do not show that either is better" in verdict(chance, "Run 1", "Run 2")
    assert "do not show" in verdict(Discordance(80, 1, 12, 7), "Run 1", "Run 2", p_value=0.06)
