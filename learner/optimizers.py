"""The optimizer of a phase, as fastai's Learner wants it."""

from functools import partial

import torch
from fastai.optimizer import OptimWrapper


def build_optimizer(groups: list, lr: float) -> OptimWrapper:
    """AdamW over one group of parameters each (Loshchilov and Hutter 2019, arXiv:1711.05101), with fastai's constants.

    torch's fused form updates in one pass over memory, where fastai's own makes about ten.
    """
    return OptimWrapper(groups, partial(torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-5, fused=True), lr=lr)
