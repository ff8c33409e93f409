"""Train a run: the phases of its recipe, in order, over one fastai Learner."""

import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import fastai.callback.schedule  # noqa: F401  importing it gives Learner its fit methods
import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.torch_core import params, set_seed
from safetensors.torch import load_file
from torch import nn

from learner.backbones import build
from learner.callbacks import FrozenStagesEval, LossScaling, Reporter, StopWhenNotFinite
from learner.datasets import image_path, split_by, summarize
from learner.errors import RunError, RunStopped
from learner.evaluation import evaluate
from learner.expecting import amounts_for
from learner.export import ModelSpec, export_learner, save_model
from learner.features import FeatureCache
from learner.feeding import Feed
from learner.heads import build_head
from learner.loaders import LabelledFile, Preprocess, Views, make_dataloaders
from learner.measuring import device_name, pick_device, speeds_of
from learner.network import Network
from learner.optimizers import build_optimizer
from learner.precision import Precision
from learner.progress import Listener, Progression, StopAsked
from learner.recipe import Phase, Recipe, choose_image_size
from learner.results import save_result
from learner.speed import RunPlan, choose_speed, forget_speeds, plan_run
from learner.store import Image, Store

log = logging.getLogger(__name__)


@dataclass
class _Prepared:
    learn: Learner
    spec: ModelSpec
    feed: Feed
    stages: list[str]
    recipe: Recipe
    plan: RunPlan
    valid_images: list[Image]


def train(store: Store, run_id: int, listener: Listener | None = None) -> str:
    """Execute the run's recipe and write its result. Returns `finished`, or `stopped` when a person asked for that.

    `listener` hears every progress report that goes to the store.
    Raises RunStopped when a stop came before the first epoch, and another ThawError (RecipeError, WeightsError,
    RunError, …) for what a person can put right.
    """
    run = store.runs.get(run_id)
    folder = store.workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    progression = Progression(store, run_id, listener)
    progression.say("Reading the data set and the weights")
    prepared = _prepare(store, run_id, Recipe.from_dict(run.recipe))
    (folder / "recipe.yaml").write_text(prepared.recipe.to_yaml(), "utf-8")
    checkpoint = store.workspace.checkpoint(run_id)

    learn, feed, plan = prepared.learn, prepared.feed, prepared.plan
    progression.expect(plan)
    reporter = Reporter(progression, keep=lambda: save_model(learn.model, prepared.spec, checkpoint))
    guard = StopWhenNotFinite()
    learn.add_cbs([reporter, FrozenStagesEval(), guard])
    with suppress(StopAsked):
        feed.decode(plan, progression)
        for index, phase in enumerate(prepared.recipe.phases):
            if progression.stop_requested:
                break
            log.info("Phase %d, %s: %s", index + 1, phase.name, asdict(phase))
            _run_planned(store, run_id, prepared, index, reporter)
            if guard.happened:
                raise RunError(
                    "The loss stopped being a number, which mostly means that the learning rate is too high. Try a "
                    f"tenth of it in phase {index + 1}, {phase.name}. The best checkpoint of the epochs before is kept."
                )

    if not plan.was_right:
        forget_speeds(store.workspace, prepared.recipe)
    status = "stopped" if progression.stop_requested else "finished"
    if not checkpoint.exists():
        raise RunStopped("The run was stopped before anything was learnt, so there is no model to keep.")
    progression.say("Looking at every validation image once more, with the best checkpoint")
    learn.model.load_state_dict(load_file(checkpoint))
    feed.begin_evaluation()
    learn.remove_cb(reporter)  # what follows is no epoch of the run
    probs, targets = learn.get_preds(dl=learn.dls.valid, reorder=False)
    result = evaluate(probs.numpy(), targets.numpy(), prepared.spec.classes)
    save_result(folder, result, probs.numpy(), prepared.valid_images, prepared.spec.classes)
    progression.say("Writing learner.pkl")
    export_learner(checkpoint, folder)
    progression.say("Done", done=1.0)
    return status


def _run_planned(store: Store, run_id: int, prepared: _Prepared, index: int, reporter: Reporter) -> None:
    """One phase with what it trains on, and what that cost beside what was expected."""
    phase, plan = prepared.recipe.phases[index], prepared.plan.phases[index]
    began = time.monotonic()
    reporter.begin_phase(index, plan)
    prepared.feed.begin(index, plan, reporter.progression)
    log.info("Feature cache %s: %s", "on" if plan.cached else "off", plan.reason)
    run_phase(prepared.learn, phase, prepared.stages)
    plan.true_s = time.monotonic() - began
    store.runs.add_facts(run_id, plan=prepared.plan.to_dict())


