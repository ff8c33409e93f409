"""Figures of a machine that nobody measured."""

from learner.recipe import Recipe
from learner.speed import Speed, save_speeds
from learner.store import Store
from learner.weights import FALLBACK_ARCH, KNOWN_BACKBONES

STAGES = next(list(known.stages) for known in KNOWN_BACKBONES if known.arch == FALLBACK_ARCH)


def keep_speed(store: Store, settled: Recipe) -> None:
    """Keep a measurement of round figures: a stage takes 10 ms an image in inference and 30 ms in training."""
    groups = len(STAGES) + 1
    speed = Speed(
        arch=settled.backbone,
        stages=STAGES,
        image_size=settled.image_size,
        batch_size=settled.batch_size,
        device="CPU, 2 threads",
        precision="bf16",
        precision_reason="This processor has units for bf16 (AMX).",
        forward=[0.01] * groups,
        lowest=[0.02] * groups,
        above=[0.03] * groups,
        update=[0.0] * groups,
        augment=0.001,
        batch=0.0,
        row_bytes=[100_000] * (groups + 1),
    )
    save_speeds(store.workspace, settled, [speed])
