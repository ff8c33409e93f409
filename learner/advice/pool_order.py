"""Ask a run's model about the photos of a pool, and put those first that it would learn most from."""

import numpy as np

from learner.advice.most_useful import most_useful
from learner.advice.pool import PoolOrder, order_file, pool_of, runs_for
from learner.datasets import bring_files
from learner.datasets.rows import rows_of
from learner.errors import RunError
from learner.inference.batches import model_key
from learner.inference.predictor import Predictor
from learner.inference.seen import Tell, see
from learner.models.checkpoint import load_model
from learner.questions.answers import forget_oldest, keep_answer
from learner.store import Store

CHOSEN = 300
"""Photos that are chosen to differ from each other; the rest follow by how unsure the model is of them."""
KEPT = 20
"""Orders that a workspace keeps: one of 25,000 photos has some megabytes."""
PROPOSALS = 3
"""Classes that are kept of each photo, the most probable ones."""


def order_pool(store: Store, run_id: int, dataset: str, tell: Tell = lambda text: None) -> PoolOrder:
    """Look at the pool of `dataset`'s newest version with a run's model, and keep the order where `order_file` says.

    Photos that cannot be read are left out. Raises RunError for a run of another data set or one that has not ended,
    and when there is nothing in the pool.
    """
    run = store.runs.get(run_id)
    if run_id not in {one.id for one in runs_for(store, dataset)}:
        raise RunError(f"Run {run_id} has no model for {dataset}. Name a finished run that was trained on it.")
    file = order_file(store, run, dataset)
    rows = pool_of(rows_of(store, store.datasets.version(dataset)))
    if not rows:
        raise RunError(f"{dataset} has no photos without a class. Add some: python -m learner data pool add {dataset}")
    base = bring_files(store, dataset, (row.file for row in rows), tell)
    checkpoint = store.checkpoint(run_id)
    model, spec = load_model(checkpoint)
    pictures = [(row.sha256, base / row.file) for row in rows]
    seen = see(store, Predictor(model, spec), model_key(run_id, checkpoint), pictures, tell)
    path_of = {row.sha256: row.path for row in rows}
    tell(f"Choosing among {len(seen.sha256s):,} photos")
    probs = seen.probs
    first = most_useful(probs, seen.features, CHOSEN)
    unsure = np.sort(probs, axis=1)
    margins = unsure[:, -1] - unsure[:, -2]
    taken = set(first)
    rest = [int(row) for row in np.argsort(margins, kind="stable") if row not in taken]
    order = [*first, *rest]
    made = PoolOrder(
        run=run_id,
        dataset=dataset,
        paths=[path_of[seen.sha256s[row]] for row in order],
        proposals=[
            [
                [spec.classes[place], round(float(probs[row, place]), 4)]
                for place in probs[row].argsort()[::-1][:PROPOSALS]
            ]
            for row in order
        ],
        pool=len(rows),
    )
    keep_answer(file, made)
    forget_oldest(file.parent, KEPT)
    return made
