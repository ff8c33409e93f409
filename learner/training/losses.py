"""What training minimises."""

import torch
from fastai.losses import BaseLoss, CrossEntropyLossFlat, FocalLossFlat
from torch import Tensor
from torch.nn import functional as F

from learner.features.targets import goals_in
from learner.recipe import Recipe


def build_loss(recipe: Recipe, images_per_class: list[int], device: torch.device) -> BaseLoss:
    """The recipe's loss of logits (batch, classes) and targets (`learner.features.targets`); its mean over a batch.

    With `balance: weights` a class counts by images / (classes × images of the class), as scikit-learn's "balanced"
    (King and Zeng 2001). Focal loss: Lin et al. 2017, arXiv:1708.02002.
    """
    weight = None
    if recipe.balance == "weights":
        counts = torch.tensor(images_per_class, dtype=torch.float32, device=device)
        weight = counts.sum() / (len(counts) * counts.clamp_min(1))
    if recipe.loss == "focal":
        return Focal(gamma=recipe.focal_gamma, weight=weight)
    return CrossEntropy(weight=weight, label_smoothing=recipe.label_smoothing)


class CrossEntropy(CrossEntropyLossFlat):
    """fastai's; held against probabilities it is the mean that classes drawn by these would give.

    Where classes have weights torch divides by the images then, and for class indices by their weights. Here it is
    always the latter, so that a probability of 1 is the same as the class.
    """

    def __call__(self, inp: Tensor, targ: Tensor, **kwargs) -> Tensor:
        if targ.dim() == 1:
            return super().__call__(inp, targ, **kwargs)
        shares, how = goals_in(targ), self.func
        smoothing = how.label_smoothing
        losses = F.cross_entropy(inp, shares, how.weight, reduction="none", label_smoothing=smoothing)
        if how.reduction == "none":
            return losses
        return losses.mean() if how.weight is None else losses.sum() / (shares @ how.weight).sum()


class Focal(FocalLossFlat):
    """fastai's; held against probabilities it is the mean that classes drawn by these would give."""

    def __call__(self, inp: Tensor, targ: Tensor, **kwargs) -> Tensor:
        if targ.dim() == 1:
            return super().__call__(inp, targ, **kwargs)
        how = self.func
        by_class = -inp.log_softmax(dim=1)
        if how.weight is not None:
            by_class = by_class * how.weight
        losses = (goals_in(targ) * (1 - torch.exp(-by_class)) ** how.gamma * by_class).sum(dim=1)
        return losses if how.reduction == "none" else losses.mean()
