"""The new classifier on top of a body."""

from collections import OrderedDict

from fastai.layers import AdaptiveConcatPool2d
from fastai.vision.learner import create_head
from torch import Tensor, fx, nn

from learner.models.scales import Carry
from learner.recipe import Head

ATTENTION_WIDTHS = (64, 16)
"""Channels of the two layers that decide where to look."""


class AttentionPool(nn.Module):
    """Average pooling over a feature map, weighted by an attention map that a few 1 × 1 convolutions learn.

    Takes (batch, num_features, height, width), gives (batch, num_features). The weight of each place is a sigmoid, and
    the sum is divided by their sum, so that the map's scale does not matter. After attention gates for medical images
    (Jetley et al. 2018, arXiv:1804.02391, and Schlemper et al. 2019, Medical Image Analysis 53), in the simple form
    that has become usual with a pretrained VGG16.
    """

    def __init__(self, num_features: int):
        super().__init__()
        first, second = ATTENTION_WIDTHS
        self.norm = nn.BatchNorm2d(num_features)
        self.look = nn.Sequential(
            nn.Conv2d(num_features, first, 1),
            nn.ReLU(),
            nn.Conv2d(first, second, 1),
            nn.ReLU(),
            nn.Conv2d(second, 1, 1),
            nn.Sigmoid(),
        )

    def attention(self, x: Tensor) -> Tensor:
        """Where it looks: (batch, 1, height, width) of weights 0 to 1."""
        return self.look(self.norm(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        weights = self.look(x)
        return (x * weights).sum((2, 3)) / weights.sum((2, 3)).clamp_min(1e-6)


def build_head(head: Head, num_features: int, num_classes: int, map_size: tuple[int, int]) -> nn.Sequential:
    """Takes (batch, num_features, height, width), gives logits (batch, num_classes).

    `map_size` is height and width, which only a flattening head depends on. `fastai` is fastai's own: concatenated
    maximum and average pooling, then two linear layers with batch-norm and dropout; `solved` and `multiscale` are that
    pooling and one linear layer. Source: https://docs.fast.ai/vision.learner.html#create_head
    """
    if head.kind in ("solved", "multiscale"):
        return nn.Sequential(AdaptiveConcatPool2d(1), nn.Flatten(), nn.Linear(2 * num_features, num_classes))
    if head.kind == "fastai":
        return create_head(num_features, num_classes, ps=head.dropout)
    if head.kind == "attention":
        return nn.Sequential(AttentionPool(num_features), *_layers(num_features, head, num_classes))
    flattens = head.kind == "fc" and head.pool == "flatten"
    pool = [nn.Flatten()] if flattens else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    width = num_features * (map_size[0] * map_size[1] if flattens else 1)
    return nn.Sequential(
        *pool, *(_layers(width, head, num_classes) if head.kind == "fc" else [nn.Linear(width, num_classes)])
    )


def as_plain_torch(part: nn.Sequential) -> nn.Sequential:
    """The same body or head without a class of Thaw's, so that a pickle of it opens where Thaw is not installed."""

    class Shallow(fx.Tracer):  # a pickle names the tracer's class, unless it is one inside a function
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return True

    def plain(layer: nn.Module) -> nn.Module:
        ours = isinstance(layer, AttentionPool | Carry)
        return fx.GraphModule(layer, Shallow().trace(layer)) if ours else layer

    return nn.Sequential(OrderedDict((name, plain(layer)) for name, layer in part.named_children()))


def _layers(width: int, head: Head, num_classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for units in head.widths:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(head.dropout)]
        width = units
    return [*layers, nn.Linear(width, num_classes)]
