"""Layers that look at a whole batch, where several processes have its rows between them: batch-norm and dropout."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class GlobalBatch(TorchFunctionMode):
    """Within, batch-norm that learns takes its statistics over the rows of all processes, and dropout has one mask.

    All processes must run the same layers in the same order. torch's SyncBatchNorm does the same, on GPUs only. The
    mask is drawn for the whole batch by every process, from the same random state, so that it does not depend on their
    number.
    """

    def __init__(self, rows: list[int], rank: int):
        """`rows` that each process has of the batch; `rank` is the number of this one, from 0."""
        super().__init__()
        self._total, self._first, self._own = sum(rows), sum(rows[:rank]), rows[rank]
        self._instead: dict[Any, Callable[..., Tensor]] = {F.batch_norm: self._batch_norm, F.dropout: self._dropout}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What torch calls in the place of `func`."""
        return self._instead.get(func, func)(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        axes, places = [0, *range(2, x.dim())], x.shape[2:].numel()
        shape = (1, -1, *[1] * (x.dim() - 2))
        count = self._total * places
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _AllSum.apply(wide.sum(axes)) / count
        centred = wide - mean.view(shape)
        var = _AllSum.apply(centred.square().sum(axes)) / count
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * count / max(count - 1, 1)).to(running_var.dtype), momentum)
        normed = centred * (var + eps).rsqrt().view(shape)
        if weight is not None:
            normed = normed * weight.view(shape)
        if bias is not None:
            normed = normed + bias.view(shape)
        return normed.to(x.dtype)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or not 0 < p < 1:
            return F.dropout(x, p, training, inplace)
        kept = torch.empty((self._total, *x.shape[1:]), dtype=x.dtype, device=x.device).bernoulli_(1 - p).div_(1 - p)
        return x * kept[self._first : self._first + self._own]


class _AllSum(torch.autograd.Function):
    """The sum over all processes; each has a part in the loss of all others, so the gradients add up, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total
