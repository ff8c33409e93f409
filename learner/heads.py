"""The new classifier on top of a body."""

from fastai.vision.learner import create_head
from torch import nn


def build_head(num_features: int, num_classes: int) -> nn.Sequential:
    """fastai's head: concatenated average and maximum pooling, then two linear layers with batch-norm and dropout.

    Takes (batch, num_features, height, width), gives logits (batch, num_classes).
    Source: https://docs.fast.ai/vision.learner.html#create_head
    """
    return create_head(num_features, num_classes)
