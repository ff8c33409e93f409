"""How well "none of these" tells digits that were never learnt from those that were. Prints a table.

python benchmarks/strangers.py [--held-out 7 8 9] [--write]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.home import Home
from benchmarks.report import parser, publish, share, table

COVERAGES = (0.8, 0.9, 0.95, 0.98, 1.0)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--held-out", nargs="+", default=["7", "8", "9"], choices=list("0123456789"))
    options = made.parse_args()
    with Home() as home:
        known, strangers = write_digits(home.folder, options.held_out)
        home.add(known, "digits")
        run, _ = home.train("digits", "default")
        asked = home.predict(run["run"], strangers)
        import numpy as np
        from sklearn.metrics import roc_auc_score

        from learner.evaluation.results import load_predictions
        from learner.models.checkpoint import read_spec

        folder = home.workspace / "runs" / str(run["run"])
        spec, valid = read_spec(folder / "model.safetensors"), load_predictions(folder)
    far = np.array([one["distance"] for one in asked])
    unsure = np.array([1 - one["probs"][0] for one in asked])
    truth = np.repeat([0, 1], [len(valid), len(far)])
    by_distance = roc_auc_score(truth, np.concatenate([valid["distance"], far]))
    by_probability = roc_auc_score(truth, np.concatenate([1 - valid["probability"], unsure]))
    right = valid["label"] == valid["predicted"]
    rows = []
    for coverage in COVERAGES:
        threshold = spec.threshold(coverage)
        kept = valid["distance"] <= threshold
        rows.append([share(coverage), share(kept.mean()), share(right[kept].mean()), share((far > threshold).mean())])
    text = [
        f"The sample's digits without {', '.join(options.held_out)} are learnt by the default recipe "
        f"({run['facts']['backbone']}, {run['facts']['image_size']} px); {len(far):,} of the others are asked about. "
        f"AUROC of the distance against {len(valid):,} validation images: {by_distance:.3f}; of one minus the highest "
        f"probability: {by_probability:.3f}. The thresholds come from these same validation images; one run.",
        table(("stated coverage", "known, answered", "right of those", "strangers turned away"), rows),
    ]
    publish("strangers", "None of these", text, options.write)


def write_digits(folder: Path, held_out: list[str]) -> tuple[Path, Path]:
    """The sample as PNG files: a folder with a folder for each class to learn, and one of all that are not."""
    from learner.datasets.samples import DigitsSource

    digits = DigitsSource()
    for entry in digits.entries:
        label = entry.path.split("/")[0]
        place = folder / ("strangers" if label in held_out else "known") / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(digits.read(entry))
    return folder / "known", folder / "strangers"


if __name__ == "__main__":
    main()
