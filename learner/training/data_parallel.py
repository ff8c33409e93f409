"""One run trained by several processes: each takes its rows of every batch, the first of them alone has the run.

To fastai's Learner in the first process (the leader) it is a network like any other, whose forward and backward pass
happen to be divided: rows go out, logits come back and make the loss; its gradient goes out, and the parameters'
gradients come back, summed. So optimizer, schedule, clipping, loss scaling, averages, checkpoints and all that is
written are the leader's, as with one process, and the others (helpers) keep nothing that could differ: they get what
has changed of the weights before they compute. They also make their parts of the feature cache.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from learner.errors import ProcessLost, RunError
from learner.jobs.process import MEETING_VARIABLE, PROCESSES_VARIABLE, RANK_VARIABLE
from learner.models.network import Network
from learner.training.benchmark import pick_device
from learner.training.global_batch import GlobalBatch

log = logging.getLogger(__name__)

PATIENCE = timedelta(days=7)
"""Helpers wait while the leader solves a head or waits for a database; a process that dies is noticed at once."""
LOST = "One of the run's processes is gone, or computed nothing more."


def processes() -> int:
    """Of this run, as whoever started them says."""
    return int(os.environ.get(PROCESSES_VARIABLE, "1"))


def rank() -> int:
    """The number of this process among the run's; 0 leads."""
    return int(os.environ.get(RANK_VARIABLE, "0"))


def require_processes(workers: int) -> None:
    """Raise RunError where the run has not as many processes as its recipe asks for."""
    if workers != processes():
        raise RunError(
            f"The recipe asks for workers: {workers}, and only a Ray cluster trains one run by several processes. "
            "Start the worker with EXECUTOR=ray (docs/scaling.md), or set workers: 1."
        )


def share_rows(rows: int) -> list[int]:
    """How many of so many rows each process takes: contiguous parts, the first ones larger by one."""
    return [len(part) for part in np.array_split(np.arange(rows), processes())]


def _join() -> None:
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        meeting = os.environ[MEETING_VARIABLE]
        dist.init_process_group(backend, meeting, timeout=PATIENCE, world_size=processes(), rank=rank())


def _tensors(network: Network) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _broadcast(tensors: list[Tensor]) -> None:
    """From the leader to all, as few messages as there are kinds of numbers."""
    for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in alike])
        dist.broadcast(flat, 0)
        if rank():
            with torch.no_grad():
                for tensor, part in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                    tensor.copy_(part.view(tensor.shape))


def _random_states(device: torch.device) -> list[Tensor]:
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def _flat(grads: tuple[Tensor | None, ...], learning: list[Tensor]) -> Tensor:
    pairs = zip(grads, learning, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])


def _gradients(outputs: Tensor, learning: list[Tensor], grads: Tensor) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(outputs, learning, grads, allow_unused=True)


# The leader


@contextmanager
def leading(network: Network) -> Iterator[None]:
    """Meanwhile the run's other processes take part in what this network computes; nothing changes where it has none.

    Raises ProcessLost, then or later, once one of them is gone.
    """
    if processes() == 1:
        yield
        return
    leader = Leader(network)
    network.helpers = leader
    try:
        yield
    finally:
        network.helpers = None


class Leader:
    """What the network of process 0 asks of the others; see `learner.models.network.Helpers`."""

    def __init__(self, network: Network):
        self._network = network
        self._versions = {name: tensor._version for name, tensor in _tensors(network).items()}
        self._was_learning = False
        with _lost_otherwise():
            _join()
            self._tell({"do": "take", "network": pickle.dumps(network)})

    @property
    def count(self) -> int:
        """Processes of the run."""
        return processes()

    def forward(self, x: Tensor) -> Tensor:
        """What the network makes of a batch: its logits."""
        learning = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        if not torch.is_grad_enabled() or not learning:
            return self.forward_rows(x, learns=False)[1]
        return _Divided.apply(self, x, *learning)

    def forward_rows(self, x: Tensor, learns: bool) -> tuple[Tensor, Tensor]:
        """The logits of this process's rows, and those of all."""
        network, rows = self._network, share_rows(len(x))
        modes = [module.training for module in network.modules()]
        whole = any(modes)
        with _lost_otherwise():
            self._tell(
                {
                    "do": "forward",
                    "rows": rows,
                    "shape": (x.shape[2], x.shape[3], x.shape[1]),
                    "dtype": x.dtype,
                    "skip": network.skip,
                    "modes": modes,
                    "whole": whole,
                    "learns": [p.requires_grad for p in network.parameters()] if learns else None,
                    "random": _random_states(x.device) if whole else [],
                },
                learns,
            )
            parts = x.split(rows)
            sent = [_send(part.permute(0, 2, 3, 1), other) for other, part in enumerate(parts) if other and len(part)]
            with GlobalBatch(rows, 0) if whole else nullcontext():
                own = network.forward_here(parts[0])
            for one in sent:
                one.wait()
            logits = own.detach().new_empty((len(x), *own.shape[1:]))
            logits[: rows[0]] = own.detach()
            for other, part in enumerate(logits.split(rows)):
                if other and len(part):
                    dist.recv(part, other)
        return own, logits

    def backward(self, own: Tensor, learning: list[Tensor], grad: Tensor) -> list[Tensor | None]:
        """The gradients of what learns, over all rows; `own` are the logits of this process's."""
        rows = share_rows(len(grad))
        with _lost_otherwise():
            self._tell({"do": "backward"}, sync=False)
            parts = grad.contiguous().split(rows)
            sent = [_send(part, other) for other, part in enumerate(parts) if other and len(part)]
            mine = _gradients(own, learning, parts[0])
            for one in sent:
                one.wait()
            flat = _flat(mine, learning)
            dist.reduce(flat, 0)
        sums = flat.split([tensor.numel() for tensor in learning])
        return [
            None if one is None else total.view(one.shape).to(one.dtype) for one, total in zip(mine, sums, strict=True)
        ]

    def each(self, function: Callable[..., None], arguments: list[tuple], here: Callable[[], None]) -> None:
        """Let each helper call `function(its network, *arguments)`, and this process `here`; waits for all.

        Raises what one of them raised.
        """
        with _lost_otherwise():
            self._tell({"do": "call", "function": function, "arguments": arguments})
        try:
            here()
        finally:
            with _lost_otherwise():
                ends: list[Exception | None] = [None] * self.count
                dist.all_gather_object(ends, None)
        for end in ends:
            if end is not None:
                raise end

    def _tell(self, what: dict[str, Any], learns: bool = False, sync: bool = True) -> None:
        """Say what comes next, and what has changed of the weights since.

        Optimizers of fastai change weights without torch's counting it, so after a step all that learns is sent.
        """
        changed: list[str] = []
        if sync and what["do"] != "take":
            tensors = _tensors(self._network)
            moved = learns or self._was_learning
            for name, tensor in tensors.items():
                if tensor._version != self._versions[name] or (moved and tensor.requires_grad):
                    changed.append(name)
                    self._versions[name] = tensor._version
            self._was_learning = learns
        dist.broadcast_object_list([what | {"changed": changed}], 0, device=torch.device("cpu"))
        if changed:
            _broadcast([tensors[name] for name in changed])


