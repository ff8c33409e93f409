"""What a phase's settings do to training, held against plain torch on the same batches."""

import copy

import pytest
import torch
from fastai.callback.core import Callback
from torch import nn
from torch.amp import GradScaler
from torch.nn import functional as F

from learner.recipe import Phase, Recipe
from learner.training.callbacks import Samples
from learner.training.losses import build_loss
from learner.training.phases import fit_phase, prepare_phase
from tests.learner.training.numbers import STAGES, X, Y


def fitted(learn, phase: Phase, **recipe) -> dict[str, torch.Tensor]:
    prepare_phase(learn, phase, STAGES)
    fit_phase(learn, Recipe("x", **recipe), phase, STAGES)
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def by_hand(learn, optimizer, batch_size: int, epochs: int, clip: float | None = None, loss=F.cross_entropy):
    """The same training as a plain loop over a copy of the model."""
    model = copy.deepcopy(learn.model)
    optimizer = optimizer(model.parameters())
    norms = []
    for _ in range(epochs):
        for start in range(0, len(X), batch_size):
            optimizer.zero_grad()
            loss(model(X[start : start + batch_size]), Y[start : start + batch_size]).backward()
            norms.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return dict(model.state_dict()), norms


def assert_same(left: dict, right: dict) -> None:
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-5, atol=1e-6)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.02),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.999), eps=1e-7, weight_decay=0.02),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.99), eps=1e-5, weight_decay=0.02),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.9, eps=1e-7, momentum=0.8, weight_decay=0.02),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_torchs_with_the_phases_settings(learn, name):
    learn = learn()
    expected, _ = by_hand(learn, OPTIMIZERS[name], 4, 2)
    phase = Phase("p", "all", 2, 0.05, "constant", weight_decay=0.02, optimizer=name, momentum=0.8)
    assert_same(fitted(learn, phase), expected)


def test_ranger_is_fastais_and_learns(learn):
    learn = learn()
    fitted(learn, Phase("p", "all", 60, 0.05, "flat_cos", optimizer="ranger"))
    assert type(learn.opt).__name__ == "Lookahead"
    assert learn.recorder.losses[-1] < 0.7 * learn.recorder.losses[0]


def test_batches_that_are_gathered_make_the_step_of_one_large_batch(learn):
    phase = Phase("p", "all", 2, 0.05, "constant", weight_decay=0, optimizer="sgd")
    gathered = fitted(learn(batch_size=4), phase, accumulate=3)
    assert_same(gathered, fitted(learn(batch_size=12), phase))


