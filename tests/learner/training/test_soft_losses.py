"""Losses against probabilities: sums worked out by hand, and the limits in which they are the usual losses."""

import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.losses import CrossEntropyLossFlat, FocalLossFlat
from torch.nn import functional as F

from learner.recipe import Phase, Recipe
from learner.training.averaging import Interpolate
from learner.training.callbacks import Samples
from learner.training.losses import build_loss
from learner.training.phases import fit_phase, prepare_phase
from tests.learner.training.conftest import InOrder
from tests.learner.training.numbers import STAGES, X, Y

LOGITS = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10) % 3
SHARES = torch.rand(10, 3, generator=torch.Generator().manual_seed(2)).softmax(1)
PER_CLASS = [7, 2, 1]
WEIGHT = torch.tensor([10 / (3 * count) for count in PER_CLASS])
RECIPES = {
    "cross entropy": {},
    "weights": {"balance": "weights"},
    "smoothing": {"label_smoothing": 0.1},
    "smoothing and weights": {"label_smoothing": 0.1, "balance": "weights"},
    "focal": {"loss": "focal"},
    "focal and weights": {"loss": "focal", "balance": "weights"},
}


def with_labels(labels: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    return torch.column_stack([labels.float(), shares])


SOFT = with_labels(LABELS, SHARES)
CERTAIN = with_labels(LABELS, F.one_hot(LABELS, 3).float())


def loss(name: str):
    return build_loss(Recipe("x", **RECIPES[name]), PER_CLASS, torch.device("cpu"))


def expected(name: str) -> float:
    """Sums, image by image and class by class."""
    gamma, smooth = Recipe("x").focal_gamma, 0.1 if "smoothing" in name else 0.0
    probs, total, weights = LOGITS.double().softmax(1), 0.0, 0.0
    for image in range(10):
        for index in range(3):
            weight = float(WEIGHT[index]) if "weights" in name else 1.0
            share = (1 - smooth) * float(SHARES[image, index]) + smooth / 3
            one = -weight * float(probs[image, index].log())
            if "focal" in name:
                one *= (1 - float(probs[image, index]) ** weight) ** gamma
            total += share * one
            weights += weight * float(SHARES[image, index])
    return total / (weights if "weights" in name and "focal" not in name else 10)


@pytest.mark.parametrize("name", RECIPES)
def test_a_loss_is_the_mean_over_classes_by_their_probabilities(name):
    assert float(loss(name)(LOGITS, SOFT)) == pytest.approx(expected(name), rel=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_probability_of_one_is_the_class(name):
    torch.testing.assert_close(loss(name)(LOGITS, CERTAIN), loss(name)(LOGITS, LABELS), check_dtype=False)


@pytest.mark.parametrize("name", RECIPES)
def test_without_probabilities_a_loss_is_fastais_bit_for_bit(name):
    weight = WEIGHT.float() if "weights" in name else None
    smooth = RECIPES[name].get("label_smoothing", 0.0)
    theirs = (
        FocalLossFlat(weight=weight) if "focal" in name else CrossEntropyLossFlat(weight=weight, label_smoothing=smooth)
    )
    ours = loss(name)
    if weight is not None:
        ours.func.weight = weight  # a last bit apart, as it was computed in another order
    assert float(ours(LOGITS, LABELS)) == float(theirs(LOGITS, LABELS))


# In a Learner

SHARES_OF_X = torch.rand(len(X), 3, generator=torch.Generator().manual_seed(4)).softmax(1)


@pytest.fixture
def soft(learn):
    """A Learner on probabilities."""

    def make(shares=SHARES_OF_X, recipe=None):
        made = learn(loss=build_loss(recipe or Recipe("x"), [8, 8, 8], torch.device("cpu")))
        items = list(zip(X, with_labels(Y, shares), strict=True))
        made.dls = DataLoaders(InOrder(items, bs=4), InOrder(items, bs=4), device=torch.device("cpu"))
        return made

    return make


def fitted(learn, phase: Phase, *callbacks, **recipe) -> list[float]:
    prepare_phase(learn, phase, STAGES)
    with learn.no_bar():
        fit_phase(learn, Recipe("x", **recipe), phase, STAGES, callbacks=callbacks)
    return [float(value) for value in learn.recorder.log[1:4]]


def test_validation_loss_is_against_probabilities_and_accuracy_against_classes(soft):
    one = soft()
    _, valid_loss, accuracy = fitted(one, Phase("p", "all", 1, 0.05))
    logits = one.model.eval()(X).detach()
    assert valid_loss == pytest.approx(float(-(SHARES_OF_X * logits.log_softmax(1)).sum(1).mean()), rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == Y).float().mean()))


def test_what_is_noted_of_a_few_images_is_of_their_classes(soft):
    one, samples = soft(), Samples([1, 23])
    fitted(one, Phase("p", "all", 1, 0.05), samples)
    probs = one.model.eval()(X).softmax(1).detach()
    assert [row[2] for row in samples.rows] == pytest.approx(
        [float(probs[image, Y[image]]) for image in (1, 23)], abs=1e-4
    )


def test_the_best_point_of_a_line_is_the_one_of_the_lowest_loss_against_probabilities(soft):
    one, found = soft(), []
    start = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    _, valid_loss, _ = fitted(one, Phase("p", "all", 2, 0.03, "constant"), Interpolate(start, found.append))
    assert min(row["loss"] for row in found[0]["tried"]) == pytest.approx(valid_loss, rel=1e-5)
    logits = torch.func.functional_call(one.model.eval(), start, (X,)).detach()
    assert found[0]["tried"][0]["loss"] == pytest.approx(float(F.cross_entropy(logits, SHARES_OF_X)), rel=1e-5)


def test_blends_of_certain_images_are_learnt_as_before(learn, soft):
    """MixUp mixes the losses of two images; with probabilities of 1 these are the losses of classes."""
    certain = soft(F.one_hot(Y, 3).float())
    plain = learn(loss=build_loss(Recipe("x"), [8, 8, 8], torch.device("cpu")))
    for one in (certain, plain):
        torch.manual_seed(5)
        fitted(one, Phase("p", "all", 2, 0.05), mix="mixup")
    for ours, theirs in zip(certain.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


class Blends(Callback):
    """Notes what a batch of blends gave: logits, the targets blended, and the loss."""

    def __init__(self) -> None:
        self.noted: list[tuple] = []

    def after_loss(self) -> None:
        if self.training:
            mix = next(callback for callback in self.learn.cbs if callback.name in ("mix_up", "cut_mix"))
            own, other = self.y[:, 1:], mix.yb1[0][:, 1:]
            share = mix.lam[:, None] if mix.lam.dim() else mix.lam
            self.noted.append((self.pred.detach(), share * own + (1 - share) * other, float(self.learn.loss.detach())))


def test_blends_are_learnt_as_blended_probabilities(soft):
    blends = Blends()
    fitted(soft(), Phase("p", "all", 1, 0.05), blends, mix="mixup")
    assert len(blends.noted) == 6
    for logits, blended, loss in blends.noted:
        assert loss == pytest.approx(float(F.cross_entropy(logits, blended)), rel=1e-5)
