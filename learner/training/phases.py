"""One Learner over a network of stages, and what a phase does with it."""

from collections.abc import Callable

import numpy as np
from fastai.callback import schedule  # noqa: F401  importing it gives Learner its fit methods
from fastai.callback.core import Callback, CancelBackwardException, CancelEpochException, CancelStepException
from fastai.callback.mixup import CutMix, MixUp
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BaseLoss, CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.torch_core import params
from torch import nn

from learner.models.network import Network
from learner.recipe import Phase, Recipe
from learner.training.callbacks import LossScaling
from learner.training.optimizers import optimizer_of

_MIXES = {"mixup": MixUp, "cutmix": CutMix}


class PhaseLearner(Learner):
    """A fastai Learner that can begin a fit in the middle, and gather gradients over several batches."""

    accumulate = 1
    """Batches whose gradients make one step; the last step of an epoch may have fewer."""
    first_epoch = 0
    """Epochs of the fit that were done before."""
    scaler_state: dict | None = None
    """Of a GradScaler, to go on with."""
    before_first_batch: Callable[[], None] | None = None
    """Called once, when the loader has begun: that draws a random number, too."""

    @property
    def step_is_due(self) -> bool:
        """Whether the optimizer steps after this batch."""
        return (self.iter + 1) % self.accumulate == 0 or self.iter + 1 == self.n_iter

    def all_batches(self) -> None:
        self.n_iter = len(self.dl)
        for batch in enumerate(self.dl, self.dl.first_batch if self.training else 0):
            if self.before_first_batch is not None:
                self.before_first_batch()
                self.before_first_batch = None
            self.one_batch(*batch)

    def _do_fit(self) -> None:
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)

    def _backward(self) -> None:
        rest = self.n_iter % self.accumulate
        window = rest if rest and self.iter >= self.n_iter - rest else self.accumulate
        (self.loss_grad / window).backward()

    def _do_grad_opt(self) -> None:
        self._with_events(self._backward, "backward", CancelBackwardException)
        if self.step_is_due:
            self._with_events(self._step, "step", CancelStepException)
            self.opt.zero_grad()


def build_learner(network: Network, dls: DataLoaders, loss: BaseLoss | None = None) -> PhaseLearner:
    """A Learner with one parameter group a stage, in order, and one for the head.

    `freeze()`, `freeze_to(n)` and `unfreeze()` therefore count in stages, whatever part of the network a phase runs.
    Frozen batch-norm stays frozen. `loss` is cross entropy where it is left out.
    """
    learn = PhaseLearner(
        dls,
        network,
        loss_func=loss or CrossEntropyLossFlat(),
        metrics=[accuracy, error_rate],
        splitter=stage_groups,
        train_bn=False,
        cbs=[LossScaling()] if network.precision.needs_scaling else None,
    )
    learn.logger = lambda *_: None
    learn.remove_cbs([callback for callback in learn.cbs if callback.name == "progress"])
    return learn


def stage_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """The parameters of `Sequential(body, head)`: one list a stage, then the head's."""
    return [params(stage) for stage in model[0]] + [params(model[1])]


def prepare_phase(learn: PhaseLearner, phase: Phase, stages: list[str]) -> None:
    """Freeze what does not learn, and start a fresh optimizer.

    fastai drops the moments at `freeze_to` too, but keeps old gradients.
    """
    learn.model.zero_grad(set_to_none=True)
    learn.opt_func = optimizer_of(phase)
    learn.create_opt()
    learn.freeze_to(phase.first_trainable_group(stages))
    learn.first_epoch, learn.scaler_state = 0, None


def fit_phase(learn: PhaseLearner, recipe: Recipe, phase: Phase, stages: list[str]) -> None:
    """Fit a phase that `prepare_phase` made ready, from `learn.first_epoch` on."""
    rates = np.array(phase.group_rates(stages, has_batch_norm(learn.model[0])))
    high, low = phase.momenta()
    learn.accumulate = recipe.accumulate
    learn.opt.set_hyper("mom", high)
    with learn.added_cbs(mixing(recipe)):
        if phase.schedule == "one_cycle":
            learn.fit_one_cycle(phase.epochs, lr_max=rates, wd=phase.weight_decay, moms=(high, low, high))
        elif phase.schedule == "flat_cos":
            learn.fit_flat_cos(phase.epochs, lr=rates, wd=phase.weight_decay)
        else:
            learn.opt.set_hyper("lr", rates)
            learn.fit(phase.epochs, lr=rates, wd=phase.weight_decay)


def mixing(recipe: Recipe) -> list[Callback]:
    """What blends the images of a batch, if the recipe wants that."""
    return [_MIXES[recipe.mix](recipe.mix_alpha)] if recipe.mix != "none" else []


def has_batch_norm(body: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in body.modules())