class _Divided(torch.autograd.Function):
    """The network's forward and backward pass over all processes, as one operation of the leader's graph."""

    @staticmethod
    def forward(ctx: Any, leader: Leader, x: Tensor, *learning: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.own, logits = leader.forward_rows(x.detach(), learns=True)
        ctx.leader, ctx.learning = leader, list(learning)
        return logits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.leader.backward(ctx.own, ctx.learning, grads[0])


@contextmanager
def _lost_otherwise() -> Iterator[None]:
    """Whatever goes wrong between processes that compute together leaves them out of step: the run starts again."""
    try:
        yield
    except RuntimeError as error:
        log.warning("%s", error)
        raise ProcessLost(LOST) from error


# Helpers


def help_leader() -> None:
    """Do what the leader asks for, until that is gone. Nothing is written but parts of the feature cache."""
    _join()
    log.info("Process %d on %s is helper %d of %d", os.getpid(), socket.gethostname(), rank(), processes() - 1)
    helper = _Helper()
    while True:
        told: list[Any] = [None]
        try:
            dist.broadcast_object_list(told, 0, device=torch.device("cpu"))
        except RuntimeError:  # it has ended, well or not
            return
        helper.hear(told[0])


class _Helper:
    def __init__(self) -> None:
        self._device = pick_device()
        self._network: Network
        self._outputs: Tensor | None = None
        self._rows: list[int] = []

    def hear(self, told: dict[str, Any]) -> None:
        if told["do"] == "take":
            self._network = pickle.loads(told["network"]).to(self._device)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            return
        if told["changed"]:
            tensors = _tensors(self._network)
            _broadcast([tensors[name] for name in told["changed"]])
        {"forward": self._forward, "backward": self._backward, "call": self._call}[told["do"]](told)

    def _forward(self, told: dict[str, Any]) -> None:
        network, self._rows, learns = self._network, told["rows"], told["learns"]
        network.skip = told["skip"]
        for module, training in zip(network.modules(), told["modes"], strict=True):
            module.training = training
        own = self._rows[rank()]
        if not own and not told["whole"]:
            return
        x = torch.empty((own, *told["shape"]), dtype=told["dtype"], device=self._device)
        if own:
            dist.recv(x, 0)
        if told["random"]:
            torch.set_rng_state(told["random"][0])
            for state in told["random"][1:]:
                torch.cuda.set_rng_state(state, self._device)
        if learns:
            for parameter, one in zip(network.parameters(), learns, strict=True):
                parameter.requires_grad_(one)
        with torch.set_grad_enabled(bool(learns)), GlobalBatch(self._rows, rank()) if told["whole"] else nullcontext():
            outputs = network.forward_here(x.permute(0, 3, 1, 2))
        if own:
            dist.send(outputs.detach().contiguous(), 0)
        self._outputs = outputs if learns else None

    def _backward(self, told: dict[str, Any]) -> None:
        assert self._outputs is not None  # as the leader asked for gradients
        grads = torch.empty_like(self._outputs)
        if len(grads):
            dist.recv(grads, 0)
        learning: list[Tensor] = [p for p in self._network.parameters() if p.requires_grad]
        dist.reduce(_flat(_gradients(self._outputs, learning, grads), learning), 0)
        self._outputs = None

    def _call(self, told: dict[str, Any]) -> None:
        end: Exception | None = None
        try:
            told["function"](self._network, *told["arguments"][rank()])
        except Exception as error:
            end = error
        ends: list[Exception | None] = [None] * processes()
        dist.all_gather_object(ends, end)


def _send(tensor: Tensor, other: int) -> dist.Work:
    work = dist.isend(tensor.contiguous(), other)
    assert work is not None  # it is for those outside of a group only
    return work
