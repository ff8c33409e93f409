"""What the Train page calls a recipe's keys, and where it tells what is wrong with one: beneath its field."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from learner.recipe import setting_help
from ui import drafts

HELP = setting_help()
NAMES = {
    "dataset": "Data set",
    "backbone": "Backbone (the pretrained network)",
    "weights": "Pretrained weights",
    "image_size": "Image size (pixels a side)",
    "batch_size": "Batch size (images a step)",
    "kind": "Kind of head",
    "widths": "Units of its hidden layers",
    "dropout": "Dropout (%)",
    "pool": "What it begins with (pooling)",
    "loss": "Loss (what is minimised)",
    "focal_gamma": "Focal loss: weight of hard images (gamma)",
    "label_smoothing": "Label smoothing (%)",
    "balance": "Classes of unequal size (balance)",
    "clip_norm": "Longest gradient (0: any)",
    "accumulate": "Batches for one step (accumulation)",
    "workers": "Processes (in a Ray cluster)",
    "mix": "Mix two images",
    "mix_alpha": "How evenly (alpha)",
    "precision": "Number format (precision)",
    "device": "Machine that takes it",
    "memory": "Memory of that machine (GB)",
    "cache": "Keep what frozen stages compute (cache)",
    "auto": "Decide by a quick trial",
    "flip_horizontal": "Mirror left and right",
    "flip_vertical": "Mirror top and bottom",
    "quarter_turns": "Quarter turns",
    "rotate": "Turn by up to (degrees)",
    "zoom": "Enlarge by up to (factor)",
    "least_zoom": "Enlarge by at least (factor)",
    "shear": "Slant by up to (%)",
    "shift": "Move by up to (% of the side)",
    "lighting": "Change light by up to (%)",
    "views": "Changed copies of an image (views)",
    "version": "Version of the data set",
    "valid_fraction": "Share for validation (%)",
    "seed": "Seed",
    "repeats": "Repeats (runs)",
    "refit": "Train once more on all images at the end (refit)",
    "grouped": "Keep what belongs together on one side (grouped split)",
    "folds": "Folds (0: one split)",
    "fold": "Which fold",
    "fold_is": "What the fold does",
}
PHASE_NAMES = {
    "name": "Phase",
    "trainable": "What learns",
    "epochs": "Epochs",
    "lr": "learning rate",
    "schedule": "Schedule",
    "weight_decay": "Weight decay",
    "optimizer": "Optimizer",
    "momentum": "Momentum",
    "image_size": "Image size (px)",
    "patience": "Patience (epochs)",
    "solve": "Solve the head",
    "average": "Average the weights",
    "interpolate": "Best point of the way",
}


class Fields:
    """The places of a page's fields, by the path of their key in a recipe: `batch_size`, `head.widths`, `phases`."""

    def __init__(self):
        self._places: dict[str, DeltaGenerator] = {}

    def at(self, path: str, where: DeltaGenerator | None = None) -> DeltaGenerator:
        """A place for the field of `path` in `where`; what is wrong with it will stand beneath it."""
        self._places[path] = (where or st).container(gap="small")
        return self._places[path]

    def tell(self, problems: Sequence[str]) -> None:
        """Put each of a RecipeError's problems beneath its field."""
        for problem in problems:
            path = problem.partition(": ")[0]
            for place in self._places:
                if path == place or path.startswith(f"{place}."):
                    self._places[place].error(in_words(problem))


def key(name: str) -> str:
    """The widget key of a field; see `ui.drafts.key`."""
    return drafts.key(name)


def in_words(problem: str) -> str:
    """`phases.1.epochs: …` as the page's own words: phases are counted from 1 here."""
    path, _, rest = problem.partition(": ")
    rest = rest.replace(", unable to parse string as an integer", "").replace("a valid integer", "a whole number")
    parts = path.split(".")
    if parts == ["phases"]:
        return "There is no phase. Add a row to the table." if "at least 1 item" in rest else f"Phases: {rest}"
    if parts[0] == "phases":
        return f"Phase {int(parts[1]) + 1}, {PHASE_NAMES.get(parts[2], parts[2])}: {rest}"
    name = next((NAMES[part] for part in reversed(parts) if part in NAMES), parts[0].replace("_", " ").capitalize())
    return f"{name}: {rest}"
