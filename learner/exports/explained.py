"""A network that also says which places of the image spoke for its answer, without gradients at run time.

Grad-CAM of the last stage needs the gradient of one logit by the feature map. A head is small, so that gradient is
written out as ordinary operations once, at export, and any program that runs ONNX has it.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from learner.exports.contents import Contents
from learner.exports.network import OUTPUTS, ExportedNetwork

HEAT_MAP = "heat_map"


class ExplainedNetwork(ExportedNetwork):
    """One output more: `heat_map` (images, height, width) of 0 to 1.

    It is that of `learner.evaluation.grad_cam` for the most probable class and the last stage.
    """

    outputs = (*OUTPUTS, HEAT_MAP)

    def __init__(self, contents: Contents):
        super().__init__(contents)
        side = contents.spec.image_size
        head, self.head = self.head, nn.Identity()
        self.explained = _explained(head, self.maps(torch.zeros(2, side, side, 3, dtype=torch.uint8)))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        maps = self.maps(pixels).contiguous()  # the head was written out for maps that lie so
        logits, heat_map = self.explained(maps)
        return *self.answers(maps, logits), heat_map


class _PointwiseConv(nn.Module):
    """A 1 × 1 convolution as a matrix product, whose gradient is one, too."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.register_buffer("weight", conv.weight.detach().flatten(1))
        self.register_buffer("bias", cast(Tensor, conv.bias).detach().view(1, -1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        return (weight @ maps.flatten(2) + bias).unflatten(2, maps.shape[2:])


def _explained(head: nn.Module, maps: Tensor) -> GraphModule:
    """Takes what leaves the body; gives logits and heat maps. `maps` is an example of two images, for the sizes."""
    _without_convolutions(head)
    head.eval().requires_grad_(False)

    def answer(maps: Tensor) -> tuple[Tensor, Tensor]:
        gradient = torch.func.grad(lambda x: head(x).amax(1).sum())(maps)
        heat = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()
        return head(maps), heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)

    return make_fx(answer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(maps.contiguous())


def _without_convolutions(part: nn.Module) -> None:
    for name, layer in part.named_children():
        if isinstance(layer, nn.Conv2d):
            setattr(part, name, _PointwiseConv(layer))
        else:
            _without_convolutions(layer)
