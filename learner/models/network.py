"""The network as it trains: a body of stages and a head, which may begin in the middle and compute in low precision."""

import copy
import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from learner.models.precision import Precision

PIECE_BYTES = 8_000_000
"""On a CPU, a stage in evaluation mode takes as many images at a time as keep its widest activation below this, so that
it stays in the processor's caches (measured with VGG16: docs/benchmarks.md)."""

Shape = tuple[int, int, int]
"""Height, width, channels."""

_WEIGHTED = (nn.Conv2d, nn.Linear)


def body_of(model: nn.Sequential) -> nn.Sequential:
    """The stages of `Sequential(body, head)`."""
    body = model[0]
    assert isinstance(body, nn.Sequential)  # for the type checker, to which it may be any module
    return body


def head_of(model: nn.Sequential) -> nn.Sequential:
    """The layers of the head of `Sequential(body, head)`."""
    head = model[1]
    assert isinstance(head, nn.Sequential)
    return head


@torch.inference_mode()
def map_size(body: nn.Module, image_size: int) -> tuple[int, int]:
    """Height and width of the feature map that `body` makes of images of that side."""
    training = body.training
    x = body.eval()(torch.zeros(1, 3, image_size, image_size))
    body.train(training)
    return x.shape[2], x.shape[3]


class Helpers(Protocol):
    """Other processes that take part in what a network computes (`learner.training.data_parallel`)."""

    @property
    def count(self) -> int:
        """Processes, with this one."""

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits of `x`, of whose rows each process computes some."""

    def each(self, function: Callable[..., None], arguments: list[tuple], here: Callable[[], None]) -> None:
        """Call `function(network, *arguments)` in each other process, and `here` in this one."""


class Network(nn.Sequential):
    """`Sequential(body, head)`: images (batch, 3, height, width) in, logits (batch, classes) out.

    With `skip` = n the first n stages are left out, and the input is what the last of them would have given. The stages
    compute in `precision`; the head gets fp32, whatever came before.
    """

    def __init__(self, body: nn.Sequential, head: nn.Module, precision: Precision):
        super().__init__(body, head)
        self.precision = precision
        self.skip = 0
        self.helpers: Helpers | None = None
        """Who computes a part of each batch, while there are any."""
        self._widest: dict[tuple[int, torch.Size], int] = {}

    @property
    def body(self) -> nn.Sequential:
        """The stages."""
        return body_of(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_here(x) if self.helpers is None else self.helpers.forward(x)

    def forward_here(self, x: Tensor) -> Tensor:
        """The same, all of it in this process."""
        for index in range(self.skip, len(self.body)):
            x = self.stage(index, x)
        return self[1](x.float())

    def stage(self, index: int, x: Tensor) -> Tensor:
        """The output of one stage; `x` is (batch, channels, height, width)."""
        module = self.body[index]
        with self.precision.autocast(x.device):
            if module.training or x.device.type != "cpu" or len(x) <= 1:
                return module(x)
            size = max(1, PIECE_BYTES // self._bytes_of_widest(index, x[:1]))
            return torch.cat([module(piece) for piece in x.split(size)]) if size < len(x) else module(x)

    @torch.inference_mode()
    def shapes(self, image_size: int) -> list[Shape]:
        """Of what enters stage 0, 1, …, and of what leaves the last, for images of that side."""
        twin = lowered(self)
        x = torch.zeros(1, 3, image_size, image_size, device=next(self.parameters()).device)
        shapes = [(image_size, image_size, 3)]
        for index in range(len(self.body)):
            x = twin.stage(index, x)
            shapes.append((x.shape[2], x.shape[3], x.shape[1]))
        return shapes

    def _bytes_of_widest(self, index: int, image: Tensor) -> int:
        """Size of the largest activation inside a stage for one image, found by running it once."""
        key = (index, image.shape)
        if key not in self._widest:
            sizes = [image.nbytes]
            hooks = [
                module.register_forward_hook(lambda _module, _input, output: sizes.append(output.nbytes))
                for module in self.body[index].modules()
            ]
            try:
                with torch.no_grad():
                    self.body[index](image)
            finally:
                for hook in hooks:
                    hook.remove()
            self._widest[key] = max(sizes)
        return self._widest[key]


def lowered(network: Network) -> Network:
    """A copy for inference in evaluation mode, whose weights are stored in its precision instead of cast every time.

    Autocast rounds the same weights the same way, so the outputs do not change.
    """
    helpers, network.helpers = network.helpers, None  # they belong to the one that learns
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    network.helpers = helpers
    if twin.precision.is_low:
        for module in twin[0].modules():
            if isinstance(module, _WEIGHTED):
                module.to(twin.precision.dtype)
    return twin


def row_bytes(shape: Shape, precision: Precision | None) -> int:
    """Disk that one image takes at a place of that shape: in that precision, or (None) decoded, one byte a value."""
    return math.prod(shape) * (precision.dtype.itemsize if precision else 1)
