"""The optimizer of a phase, as fastai's Learner wants it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fastai.optimizer import Optimizer, OptimWrapper, ranger

from learner.recipe import Phase

OptimizerOf = Callable[..., Any]
"""A function of parameter groups and `lr`."""

_TORCH = {
    # Loshchilov and Hutter 2019, arXiv:1711.05101, with fastai's constants
    "adamw": partial(torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-5, fused=True),
    "adam": partial(torch.optim.Adam, eps=1e-7, fused=True),  # Keras's eps, as the published recipes were Keras's
    "sgd": partial(torch.optim.SGD, momentum=0.9, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.9, eps=1e-7, momentum=0.0),  # Keras's constants
}


def optimizer_of(phase: Phase) -> OptimizerOf:
    """torch's forms update in one pass over memory, where fastai's own make about ten; Ranger is fastai's."""
    if phase.optimizer == "ranger":
        return ranger
    return partial(build_optimizer, phase.optimizer)


def build_optimizer(name: str, groups: list, lr: float) -> Optimizer | OptimWrapper:
    """One of torch's over one group of parameters each."""
    return OptimWrapper(groups, _TORCH[name], lr=lr)
