"""Runs that a test writes, epoch by epoch, for the Runs page to show."""

from collections.abc import Sequence

from learner.recipe import Phase, Recipe
from learner.store import Store
from tests.samples import SMALL_STAGES, small_recipe

LONG = small_recipe(
    phases=[Phase("Warm-up", epochs=3, lr=0.01), Phase("Fine-tuning", trainable="all", epochs=3, lr=[1e-5, 1e-3])]
)
FACTS = {
    "backbone": "test_resnet", "image_size": 32, "device": "CPU, 2 threads", "train_images": 120, "valid_images": 40,
    "stages": SMALL_STAGES, "classes": ["cat", "dog"], "rates": [[0.0] * 5 + [0.01], [1e-5] * 5 + [1e-3]],
    "weights": {"reason": "Random weights were asked for.", "tried": []},
}  # fmt: skip
PROGRESS = {
    "message": "Fine-tuning: learning", "done": 0.625, "seconds_left": 250, "phase": 1, "epoch": 2, "epochs": 3,
    "batch": 12, "batches": 90, "phase_done": 0.25, "phase_seconds_left": 160, "images_per_s": 14.24, "cpu": 93.4,
    "memory": 2_140_000_000, "memory_total": 8_300_000_000, "gpu_memory": None,
}  # fmt: skip


def begin(store: Store, recipe: Recipe = LONG, **facts) -> int:
    run_id = store.submit(recipe, running=True)
    store.runs.add_facts(run_id, **FACTS | facts)
    return run_id


def learn(store: Store, run_id: int, *rows: tuple[int, float, float, float], samples: Sequence = ()) -> None:
    """Epochs of (phase, training loss, validation loss, accuracy), a step each, and the answers to sample photos."""
    best = 0.0
    for number, (phase, train_loss, valid_loss, accuracy) in enumerate(rows, start=1):
        store.runs.add_step(
            run_id, at=number - 0.5, train_loss=train_loss, lrs=[0.0] * 5 + [0.01], grad_norm=1.0, images_per_s=50.0
        )
        store.runs.add_epoch(
            run_id,
            accuracy > best,
            epoch=number,
            phase=phase,
            train_loss=train_loss,
            valid_loss=valid_loss,
            accuracy=accuracy,
            error_rate=1 - accuracy,
            lrs=[],
            seconds=10.0,
            samples=samples[number - 1] if samples else [],
        )
        best = max(best, accuracy)


WELL = [(0, 0.9, 0.5, 0.8), (0, 0.6, 0.47, 0.85), (0, 0.5, 0.46, 0.86), (1, 0.4, 0.4, 0.9), (1, 0.35, 0.395, 0.9)]
OVERWRITTEN = [*WELL[:3], (1, 1.4, 1.1, 0.6), (1, 1.0, 0.9, 0.7)]


def finished(store: Store, rows=WELL, recipe: Recipe = LONG) -> int:
    run_id = begin(store, recipe)
    learn(store, run_id, *rows)
    store.runs.end(run_id, "finished")
    return run_id


def keep(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a model")


def labels(app) -> list[str]:
    return [each.label for each in app.button]
