"""What a phase does with a fastai Learner: what learns, at which rates, on which schedule."""

from collections.abc import Sequence

import numpy as np
from fastai.callback import schedule  # noqa: F401  importing it gives Learner its fit methods
from fastai.callback.core import Callback
from fastai.callback.mixup import CutMix, MixUp
from fastai.data.core import DataLoaders
from fastai.learner import Learner, SkipToEpoch
from fastai.losses import BaseLoss, CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.torch_core import params
from torch import Tensor, nn

from learner.features.targets import labels_in
from learner.models.network import Network, body_of
from learner.recipe import Phase, Recipe
from learner.training.averaging import WeightAverage
from learner.training.callbacks import GatherGradients, LossScaling, StartBatch, ValidationParts
from learner.training.optimizers import optimizer_of

_MIXES = {"mixup": MixUp, "cutmix": CutMix}


def build_learner(network: Network, dls: DataLoaders, loss: BaseLoss | None = None) -> Learner:
    """A Learner with one parameter group a stage, in order, and one for the head.

    `freeze()`, `freeze_to(n)` and `unfreeze()` therefore count in stages, whatever part of the network a phase runs.
    Frozen batch-norm stays frozen. `loss` is cross entropy where it is left out.
    """
    learn = Learner(
        dls,
        network,
        loss_func=loss or CrossEntropyLossFlat(),
        metrics=[_right, _wrong],
        splitter=stage_groups,
        train_bn=False,
        cbs=[
            StartBatch(),
            GatherGradients(),
            WeightAverage(),
            ValidationParts(),
            *([LossScaling()] if network.precision.needs_scaling else []),
        ],
    )
    learn.logger = lambda *_: None
    learn.remove_cbs([callback for callback in learn.cbs if callback.name == "progress"])
    return learn


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    return accuracy(logits, labels_in(targets))


def _wrong(logits: Tensor, targets: Tensor) -> Tensor:
    return error_rate(logits, labels_in(targets))


def stage_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """The parameters of `Sequential(body, head)`: one list a stage, then the head's."""
    return [params(stage) for stage in body_of(model)] + [params(model[1])]


def prepare_phase(learn: Learner, phase: Phase, stages: list[str]) -> None:
    """Freeze what does not learn, and start a fresh optimizer.

    fastai drops the moments at `freeze_to` too, but keeps old gradients.
    """
    learn.model.zero_grad(set_to_none=True)
    learn.opt_func = optimizer_of(phase)
    learn.create_opt()
    learn.freeze_to(phase.first_trainable_group(stages))
    for group, learns in zip(stage_groups(learn.model), phase.parts(stages), strict=True):
        if not learns:  # `freeze_to` leaves whatever lies above the lowest part that learns
            nn.ParameterList(group).requires_grad_(False)


def fit_phase(
    learn: Learner,
    recipe: Recipe,
    phase: Phase,
    stages: list[str],
    epochs_done: int = 0,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Fit a phase that `prepare_phase` made ready, from its epoch `epochs_done` on.

    `callbacks` are those of this phase alone; that of a phase that solves the head takes the place of its steps.
    """
    rates = np.array(phase.group_rates(stages, has_batch_norm(learn.model[0])))
    high, low = phase.momenta()
    learn.gather_gradients.batches = recipe.accumulate
    learn.opt.set_hyper("mom", high)
    with learn.added_cbs([*mixing(recipe), SkipToEpoch(epochs_done), *callbacks]):
        if phase.solve:
            learn.fit(phase.length)
        elif phase.schedule == "one_cycle":
            learn.fit_one_cycle(phase.length, lr_max=rates, wd=phase.weight_decay, moms=(high, low, high))
        elif phase.schedule == "flat_cos":
            learn.fit_flat_cos(phase.length, lr=rates, wd=phase.weight_decay)
        else:
            learn.opt.set_hyper("lr", rates)
            learn.fit(phase.length, lr=rates, wd=phase.weight_decay)


def mixing(recipe: Recipe) -> list[Callback]:
    """What blends the images of a batch, if the recipe wants that."""
    return [_MIXES[recipe.mix](recipe.mix_alpha)] if recipe.mix != "none" else []


def has_batch_norm(body: nn.Module) -> bool:
    """Whether any layer normalises by the batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in body.modules())
