"""A run's result on disk: figures in `result.json`, one row a validation image in `predictions.csv`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from learner.store import Image


def save_result(
    folder: Path, result: dict[str, Any], probs: np.ndarray, images: list[Image], classes: list[str]
) -> None:
    """Write `predictions.csv` (a row an image) and then `result.json`, whose presence says that both are whole."""
    table = pd.DataFrame(
        {
            "image_id": [image.id for image in images],
            "path": [image.path for image in images],
            "file": [image.file for image in images],
            "label": [image.label for image in images],
            "predicted": [classes[index] for index in probs.argmax(axis=1)],
            "probability": probs.max(axis=1),
        }
    )
    table = pd.concat([table, pd.DataFrame(probs, columns=[f"p({name})" for name in classes])], axis=1)
    table.to_csv(folder / "predictions.csv", index=False)
    temporary = folder / "result.json.part"
    temporary.write_text(json.dumps(result, ensure_ascii=False), "utf-8")
    temporary.replace(folder / "result.json")


def load_result(folder: Path) -> dict[str, Any] | None:
    """What `save_result` wrote, or None where a run has no result."""
    path = folder / "result.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def load_predictions(folder: Path) -> pd.DataFrame:
    """The table that `save_result` wrote, class names as text."""
    return pd.read_csv(folder / "predictions.csv", dtype={"label": str, "predicted": str}, keep_default_na=False)


def most_wrong(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The wrong predictions of which the model was surest, surest first."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    return wrong.sort_values("probability", ascending=False).head(count)
