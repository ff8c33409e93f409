"""What more photos would bring: on features whose truth is known, on real photos, in words, and what is kept of it."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from learner.advice.learning_curve import (
    FEWEST,
    ORDERS,
    SIZES,
    conclude,
    correct_by_subset,
    fit_errors,
    growing_subsets,
    measure_curve,
    sample,
)
from learner.datasets import add_dataset
from learner.errors import DatasetError, RunError
from learner.jobs.device import exclusive_device
from learner.planning.estimate import resolve_recipe
from learner.questions.learning_curve import (
    LearningCurve,
    curve_file,
    gain_text,
    read_curve,
    recipe_of,
    verdict,
)
from learner.questions.process import ask
from tests.samples import make_photos, small_recipe


def photos(labels, group: str = "") -> list[SimpleNamespace]:
    return [
        SimpleNamespace(label=str(label), sha256=f"{number:04}", cluster="", group=group)
        for number, label in enumerate(labels)
    ]


def gaussians(counts: list[int], apart: float, seed: int, numbers: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Features and class indices: as many as `counts` says around each class's centre, `apart` from zero."""
    centres = np.random.default_rng(99).normal(size=(len(counts), numbers))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    targets = np.repeat(np.arange(len(counts)), counts)
    return centres[targets] + np.random.default_rng(seed).normal(size=(len(targets), numbers)), targets


def curve_of(train: list[int], valid: list[int], apart: float) -> LearningCurve:
    (x, y), (asked, truth) = gaussians(train, apart, 1), gaussians(valid, apart, 2)
    subsets = growing_subsets(photos(y))
    right = correct_by_subset(x, y, asked, truth, subsets)
    classes = [str(index) for index in range(len(train))]
    of_class = Counter(str(one) for one in y)
    told = conclude(right, [len(mine[0]) for mine in subsets], truth, classes, of_class, len(y))
    size = {"train_images": len(y), "valid_images": len(truth), "learnt": len(y), "checked": len(truth)}
    return LearningCurve("made", 1, "nothing", 32, **size, **told, seconds=1.0)


class TestTheLaw:
    def test_a_power_law_is_found_again_beyond_the_sizes_that_were_measured(self):
        sizes = np.array([20, 40, 80, 160, 320])
        errors = 2 * sizes**-0.5 + 0.05
        told = fit_errors(sizes, errors[None], np.array([640.0]))[0, 0]
        assert told == pytest.approx(2 * 640**-0.5 + 0.05, abs=0.001)

    def test_an_error_is_never_told_below_none(self):
        sizes = np.array([20, 40, 80, 160])
        errors = np.array([[0.3, 0.15, 0.05, 0.0]])  # falls in a straight line: the best line would go below zero
        assert (fit_errors(sizes, errors, np.array([320.0, 640.0])) >= 0).all()

    def test_each_curve_is_fitted_by_itself(self):
        sizes = np.array([10, 20, 40])
        errors = np.array([[0.4, 0.4, 0.4], [0.4, 0.3, 0.25]])
        flat, falling = fit_errors(sizes, errors, np.array([80.0]))[:, 0]
        assert flat == pytest.approx(0.4) and falling < 0.25


