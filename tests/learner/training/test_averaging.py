"""Averages of weights and the way between two of them, held against arithmetic on the same numbers."""

import math

import pytest
import torch
from fastai.callback.core import Callback
from torch.nn import functional as F

from learner.planning.cost import POINTS
from learner.recipe import Phase, Recipe
from learner.training.averaging import Interpolate
from learner.training.phases import fit_phase, prepare_phase
from tests.learner.training.numbers import STAGES, X, Y

EPOCHS, STEPS = 3, 6
"""Of each epoch: 24 images in batches of 4."""


class Weights(Callback):
    """Notes the last layer's bias after every step, and what is validated."""

    order = 70

    def __init__(self):
        self.after_steps, self.validated, self.losses = [], [], []

    def after_step(self):
        self.after_steps.append(self.learn.model[1][0].bias.detach().clone())

    def after_epoch(self):
        self.losses.append(float(self.learn.recorder.loss.value))

    def after_pred(self):
        if not self.training:
            self.validated.append(self.learn.model[1][0].bias.detach().clone())


def fitted(learn, phase: Phase, *callbacks) -> Weights:
    notes = Weights()
    prepare_phase(learn, phase, STAGES)
    learn.weight_average.begin_phase(phase.average)
    with learn.no_bar():
        fit_phase(learn, Recipe("x"), phase, STAGES, callbacks=[notes, *callbacks])
    return notes


def state_of(learn) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def loss_at(learn, weights: dict[str, torch.Tensor]) -> float:
    logits = torch.func.functional_call(learn.model.eval(), weights, (X,))
    return float(F.cross_entropy(logits, Y))


def between(start: dict, end: dict, point: float) -> dict[str, torch.Tensor]:
    return {name: torch.lerp(start[name], end[name], point) for name in start}


def test_what_is_validated_is_the_average_and_training_goes_on_from_the_last_step(learn):
    plain = fitted(learn(), Phase("x", "all", EPOCHS, 0.02))
    phase, averaging = Phase("x", "all", EPOCHS, 0.02, average=True), learn()
    start = averaging.model[1][0].bias.detach().clone()
    averaged = fitted(averaging, phase)
    for one, other in zip(plain.after_steps, averaged.after_steps, strict=True):
        torch.testing.assert_close(one, other)  # the steps are the same
    average, horizon = start, 0.1 * EPOCHS * STEPS
    for steps, weights in enumerate(averaged.after_steps, start=1):
        keep = min(0.999, math.exp(-1 / horizon), (1 + steps) / (10 + steps))
        average = keep * average + (1 - keep) * weights
        if steps % STEPS == 0:
            torch.testing.assert_close(averaged.validated[steps - 1], average)
    averaging.weight_average.apply(averaging.model)
    torch.testing.assert_close(averaging.model[1][0].bias.detach(), average)


def test_a_phase_without_averages_leaves_the_last_steps_weights(learn):
    one = learn()
    notes = fitted(one, Phase("x", "all", 1, 0.02))
    one.weight_average.apply(one.model)
    torch.testing.assert_close(one.model[1][0].bias.detach(), notes.after_steps[-1])


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("rate", [1e-3, 0.03, 3.0])
def test_a_phase_ends_at_the_best_point_of_its_line_and_never_worse_than_it_began(learn, average, rate):
    plain, ours = learn(), learn()
    start, found = state_of(ours), []
    phase = Phase("x", "all", EPOCHS, rate, "constant", average=average)
    fitted(plain, phase)
    plain.weight_average.apply(plain.model)
    notes = fitted(ours, phase, Interpolate(start, found.append))
    ours.weight_average.apply(ours.model)
    losses = {
        index / (POINTS - 1): loss_at(ours, between(start, state_of(plain), index / (POINTS - 1)))
        for index in range(POINTS)
    }
    best, ends = min(losses, key=losses.get), state_of(plain)
    logits = [torch.func.functional_call(ours.model.eval(), between(start, ends, point), (X,)) for point in (0.0, best)]
    gained = torch.sub(*(F.cross_entropy(one, Y, reduction="none") for one in logits))
    best = best if gained.mean() > gained.std() / len(X) ** 0.5 else 0.0
    [told] = found
    assert told["point"] == best
    for row in told["tried"]:
        assert sum(part[1] for part in row["parts"]) == pytest.approx(len(X) * row["loss"], rel=1e-4)
        assert sum(part[2] for part in row["parts"]) == pytest.approx(len(X) * row["accuracy"])
    assert [row["loss"] for row in told["tried"]] == pytest.approx(list(losses.values()), rel=1e-4)
    assert loss_at(ours, state_of(ours)) == pytest.approx(losses[best], rel=1e-4)
    assert notes.losses[-1] == pytest.approx(losses[best], rel=1e-4)  # fastai's own figure of the last epoch
    assert told["gain"] == pytest.approx(losses[0.0] - losses[best], rel=1e-3, abs=1e-6) and told["gain"] >= 0
    low, high = told["gain_interval"]
    assert low <= told["gain"] <= high and told["images"] == len(X)
    low, high = told["accuracy_gain_interval"]
    assert low < told["accuracy_gain"] < high  # also where no image changed: others might


def test_a_phase_that_diverges_goes_back_to_its_start(learn):
    one = learn()
    start, found = state_of(one), []
    fitted(one, Phase("x", "all", 1, 10.0, "constant", optimizer="sgd"), Interpolate(start, found.append))
    assert found[0]["point"] == 0.0 and found[0]["gain"] == 0
    for name, tensor in state_of(one).items():
        torch.testing.assert_close(tensor, start[name])


def test_only_the_parts_of_a_list_learn(learn):
    one = learn()
    start = state_of(one)
    fitted(one, Phase("x", ["low", "head"], 1, 0.02))
    changed = {name for name, tensor in state_of(one).items() if not torch.equal(tensor, start[name])}
    assert changed == {"0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"}
