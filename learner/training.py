"""Train a run: the phases of its recipe, in order, over one fastai Learner."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

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

from learner.backbones import Backbone, build
from learner.callbacks import FrozenStagesEval, Reporter, StopWhenNotFinite
from learner.datasets import image_path, summarize, train_valid_split
from learner.errors import RunError, RunStopped
from learner.evaluation import evaluate
from learner.export import ModelSpec, export_learner, save_model
from learner.heads import build_head
from learner.loaders import LabelledFile, make_dataloaders, workers_for
from learner.progress import Listener, Progression
from learner.recipe import Phase, Recipe, choose_image_size
from learner.results import save_result
from learner.store import Image, Store

log = logging.getLogger(__name__)


@dataclass
class _Prepared:
    learn: Learner
    spec: ModelSpec
    backbone: Backbone
    recipe: Recipe
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

    learn, phases = prepared.learn, prepared.recipe.phases
    progression.expect(_phase_costs(learn, phases, prepared.backbone.stages), [phase.epochs for phase in phases])
    reporter = Reporter(progression, keep=lambda: save_model(learn.model, prepared.spec, checkpoint))
    guard = StopWhenNotFinite()
    learn.add_cbs([reporter, FrozenStagesEval(), guard])
    for index, phase in enumerate(phases):
        if progression.stop_requested:
            break
        log.info("Phase %d, %s: %s", index + 1, phase.name, asdict(phase))
        reporter.begin_phase(index, phase)
        run_phase(learn, phase, prepared.backbone.stages)
        if guard.happened:
            raise RunError(
                "The loss stopped being a number, which mostly means that the learning rate is too high. Try a tenth "
                f"of it in phase {index + 1}, {phase.name}. The best checkpoint of the epochs before is kept."
            )

    status = "stopped" if progression.stop_requested else "finished"
    if not checkpoint.exists():
        raise RunStopped("The run was stopped before anything was learnt, so there is no model to keep.")
    progression.say("Looking at every validation image once more, with the best checkpoint")
    learn.model.load_state_dict(load_file(checkpoint))
    learn.remove_cb(reporter)  # what follows is no epoch of the run
    probs, targets = learn.get_preds(dl=learn.dls.valid)
    result = evaluate(probs.numpy(), targets.numpy(), prepared.spec.classes)
    save_result(folder, result, probs.numpy(), prepared.valid_images, prepared.spec.classes)
    progression.say("Writing learner.pkl")
    export_learner(checkpoint, folder)
    progression.say("Done", done=1.0)
    return status


def build_learner(backbone: Backbone, dls: DataLoaders, num_classes: int) -> Learner:
    """A Learner on `Sequential(body, head)` with one parameter group a stage, in order, and one for the head.

    `freeze()`, `freeze_to(n)` and `unfreeze()` therefore count in stages. Frozen batch-norm stays frozen.
    """
    model = nn.Sequential(backbone.body, build_head(backbone.num_features, num_classes))
    learn = Learner(
        dls,
        model.to(dls.device, memory_format=torch.channels_last),  # about twice as fast on a CPU
        loss_func=CrossEntropyLossFlat(),
        metrics=[accuracy, error_rate],
        splitter=stage_groups,
        train_bn=False,
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


def pick_device() -> torch.device:
    """CUDA where there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _prepare(store: Store, run_id: int, recipe: Recipe) -> _Prepared:
    run = store.runs.get(run_id)
    version = store.datasets.version_by_id(run.dataset_version_id)
    summary = summarize(store, version)
    train_images, valid_images = train_valid_split(
        store.datasets.images(version.id), recipe.seed, recipe.valid_fraction
    )
    classes = summary.classes
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

    def files(images: list[Image]) -> list[LabelledFile]:
        return [LabelledFile(image_path(store.workspace, version.name, image), image.label) for image in images]

    device = pick_device()
    dls = make_dataloaders(
        files(train_images),
        files(valid_images),
        classes,
        recipe.image_size,
        recipe.batch_size,
        backbone.mean,
        backbone.std,
        device,
        workers_for(len(train_images), typical_side),
    )
    set_seed(recipe.seed, reproducible=True)
    learn = build_learner(backbone, dls, len(classes))
    spec = ModelSpec(
        arch=backbone.arch,
        stages=backbone.stages,
        classes=classes,
        image_size=recipe.image_size,
        mean=list(backbone.mean),
        std=list(backbone.std),
        num_features=backbone.num_features,
    )
    store.runs.started(run_id, _facts(recipe, backbone, spec, train_images, valid_images, device))
    return _Prepared(learn, spec, backbone, recipe, valid_images)


def _facts(recipe, backbone, spec, train_images, valid_images, device) -> dict[str, Any]:
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type.upper()}, {threads} threads"
    return {
        "backbone": backbone.arch,
        "weights": asdict(backbone.source),
        "stages": backbone.stages,
        "stage_parameters": [sum(p.numel() for p in stage.parameters()) for stage in backbone.body],
        "rates": [phase.group_rates(backbone.stages, has_batch_norm(backbone.body)) for phase in recipe.phases],
        "classes": spec.classes,
        "image_size": recipe.image_size,
        "train_images": len(train_images),
        "valid_images": len(valid_images),
        "device": name,
    }


def _phase_costs(learn: Learner, phases: list[Phase], stages: list[str]) -> list[tuple[float, float]]:
    """Expected seconds of a training and of a validation batch in each phase, from one timed forward pass.

    A backward pass through what learns costs about twice its forward pass (Kaplan et al. 2020, arXiv:2001.08361, §2.1).
    """
    x = learn.dls.train.one_batch()[0]
    seconds = []
    learn.model.eval()
    with torch.no_grad():
        for part in [*learn.model[0], learn.model[1]]:
            part(x)  # the first call prepares kernels
            began = time.perf_counter()
            x = part(x)
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
    forward = sum(seconds)
    return [(forward + 2 * sum(seconds[phase.first_trainable_group(stages) :]), forward) for phase in phases]
