"""The answer of a study, held against other implementations and against counting by hand."""

import numpy as np
import pytest
from scipy import stats

from learner.studies.analysis import Difference, Outcome, compare_variants, discordance, p_text

RNG = np.random.default_rng(7)


def outcome(right: str, log_loss: float = 1.0, learnt: int = 8, images: str = "abcdefgh") -> Outcome:
    """`right` says image by image whether the model was right: `+` or `-`."""
    answers = {image: mark == "+" for image, mark in zip(images, right, strict=False)}
    return Outcome(1, sum(answers.values()) / len(answers), log_loss, answers, learnt)


class TestDifference:
    def test_where_runs_share_nothing_it_is_the_paired_t_test(self):
        each = tuple(RNG.normal(0.02, 0.03, 12))
        found, expected = Difference(each, ratio=0.0), stats.ttest_1samp(each, 0.0)
        assert found.p_value == pytest.approx(expected.pvalue)
        assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))

    def test_shared_training_images_widen_it_as_nadeau_and_bengio_say(self):
        each = tuple(RNG.normal(0.02, 0.03, 10))
        plain, corrected = Difference(each, 0.0), Difference(each, 1 / 9)
        # Ten folds: the variance is (1/10 + 1/9) of the sample's instead of 1/10.
        widths = [high - low for low, high in (plain.interval, corrected.interval)]
        assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 / 10 + 1 / 9) / (1 / 10)))
        assert corrected.p_value > plain.p_value

    def test_one_pair_shows_nothing(self):
        found = Difference((0.3,), 0.25)
        assert found.interval is None and found.p_value == 1.0 and found.more_seeds(5) is None

    def test_pairs_that_never_differ_show_no_difference(self):
        assert Difference((0.0, 0.0, 0.0), 0.25).p_value == 1.0

    def test_under_no_difference_it_errs_in_about_one_study_of_twenty(self):
        # Cross-validation of a mean: each fold is judged by the mean of the others, which share most of their numbers.
        # So the differences depend on each other just as the correction supposes.
        wrong = 0
        for _ in range(1000):
            sample = RNG.normal(size=80)
            folds = sample.reshape(5, 16)
            each = [fold.mean() - (sample.sum() - fold.sum()) / 64 for fold in folds]
            wrong += Difference(tuple(each), 16 / 64).p_value < 0.05
        assert wrong <= 70  # 50 are expected; more than 70 by chance once in 500

    def test_as_many_seeds_as_it_names_show_the_difference_four_times_in_five(self):
        each = (0.01, 0.03, -0.01, 0.02)
        more = Difference(each, 0.0).more_seeds(folds=2)
        pairs, spread = 4 + 2 * more, np.std(each, ddof=1)

        def shown(pairs: int) -> float:
            studies = RNG.normal(np.mean(each), spread, (4000, pairs))
            return float((stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean())

        assert 0.75 < shown(pairs) < 0.95
        assert shown(pairs - 2) < shown(pairs)

    def test_no_number_of_seeds_shows_less_than_what_shared_images_hide(self):
        assert Difference((0.001, -0.05, 0.05, 0.004), 0.25).more_seeds(5) is None


class TestComparing:
    def test_only_pairs_of_the_same_seed_and_fold_count(self):
        first = {(1, 1): outcome("++++"), (1, 2): outcome("+++-")}
        second = {(1, 2): outcome("++--"), (2, 1): outcome("----")}
        [found] = compare_variants(["a", "b"], [first, second], folds=2)
        assert found.places == ((1, 2),) and found.accuracy.each == (-0.25,)

    def test_answers_for_held_back_images_are_counted_as_mcnemar_does(self):
        first, second = outcome("++++----"), outcome("++-++++-")
        counts = discordance([(first, second)])
        assert (counts.both, counts.broken, counts.fixed, counts.neither) == (3, 1, 3, 1)
        [found] = compare_variants(["a", "b"], [{(1, 1): first}, {(1, 1): second}], folds=1)
        assert found.mcnemar == pytest.approx(stats.binomtest(1, 1 + 3).pvalue)

    def test_several_seeds_give_twice_the_median_of_their_p_values(self):
        # Fixed and broken: 3 and 0 has p 2 · 1/8; 5 and 0 has 2 · 1/32; 4 and 0 has 2 · 1/16.
        wrong, pairs = outcome("--------"), {(1, 1): "+++-----", (2, 1): "+++++---", (3, 1): "++++----"}
        first, second = dict.fromkeys(pairs, wrong), {place: outcome(right) for place, right in pairs.items()}
        [found] = compare_variants(["a", "b"], [first, second], folds=1)
        assert found.mcnemar == pytest.approx(2 * (2 / 16))

    def test_p_values_are_raised_for_there_being_several_variants(self):
        places = [(1, fold) for fold in (1, 2, 3, 4)]
        base = {place: outcome("++++----") for place in places}
        better = dict(zip(places, map(outcome, ("+++++---", "++++++--", "++++++--", "+++++---")), strict=True))
        one = compare_variants(["a", "b"], [base, better], folds=4)
        three = compare_variants(["a", "b", "c", "d"], [base, better, base, base], folds=4)
        assert three[0].p_value == pytest.approx(min(1.0, 3 * one[0].p_value))

    def test_a_variant_without_a_pair_is_left_out(self):
        assert compare_variants(["a", "b"], [{(1, 1): outcome("+")}, {}], folds=2) == []


class TestSentences:
    def of(self, *each: float):
        places = [(1, fold + 1) for fold in range(len(each))]
        base = {place: Outcome(1, 0.5, 1.0, {"a": True}, 400) for place in places}
        other = {place: Outcome(2, 0.5 + gain, 1.0, {"a": True}, 400) for place, gain in zip(places, each, strict=True)}
        [found] = compare_variants(["head only", "everything"], [base, other], folds=5)
        return found.sentence

    def test_what_is_proven_is_said_with_its_interval(self):
        said = self.of(0.05, 0.06, 0.05, 0.04, 0.05)
        assert said.startswith("everything is better than head only: +5.0 points of accuracy (+4.")
        assert "hardly chance (p < 0.001)" in said
        assert self.of(-0.05, -0.06, -0.05, -0.04, -0.05).startswith("everything is worse than head only: −5.0 points")

    def test_what_is_not_proven_says_what_would_fit_and_how_many_more_seeds(self):
        said = self.of(0.05, -0.02, 0.04, -0.01, 0.03)
        assert "no difference is proven: +1.8 points" in said and "more seeds would show it" in said
        assert "More seeds would hardly show so small a difference" in self.of(0.05, -0.05, 0.04, -0.03, -0.009)

    def test_pairs_that_never_differ_are_told_as_such(self):
        assert self.of(0.0, 0.0) == "everything and head only had the same accuracy in each of 2 pairs of runs."


def test_p_values_are_written_with_three_digits():
    assert (p_text(0.0499), p_text(0.0004)) == ("p = 0.050", "p < 0.001")
