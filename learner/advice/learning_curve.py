"""Measure a learning curve: linear heads on a frozen body's features, trained on growing subsets of the photos."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import erfc, sqrt
from random import Random
from statistics import median

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from learner.advice.strategy import frozen_features
from learner.datasets import split_by
from learner.datasets.grouping import components
from learner.errors import DatasetError
from learner.evaluation.intervals import holm
from learner.jobs.device import exclusive_device
from learner.jobs.process import Tell
from learner.planning.estimate import resolve_recipe
from learner.questions.answers import keep_answer
from learner.questions.learning_curve import LearningCurve, curve_file, read_curve
from learner.recipe import Recipe
from learner.store import Image, Store
from learner.training.trial import set_up

MOST_IMAGES = 4000
SIZES = 8
ORDERS = 6
"""Random orders of the photos; heads learn from growing beginnings of each."""
FIRST = 4
"""Photos of the median class at the smallest size."""
FEWEST = 8
"""Training photos of a class, in the median overall and for what is told of it, and validation photos of it."""
RESAMPLES = 1000
RULE_OF_THREE = 3.0
"""What happens to none of n photos may still happen to 3/n of all (95 %): Hanley and Lippman-Hand 1983, JAMA 249."""
TOO_WIDE = 0.3
"""An interval wider than this says nothing."""
MISFIT = 15.1
"""Chi-squared beyond which the law is refused: the 99 % quantile for 8 sizes and a law of 3 numbers."""
ONLY_BEGUN = 0.95
"""Error rate with all photos above which learning has hardly begun, and no law foretells how it goes on."""
STRENGTH = 10.0
"""Divided by the numbers of an image: inverse strength of a head's pull to zero, so that it is alike for all bodies."""
EXPONENTS = np.linspace(0.05, 2.0, 40)
LINE_POINTS = 30


def measure_curve(store: Store, recipe: Recipe, tell: Tell = lambda _: None) -> LearningCurve:
    """Measure the curve for a recipe's data, split and body; what was measured before is returned at once.

    Raises DatasetError where the classes have too few photos or the disk no room, RunError while a run trains, and what
    `learner.training.trial.set_up` raises.
    """
    began = time.monotonic()
    settled = resolve_recipe(store, recipe)
    found = read_curve(store.workspace, settled)
    if found is not None:
        return found
    tell("Reading the data set and the weights")
    version = store.datasets.version(settled.dataset, settled.version)
    sides = split_by(settled, store.datasets.images(version.id))
    share = min(1.0, MOST_IMAGES / sum(map(len, sides)))
    train, valid = (sample(side, share) for side in sides)
    _require_enough(train, valid, version.name)
    with exclusive_device(store.workspace):
        trial = set_up(store, settled)
        features = frozen_features(store, trial, [*train, *valid], tell)
        place = {label: index for index, label in enumerate(trial.classes)}
        targets = np.array([place[image.label] for image in (*train, *valid)])
        cut = len(train)
        beginnings = growing_subsets(train)
        right = correct_by_subset(features[:cut], targets[:cut], features[cut:], targets[cut:], beginnings, tell)
    of_class = Counter(image.label for image in sides[0])
    told = conclude(
        right, [len(subsets[0]) for subsets in beginnings], targets[cut:], trial.classes, of_class, len(sides[0])
    )
    found = LearningCurve(
        dataset=settled.dataset,
        version=version.number,
        backbone=settled.backbone,
        image_size=settled.side,
        train_images=len(sides[0]),
        valid_images=len(sides[1]),
        learnt=cut,
        checked=len(valid),
        **told,
        seconds=time.monotonic() - began,
    )
    keep_answer(curve_file(store.workspace, settled), found)
    return found


def sample(images: list[Image], share: float) -> list[Image]:
    """That share of each class's images, at least one; always the same ones."""
    by_class: dict[str, list[Image]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.sha256):
        by_class[image.label].append(image)
    return [
        image for label in sorted(by_class) for image in by_class[label][: max(1, round(share * len(by_class[label])))]
    ]


