"""The learning-rate finder: what it reads from a curve, and that nothing stays changed where it has looked."""

import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from learner.errors import RunError
from learner.features.loaders import ImageLoader
from learner.jobs.device import exclusive_device
from learner.planning.estimate import resolve_recipe
from learner.questions.process import ask
from learner.questions.rates import rates_file, read_rates, scaled_to, with_rates
from learner.recipe import Augment, Phase
from learner.training import lr_finder
from learner.training.losses import build_loss
from learner.training.lr_finder import (
    FEWEST,
    SKIPPED_FIRST,
    SKIPPED_LAST,
    STEPS,
    explain,
    find_rates,
    find_rates_on,
    suggest,
)
from learner.training.phases import build_learner, fit_phase, prepare_phase
from learner.training.resume import random_states
from learner.training.trial import set_up
from tests.patience import GIVE_UP_S
from tests.samples import ROOT, small_recipe

TWO = [Phase("Warm-up", epochs=2), Phase("Fine-tuning", trainable="layer3", epochs=2)]
RATES = [1e-6 * 1e7 ** (step / (STEPS - 1)) for step in range(STEPS)]


def exact(value):
    """Something that is equal only where every tensor is, to the last bit."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.detach().cpu().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "L":
        return [exact(item) for item in value]
    return value


@pytest.fixture
def fewer_steps(monkeypatch):
    """For what does not depend on the curve."""
    monkeypatch.setattr(lr_finder, "STEPS", 40)


@pytest.mark.usefixtures("fewer_steps")
class TestOnALearner:
    @pytest.fixture
    def learner_of(self, pets):
        """A Learner that has trained for an epoch, so that its optimizer has something to lose."""

        def make(recipe) -> Learner:
            trial = set_up(pets, recipe)
            cache = trial.cache(pets, 32)
            loader = trial.loader(cache, 32, None)
            loader.pixels = cache.pixels(trial.train)
            dls = DataLoaders(loader, loader, device=trial.device)
            learn = build_learner(trial.network, dls, build_loss(trial.recipe, trial.images_per_class, trial.device))
            prepare_phase(learn, recipe.phases[0], trial.backbone.stages)
            fit_phase(learn, trial.recipe, recipe.phases[0], trial.backbone.stages)
            self.stages = trial.backbone.stages
            return learn

        return make

    @pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
    def test_weights_optimizer_random_states_loss_and_loader_are_as_before(self, learner_of, mix):
        recipe = small_recipe(phases=[Phase("All", trainable="all", epochs=1, lr=0.01)], mix=mix)
        learn = learner_of(recipe)
        for generator in (random.random, np.random.rand, torch.rand):
            generator(*([3] if generator is not random.random else []))  # somewhere in the middle

        def state():
            return exact(
                {
                    "model": learn.model.state_dict(),
                    "gradients": [parameter.grad for parameter in learn.model.parameters()],
                    "learning": [parameter.requires_grad for parameter in learn.model.parameters()],
                    "modes": [module.training for module in learn.model.modules()],
                    "optimizer": learn.opt.state_dict(),
                    "random": random_states(),
                    "loader": [learn.dls.train.epoch, learn.dls.train.first_batch, learn.dls.train.rng.getstate()],
                    "callbacks": [type(callback).__name__ for callback in learn.cbs],
                    "values": learn.recorder.values,
                }
            )

        before, loss, function = state(), learn.loss_func, learn.loss_func.func
        rates, losses = find_rates_on(learn, recipe, recipe.phases[0], self.stages)
        assert len(rates) == len(losses) > 20
        assert state() == before
        assert learn.loss_func is loss and loss.func is function and loss.func.reduction == "mean"

    def test_all_is_as_before_also_when_it_is_interrupted(self, learner_of):
        recipe = small_recipe(mix="mixup")
        learn = learner_of(recipe)
        before = exact([learn.model.state_dict(), learn.opt.state_dict(), random_states()])

        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            find_rates_on(learn, recipe, recipe.phases[0], self.stages, interrupt)
        assert exact([learn.model.state_dict(), learn.opt.state_dict(), random_states()]) == before
        fit_phase(learn, recipe, recipe.phases[0], self.stages)  # and it can go on learning

    def test_training_afterwards_goes_on_as_if_nobody_had_looked(self, learner_of):
        recipe = small_recipe(phases=[Phase("All", trainable="all", epochs=1, lr=0.01)])
        ends = []
        for looks in (False, True):
            learn = learner_of(recipe)
            torch.manual_seed(7)
            if looks:
                find_rates_on(learn, recipe, recipe.phases[0], self.stages)
            fit_phase(learn, recipe, recipe.phases[0], self.stages)
            ends.append(exact(learn.model.state_dict()))
        assert ends[0] == ends[1]

    def test_lower_stages_get_their_share_of_the_rate(self, learner_of):
        phase = Phase("Upper", trainable="layer3", epochs=1, lr=[1e-4, 1e-2])
        recipe = small_recipe(phases=[phase])
        learn = learner_of(recipe)
        seen = []
        original = type(learn)._step

        def spy(self):
            seen.append([hyper["lr"] for hyper in self.opt.hypers])
            original(self)

        type(learn)._step = spy
        try:
            rates, _ = find_rates_on(learn, recipe, phase, self.stages)
        finally:
            type(learn)._step = original
        assert [step[-1] for step in seen[: len(rates)]] == pytest.approx(rates)
        low = self.stages.index("layer3")
        assert seen[5][low] / seen[5][-1] == pytest.approx(0.01)
        assert set(seen[5][:low]) == {0.0}


class TestOfARecipe:
    def test_a_rate_is_found_and_kept_and_nothing_else_is_left(self, pets):
        recipe = small_recipe(phases=TWO)
        told = []
        found = find_rates(pets, recipe, 0, told.append)
        assert found.phase == "Warm-up" and found.chosen == "valley" and found.notes == []
        assert found.lr == float(f"{found.suggestions['valley']:.2g}")
        assert {"valley", "steep", "minimum"} <= set(found.suggestions)
        assert len(found.rates) == len(found.losses) <= STEPS
        assert found.rates == sorted(found.rates) and found.seconds > 0
        assert any(text.startswith("Step ") for text in told)
        assert pets.runs.all() == [] and not list(pets.workspace.runs.glob("*"))
        assert read_rates(pets.workspace, resolve_recipe(pets, recipe), 0) == found
        assert find_rates(pets, recipe, 0, pytest.fail) == found  # not looked for again

    @pytest.mark.usefixtures("fewer_steps")
    def test_a_later_phase_is_tried_after_an_epoch_of_the_first(self, pets):
        found = find_rates(pets, small_recipe(phases=TWO), 1)
        low, high = found.lr
        assert high == float(f"{found.suggestions['valley']:.2g}")
        assert low / high == pytest.approx(0.05, rel=0.01)  # as the rates that the phase has by itself
        assert "the first phase (Warm-up) was trained for one epoch" in found.notes[0]

    @pytest.mark.usefixtures("fewer_steps")
    def test_frozen_stages_are_not_computed_at_every_step(self, pets):
        fed = []
        original = ImageLoader._fetch

        def spy(loader, indices):
            fed.append(loader.features is not None)
            return original(loader, indices)

        ImageLoader._fetch = spy
        try:
            find_rates(pets, small_recipe(phases=TWO), 1)
            assert all(fed) and len(fed) > 20
            fed.clear()
            found = find_rates(pets, small_recipe(phases=TWO, mix="mixup"), 0)
            assert not any(fed) and "computed anew" in found.notes[0]
        finally:
            ImageLoader._fetch = original

    @pytest.mark.usefixtures("fewer_steps")
    @pytest.mark.parametrize(
        "changes",
        [
            {"augment": Augment(flip_horizontal=True)},
            {"augment": Augment(flip_horizontal=True), "views": 0},
            {"accumulate": 2, "clip_norm": 1.0, "loss": "focal"},
            {"balance": "oversample", "phases": [replace(TWO[0], optimizer="ranger", image_size=64)]},
            {"balance": "weights", "phases": [replace(TWO[0], optimizer="sgd", schedule="constant")]},
        ],
    )
    def test_it_follows_what_the_recipe_says(self, pets, changes):
        found = find_rates(pets, small_recipe(**{"phases": TWO[:1]} | changes), 0)
        assert 1e-6 < found.lr <= 10 and math.isfinite(sum(found.losses))

    @pytest.mark.usefixtures("fewer_steps")
    def test_a_rate_that_is_used_keeps_what_was_found(self, pets):
        recipe = resolve_recipe(pets, small_recipe(phases=TWO))
        found = find_rates(pets, recipe, 1)
        used = with_rates(recipe, 1, found.lr)
        assert used.phases[1].lr == found.lr and used.phases[0] == recipe.phases[0]
        assert read_rates(pets.workspace, used, 1) == found
        assert read_rates(pets.workspace, with_rates(recipe, 0, 0.1), 1) is None  # it decides where phase 2 begins
        assert read_rates(pets.workspace, replace(recipe, batch_size=4), 1) is None

    def test_it_does_not_run_beside_training(self, pets):
        with (
            exclusive_device(pets.workspace),
            pytest.raises(RunError, match=r"This machine is training.*Try again once"),
        ):
            find_rates(pets, small_recipe(), 0)
        with exclusive_device(pets.workspace):
            pass

    def test_a_phase_that_is_not_there_is_told(self, pets):
        solved = small_recipe(phases=[Phase("Solve the head", solve=True)])
        with pytest.raises(RunError, match="Phase 1 solves the head, which takes no learning rate"):
            find_rates(pets, solved, 0)
        with pytest.raises(RunError, match="There is no phase 2: the recipe has 1"):
            find_rates(pets, small_recipe(), 1)

    def test_another_process_finds_it_for_the_page(self, pets, tmp_path):
        recipe = resolve_recipe(pets, small_recipe(phases=TWO))
        process = ask(pets, "rates", rates_file(pets.workspace, recipe, 0), recipe, 0)
        _, errors = process.communicate(timeout=GIVE_UP_S)
        assert process.returncode == 0, errors
        assert read_rates(pets.workspace, recipe, 0).phase == "Warm-up"
        process = ask(pets, "rates", tmp_path / "rates.json", replace(recipe, backbone="nosuch"), 0)
        _, errors = process.communicate(timeout=GIVE_UP_S)
        assert process.returncode == 2
        assert errors.strip().splitlines()[-1].startswith("backbone: 'nosuch' is not an architecture")

    def test_a_damaged_file_is_as_none(self, pets):
        recipe = resolve_recipe(pets, small_recipe())
        file = rates_file(pets.workspace, recipe, 0)
        file.parent.mkdir(parents=True)
        for text in ("{", json.dumps({"rates": []})):
            file.write_text(text)
            assert read_rates(pets.workspace, recipe, 0) is None


class TestReadingTheCurve:
    def test_a_fall_and_a_rise_give_rates_within_the_fall(self):
        x = np.log10(RATES)
        losses = 1.5 - 1.0 / (1 + np.exp(-4 * (x + 3))) + 3.0 / (1 + np.exp(-6 * (x + 0.5)))  # falls at 1e-3
        found = suggest(RATES, losses.tolist())
        assert 3e-4 < found["steep"] < 3e-3
        assert 1e-5 < found["valley"] < 1e-2
        lowest = RATES[int(losses.argmin())]
        assert found["minimum"] == pytest.approx(lowest / 10)
        assert "Valley is the middle of the longest stretch" in explain(RATES, losses.tolist())
        assert "guess" not in explain(RATES, losses.tolist())

    def test_a_loss_that_never_falls_is_called_a_guess(self):
        losses = [1.0 + 0.001 * (step % 3) for step in range(STEPS)]
        assert "this is little more than a guess" in explain(RATES, losses)

    def test_a_loss_that_explodes_at_once_gives_nothing(self):
        few = SKIPPED_FIRST + SKIPPED_LAST + FEWEST - 1
        with pytest.raises(RunError, match="The loss exploded at the lowest rates already"):
            suggest(RATES[:few], [1.0] * few)

    @pytest.mark.parametrize(
        ("lr", "scaled"),
        [
            ("auto", [0.0005, 0.01]),
            (0.3, 0.01),
            ([0.001, 0.01], [0.001, 0.01]),
            ({"layer4": 0.1, "head": 0.4}, {"layer4": 0.0025, "head": 0.01}),
        ],
    )
    def test_all_rates_of_a_phase_grow_alike(self, lr, scaled):
        assert scaled_to(Phase("All", trainable="all", lr=lr), 0.01004, batch_norm=True) == scaled
        assert scaled_to(Phase("Head"), 0.0123456, batch_norm=True) == 0.012


def test_reading_what_was_found_needs_no_torch():
    code = "import sys, learner.questions.rates; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
