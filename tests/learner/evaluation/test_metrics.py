"""Figures of a model on its validation images, against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from learner.evaluation import metrics
from learner.evaluation.metrics import calibration_curve, evaluate, one_against_rest
from learner.evaluation.results import load_predictions, most_wrong, save_result
from learner.models.calibration import distances, unit_length
from learner.store import Image

CLASSES = ["cat", "dog", "fox"]
# True class by row, predicted class by column: 5 cats all right; of 4 dogs 2; the only fox taken for a dog.
CONFUSION = [[5, 0, 0], [2, 2, 0], [0, 1, 0]]


def answers(confusion: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (images, classes) and targets (images,) that give this confusion matrix."""
    pairs = [(i, j) for i, row in enumerate(confusion) for j, count in enumerate(row) for _ in range(count)]
    probs = np.full((len(pairs), len(confusion)), 0.1)
    for row, (_, predicted) in enumerate(pairs):
        probs[row, predicted] = 1 - 0.1 * (len(confusion) - 1)
    return probs, np.array([target for target, _ in pairs])


def told(row: dict) -> dict:
    """A class's figures without their interval."""
    return {key: value for key, value in row.items() if key != "recall_interval"}


def guesses(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (images, classes) that lean towards the targets (images,), of classes of unequal size."""
    random = np.random.default_rng(seed)
    share = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    targets = np.concatenate([np.arange(classes), random.choice(classes, images - classes, p=share)])
    return random.normal(size=(images, classes)) + 1.5 * np.eye(classes)[targets], targets


def test_a_small_example_gives_the_figures_worked_out_by_hand():
    result = evaluate(*answers(CONFUSION), CLASSES)
    assert result["images"] == 10
    assert result["accuracy"] == 0.7
    assert result["confusion"] == CONFUSION
    cat, dog, fox = result["per_class"]
    # 7 images were taken for cats, 5 of them rightly; all 5 cats were found.
    assert told(cat) == {"class": "cat", "precision": 5 / 7, "recall": 1.0, "f1": pytest.approx(10 / 12), "support": 5}
    # 3 images were taken for dogs, 2 of them rightly; 2 of 4 dogs were found.
    assert told(dog) == {"class": "dog", "precision": 2 / 3, "recall": 0.5, "f1": pytest.approx(4 / 7), "support": 4}
    # No image was taken for a fox.
    assert told(fox) == {"class": "fox", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


@pytest.mark.parametrize(("right", "images"), [(7, 10), (1, 3), (0, 4), (5, 5), (950, 1000)])
def test_the_interval_is_wilsons(right, images):
    probs, targets = answers([[right, images - right], [0, 0]])
    low, high = evaluate(probs, targets, ["a", "b"])["accuracy_interval"]
    z, rate = 1.959963984540054, right / images
    centre = (rate + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(rate * (1 - rate) / images + z**2 / (4 * images**2))
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_a_class_without_validation_images_keeps_its_row_and_column():
    result = evaluate(*answers([[3, 0, 0], [0, 2, 0], [0, 0, 0]]), CLASSES)
    assert result["confusion"] == [[3, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert told(result["per_class"][2]) == {"class": "fox", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


# Headline figures


@pytest.mark.parametrize(("classes", "k"), [(3, 2), (6, 3), (25, 5)])
def test_every_headline_figure_is_scikit_learns(classes, k):
    logits, targets = guesses(400, classes)
    probs = softmax(logits, axis=1)
    figures = evaluate(probs, targets, [str(index) for index in range(classes)])["figures"]
    said = probs.argmax(axis=1)
    assert figures["accuracy"]["value"] == accuracy_score(targets, said)
    assert figures["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(targets, said))
    assert figures["macro_f1"]["value"] == pytest.approx(f1_score(targets, said, average="macro"))
    assert figures["log_loss"]["value"] == pytest.approx(log_loss(targets, probs))
    assert figures["top_k"]["k"] == k
    assert figures["top_k"]["value"] == top_k_accuracy_score(targets, probs, k=k)
    for figure in figures.values():
        low, high = figure["interval"]
        assert low < figure["value"] < high and figure["method"]


def test_two_classes_have_no_top_k():
    assert "top_k" not in evaluate(*answers([[3, 1], [0, 4]]), ["a", "b"])["figures"]


def test_the_interval_of_macro_f1_is_the_one_of_resampling_the_images_of_each_class():
    logits, targets = guesses(120, 4)
    said = logits.argmax(axis=1)
    random = np.random.default_rng(1)
    answered, drawn = np.eye(4)[said], []
    for _ in range(3000):
        rows = [random.choice(np.flatnonzero(targets == c), (targets == c).sum()) for c in range(4)]
        confusion = np.array([answered[mine].sum(axis=0) for mine in rows])
        drawn.append((2 * confusion.diagonal() / (confusion.sum(axis=0) + confusion.sum(axis=1))).mean())
    interval = evaluate(softmax(logits, axis=1), targets, list("abcd"))["figures"]["macro_f1"]["interval"]
    assert interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_the_interval_of_the_balanced_accuracy_holds_the_truth_about_95_times_in_100(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 10)  # of other figures
    random, truth, held = np.random.default_rng(2), (0.95, 0.7), 0
    for _ in range(400):
        rows = [
            [hits := random.binomial(40, truth[0]), 40 - hits],
            [15 - (hits := random.binomial(15, truth[1])), hits],
        ]
        low, high = evaluate(*answers(rows), ["a", "b"])["figures"]["balanced_accuracy"]["interval"]
        held += low <= sum(truth) / 2 <= high
    assert 0.92 <= held / 400 <= 0.99


def test_where_every_image_is_right_no_interval_is_empty():
    figures = evaluate(*answers([[9, 0], [0, 9]]), ["a", "b"])["figures"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = figures[name]["interval"]
        assert figures[name]["value"] == high == 1
        assert 0.6 < low < 0.95


# Curves


def test_curves_and_areas_are_those_of_scikit_learn():
    logits, targets = guesses(300, 3)
    probs = softmax(logits, axis=1)
    for index, curve in enumerate(one_against_rest(probs, targets, ["a", "b", "c"])):
        assert curve["auc"] == pytest.approx(roc_auc_score(targets == index, probs[:, index]))
        assert curve["average_precision"] == pytest.approx(average_precision_score(targets == index, probs[:, index]))
        assert curve["roc"][0] == [0, 0] and curve["roc"][-1] == [1, 1]
        assert curve["pr"][-1][0] == 1
        assert len(curve["roc"]) <= 60 and len(curve["pr"]) <= 60


def test_a_class_without_images_has_no_curve():
    probs, targets = answers([[3, 0, 0], [0, 2, 0], [0, 0, 0]])
    fox = one_against_rest(probs, targets, CLASSES)[2]
    assert (fox["auc"], fox["roc"], fox["pr"]) == (None, [], [])


def test_the_calibration_curve_sets_how_sure_beside_how_right():
    probs = np.array([[0.9, 0.1]] * 10 + [[0.65, 0.35]] * 10)
    targets = np.array([0] * 8 + [1] * 2 + [0] * 6 + [1] * 4)
    found = calibration_curve(probs, targets)
    assert found["bins"] == [
        {"confidence": pytest.approx(0.65), "accuracy": 0.6, "images": 10},
        {"confidence": pytest.approx(0.9), "accuracy": 0.8, "images": 10},
    ]
    assert found["error"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.1)


# Distance


def test_the_distance_is_to_the_kth_nearest_by_cosine():
    reference = unit_length(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    asked = unit_length(np.array([[5.0, 0.0]]))
    found = [float(distances(asked, reference, k)[0]) for k in (1, 2, 3)]
    assert found == pytest.approx([0, 1 - math.sqrt(0.5), 1])


# What stays on disk


def image(number: int, label: str) -> Image:
    return Image(id=number, path=f"{label}/{number}.jpg", file=f"images/{number}.jpg", label=label)


def test_the_most_wrong_images_are_the_wrong_ones_the_model_was_surest_of(tmp_path):
    images = [image(1, "cat"), image(2, "dog"), image(3, "dog"), image(4, "cat")]
    probs = np.array([[0.95, 0.05], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    save_result(tmp_path, {}, probs, images, ["cat", "dog"])
    wrong = most_wrong(load_predictions(tmp_path), 2)
    assert wrong["image_id"].tolist() == [3, 4]
    assert wrong["predicted"].tolist() == ["cat", "dog"]
    assert wrong["probability"].tolist() == [0.9, 0.8]


def test_classes_named_like_numbers_or_like_nothing_stay_text(tmp_path):
    names = ["007", "NA", "1.0", "null"]
    save_result(tmp_path, {}, np.eye(4), [image(i, name) for i, name in enumerate(names)], names)
    predictions = load_predictions(tmp_path)
    assert predictions["label"].tolist() == predictions["predicted"].tolist() == names
    assert most_wrong(predictions, 10).empty


def test_log_loss_and_brier_score_are_against_true_probabilities_and_all_else_against_classes():
    probs = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    shares = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    targets = np.array([1, 1])  # the first by a person's word
    result = evaluate(probs, targets, CLASSES, shares)
    by_hand = (-0.5 * math.log(0.5) - 0.5 * math.log(0.25) - math.log(0.8)) / 2
    assert result["figures"]["log_loss"]["value"] == pytest.approx(by_hand)
    assert result["brier"] == pytest.approx(((0.25**2 + 0.25**2) + (0.1**2 + 0.2**2 + 0.1**2)) / 2)
    assert result["accuracy"] == 0.5 and result["confusion"] == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    certain = evaluate(probs, targets, CLASSES, np.eye(3)[targets])
    assert certain.pop("brier") == pytest.approx((0.5**2 + 0.75**2 + 0.25**2 + 0.1**2 + 0.2**2 + 0.1**2) / 2)
    plain = evaluate(probs, targets, CLASSES)
    assert certain["figures"].pop("log_loss")["value"] == pytest.approx(plain["figures"].pop("log_loss")["value"])
    assert certain == plain
