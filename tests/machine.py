"""Figures of a machine that nobody measured: measuring one costs more than most trainings of the tests."""

from collections.abc import Sequence
from itertools import product

from filelock import FileLock

from learner.planning.speeds import Speed, save_speeds
from learner.recipe import Recipe
from learner.recipe.backbones import KNOWN_BACKBONES
from learner.store import Store
from learner.workspace import Workspace
from tests.samples import SMALL, SMALL_STAGES, small_recipe

STAGES = {known.arch: list(known.stages) for known in KNOWN_BACKBONES} | {"small_cnn": ["conv1", "conv2", "conv3"]}
ROW_BYTES = [3072, 8192, 8192, 3072, 3072, 384]
"""Of `SMALL` at 32 pixels in fp32: what an image takes before each stage, and before the head."""


def keep_speed(
    store: Store, settled: Recipe, device: str = "CPU, 2 threads", precision: str = "bf16", stage_s: float = 0.01
) -> None:
    """Keep a measurement of round figures: a stage takes 10 ms an image in inference and 30 ms in training."""
    stages = STAGES[settled.backbone]
    groups = len(stages) + 1
    speed = Speed(
        arch=settled.backbone,
        stages=stages,
        image_size=settled.image_size,
        batch_size=settled.batch_size,
        device=device,
        precision=precision,
        precision_reason="This processor has units for bf16 (AMX).",
        forward=[stage_s] * groups,
        lowest=[2 * stage_s] * groups,
        above=[3 * stage_s] * groups,
        update=[0.0] * groups,
        augment=0.001,
        batch=0.0,
        row_bytes=[100_000] * (groups + 1),
    )
    save_speeds(store.workspace, settled, [speed])


def keep_small_speeds(
    workspace: Workspace, image_sizes: Sequence[int] = (32, 48), batch_sizes: Sequence[int] = (4, 8)
) -> None:
    """As if this machine had been measured for `small_recipe`, and were best at fp32. One with a GPU is measured."""
    groups = len(SMALL_STAGES) + 1
    for image_size, batch_size, precision in product(image_sizes, batch_sizes, ("auto", "fp32")):
        speed = Speed(
            arch=SMALL,
            stages=SMALL_STAGES,
            image_size=image_size,
            batch_size=batch_size,
            device="CPU, 1 thread",
            precision="fp32",
            precision_reason="",
            forward=[1e-4] * groups,
            lowest=[3e-4] * groups,
            above=[4e-4] * groups,
            update=[2e-4] * groups,
            augment=5e-5,
            batch=0.004,
            row_bytes=[each * image_size**2 // 32**2 for each in ROW_BYTES],
        )
        recipe = small_recipe(image_size=image_size, batch_size=batch_size, precision=precision)
        save_speeds(workspace, recipe, [speed])


def measuring_lock(workspace: Workspace) -> FileLock:
    """While it is held, nothing gets as far as a network that is ready to train: what needs one waits."""
    return FileLock(workspace.speeds.with_suffix(".lock"))
