"""Stages that hand earlier, larger feature maps on, so that a head sees two scales."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional


class Carry(nn.Sequential):
    """A stage that hands on what came before it, beside its own output: hypercolumns of a few channels.

    Takes (batch, own + carried, height, width): its own input first. Gives its own output, and behind that what it
    carries, averaged down to the size of that output. With `adds` it carries its own input, too. Its layers keep the
    names that they had. After Hariharan et al. 2015, arXiv:1411.5752, where the larger map's size is kept.
    """

    def __init__(self, stage: nn.Sequential, channels: int, adds: bool, factor: int):
        """`channels` are those of the stage's own input, `factor` is how much smaller than that its output is."""
        super().__init__(OrderedDict(stage.named_children()))
        self.channels, self.adds, self.factor = channels, adds, factor

    def forward(self, x: Tensor) -> Tensor:
        carried = x if self.adds else x[:, self.channels :]
        if self.factor > 1:  # before the stage, whose layers may write into what they are given
            carried = functional.avg_pool2d(carried, self.factor, ceil_mode=True)
        y = super().forward(x[:, : self.channels])
        return torch.cat([y, carried[:, :, : y.shape[2], : y.shape[3]].to(y.dtype)], 1)


@torch.no_grad()
def with_last_larger_map(body: nn.Sequential, pixels: int) -> nn.Sequential:
    """`body`, whose output carries the last feature map before its final reduction in size, too.

    `pixels` is the side of an image that the body takes. Where a stage from there on is no plain chain of layers, or
    nothing before the last map is larger, the body stays as it is. It shares all parameters and buffers.
    """
    training = body.training
    maps = [torch.zeros(1, 3, pixels, pixels)]
    for stage in body.eval():
        maps.append(stage(maps[-1]))
    body.train(training)
    sizes = [x.shape[2] for x in maps]
    first = max((index for index in range(1, len(body)) if sizes[index] > sizes[index + 1]), default=None)
    named = list(body.named_children())
    if first is None or not all(type(stage) is nn.Sequential for _, stage in named[first:]):
        return body
    carrying: dict[str, nn.Module] = {
        name: Carry(stage, maps[index].shape[1], index == first, round(sizes[index] / sizes[index + 1]))
        for index, (name, stage) in enumerate(named)
        if index >= first and isinstance(stage, nn.Sequential)
    }
    return nn.Sequential(OrderedDict({**dict(named), **carrying})).train(training)


def carried_channels(body: nn.Sequential) -> int:
    """How many of the channels that a body gives are handed on from earlier stages."""
    adding = [stage for stage in body if isinstance(stage, Carry) and stage.adds]
    return sum(stage.channels for stage in adding)
