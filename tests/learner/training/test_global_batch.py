"""Layers that look at a whole batch, of which two processes have some rows each: as one process."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from learner.training.global_batch import GlobalBatch
from tests.ready import SERVER

ROWS = [3, 2]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).double().train()


def batch() -> Tensor:
    return torch.randn(sum(ROWS), 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def learn(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The outputs, the gradients of a loss that no two rows have the same part in, and the running statistics."""
    torch.manual_seed(2)
    outputs = model(x)
    (outputs**3).sum().backward()
    return [outputs.detach(), *(p.grad for p in model.parameters()), *(b.clone() for b in model.buffers())]


def take_part(rank: int, meeting: str, folder: Path) -> None:
    dist.init_process_group("gloo", meeting, world_size=len(ROWS), rank=rank)
    with GlobalBatch(ROWS, rank):
        found = learn(network(), batch().split(ROWS)[rank])
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()


def test_two_processes_have_outputs_gradients_and_statistics_of_one(tmp_path):
    meeting = f"file://{tmp_path / 'meeting'}"
    both = [SERVER.Process(target=take_part, args=(rank, meeting, tmp_path)) for rank in range(len(ROWS))]
    for process in both:
        process.start()
    for process in both:
        process.join()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(len(ROWS)))
    model = network()
    outputs, *others = learn(model, batch())
    assert torch.cat([first[0], second[0]]).numpy() == pytest.approx(outputs.numpy(), rel=1e-12, abs=1e-12)
    parameters = len(list(model.parameters()))
    for ours, theirs, whole in zip(first[1:], second[1:], others, strict=True):
        ours = ours + theirs if parameters > 0 else ours  # a gradient is the sum over rows; statistics are of all rows
        assert ours.numpy() == pytest.approx(whole.numpy(), rel=1e-10, abs=1e-12)
        parameters -= 1
