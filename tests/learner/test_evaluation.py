"""Figures of a model on its validation images, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from learner.evaluation import evaluate
from learner.results import load_predictions, most_wrong, save_result
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


def test_a_small_example_gives_the_figures_worked_out_by_hand():
    result = evaluate(*answers(CONFUSION), CLASSES)
    assert result["images"] == 10
    assert result["accuracy"] == 0.7
    assert result["confusion"] == CONFUSION
    cat, dog, fox = result["per_class"]
    # 7 images were taken for cats, 5 of them rightly; all 5 cats were found.
    assert cat == {"class": "cat", "precision": 5 / 7, "recall": 1.0, "f1": pytest.approx(10 / 12), "support": 5}
    # 3 images were taken for dogs, 2 of them rightly; 2 of 4 dogs were found.
    assert dog == {"class": "dog", "precision": 2 / 3, "recall": 0.5, "f1": pytest.approx(4 / 7), "support": 4}
    # No image was taken for a fox.
    assert fox == {"class": "fox", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


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
    assert result["per_class"][2] == {"class": "fox", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


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