def test_the_last_step_of_an_epoch_gathers_what_is_left(learn):
    """24 images in batches of 4, gathered by 4: steps of 16 and of 8 images, and nothing is carried over."""
    learn = learn(batch_size=4)
    model = copy.deepcopy(learn.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for part in (slice(0, 16), slice(16, 24)):
        optimizer.zero_grad()
        F.cross_entropy(model(X[part]), Y[part]).backward()
        optimizer.step()
    phase = Phase("p", "all", 1, 0.05, "constant", weight_decay=0, optimizer="sgd", momentum=0)
    assert_same(fitted(learn, phase, accumulate=4), dict(model.state_dict()))


def test_long_gradients_are_shortened_and_measured_before_that(learn):
    seen = []

    class Sees(Callback):
        order = 80

        def after_batch(self):
            if self.training:
                seen.append(self.learn.gradients.norm)

    learn = learn(clip_norm=0.1)
    expected, norms = by_hand(learn, lambda p: torch.optim.SGD(p, lr=0.05), 4, 1, clip=0.1)
    learn.add_cb(Sees())
    phase = Phase("p", "all", 1, 0.05, "constant", weight_decay=0, optimizer="sgd", momentum=0)
    assert_same(fitted(learn, phase), expected)
    assert seen == pytest.approx(norms, rel=1e-5)
    assert max(norms) > 0.1


def test_momentum_dips_while_the_rate_is_high(learn):
    learn = learn(batch_size=1)
    moments, rates = [], []

    class Sees(Callback):
        order = 80

        def before_step(self):
            moments.append(self.opt.hypers[0]["mom"])
            rates.append(self.opt.hypers[0]["lr"])

    learn.add_cb(Sees())
    fitted(learn, Phase("p", "all", 4, 0.05, "one_cycle", momentum=0.7))
    assert moments[0] == pytest.approx(0.7)
    assert min(moments) == pytest.approx(0.6, abs=1e-3)
    assert moments.index(min(moments)) == rates.index(max(rates))


def test_rates_by_name_reach_their_groups(learn):
    learn = learn()
    fitted(learn, Phase("p", "low", 1, {"low": 1e-4, "head": 1e-2}, "constant"))
    # `high` is not named: it takes the rate of the nearest named part above it.
    assert [hyper["lr"] for hyper in learn.opt.hypers] == [1e-4, 1e-2, 1e-2]


def test_classes_of_unequal_size_weigh_the_same_and_smoothing_is_torchs():
    logits, targets = torch.randn(10, 3), torch.tensor([0] * 7 + [1] * 2 + [2])
    balanced = build_loss(Recipe("x", balance="weights"), [7, 2, 1], torch.device("cpu"))
    losses = F.cross_entropy(logits, targets, reduction="none")
    by_class = torch.stack([losses[targets == index].mean() for index in range(3)])
    torch.testing.assert_close(balanced(logits, targets), by_class.mean())  # every class has a third of the say
    smooth = build_loss(Recipe("x", label_smoothing=0.1), [7, 2, 1], torch.device("cpu"))
    log = logits.log_softmax(1)
    expected = -(0.9 * log[range(10), targets] + 0.1 * log.mean(1)).mean()
    torch.testing.assert_close(smooth(logits, targets), expected)


def test_focal_loss_turns_to_what_is_still_wrong():
    """Lin et al. 2017: each image's cross entropy times (1 - p) ** gamma."""
    logits, targets = torch.randn(10, 3), torch.arange(10) % 3
    probs = logits.softmax(1)[range(10), targets]
    focal = build_loss(Recipe("x", loss="focal", focal_gamma=3.0), [4, 3, 3], torch.device("cpu"))
    torch.testing.assert_close(focal(logits, targets), (-((1 - probs) ** 3) * probs.log()).mean())


def test_mixing_gives_the_loss_back_as_it_was(learn):
    learn = learn()
    before = learn.loss_func
    fitted(learn, Phase("p", "all", 1, 0.05), mix="mixup")
    assert learn.loss_func is before
    assert not any(callback.name == "mix_up" for callback in learn.cbs)


def test_what_it_says_of_a_few_images_is_noted_after_each_epoch(learn):
    learn = learn()
    learn.add_cb(Samples([1, 23, 6]))
    fitted(learn, Phase("p", "all", 1, 0.05))
    probs = learn.model(X).softmax(1)
    for row, position in zip(learn.samples.rows, [1, 23, 6], strict=True):
        assert row[0] == int(probs[position].argmax())
        assert row[1:] == pytest.approx([float(probs[position].max()), float(probs[position, Y[position]])], abs=1e-4)


def test_a_fit_that_goes_on_has_the_loss_scaling_that_it_had(learn):
    scales = []

    class Notes(Callback):
        def before_epoch(self):
            scales.append(self.learn.scaler.get_scale())

    learn = learn(precision="fp16")
    learn.loss_scaling.state = GradScaler("cpu").state_dict() | {"scale": 128.0}
    learn.add_cb(Notes())
    for _ in range(2):
        fitted(learn, Phase("p", "all", 1, 0.01, "constant"))
    assert scales == [128.0, GradScaler("cpu").get_scale()]  # the next fit begins anew


def test_a_fit_that_goes_on_tells_only_of_the_epochs_it_does(learn):
    """fastai's events around a skipped epoch are what `Reporter` and `StartBatch` stand on."""
    told = []

    class Notes(Callback):
        order = 80  # after SkipToEpoch

        def before_epoch(self):
            told.append(("before", self.epoch))

        def before_train(self):
            told.append(("train", self.epoch, self.learn.pct_train))

        def after_epoch(self):
            told.append(("after", self.epoch))

    learn = learn()
    learn.add_cb(Notes())
    phase = Phase("p", "all", 4, 0.01)
    prepare_phase(learn, phase, STAGES)
    fit_phase(learn, Recipe("x"), phase, STAGES, epochs_done=2)
    skipped = [("after", 0), ("after", 1)]
    assert told == [
        *skipped,
        ("before", 2),
        ("train", 2, 0.5),
        ("after", 2),
        ("before", 3),
        ("train", 3, 0.75),
        ("after", 3),
    ]