def growing_subsets(images: Sequence[Image]) -> list[list[list[int]]]:
    """For each size, ascending, one list of indices a random order; the last size is all of them, once.

    Each order's subsets hold the ones before. Every class has its share of each; what belongs together comes in a row,
    as photos of one burst would arrive together.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_class[image.label].append(index)
    smallest = min(0.5, FIRST / median(map(len, by_class.values())))
    shares = np.geomspace(smallest, 1.0, SIZES)
    orders = [_shuffled(images, by_class, Random(seed)) for seed in range(ORDERS)]
    found: dict[int, list[list[int]]] = {}
    for share in shares:
        subsets = [[index for mine in order for index in mine[: max(1, round(share * len(mine)))]] for order in orders]
        found[len(subsets[0])] = subsets
    found[len(images)] = found[len(images)][:1]
    return [found[size] for size in sorted(found)]


def correct_by_subset(
    train: np.ndarray,
    train_targets: np.ndarray,
    valid: np.ndarray,
    valid_targets: np.ndarray,
    beginnings: list[list[list[int]]],
    tell: Tell = lambda _: None,
) -> np.ndarray:
    """Whether the heads tell each validation image right: (sizes, orders, images) of booleans.

    `train` and `valid` are (images, numbers). The one head that learnt from all stands for every order.
    """
    total, done = sum(map(len, beginnings)), 0
    right = np.zeros((len(beginnings), ORDERS, len(valid)), dtype=bool)
    for size, subsets in enumerate(beginnings):
        for order, subset in enumerate(subsets):
            done += 1
            tell(f"Training linear heads on growing parts of the photos: {done:,} of {total:,}")
            head = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / train.shape[1], max_iter=300))
            with threadpool_limits(1):  # so little is done faster by one thread than by two that wait for each other
                right[size, order] = head.fit(train[subset], train_targets[subset]).predict(valid) == valid_targets
        if len(subsets) == 1:
            right[size] = right[size, 0]
    return right


def conclude(
    right: np.ndarray,
    sizes: list[int],
    targets: np.ndarray,
    classes: list[str],
    of_class: Counter,
    total: int,
) -> dict:
    """The measured part of a `LearningCurve`.

    `right` is that of `correct_by_subset`, `targets` (images,) of class indices; `of_class` and `total` count all
    training images.
    """
    horizon = np.array([total, 1.5 * total, 2 * total])
    line_at = np.append(
        np.geomspace(sizes[0], total, LINE_POINTS), np.geomspace(total, 2 * total, LINE_POINTS // 3)[1:]
    )
    errors, resampled = _errors(right, sizes)
    curve = 1 - fit_errors(np.array(sizes), errors[None], line_at)[0]
    curves = 1 - fit_errors(np.array(sizes), resampled, line_at)
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    half_more, twice, _ = _gains(sizes, errors, resampled, horizon, right.shape[2])
    rows = [
        _class_row(right[:, :, targets == index], sizes, horizon, name, of_class[name])
        for index, name in enumerate(classes)
    ]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p"] = p
    return {
        "sizes": sizes,
        "accuracies": [
            [float(one) for one in (of_size[:1] if index == len(sizes) - 1 else of_size).mean(axis=1)]
            for index, of_size in enumerate(right)
        ],
        "line": np.column_stack([line_at, curve, low, high]).tolist(),
        "half_more": half_more,
        "twice": twice,
        "per_class": rows,
    }


def fit_errors(sizes: np.ndarray, errors: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Error rates at so many photos, by the law a·n^−b + c with c ≥ 0, fitted to each row of `errors`.

    `sizes` is (sizes,), `errors` (curves, sizes), `at` (places,); returns (curves, places). Larger sizes weigh more, as
    the law holds there and they are nearer to what is asked. `a` may be negative: a class can be found less often as
    others grow. Sources: Hestness et al. 2017, arXiv:1712.00409; the weights Figueroa et al. 2012, BMC Medical
    Informatics and Decision Making 12:8.
    """
    weights = sizes / sizes.sum()
    scale = sizes[-1]
    best = np.full(len(errors), np.inf)
    fitted = np.zeros((len(errors), len(at)))
    for exponent in EXPONENTS:
        x, x_at = (sizes / scale) ** -exponent, (at / scale) ** -exponent
        mean_x, mean_y = weights @ x, errors @ weights
        slope = ((errors - mean_y[:, None]) * (weights * (x - mean_x))).sum(axis=1) / (weights @ (x - mean_x) ** 2)
        floor = mean_y - slope * mean_x
        below = floor < 0
        slope = np.where(below, errors @ (weights * x) / (weights @ x**2), slope)
        floor = np.where(below, 0.0, floor)
        loss = ((errors - slope[:, None] * x - floor[:, None]) ** 2) @ weights
        better = loss < best
        best[better] = loss[better]
        fitted[better] = slope[better, None] * x_at + floor[better, None]
    return fitted.clip(0, 1)