def build_learner(network: Network, dls: DataLoaders) -> Learner:
    """A Learner with one parameter group a stage, in order, and one for the head.

    `freeze()`, `freeze_to(n)` and `unfreeze()` therefore count in stages, whatever part of the network a phase runs.
    Frozen batch-norm stays frozen.
    """
    learn = Learner(
        dls,
        network,
        loss_func=CrossEntropyLossFlat(),
        opt_func=build_optimizer,
        metrics=[accuracy, error_rate],
        splitter=stage_groups,
        train_bn=False,
        cbs=[LossScaling()] if network.precision.needs_scaling else None,
    )
    learn.logger = lambda *_: None
    learn.remove_cbs([callback for callback in learn.cbs if callback.name == "progress"])
    return learn


def stage_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """The parameters of `Sequential(body, head)`: one list a stage, then the head's."""
    return [params(stage) for stage in model[0]] + [params(model[1])]


def run_phase(learn: Learner, phase: Phase, stages: list[str]) -> None:
    """Fit one phase with a fresh optimizer: fastai drops the moments at `freeze_to` too, but keeps old gradients."""
    learn.model.zero_grad(set_to_none=True)
    learn.create_opt()
    learn.freeze_to(phase.first_trainable_group(stages))
    rates = np.array(phase.group_rates(stages, has_batch_norm(learn.model[0])))
    if phase.schedule == "one_cycle":
        learn.fit_one_cycle(phase.epochs, lr_max=rates, wd=phase.weight_decay)
    elif phase.schedule == "flat_cos":
        learn.fit_flat_cos(phase.epochs, lr=rates, wd=phase.weight_decay)
    else:
        learn.opt.set_hyper("lr", rates)
        learn.fit(phase.epochs, lr=rates, wd=phase.weight_decay)


def has_batch_norm(body: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in body.modules())


def _prepare(store: Store, run_id: int, recipe: Recipe) -> _Prepared:
    run = store.runs.get(run_id)
    version = store.datasets.version_by_id(run.dataset_version_id)
    summary = summarize(store, version)
    train_images, valid_images = split_by(recipe, store.datasets.images(version.id))
    typical_side = max(summary.median_width, summary.median_height)

    set_seed(recipe.seed, reproducible=True)
    backbone = build(recipe.backbone, recipe.weights, store.workspace)
    recipe = replace(
        recipe,
        version=version.number,
        backbone=backbone.arch,
        image_size=choose_image_size(recipe.image_size, typical_side),
    )
    recipe.check(backbone.stages)
    train_files, valid_files = (
        [LabelledFile(image_path(store.workspace, version.name, image), image.label, image.sha256) for image in images]
        for images in (train_images, valid_images)
    )
    device = pick_device()
    amounts = amounts_for(store.workspace, [file.path for file in train_files], len(valid_files), recipe.image_size)
    speed = choose_speed(recipe, speeds_of(store.workspace, recipe, device), amounts)
    recipe = replace(recipe, precision=speed.precision)

    set_seed(recipe.seed, reproducible=True)
    head = build_head(backbone.num_features, len(summary.classes))
    network = Network(backbone.body, head, Precision(speed.precision, speed.precision_reason))
    network = network.to(device, memory_format=torch.channels_last)  # about twice as fast on a CPU
    preprocess = Preprocess(recipe.image_size, backbone.mean, backbone.std)
    views = Views(recipe.augment, recipe.views, recipe.seed) if recipe.augment.changes_anything else None
    cache = FeatureCache(store.workspace, network, backbone.arch, preprocess, views, recipe.batch_size)
    dls = make_dataloaders(
        train_files, valid_files, summary.classes, cache.decoder, preprocess, views, recipe.batch_size, device
    )
    feed = Feed(network, cache, dls, views)
    amounts = replace(amounts, undecoded=cache.missing_pixels(train_files + valid_files), kept=feed.kept_cuts())
    plan = plan_run(recipe, speed, amounts)
    spec = ModelSpec(
        arch=backbone.arch,
        stages=backbone.stages,
        classes=summary.classes,
        image_size=recipe.image_size,
        mean=list(backbone.mean),
        std=list(backbone.std),
        num_features=backbone.num_features,
        precision=recipe.precision,
    )
    facts = {
        "backbone": backbone.arch,
        "weights": asdict(backbone.source),
        "stages": backbone.stages,
        "stage_parameters": [sum(p.numel() for p in stage.parameters()) for stage in backbone.body],
        "rates": [phase.group_rates(backbone.stages, has_batch_norm(backbone.body)) for phase in recipe.phases],
        "classes": spec.classes,
        "image_size": recipe.image_size,
        "train_images": len(train_images),
        "valid_images": len(valid_images),
        "device": device_name(device),
        "plan": plan.to_dict(),
    }
    store.runs.started(run_id, facts)
    return _Prepared(build_learner(network, dls), spec, feed, backbone.stages, recipe, plan, valid_images)
