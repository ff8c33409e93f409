"""A run's results on disk: figures in `result.json`, curves, and one row an image in `predictions.csv`.

Those of the validation images lie in the run's folder itself, those of other images in `train`, `test` and `fold`.
Needs no torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from learner.atomic import read_json, write_json, written_whole
from learner.wording import count, percent_with_interval

if TYPE_CHECKING:
    from learner.store import Image

SplitName = Literal["valid", "train", "test", "fold"]


SPLIT_TITLES: dict[SplitName, str] = {
    "valid": "Validation",
    "train": "Training",
    "test": "Test",
    "fold": "Held-back fold",
}
_FIGURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "top_k": "Right within the first {k}",
    "log_loss": "Log loss",
}


def figure_name(key: str, figure: dict[str, Any]) -> str:
    """What a headline figure (`learner.evaluation.metrics.evaluate`) is called."""
    return _FIGURES[key].format(k=figure.get("k"))


def figure_text(key: str, figure: dict[str, Any]) -> str:
    """`93.4 % (91.2–95.1)`, or `0.213 (0.180–0.251)` for a loss."""
    if key == "log_loss":
        low, high = figure["interval"]
        return f"{figure['value']:.3f} ({low:.3f}–{high:.3f})"
    return percent_with_interval(figure["value"], figure["interval"])


def split_folder(folder: Path, split: SplitName) -> Path:
    """Where a run's results on those images lie."""
    return folder if split == "valid" else folder / split


def save_result(
    folder: Path,
    result: dict[str, Any],
    probs: np.ndarray,
    images: list["Image"],
    classes: list[str],
    distances: np.ndarray | None = None,
) -> None:
    """Write `predictions.csv` (a row an image) and then `result.json`, whose presence says that both are whole.

    `probs` is (images, classes); `distances` (images,) say how far each lies from the training images.
    """
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame(
        {
            "image_id": [image.id for image in images],
            "path": [image.path for image in images],
            "file": [image.file for image in images],
            "label": [image.label for image in images],
            "predicted": [classes[index] for index in probs.argmax(axis=1)],
            "probability": probs.max(axis=1),
            "distance": np.full(len(images), np.nan) if distances is None else distances,
        }
    )
    table = pd.concat([table, pd.DataFrame(probs, columns=[f"p({name})" for name in classes])], axis=1)
    with written_whole(folder / "predictions.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    write_json(folder / "result.json", result, ensure_ascii=False)


def load_result(folder: Path, split: SplitName = "valid") -> dict[str, Any] | None:
    """What `save_result` wrote for those images, or None where a run has no result on them."""
    return read_json(split_folder(folder, split) / "result.json")


def has_result(folder: Path) -> bool:
    """Whether a run has a result on its validation images; whole or damaged, nothing is read."""
    return (folder / "result.json").exists()


def load_curves(folder: Path, split: SplitName = "valid") -> list[dict[str, Any]] | None:
    """The curves of every class (`learner.evaluation.metrics.one_against_rest`); None for results of an older Thaw."""
    return read_json(split_folder(folder, split) / "curves.json")


def load_predictions(folder: Path, split: SplitName = "valid") -> pd.DataFrame:
    """The table that `save_result` wrote, class names as text."""
    file = split_folder(folder, split) / "predictions.csv"
    table = pd.read_csv(file, dtype={"path": str, "label": str, "predicted": str}, keep_default_na=False)
    if "distance" in table:  # empty where the model cannot tell
        table["distance"] = pd.to_numeric(table["distance"], errors="coerce")
    return table


def load_golden(folder: Path) -> dict[str, Any] | None:
    """The run's golden photos and what its model says of them: see docs/formats.md. None where there are none yet."""
    return read_json(folder / "golden" / "golden.json")


def discard_stale_results(folder: Path) -> None:
    """Delete what would be of the model before, as a run's model is about to change.

    That is what the golden photos expect, and what was seen of images that judge the finished model.
    """
    judged = [split_folder(folder, split) / "result.json" for split in ("test", "fold")]
    for file in (folder / "golden" / "golden.json", *judged):
        file.unlink(missing_ok=True)


def is_complete(folder: Path) -> bool:
    """Whether the run has all that runs leave now; one of an older Thaw has not."""
    return (folder / "golden" / "golden.json").exists()


def most_wrong(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The wrong predictions of which the model was surest, surest first."""
    return wrong(predictions).sort_values("probability", ascending=False).head(count)


def wrong(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows whose prediction is not the label."""
    return predictions[predictions["label"] != predictions["predicted"]]


def confused_pairs(result: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    """(class, what it was taken for, how often, images of the class), the most frequent first."""
    classes, confusion = result["classes"], result["confusion"]
    pairs = [
        (classes[i], classes[j], number, sum(row))
        for i, row in enumerate(confusion)
        for j, number in enumerate(row)
        if i != j and number
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[3]))


def sha256_of(file: str) -> str:
    """Of the image whose copy lies at `file`, as `predictions.csv` names it: copies are named by their content."""
    return Path(file).stem


def refit_text(facts: Mapping[str, Any]) -> str:
    """What a run's figures are of, where its model was trained once more; else empty. `facts` are the run's."""
    refit = facts.get("refit", {})
    if "images" in refit:
        return (
            f"The model that you get was then trained once more, on all {count(refit['images'], 'image')} together. "
            "The figures are of the model before that, which had not learnt from the validation images"
            + (", but for those of the held-back fold." if facts.get("recipe", {}).get("fold_is") == "test" else ".")
        )
    if "failed" in refit:
        return f"It was not trained once more on all images together: {refit['failed'][0].lower()}{refit['failed'][1:]}"
    return ""
