"""Find learning rates for a phase: train a copy of the network while the rate grows from step to step.

After Smith 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, with the suggestions that
fastai reads from the curve. Nothing that lasts is changed: no run is made, and a Learner is left as it was.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import set_seed

from learner.errors import RunError
from learner.features.arrays import DiskError
from learner.features.cache import FeatureCache, all_views
from learner.features.loaders import ImageLoader, Views
from learner.jobs.device import exclusive_device
from learner.jobs.process import Tell
from learner.planning.estimate import resolve_recipe
from learner.questions.answers import keep_answer
from learner.questions.rates import CHOSEN, RateFind, rates_file, read_rates, scaled_to
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.training.callbacks import FrozenStagesEval, Gradients
from learner.training.losses import build_loss
from learner.training.phases import build_learner, fit_phase, has_batch_norm, mixing, prepare_phase
from learner.training.resume import random_states, restore_random
from learner.training.trial import Trial, set_up
from learner.wording import percent

STEPS = 100
LOWEST, HIGHEST = 1e-6, 10.0
"""Rates of the first step and the last."""
DIVERGED = 4.0
"""Times the lowest loss so far; then there is nothing more to learn from higher rates (fastai's constant)."""
SKIPPED_FIRST, SKIPPED_LAST = 10, 5
"""Steps that say little: the first by chance, the last by how fast the loss explodes (fastai's constants)."""
FEWEST = 10
"""Steps that are left to read anything from."""
SLIDE_STEPS = 16
"""fastai's slide compares steps that lie so far apart."""
SMALL_FALL = 0.03
"""A loss that falls by less than this share, on the way to its lowest, may as well have done so by chance."""
REPORT_EVERY_S = 0.3


WHAT_THEY_ARE = {
    "valley": "the middle of the longest stretch along which the loss falls: fast, and well clear of where it explodes",
    "steep": "where the loss falls fastest",
    "minimum": "a tenth of the rate at which the loss is lowest",
    "slide": "the highest rate before the loss stops changing evenly",
}


def find_rates(store: Store, recipe: Recipe, phase_index: int, tell: Tell = lambda _: None) -> RateFind:
    """Try rates for one phase, from 0, of a recipe; what was found before for the same is returned at once.

    A phase after the first is tried on a network whose first phase was trained for one epoch. Raises RunError when a
    run uses this machine, or when nothing can be read from the losses, and what `learner.training.trial.set_up` raises.
    """
    if not 0 <= phase_index < len(recipe.phases):
        raise RunError(f"There is no phase {phase_index + 1}: the recipe has {len(recipe.phases)}.")
    if recipe.phases[phase_index].solve:
        raise RunError(f"Phase {phase_index + 1} solves the head, which takes no learning rate. Name another phase.")
    recipe = resolve_recipe(store, recipe)
    found = read_rates(store.workspace, recipe, phase_index)
    if found is not None:
        return found
    with exclusive_device(store.workspace):
        found = _find(store, recipe, phase_index, tell)
    keep_answer(rates_file(store.workspace, recipe, phase_index), found)
    return found


def find_rates_on(
    learn: Learner, recipe: Recipe, phase: Phase, stages: list[str], tell: Tell = lambda _: None
) -> tuple[list[float], list[float]]:
    """Rates of the fastest part, and the smoothed training losses at them, one a step.

    Trains a copy of `learn`'s network on its loader. Its own weights, optimizer and loss, the loader and all random
    states are as they were when this returns or raises.
    """
    trial = build_learner(copy.deepcopy(learn.model), learn.dls, copy.deepcopy(learn.loss_func))
    prepare_phase(trial, phase, stages)
    trial.gather_gradients.batches = recipe.accumulate
    groups = np.array(phase.group_rates(stages, has_batch_norm(trial.model[0])))
    steps = STEPS * recipe.accumulate
    growing = _GrowingRate(groups / groups.max(), steps, lambda batch: tell(f"Step {batch} of {steps}"))
    with _as_it_was(learn.dls.train):
        set_seed(recipe.seed)
        trial.opt.set_hyper("mom", phase.momenta()[0])
        trial.add_cbs([FrozenStagesEval(), Gradients(recipe.clip_norm), *mixing(recipe), growing])
        trial.fit(math.ceil(steps / len(learn.dls.train)) + 1, lr=groups, wd=phase.weight_decay)
    return growing.rates, growing.losses


class _GrowingRate(Callback):
    """Makes every batch's rate the same factor higher than the one before, and ends when the loss explodes."""

    order = 60  # after Recorder, whose loss is the smoothed one

    def __init__(self, proportions: np.ndarray, steps: int, tell: Callable[[int], None]):
        self._proportions, self._steps, self._tell = proportions, steps, tell
        self._told_at = 0.0
        self.rates: list[float] = []
        self.losses: list[float] = []

    def before_epoch(self) -> None:
        self.dls.train.epoch, self.dls.train.first_batch = self.epoch, 0

    def before_batch(self) -> None:
        rate = LOWEST * (HIGHEST / LOWEST) ** (len(self.rates) / (self._steps - 1))
        self.rates.append(rate)
        self.opt.set_hyper("lr", rate * self._proportions)

    def after_batch(self) -> None:
        loss = float(self.recorder.smooth_loss.value)
        if not math.isfinite(loss):
            self.rates.pop()
            raise CancelFitException
        self.losses.append(loss)
        if time.monotonic() - self._told_at > REPORT_EVERY_S:
            self._told_at = time.monotonic()
            self._tell(len(self.losses))
        if loss > DIVERGED * min(self.losses) or len(self.losses) == self._steps:
            raise CancelFitException

    def before_validate(self) -> None:
        raise CancelValidException


@contextmanager
def _as_it_was(loader: ImageLoader) -> Iterator[None]:
    """Put the loader, and everything that is drawn at random, back to where they stood."""
    states, own, kept = random_states(), loader.rng.getstate(), dict(loader.__dict__)
    try:
        yield
    finally:
        loader.__dict__.clear()
        loader.__dict__.update(kept)
        loader.rng.setstate(own)
        restore_random(states)


# On a recipe


def _find(store: Store, recipe: Recipe, phase_index: int, tell: Tell) -> RateFind:
    began = time.monotonic()
    phase = recipe.phases[phase_index]
    tell("Reading the data set and the weights")
    trial = set_up(store, recipe, most_images=STEPS * recipe.batch_size * recipe.accumulate)
    stages = trial.backbone.stages
    notes = []
    if len(trial.train) < sum(trial.images_per_class):
        notes.append(f"Tried on {len(trial.train):,} of {sum(trial.images_per_class):,} training images.")
    if phase_index:
        first = recipe.phases[0]
        notes.append(f"Before, the first phase ({first.name}) was trained for one epoch, as the head is new otherwise.")
        learn = _learner(store, trial, first, tell)
        tell(f"Training {first.name} for one epoch first")
        learn.add_cbs([FrozenStagesEval(), _TrainingOnly()])
        fit_phase(learn, recipe, replace(first, epochs=1), stages)
    learn = _learner(store, trial, phase, tell)
    if phase.first_trainable_group(stages) and not learn.model.skip:
        notes.append("Frozen stages were computed anew at every step, as their outputs could not be kept.")
    rates, losses = find_rates_on(learn, recipe, phase, stages, tell)
    suggestions = suggest(rates, losses)
    return RateFind(
        phase=phase.name,
        rates=rates,
        losses=losses,
        suggestions=suggestions,
        chosen=CHOSEN,
        lr=scaled_to(phase, suggestions[CHOSEN], has_batch_norm(trial.network[0])),
        why=explain(rates, losses),
        notes=notes,
        seconds=time.monotonic() - began,
    )


def _learner(store: Store, trial: Trial, phase: Phase, tell: Tell) -> Learner:
    """A Learner whose frozen stages are left out where their outputs can be kept, ready for that phase."""
    recipe = trial.recipe
    size = phase.image_size or recipe.side
    # One view an image is enough here; a run that keeps more of them finds this one.
    views = Views(recipe.augment, 1, recipe.seed) if recipe.augment.changes_anything else None
    cache = trial.cache(store, size, views)
    loader = trial.loader(cache, size, views)
    tell("Reading the images")
    loader.pixels = cache.pixels(trial.train)
    trial.network.skip = 0
    cut = phase.first_trainable_group(trial.backbone.stages)
    if cut and recipe.mix == "none" and recipe.cache != "off" and _kept(cache, cut, loader, tell):
        trial.network.skip = cut
        loader.features = cache.features(cut, all_views(trial.train, views))
        loader.feature_dtype = trial.network.precision.dtype
    dls = DataLoaders(loader, loader, device=trial.device)
    learn = build_learner(trial.network, dls, build_loss(recipe, trial.images_per_class, trial.device))
    prepare_phase(learn, phase, trial.backbone.stages)
    return learn


def _kept(cache: FeatureCache, cut: int, loader: ImageLoader, tell: Tell) -> bool:
    """Whether the disk takes what leaves the frozen stages."""
    items = all_views(loader.pixels.files, loader.views)
    total, done = cache.missing([cut], items), 0

    def tick(images: int) -> None:
        nonlocal done
        done += images
        tell(f"Running every image through the frozen stages, once: {done:,} of {total:,}")

    try:
        return cache.compute([cut], items, tick)
    except DiskError:
        return False


class _TrainingOnly(Callback):
    def before_validate(self) -> None:
        raise CancelValidException


# Reading the curve


def suggest(rates: list[float], losses: list[float]) -> dict[str, float]:
    """fastai's suggestions by name. Raises RunError when there are too few steps to read anything from."""
    x, y = _readable(rates, losses)
    if len(x) < FEWEST:
        raise RunError(
            "The loss exploded at the lowest rates already, so no rate can be suggested. Look at the data set and the "
            "recipe: a pretrained network and normalised images do not do that."
        )
    found = {name: float(method(x, y, STEPS)[0]) for name, method in _methods(len(x)).items()}
    return {name: rate for name, rate in found.items() if 0 < rate <= HIGHEST}


def explain(rates: list[float], losses: list[float]) -> str:
    """Why the chosen one, in words, and how much that is worth."""
    _, y = _readable(rates, losses)
    fall = 1 - float(y.min()) / float(y[0])
    why = f"{CHOSEN.capitalize()} is {WHAT_THEY_ARE[CHOSEN]}."
    if fall < SMALL_FALL:
        return f"{why} But the loss fell by {percent(max(fall, 0.0))} only, so this is little more than a guess."
    return f"{why} The loss fell by {percent(fall)} on the way to its lowest."


def _methods(steps: int) -> dict[str, Callable[..., Any]]:
    methods = {"valley": valley, "steep": steep, "minimum": minimum}
    return methods | {"slide": slide} if steps > SLIDE_STEPS else methods


def _readable(rates: list[float], losses: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    kept = slice(SKIPPED_FIRST, -SKIPPED_LAST)
    return torch.tensor(rates[kept]), torch.tensor(losses[kept])