def _errors(right: np.ndarray, counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Error rates at each size of `counts`, and `RESAMPLES` of them with orders and validation images drawn anew.

    All subsets come from the same photos, and others would have given another curve: each size also varies as single
    subsets of other photos would, by the spread of the orders, which is known from `ORDERS` of them alone (Student's t)
    and is less the more they have in common.
    That is on the safe side: of 120 intervals on classes made of Gaussians, 3 settings, all held the truth; of 8 random
    halves of the handwritten digits, 7 foretold what the other half brought.
    """
    sizes, orders, images = right.shape
    random = np.random.default_rng(0)
    drawn_orders = random.multinomial(orders, [1 / orders] * orders, size=RESAMPLES) / orders
    drawn_images = random.multinomial(images, [1 / images] * images, size=RESAMPLES) / images
    wrong = (~right).astype(np.float64)
    per_order = np.tensordot(wrong, drawn_images.T, axes=1)  # (sizes, orders, resamples)
    resampled = np.einsum("sor,ro->rs", per_order, drawn_orders)
    share = np.array(counts) / counts[-1]
    spread = wrong[:-1].mean(axis=2).std(axis=1, ddof=1) / np.sqrt(1 - share[:-1])
    spread = np.append(spread, spread[-1])
    resampled += random.standard_t(orders - 1, size=(RESAMPLES, sizes)) * spread
    return wrong.mean(axis=(1, 2)), resampled


def _gains(
    sizes: list[int], errors: np.ndarray, resampled: np.ndarray, horizon: np.ndarray, images: int
) -> tuple[list[float] | None, list[float] | None, float]:
    """Gains with half as many more and twice as many photos, and the p-value of the latter.

    Where the curve is not of the law's form, as that of a class that only begins to be found, nothing is told.
    """
    counts = np.array(sizes)
    now, *later = fit_errors(counts, errors[None], horizon)[0]
    drawn = fit_errors(counts, resampled, horizon)
    noise = resampled.var(axis=0) + 1 / images**2
    misfit = ((errors - fit_errors(counts, errors[None], counts)[0]) ** 2 / noise).sum()
    if misfit > MISFIT or errors[-1] > ONLY_BEGUN:
        return None, None, 1.0
    unseen = RULE_OF_THREE / images
    found = []
    for step, error in enumerate(later, start=1):
        gains = drawn[:, 0] - drawn[:, step]
        low, high = np.percentile(gains, [2.5, 97.5])
        gain = [float(now - error), float(min(low, now - error)), float(max(high, unseen, now - error))]
        found.append(gain if gain[2] - gain[1] <= TOO_WIDE else None)
    deviation = float((drawn[:, 0] - drawn[:, 2]).std())
    p = erfc(abs(now - later[1]) / deviation / sqrt(2)) if deviation else 1.0
    return found[0], found[1], float(p)


def _class_row(right: np.ndarray, sizes: list[int], horizon: np.ndarray, name: str, images: int) -> dict:
    checked = right.shape[2]
    row = {"class": name, "train_images": images, "checked": checked, "recalls": None}
    row |= {"half_more": None, "twice": None, "p": 1.0}
    if checked:
        row["recalls"] = [float(one) for one in right.mean(axis=(1, 2))]
    if checked >= FEWEST and images >= FEWEST:
        errors, resampled = _errors(right, sizes)
        row["half_more"], row["twice"], row["p"] = _gains(sizes, errors, resampled, horizon, checked)
    return row


def _shuffled(images: Sequence[Image], by_class: dict[str, list[int]], random: Random) -> list[list[int]]:
    """Each class's indices in a random order of its groups."""
    place = {image.sha256: index for index, image in enumerate(images)}
    orders = []
    for label in sorted(by_class):
        groups = components([images[index] for index in by_class[label]])
        random.shuffle(groups)
        order = []
        for group in groups:
            mine = [place[image.sha256] for image in group]
            random.shuffle(mine)
            order += mine
        orders.append(order)
    return orders


def _require_enough(train: list[Image], valid: list[Image], dataset: str) -> None:
    sizes = Counter(image.label for image in train).values()
    typical = median(sizes) if sizes else 0
    if len(sizes) < 2 or typical < FEWEST or not valid:
        raise DatasetError(
            f"{dataset} has too few photos to see how learning grows with them: half of its classes need {FEWEST} "
            f"training photos or more, and the median class has {typical:g}. Add photos first."
        )
