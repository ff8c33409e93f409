"""How well Thaw tells functional from defective solar cells, beside what the paper of these photos reports.

For each seed a quarter of the photos, drawn by class, is held back; Thaw never sees it while it trains or chooses its
best epoch, for which a share of the other photos is kept. Then its model is asked about the held-back quarter.

python benchmarks/elpv.py [--seeds 5] [--recipe elpv] [--images 400] [--weights FILE] [--write]
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home, vgg16_weights
from benchmarks.report import figure, parser, publish, share, table

TEST, VALID = 0.25, 0.2
"""Shares: the held-back photos of all, as in the paper, and the ones that choose the best epoch of the rest."""
PAPER = {"paper, CNN": 0.8842, "paper, SVM": 0.8244}
"""Accuracy on its own held-back quarter. Source: Deitsch et al. 2019, Solar Energy 185, 455–468, abstract."""


@dataclass(frozen=True)
class Outcome:
    """One seed's run. Accuracies are of the validation photos, at the best epoch, and of the held-back ones."""

    seed: int
    train: int
    valid: int
    test: int
    valid_accuracy: float
    test_accuracy: float
    seconds: float
    """Of the import and of the training process."""
    network: str
    """The backbone and where its weights come from, in words."""


def main() -> None:
    options = arguments()
    with Home() as scratch:
        weights, _ = vgg16_weights(options.weights, scratch.folder)
        cells = elpv_data.cells(options.images)
        outcomes = []
        for seed in range(options.seeds):
            outcomes.append(outcome(cells, seed, options.recipe, weights))
            print(f"Seed {seed}: {share(outcomes[-1].test_accuracy)}", file=sys.stderr, flush=True)
    publish("elpv", "Functional or defective", paragraphs(outcomes, options.recipe), options.write)


def outcome(cells: list[elpv_data.Cell], seed: int, recipe: str, weights: Path | None) -> Outcome:
    parts = elpv_data.split(cells, seed, VALID, TEST)
    test = parts.pop("test")
    with Home(weights) as home:
        added = home.add(elpv_data.write_split(parts, home.folder / "learn"), "elpv")
        run, trained = home.train("elpv", recipe, f"seed={seed}")
        asked = elpv_data.write_classes(test, home.folder / "test")
        predictions = home.predict(run["run"], asked)
    facts = run["facts"]
    right = [row["classes"][:1] == [Path(row["source"]).parent.name] for row in predictions]
    return Outcome(
        seed,
        *(len(part) for part in parts.values()),
        len(test),
        run["best_accuracy"],
        sum(right) / len(test),
        added.seconds + trained.seconds,
        f"{facts['backbone']}, weights: {facts['weights']['kind']}",
    )


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of a mean of shares of 1, by Student's t; None where a single value tells nothing of it."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stdev(values) / sqrt(len(values))
    return max(0.0, mean(values) - half), min(1.0, mean(values) + half)


def paragraphs(outcomes: list[Outcome], recipe: str) -> list[str]:
    first, accuracies = outcomes[0], [one.test_accuracy for one in outcomes]
    interval = t_interval(accuracies)
    spread = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %" if interval else None
    rows = [
        [f"Thaw, seed {one.seed}", share(one.test_accuracy), None, share(one.valid_accuracy), figure(one.seconds)]
        for one in outcomes
    ]
    means = [mean(getattr(one, key) for one in outcomes) for key in ("valid_accuracy", "seconds")]
    rows.append([f"**mean of {len(outcomes)}**", share(mean(accuracies)), spread, share(means[0]), figure(means[1])])
    rows += [[name, f"{100 * accuracy:.2f} %", None, None, None] for name, accuracy in PAPER.items()]
    total = first.train + first.valid + first.test
    return [
        f"{total:,} ELPV photos, defective from a probability of {elpv_data.DEFECTIVE_FROM}, parted anew by each seed "
        f"with the same share of each class: {first.train:,} to learn from, {first.valid:,} that choose the best "
        f"epoch, {first.test:,} that the run never sees. Recipe `{Path(recipe).stem}`; {first.network}.",
        table(("", "accuracy", "95 % interval", "validation", "time (s)"), rows),
        "*accuracy*: of the photos held back. The interval is Student's over the seeds, which share photos, so it is "
        "somewhat too narrow. *time*: import and training. The paper's figures are of its own split of the same "
        "photos, three quarters of them to learn from.",
    ]


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5, help="how many runs, each with its own split; default: 5")
    made.add_argument("--recipe", default="elpv", help="a shipped recipe's name or a YAML file; default: elpv")
    made.add_argument("--images", type=int, help="take so many photos, the same share of each class; default: all")
    made.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; default: what Thaw finds")
    options = made.parse_args()
    if options.seeds < 1:
        made.error("--seeds is 1 or more")
    if Path(options.recipe).is_file():
        options.recipe = str(Path(options.recipe).resolve())
    return options


if __name__ == "__main__":
    main()
