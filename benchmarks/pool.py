"""Labels that a model asks for, against labels at random: how accuracy grows with them, on real sets. Prints a table.

Each set is split by a seed: three tenths judge, the rest is a pool of which two photos a class are labelled at first.
Then, round by round, a solved head is trained on what is labelled, on features of the frozen EfficientNet-Lite0 (128
px), and the next photos are chosen: as `data pool next` chooses them, as those that it is least sure of, or at random.
The labels come from the set. Seeds pair the ways: the same split and the same first photos for all.

python benchmarks/pool.py [--sets emoji fashion] [--seeds 10] [--rounds 8] [--write]
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.report import figure, parser, publish, table
from benchmarks.sets import SETS, photos
from learner.advice.most_useful import most_useful
from learner.jobs.process import use_patient_threads
from learner.models.calibration import calibrated
from learner.models.logistic import solve

STARTED_WITH = 2
"""Labelled photos of each class at first."""
JUDGING = 0.3
SIZE = 128
STRENGTHS = (0.316, 0.1, 0.0316, 0.01)
FOLDS = 3
OURS, UNSURE, RANDOM = "what it would learn most from", "what it is least sure of", "at random"


def main() -> None:
    options = arguments()
    use_patient_threads()
    rows = []
    for name in options.sets:
        features, labels = described(name)
        curves = {way: [] for way in (OURS, UNSURE, RANDOM)}
        for seed in range(options.seeds):
            for way, curve in curves.items():
                curve.append(grown(features, labels, way, seed, options))
            print(
                name,
                seed,
                {way: [round(100 * one, 1) for one in curve[-1]] for way, curve in curves.items()},
                flush=True,
                file=sys.stderr,
            )
        rows.append(
            row_of(name, len(labels), np.unique(labels).size, {way: np.array(c) for way, c in curves.items()}, options)
        )
    text = [
        f"{options.seeds} seeds a set, {options.rounds} rounds of {options.step} labels after the first {STARTED_WITH} "
        "a class. Accuracy on the judging photos after the last round; the gain over random labels is the mean over "
        "all rounds, in points, with its 95 % interval over the seeds (paired, Student's t). The last column: labels "
        "that chosen ones save, when as good as all the random ones.",
        table(
            ("set", "photos", "random", "least sure", "chosen", "gain, least sure", "gain, chosen", "labels saved"),
            rows,
        ),
    ]
    publish("pool", "Labels that a model asks for", text, options.write)


def described(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (photos, numbers) by the frozen network, and classes as numbers."""
    from torch import nn

    from learner.inference.predictor import Predictor
    from learner.inference.seen import see
    from learner.models.backbones import build
    from learner.models.checkpoint import ModelSpec
    from learner.recipe.backbones import FALLBACK_ARCH
    from learner.store import Store
    from learner.workspace import Workspace

    every = photos(name, most=10**6)
    classes = sorted({photo.label for photo in every})
    backbone = build(FALLBACK_ARCH)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(backbone.num_features, len(classes)))
    spec = ModelSpec(
        backbone.arch,
        backbone.stages,
        classes,
        SIZE,
        list(backbone.mean),
        list(backbone.std),
        backbone.num_features,
    )
    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor(nn.Sequential(backbone.body, head).eval(), spec)
        pictures = [(photo.sha256, photo.file) for photo in every]
        seen = see(Store(Workspace(Path(folder))), predictor, "frozen", pictures)
        label_of = {photo.sha256: classes.index(photo.label) for photo in every}
        return np.array(seen.features), np.array([label_of[sha256] for sha256 in seen.sha256s])


def grown(features: np.ndarray, labels: np.ndarray, way: str, seed: int, options: Namespace) -> list[float]:
    """The accuracy on the judging photos after each round, before any first."""
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(labels))
    judging, rest = np.split(order, [round(JUDGING * len(order))])
    labelled = [row for one in np.unique(labels) for row in rest[labels[rest] == one][:STARTED_WITH]]
    accuracies = []
    for turn in range(options.rounds + 1):
        learnt = np.array(labelled)
        folds = np.arange(len(learnt)) % FOLDS
        head = solve(features[learnt][:, None], labels[learnt], labels.max() + 1, folds, strengths=STRENGTHS)
        logits = features @ head.weight.T + head.bias
        accuracies.append(float((logits[judging].argmax(axis=1) == labels[judging]).mean()))
        pool = np.setdiff1d(rest, learnt)
        if turn < options.rounds:
            labelled += list(
                pool[CHOOSING[way](calibrated(logits[pool], 1.0), features[pool], options.step, seed + turn)]
            )
    return accuracies


def least_sure(probs: np.ndarray, _features: np.ndarray, most: int, _seed: int) -> np.ndarray:
    ranked = np.sort(probs, axis=1)
    return np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")[:most]


def at_random(probs: np.ndarray, _features: np.ndarray, most: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 10_000).permutation(len(probs))[:most]


CHOOSING: dict[str, Callable] = {OURS: most_useful, UNSURE: least_sure, RANDOM: at_random}


def row_of(name: str, number: int, classes: int, curves: dict[str, np.ndarray], options: Namespace) -> list[object]:
    """`curves` are (seeds, rounds and one) of accuracies."""
    last = {way: 100 * curve[:, -1].mean() for way, curve in curves.items()}
    ahead = [gain(curves[way], curves[RANDOM]) for way in (UNSURE, OURS)]
    first = STARTED_WITH * classes
    goal, mine = curves[RANDOM].mean(axis=0)[-1], curves[OURS].mean(axis=0)
    reached = next((turn for turn, accuracy in enumerate(mine) if accuracy >= goal), None)
    total = first + options.rounds * options.step
    saved = None if reached is None else f"{total - first - reached * options.step:,} of {total:,}"
    return [
        f"{name}: {SETS[name].what}",
        f"{number:,}",
        *(f"{figure(last[way], 1)} %" for way in (RANDOM, UNSURE, OURS)),
        *ahead,
        saved,
    ]


def gain(one: np.ndarray, other: np.ndarray) -> str:
    """Points by which one way is ahead of the other, the mean over the rounds, with its interval over the seeds."""
    ahead = [float(value) for value in 100 * (one - other)[:, 1:].mean(axis=1)]
    if len(ahead) < 2:
        return f"{ahead[0]:+.1f}".replace("-", "−")
    half = stats.t.ppf(0.975, len(ahead) - 1) * stdev(ahead) / sqrt(len(ahead))
    return f"{mean(ahead):+.1f} ({mean(ahead) - half:+.1f} to {mean(ahead) + half:+.1f})".replace("-", "−")


def arguments() -> Namespace:
    made = parser(__doc__)
    usual = ["emoji", "fashion", "handdigits", "elpv"]
    made.add_argument("--sets", nargs="+", choices=SETS, default=usual, help="which; default: %(default)s")
    made.add_argument("--seeds", type=int, default=10, help="splits of each; default: %(default)s")
    made.add_argument("--rounds", type=int, default=8, help="how often labels are asked for; default: %(default)s")
    made.add_argument("--step", type=int, default=20, help="labels a round; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