class TestTheSubsets:
    def test_they_grow_to_all_and_every_class_has_its_share(self):
        labels = ["a"] * 60 + ["b"] * 20
        sizes = growing_subsets(photos(labels))
        assert len(sizes) == SIZES and [len(one) for one in sizes] == [ORDERS] * (SIZES - 1) + [1]
        assert len(sizes[0][0]) < 10 and sorted(sizes[-1][0]) == list(range(80))
        for subsets in sizes:
            for subset in subsets:
                of_a = sum(labels[index] == "a" for index in subset)
                assert of_a / len(subset) == pytest.approx(0.75, abs=0.5 / len(subset) + 0.05)

    def test_an_order_only_adds_and_orders_differ(self):
        sizes = growing_subsets(photos(["a"] * 40 + ["b"] * 40))
        for order in range(ORDERS):
            for less, more in pairwise(sizes[:-1]):
                assert set(less[order]) < set(more[order])
        assert len({tuple(subset) for subset in sizes[3]}) == ORDERS

    def test_photos_that_belong_together_come_together(self):
        rows = photos(["a"] * 32 + ["b"] * 32)
        for index, row in enumerate(rows):
            row.cluster = f"burst {index // 8}"
        halfway = next(subsets for subsets in growing_subsets(rows) if len(subsets[0]) >= 32)
        whole = Counter(index // 8 for index in halfway[0])
        assert sum(number < 8 for number in whole.values()) <= 2  # of each class, one burst is begun

    def test_of_many_photos_every_class_gives_its_share(self):
        chosen = sample(photos(["a"] * 300 + ["b"] * 99 + ["c"]), 1 / 3)
        assert Counter(row.label for row in chosen) == {"a": 100, "b": 33, "c": 1}


class TestKnownTruth:
    def test_a_steep_curve_promises_what_twice_as_many_photos_then_bring(self):
        curve = curve_of([30, 30, 30], [100, 100, 100], apart=2)
        asked, truth = gaussians([3000] * 3, 2, 7)
        every = [list(range(180))]
        means = []
        for seed in range(3, 9):
            x, y = gaussians([60] * 3, 2, seed)
            means.append(correct_by_subset(x, y, asked, truth, [every])[0, 0].mean())
        x, y = gaussians([30] * 3, 2, 1)
        now = correct_by_subset(x, y, asked, truth, [[list(range(90))]])[0, 0].mean()
        about, low, high = curve.twice
        assert low <= np.mean(means) - now <= high and about > 0
        assert verdict(curve.twice) == "helps"
        assert curve.sentences[0].startswith(f"Twice as many photos would bring about {gain_text(curve.twice)}")

    def test_where_nothing_is_left_to_learn_more_photos_hardly_help(self):
        curve = curve_of([100, 100, 100], [100, 100, 100], apart=9)
        assert curve.now == 1 and verdict(curve.twice) == "hardly"
        assert "would hardly help" in curve.sentences[0] and "would bring" not in curve.sentences[0]
        assert curve.sentences[1] == "No class stands out as one that more photos would surely help."

    def test_few_validation_photos_cannot_show_that_photos_do_not_help(self):
        curve = curve_of([100, 100, 100], [10, 10, 10], apart=9)
        assert verdict(curve.twice) == "unclear" and curve.twice[2] >= 0.1  # none of 30 wrong: up to 3 of 30 may be
        assert "may bring nothing" in curve.sentences[0]

    def test_noise_is_promised_nothing(self):
        curve = curve_of([60, 60], [60, 60], apart=0)
        assert curve.twice is None or verdict(curve.twice) == "unclear"
        assert not any("would bring" in sentence or "gain most" in sentence for sentence in curve.sentences)

    def test_the_class_that_is_short_of_photos_is_named(self):
        curve = curve_of([120, 120, 20], [150, 150, 150], apart=3)
        best = curve.ranked()[0]
        assert best["class"] == "2" and verdict(best["twice"], best["p"]) == "helps"
        assert curve.sentences[1].startswith("2 would gain most: with twice as many photos of every class")

    def test_a_class_that_is_never_found_is_not_said_to_gain_nothing(self):
        curve = curve_of([400, 400, 8], [60, 60, 60], apart=1)
        assert curve.per_class[2]["recalls"][-1] < 0.05
        assert curve.per_class[2]["twice"] is None

    def test_a_class_with_too_few_photos_is_not_judged(self):
        curve = curve_of([60, 60, FEWEST - 1, 60], [60, 60, 60, FEWEST - 1], apart=2)
        rows = {row["class"]: row for row in curve.per_class}
        assert rows["2"]["twice"] is None and rows["3"]["twice"] is None and rows["0"]["twice"] is not None
        assert [row["class"] for row in curve.ranked()][2:] == ["2", "3"]

    def test_a_class_without_validation_photos_has_no_recall(self):
        curve = curve_of([40, 40, 40], [50, 50, 0], apart=2)
        assert curve.per_class[2]["recalls"] is None and curve.per_class[2]["twice"] is None

    def test_the_line_goes_on_to_twice_the_photos_and_its_band_holds_it(self):
        curve = curve_of([30, 30], [60, 60], apart=1.5)
        assert curve.line[-1][0] == pytest.approx(120) and curve.line[0][0] == pytest.approx(curve.sizes[0])
        assert all(0 <= low <= about <= high <= 1 for _, about, low, high in curve.line)
        half, whole = curve.half_more[0], curve.twice[0]
        assert 0 < half < whole


class TestWords:
    def test_minus_and_rounding(self):
        assert gain_text([0.0214, 0.004, 0.039]) == "+2.1 points (0.4 to 3.9)"
        assert gain_text([-0.01, -0.0301, -0.0001]) == "−1.0 points (−3.0 to 0.0)"

    @pytest.mark.parametrize(
        ("gain", "p", "kind"),
        [
            (None, 0, "unknown"),
            ([0.05, 0.01, 0.09], 0.01, "helps"),
            ([0.05, 0.01, 0.09], 0.2, "unclear"),  # one of many classes: so large a gain may be chance
            ([0.05, -0.01, 0.09], 0.01, "unclear"),
            ([0.05, 0.0, 0.09], 0.01, "unclear"),
            ([0.001, -0.002, 0.004], 1, "hardly"),
        ],
    )
    def test_no_more_is_said_than_the_interval_supports(self, gain, p, kind):
        assert verdict(gain, p) == kind


class TestOfARun:
    @pytest.fixture
    def dogs(self, store, tmp_path):
        """Photos that a random body can tell apart a little, and a settled recipe."""
        make_photos(tmp_path / "photos", {"cat": 30, "dog": 30}, size=(40, 40))
        add_dataset(store, tmp_path / "photos", "dogs")
        return resolve_recipe(store, small_recipe("dogs"))

    def test_it_is_measured_once_and_kept_by_what_decides_it(self, store, dogs):
        said = []
        curve = measure_curve(store, dogs, said.append)
        assert (curve.train_images, curve.valid_images) == (48, 12)
        assert curve.sizes[-1] == 48 and len(curve.accuracies) == len(curve.sizes)
        assert said[0] == "Reading the data set and the weights"
        assert any("48 of 60" in sentence or "60 of 60" in sentence for sentence in said)
        assert said[-1].startswith("Training linear heads on growing parts of the photos:")
        said.clear()
        assert measure_curve(store, dogs, said.append) == curve and said == []
        other = small_recipe("dogs", seed=7)
        assert read_curve(store.workspace, resolve_recipe(store, other)) is None  # another split

    def test_a_recipe_that_trains_otherwise_has_the_same_curve(self, store, dogs):
        longer = resolve_recipe(store, small_recipe("dogs", batch_size=4, label_smoothing=0.1))
        assert curve_file(store.workspace, longer) == curve_file(store.workspace, dogs)

    def test_a_run_knows_its_own(self, trained):
        store, run_id = trained
        recipe = recipe_of(store.runs.get(run_id))
        assert (recipe.version, recipe.image_size, recipe.backbone) == (1, 32, small_recipe().backbone)
        assert recipe.precision != "auto"

    def test_too_few_photos_are_told(self, store, tmp_path):
        make_photos(tmp_path / "photos", {"cat": 5, "dog": 5})
        add_dataset(store, tmp_path / "photos", "few")
        with pytest.raises(DatasetError, match=r"few has too few photos .* the median class has 4"):
            measure_curve(store, small_recipe("few"))

    def test_it_waits_for_no_run(self, store, dogs):
        with exclusive_device(store.workspace), pytest.raises(RunError, match="This machine is training"):
            measure_curve(store, dogs)

    def test_another_process_measures_it(self, store, dogs):
        process = ask(store, "learning_curve", curve_file(store.workspace, dogs), dogs)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert read_curve(store.workspace, dogs).now > 0.3

    def test_a_reason_a_person_can_mend_is_its_last_words(self, store, dogs):
        with exclusive_device(store.workspace):
            process = ask(store, "learning_curve", curve_file(store.workspace, dogs), dogs)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 2 and "This machine is training" in errors.splitlines()[-1]
