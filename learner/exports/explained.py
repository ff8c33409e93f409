"""A head that also says which places of the image spoke for its answer, without gradients at run time.

Grad-CAM of the last stage needs the gradient of one logit by the feature map. A head is small, so that gradient is
written out as ordinary operations once, at export, and any program that runs ONNX has it.
"""

import copy
from typing import cast

import torch
from fastai.layers import AdaptiveConcatPool2d
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx


class _ConcatPool(nn.Module):
    """What `AdaptiveConcatPool2d(1)` computes, by operations whose gradients ONNX has."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps.amax((2, 3), keepdim=True), maps.mean((2, 3), keepdim=True)], 1)


class _PointwiseConv(nn.Module):
    """A 1 × 1 convolution as a matrix product, whose gradient is one, too."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.register_buffer("weight", conv.weight.detach().flatten(1))
        self.register_buffer("bias", cast(Tensor, conv.bias).detach().view(1, -1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        return (weight @ maps.flatten(2) + bias).unflatten(2, maps.shape[2:])


def explained_head(head: nn.Module, maps: Tensor) -> GraphModule:
    """Takes the body's output (images, num_features, height, width); gives logits and (images, height, width).

    `maps` is any such output, of two images, for the sizes. A heat map is that of `learner.evaluation.grad_cam` for the
    most probable class and the last stage.
    """
    head = _exportable(copy.deepcopy(head)).eval().requires_grad_(False)

    def answer(maps: Tensor) -> tuple[Tensor, Tensor]:
        gradient = torch.func.grad(lambda x: head(x).amax(1).sum())(maps)
        heat = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()
        return head(maps), heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)

    return make_fx(answer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(maps.contiguous())


def _exportable(part: nn.Module) -> nn.Module:
    """The same with its pooling and 1 × 1 convolutions replaced."""
    for name, layer in part.named_children():
        if isinstance(layer, AdaptiveConcatPool2d):
            setattr(part, name, _ConcatPool())
        elif isinstance(layer, nn.Conv2d):
            setattr(part, name, _PointwiseConv(layer))
        else:
            _exportable(layer)
    return part
