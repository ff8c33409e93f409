"""Finished runs whose answers a test decides: the files of a run as training writes them, without training."""

from collections.abc import Mapping

import numpy as np

from learner.atomic import write_json
from learner.datasets import split_by
from learner.evaluation.inspect import ModelOutputs, write_split
from learner.evaluation.results import SplitName
from learner.models.checkpoint import ModelSpec
from learner.recipe import Recipe
from learner.store import Store
from tests.samples import SMALL, SMALL_STAGES, small_recipe

TEMPERATURE = 2.0


def finish(
    store: Store,
    wrong: Mapping[str, str] | None = None,
    sure: Mapping[str, float] | None = None,
    dataset: str = "pets",
    baseline: int | None = None,
    accuracy: float = 0.9,
    **changes,
) -> int:
    """A run that says the label of every photo, but for those in `wrong` (path → what it says); returns its id.

    It gives what it says 0.9, or as `sure` has it by path, and shares the rest among the other classes. It was as sure
    as the square of that, brought back to 1, before calibration halved its logits. Each photo lies as far from the
    training photos as its place in the order of paths.
    """
    wrong, sure = wrong or {}, sure or {}
    recipe = small_recipe(dataset, **changes)
    run_id = store.submit(recipe, running=True, baseline=baseline)
    run = store.runs.get(run_id)
    images = store.datasets.images(run.dataset_version_id)
    train, valid = split_by(Recipe.from_dict(run.recipe), images)
    classes = sorted({image.label for image in train})
    rates = [[0.0] * len(SMALL_STAGES) + [0.01] for _ in recipe.phases]
    facts = {"backbone": SMALL, "image_size": 32, "stages": SMALL_STAGES, "rates": rates}
    store.runs.add_facts(run_id, **facts, weights={"reason": "Random weights, as asked.", "tried": []})
    epoch = {"phase": 0, "train_loss": 1.0, "valid_loss": 1.0, "error_rate": 1 - accuracy, "lrs": [], "seconds": 1.0}
    store.runs.add_epoch(run_id, is_best=True, epoch=1, accuracy=accuracy, **epoch)

    spec = ModelSpec(SMALL, SMALL_STAGES, classes, 32, [0.5] * 3, [0.5] * 3, 8, temperature=TEMPERATURE)
    folder = store.workspace.run_folder(run_id)
    folder.mkdir(parents=True)
    sides: dict[SplitName, list] = {"train": train, "valid": valid}
    for split, mine in sides.items():
        probs = np.empty((len(mine), len(classes)))
        for row, image in enumerate(mine):
            said, share = wrong.get(image.path, image.label), sure.get(image.path, 0.9)
            probs[row] = (1 - share) / (len(classes) - 1)
            probs[row, classes.index(said)] = share
        seen = ModelOutputs(mine, TEMPERATURE * np.log(probs), np.zeros((len(mine), 8)))
        write_split(folder, split, spec, seen, np.arange(len(mine), dtype=float))
    (folder / "golden").mkdir()
    write_json(folder / "golden" / "golden.json", {"format": 1, "photos": []})
    store.runs.end(run_id, "finished")
    return run_id
