"""Make the map of a run's photos: what the run's model sees in them, laid out in the plane by t-SNE."""

import contextlib
import io
import re
import time
from collections.abc import Iterable

import numpy as np

from learner.datasets import bring_files, held_back_by, split_by
from learner.errors import RunError
from learner.evaluation.photo_map import PhotoMap, judged, map_file, model_of, require_ended
from learner.evaluation.results import SplitName
from learner.inference.batches import model_key
from learner.inference.predictor import Predictor
from learner.inference.seen import Tell, see
from learner.models.checkpoint import load_model
from learner.questions.answers import forget_oldest, keep_answer
from learner.recipe import Recipe
from learner.store import Image, Run, Store
from learner.wording import duration

MOST = 25_000
"""Photos of a map: beyond, laying out takes minutes. Those of validation come first, then every class in turn."""
KEPT = 20
"""Maps that a workspace keeps: one of 25,000 photos has some megabytes."""
COMPONENTS = 50
"""Principal components that t-SNE starts from, as its authors advise: distances lose little, and it is far faster."""
PERPLEXITY = 30
"""About how many neighbours count for a photo."""
STEPS, STEPS_OF_MANY = 1000, 500
MANY = 10_000
"""Beyond so many photos, more than `STEPS_OF_MANY` move little and take minutes."""
_STEP = re.compile(r"Iteration (\d+): error")


def make_map(store: Store, run_id: int, tell: Tell = lambda text: None) -> PhotoMap:
    """Look at the photos of a run with its model, lay them out, and keep the map where `map_file` says.

    What was seen is kept too, so a stopped map goes on where it was. Raises RunError, ModelError or DatasetError.
    """
    began = time.monotonic()
    run = store.runs.get(run_id)
    require_ended(run)
    file = map_file(store, run)
    version = store.datasets.version_by_id(run.dataset_version_id)
    sides = _sides(store, run)
    every = [(image, split) for split, images in sides.items() for image in images]
    chosen = every if len(every) <= MOST else _some(every)
    base = bring_files(store, version.name, (image.file for image, _ in chosen), tell)
    checkpoint = model_of(store, run_id)
    model, spec = load_model(checkpoint)
    predictor = Predictor(model, spec)
    pictures = [(image.sha256, base / image.file) for image, _ in chosen]
    seen = see(store, predictor, model_key(run_id, checkpoint), pictures, tell)
    place = {sha256: row for row, sha256 in enumerate(seen.sha256s)}
    shown = [(image, split) for image, split in chosen if image.sha256 in place]
    if not shown:
        raise RunError(f"None of the photos of run {run_id} can be read, so there is nothing to lay out.")
    rows = [place[image.sha256] for image, _ in shown]
    probs = seen.probs[rows]
    xy = lay_out(seen.features[rows], tell)
    made = PhotoMap(
        run=run_id,
        dataset=version.name,
        version=version.number,
        classes=spec.classes,
        left_out=len(every) - len(shown),
        seconds=round(time.monotonic() - began, 1),
        path=[image.path for image, _ in shown],
        sha256=[image.sha256 for image, _ in shown],
        label=[image.label for image, _ in shown],
        split=[split for _, split in shown],
        predicted=[spec.classes[index] for index in probs.argmax(axis=1)],
        probability=[round(float(value), 4) for value in probs.max(axis=1)],
        x=[round(float(value), 5) for value in xy[:, 0]],
        y=[round(float(value), 5) for value in xy[:, 1]],
    )
    keep_answer(file, made)
    forget_oldest(file.parent, KEPT)
    return made


def lay_out(features: np.ndarray, tell: Tell = lambda text: None) -> np.ndarray:
    """(photos, 2) of places from 0 to 1; `features` is (photos, numbers). The same features give the same places.

    Sources: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", JMLR 9; started from principal components,
    as Kobak and Berens 2019, "The art of using t-SNE for single-cell transcriptomics", advise, so that whole groups lie
    as they are to each other.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    photos = len(features)
    reduced = np.zeros((photos, 2))
    components = min(COMPONENTS, photos - 1, features.shape[1])
    if components >= 2 and np.ptp(features, axis=0).any():
        solver = "randomized" if photos > 500 else "full"
        reduced = PCA(components, svd_solver=solver, random_state=0).fit_transform(features.astype(np.float64))
    spread = reduced.std(axis=0).max() or 1.0
    if photos < 10 or not np.any(reduced):
        return _to_unit(reduced[:, :2])
    steps = STEPS if photos <= MANY else STEPS_OF_MANY
    layout = TSNE(
        perplexity=min(PERPLEXITY, (photos - 1) / 3),
        max_iter=steps,
        init=reduced[:, :2] / spread * 1e-4,
        random_state=0,
        verbose=2,  # says how far it is, which is told on
    )
    with contextlib.redirect_stdout(_Steps(photos, steps, tell)):
        places = layout.fit_transform(reduced / spread)
    return _to_unit(places)


class _Steps(io.StringIO):
    """Takes what scikit-learn prints of its steps, and tells how far it is."""

    def __init__(self, photos: int, steps: int, tell: Tell):
        super().__init__()
        self._photos, self._steps, self._tell, self._began = photos, steps, tell, time.monotonic()

    def write(self, text: str) -> int:
        if said := _STEP.search(text):
            done = int(said[1])
            left = (time.monotonic() - self._began) / done * (self._steps - done)
            self._tell(f"Laying out {self._photos:,} photos: {100 * done / self._steps:.0f} %, {duration(left)} left")
        return len(text)


def _sides(store: Store, run: Run) -> dict[SplitName, list[Image]]:
    """The run's photos by what they were for; test images only where it has looked at them before."""
    recipe, images = Recipe.from_dict(run.recipe), store.datasets.images(run.dataset_version_id)
    train, valid = split_by(recipe, images)
    sides: dict[SplitName, list[Image]] = {"valid": valid, "train": train}
    for split in judged(store, run.id):
        tested = [image for image in images if image.split == "test" and not image.excluded]
        sides[split] = tested if split == "test" else held_back_by(recipe, images)
    return sides


def _some(every: Iterable[tuple[Image, SplitName]]) -> list[tuple[Image, SplitName]]:
    """`MOST` of them, in their order: those of validation first, of the others every class in turn, by content."""
    turns: dict[str, int] = {}
    ranked = []
    for image, split in sorted(every, key=lambda pair: pair[0].sha256):
        turn = -1 if split == "valid" else turns.setdefault(image.label, 0)
        if split != "valid":
            turns[image.label] += 1
        ranked.append((turn, image.sha256, image, split))
    kept = sorted(ranked, key=lambda row: row[:2])[:MOST]
    return [(image, split) for _, _, image, split in kept]


def _to_unit(places: np.ndarray) -> np.ndarray:
    """Within 0 to 1, both axes by the same factor, in the middle."""
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - (low + high) / 2) / ((high - low).max() or 1.0) + 0.5
