"""A Learner small enough to follow by hand."""

import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from torch import nn

from learner.models.network import Network
from learner.models.precision import Precision
from learner.training.callbacks import Gradients
from learner.training.phases import build_learner
from tests.learner.training.numbers import X, Y


class InOrder(DataLoader):
    first_batch = 0


@pytest.fixture
def learn():
    """A Learner on a small network without convolutions, whose batches come in order."""

    def make(batch_size: int = 4, loss=None, precision: str = "fp32", **recipe):
        torch.manual_seed(1)
        body = nn.Sequential(nn.Linear(5, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 6)))
        network = Network(body, nn.Sequential(nn.Linear(6, 3)), Precision(precision, ""))
        items = list(zip(X, Y, strict=True))
        dls = DataLoaders(InOrder(items, bs=batch_size), InOrder(items, bs=batch_size), device=torch.device("cpu"))
        learn = build_learner(network, dls, loss)
        learn.add_cb(Gradients(recipe.get("clip_norm", 0.0)))
        return learn

    return make
