"""What training minimises."""

import torch
from fastai.losses import BaseLoss, CrossEntropyLossFlat, FocalLossFlat

from learner.recipe import Recipe


def build_loss(recipe: Recipe, images_per_class: list[int], device: torch.device) -> BaseLoss:
    """The recipe's loss of logits (batch, classes) and class indices (batch,); its mean over a batch.

    With `balance: weights` a class counts by images / (classes × images of the class), as scikit-learn's "balanced"
    (King and Zeng 2001). Focal loss: Lin et al. 2017, arXiv:1708.02002.
    """
    weight = None
    if recipe.balance == "weights":
        counts = torch.tensor(images_per_class, dtype=torch.float32, device=device)
        weight = counts.sum() / (len(counts) * counts.clamp_min(1))
    if recipe.loss == "focal":
        return FocalLossFlat(gamma=recipe.focal_gamma, weight=weight)
    return CrossEntropyLossFlat(weight=weight, label_smoothing=recipe.label_smoothing)
