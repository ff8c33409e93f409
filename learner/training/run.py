"""Train one run: the phases of a recipe over one Learner, from wherever it stands to its result."""

import gc
import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import set_seed
from safetensors.torch import load_file
from torch import nn

from learner.datasets import dataset_folder, split_by, summarize
from learner.errors import RunError, RunStopped, is_out_of_memory
from learner.evaluation.inspect import Seen, conclude, references_of, see
from learner.evaluation.results import forget_looks
from learner.exports import export_learner
from learner.features.cache import FeatureCache
from learner.features.loaders import LabelledFile, Order, Views, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.jobs.memory import give_back
from learner.models.backbones import build
from learner.models.checkpoint import ModelSpec, load_weights, read_spec, save_model
from learner.models.heads import build_head
from learner.models.layers import layers_of
from learner.models.network import Network
from learner.models.precision import Precision
from learner.planning.cost import RunPlan, forget_speeds, plan_run
from learner.planning.estimate import amounts_for
from learner.recipe import Phase, Recipe, choose_image_size
from learner.store import Image, Run, Store
from learner.store.runs import MOST_DEATHS
from learner.training.benchmark import device_name, pick_device, speed_of_run
from learner.training.callbacks import (
    FrozenStagesEval,
    Gradients,
    Place,
    Reporter,
    Samples,
    StopWhenNotFinite,
    Tally,
    rank_of,
)
from learner.training.feed import Feed
from learner.training.losses import build_loss
from learner.training.phases import build_learner, fit_phase, has_batch_norm, prepare_phase
from learner.training.progress import Listener, Progression, StopAsked
from learner.training.resume import (
    link_or_copy,
    load_point,
    remove_point,
    restore_best,
    restore_random,
    save_point,
    sweep,
)
from learner.wording import count

log = logging.getLogger(__name__)

SAMPLE_IMAGES = 12
"""Validation photos whose predictions are noted after each epoch."""
SMALLEST_BATCH = 2
PHASE_SEEDS = 7919
"""Between the seeds of one phase and the next: a prime, so that runs with neighbouring seeds share none."""


def train(store: Store, run_id: int, listener: Listener | None = None) -> str:
    """Execute the run's recipe from wherever it stands and write its result.

    Returns `finished`, or `stopped` or `paused` when a person asked for that. `listener` hears every progress report
    that goes to the store. When memory runs out, it goes on with half the batch and twice the batches a step.
    Raises RunStopped when a stop came before the first epoch, RunTakenOver when another process executes the run by
    now, and another ThawError (RecipeError, WeightsError, RunError, …) for what a person can put right.
    """
    progression = Progression(store, run_id, listener)
    if store.runs.get(run_id).deaths == MOST_DEATHS - 1:  # the last try; the system ends what takes too much memory
        _halve_batch(store, run_id, "The training process died twice, perhaps for lack of memory.")
    while True:
        try:
            return _Training(store, run_id, progression).run()
        except Exception as error:
            if not is_out_of_memory(error) or not _halve_batch(store, run_id, "Memory ran out."):
                raise
            log.warning("Memory ran out: %s", error)
        gc.collect()  # the traceback that held the network is gone by now
        give_back()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _halve_batch(store: Store, run_id: int, why: str) -> bool:
    """Let the run go on with half the batch size and as many images a step, and say so; False where it is too small."""
    facts = store.runs.get(run_id).facts
    if "recipe" not in facts or facts["recipe"]["batch_size"] < 2 * SMALLEST_BATCH:
        return False
    recipe = Recipe.from_dict(facts["recipe"])
    smaller = replace(recipe, batch_size=recipe.batch_size // 2, accumulate=2 * recipe.accumulate)
    note = (
        f"{why} It goes on with {smaller.batch_size} images a batch instead of {recipe.batch_size}, and "
        f"{count(smaller.accumulate, 'batch', 'batches')} a step, which comes to nearly the same in less memory."
    )
    store.runs.add_facts(run_id, recipe=smaller.to_dict(), notes=[*facts.get("notes", []), note])
    return True


@dataclass
class _Sized:
    """What depends on the size of images."""

    spec: ModelSpec
    feed: Feed
    cache: FeatureCache
    dls: DataLoaders


class _Training:
    """One attempt at a run in this process."""

    def __init__(self, store: Store, run_id: int, progression: Progression):
        self.store, self.run_id, self.progression = store, run_id, progression
        self.workspace = store.workspace
        self.folder = self.workspace.run_folder(run_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        forget_looks(self.folder)
        self.best_model = self.workspace.checkpoint(run_id)
        self.point = self.workspace.resume_point(run_id)

    def run(self) -> str:
        self.progression.say("Reading the data set and the weights")
        run = self.store.runs.get(self.run_id)
        point = load_point(self.point)
        begun = point is not None or run.parent is not None or self.workspace.phase_end(self.run_id, 0).exists()
        self._prepare(run, begun)
        (self.folder / "recipe.yaml").write_text(self.recipe.to_yaml(), "utf-8")
        point = self._find_place(run, point)
        self.progression.expect(self.plan, self.place.phase, self.place.epoch + self._share_of_epoch())
        self.reporter = Reporter(self.progression, self.place, self._keep_best, self._remember)
        self.guard = StopWhenNotFinite()
        samples = Samples([self.valid_images.index(image) for image in self.sample_images])
        self.learn.add_cbs([self.reporter, FrozenStagesEval(), self.guard, Gradients(self.recipe.clip_norm), samples])
        finished = False
        with suppress(StopAsked):
            finished = self._run_phases(point)
        if self.progression.asked == "pause" and not finished:
            return "paused"
        return self._finish("finished" if finished else "stopped")

    # Phases

    def _run_phases(self, point: dict | None) -> bool:
        """All phases from where the run stands; False where somebody asked it to end before."""
        if self.progression.asked:
            return False
        decoded_s = self.sized.feed.decode(self.plan.decode_s, self.progression)
        self.plan.true_decode_s = self.plan.true_decode_s or decoded_s
        for index in range(self.place.phase, len(self.recipe.phases)):
            phase = self.recipe.phases[index]
            log.info("Phase %d, %s: %s", index + 1, phase.name, asdict(phase))
            self._run_phase(index, phase, point)
            point = None
            if self.guard.happened:
                raise RunError(
                    "The loss stopped being a number, which mostly means that the learning rate is too high. Try a "
                    f"tenth of it in phase {index + 1}, {phase.name}. The best checkpoint of the epochs before is kept."
                )
            if self.progression.stops_now or not self.reporter.is_phase_over:
                return False
            self._end_phase(index, phase)
            if self.progression.asked and index + 1 < len(self.recipe.phases):
                return False
        return True

    def _run_phase(self, index: int, phase: Phase, point: dict | None) -> None:
        """One phase, or the rest of it, with what it trains on, and what that cost beside what was expected."""
        plan = self.plan.phases[index]
        began, earlier_s = time.monotonic(), plan.true_s or 0.0
        epochs = [epoch for epoch in self.store.runs.epochs(self.run_id) if epoch.phase == index]
        self.reporter.begin_phase(phase, plan, epochs)
        self._use_size(phase.image_size or self.recipe.image_size)
        if phase.image_size:
            self.sized.feed.decode(plan.features_s, self.progression, index)
        self.sized.feed.begin(index, plan, self.progression)
        log.info("Feature cache %s: %s", "on" if plan.cached else "off", plan.reason)
        prepare_phase(self.learn, phase, self.stages)
        if point is None:
            # By phase, so that a run that starts again from a phase's end does what the whole one did.
            set_seed((self.recipe.seed + PHASE_SEEDS * (index + 1)) % 2**32, reproducible=True)
        else:
            self.learn.opt.load_state_dict(point["optimizer"])
            self.learn.scaler_state = point["scaler"]
            if self.place.tally.batch:  # within an epoch, whose loader had begun
                self.learn.before_first_batch = partial(restore_random, point["random"])
            else:
                restore_random(point["random"])
        self.learn.first_epoch = self.place.epoch
        if not self.reporter.is_phase_over:
            fit_phase(self.learn, self.recipe, phase, self.stages)
        plan.true_s = earlier_s + time.monotonic() - began
        self.store.runs.add_facts(self.run_id, plan=self.plan.to_dict())

    def _end_phase(self, index: int, phase: Phase) -> None:
        """Keep the model as it is now, from which other runs can start, and stand at the next phase's beginning."""
        path = self.workspace.phase_end(self.run_id, index)
        path.parent.mkdir(exist_ok=True)
        save_model(self.learn.model, self.sized.spec, path)
        self.progression.skip(index, phase.epochs - self.place.epoch)
        self.place.phase, self.place.epoch, self.place.tally = index + 1, 0, Tally()
        if index + 1 < len(self.recipe.phases):
            self._remember()

    def _keep_best(self) -> None:
        save_model(self.learn.model, self.sized.spec, self.best_model)

    def _remember(self) -> None:
        save_point(self.point, self.learn, self.place, self.best_model)

    def _finish(self, status: str) -> str:
        """Look at every validation image with the best model, and write the result."""
        if not self.best_model.exists():
            raise RunStopped("The run was stopped before anything was learnt, so there is no model to keep.")
        if status == "finished" and not self.plan.was_right:
            forget_speeds(self.workspace, self.recipe)
        self.learn.model.load_state_dict(load_weights(self.best_model))
        self._use_size(read_spec(self.best_model).image_size)
        self.progression.say("Looking at every validation image once more, with the best checkpoint")
        valid = self._see(self.valid_images)
        self.progression.say("Looking at training images once more, to know what is like them")
        train = self._see(references_of(self.train_images))
        self.progression.say("Writing the result")
        conclude(self.folder, self.learn.model, self.sized.spec, valid, train, self.image_base)
        self.progression.say("Writing learner.pkl")
        export_learner(self.best_model, self.folder)
        self.progression.say("Done", done=1.0)
        if status == "finished":
            remove_point(self.point)
        return status

    def _see(self, images: list[Image]) -> Seen:
        files = [LabelledFile.of(self.image_base / image.file, image) for image in images]
        return see(self.network, (x for x, _ in self.sized.feed.look_at(files)), images)

    # Where it stands

    def _find_place(self, run: Run, point: dict | None) -> dict | None:
        """Load the network as it was when the run was left; returns its resume point, if that lies within a phase."""
        if point is not None:
            self.place = point["place"]
            self.place.use_batch_size(self.recipe.batch_size)
            self.learn.model.load_state_dict(point["model"])
            restore_best(self.point, self.place, self.best_model)
        else:
            if run.parent is not None:
                self._take_over(run)
            self.place = self._place_by_phases()
        accuracy = self.place.best[0] if self.place.best else None
        at = self.place.epochs_done + self._share_of_epoch()
        self.store.runs.rewind(self.run_id, at, accuracy, self.place.best_epoch)
        if at:
            log.info("It goes on after %.2f epochs", at)
        return point if self.place.epoch or self.place.tally.batch else None

    def _take_over(self, run: Run) -> None:
        """Make the ends of the parent's phases this run's own, so that the parent may be deleted."""
        for phase in range(run.parent_phase + 1):
            own, theirs = (self.workspace.phase_end(run_id, phase) for run_id in (run.id, run.parent))
            if own.exists():
                continue
            if not theirs.exists():
                raise RunError(f"What run {run.parent} had kept is gone, so run {run.id} cannot start from there.")
            own.parent.mkdir(exist_ok=True)
            link_or_copy(theirs, own)

    def _place_by_phases(self) -> Place:
        """The beginning of the first phase whose end is not kept, and the network as it was then."""
        done = 0
        while done < len(self.recipe.phases) and self.workspace.phase_end(self.run_id, done).exists():
            done += 1
        epochs = [epoch for epoch in self.store.runs.epochs(self.run_id) if epoch.phase < done]
        place = Place(phase=done, epochs_done=len(epochs), batch_size=self.recipe.batch_size)
        if not epochs:
            self.best_model.unlink(missing_ok=True)
            return place
        end = self.workspace.phase_end(self.run_id, done - 1)
        self.learn.model.load_state_dict(load_file(end))
        if not self.best_model.exists():  # of a run that starts here, the best so far is what it starts from
            link_or_copy(end, self.best_model)
            epochs = epochs[-1:]
        ranks = [(rank_of(epoch.accuracy, epoch.valid_loss), -epoch.epoch) for epoch in epochs]
        place.best, first = max(ranks)
        place.best_epoch = -first
        return place

    def _share_of_epoch(self) -> float:
        return self.place.tally.batch / max(len(self.learn.dls.train), 1)

    # What it works with

    def _prepare(self, run: Run, begun: bool) -> None:
        """The network, the images and the plan; a run that goes on keeps what was decided before.

        `begun`: the network's state was kept, and takes the place of the pretrained weights.
        """
        before = run.facts
        if "recipe" not in before and run.parent is not None:
            before = self.store.runs.get(run.parent).facts
        version = self.store.datasets.version_by_id(run.dataset_version_id)
        summary = summarize(self.store, version)
        recipe = _settled(run, before)
        self.train_images, self.valid_images = split_by(recipe, self.store.datasets.images(version.id))
        self.sample_images = _spread(self.valid_images)
        self.image_base = dataset_folder(self.workspace, version.name)

        set_seed(recipe.seed, reproducible=True)
        self.backbone = build(recipe.backbone, "random" if begun else recipe.weights, self.workspace)
        self.stages = self.backbone.stages
        typical_side = max(summary.median_width, summary.median_height)
        image_size = choose_image_size(recipe.image_size, typical_side)
        recipe = replace(recipe, version=version.number, backbone=self.backbone.arch, image_size=image_size)
        recipe.check(self.stages)
        self.train_files, self.valid_files = (
            [LabelledFile.of(self.image_base / image.file, image) for image in images]
            for images in (self.train_images, self.valid_images)
        )
        self.device = pick_device()
        paths = [file.path for file in self.train_files]
        amounts = amounts_for(self.workspace, paths, len(self.valid_files), image_size)
        speed = speed_of_run(self.workspace, recipe, self.device, amounts)
        self.recipe = replace(recipe, precision=speed.precision)

        set_seed(recipe.seed, reproducible=True)
        self.spec = self._spec(summary.classes)
        head = build_head(recipe.head, self.spec.num_features, len(self.spec.classes), tuple(self.spec.map_size))
        self.network = Network(self.backbone.body, head, Precision(speed.precision, speed.precision_reason))
        self.network.to(self.device, memory_format=torch.channels_last)  # about twice as fast on a CPU
        self.sized = self._sized(image_size)
        missing = self.sized.cache.missing_pixels(self.train_files + self.valid_files)
        amounts = replace(amounts, undecoded=missing, kept=self.sized.feed.kept_cuts())
        planned = RunPlan.from_facts(run.facts)
        if planned is None or len(planned.phases) != len(recipe.phases):
            planned = plan_run(self.recipe, speed, amounts)
        self.plan = planned
        counts = Counter(file.label for file in self.train_files)
        loss = build_loss(recipe, [counts[name] for name in self.spec.classes], self.device)
        self.learn = build_learner(self.network, self.sized.dls, loss)
        self.store.runs.add_facts(self.run_id, **self._facts(before))

    def _spec(self, classes: list[str]) -> ModelSpec:
        return ModelSpec(
            arch=self.backbone.arch,
            stages=self.stages,
            classes=classes,
            image_size=self.recipe.image_size,
            mean=list(self.backbone.mean),
            std=list(self.backbone.std),
            num_features=self.backbone.num_features,
            precision=self.recipe.precision,
            head=asdict(self.recipe.head),
            map_size=list(map_size(self.backbone.body, self.recipe.image_size)),
            augment=asdict(self.recipe.augment),
        )

    def _sized(self, image_size: int) -> _Sized:
        recipe = self.recipe
        preprocess = Preprocess(image_size, self.backbone.mean, self.backbone.std)
        views = Views(recipe.augment, recipe.views, recipe.seed) if recipe.augment.changes_anything else None
        cache = FeatureCache(self.workspace, self.network, self.backbone.arch, preprocess, views, recipe.batch_size)
        dls = make_dataloaders(
            self.train_files,
            self.valid_files,
            self.spec.classes,
            cache.decoder,
            preprocess,
            views,
            recipe.batch_size,
            self.device,
            Order.of(self.train_files, recipe.seed, oversample=recipe.balance == "oversample"),
        )
        return _Sized(replace(self.spec, image_size=image_size), Feed(self.network, cache, dls, views), cache, dls)

    def _use_size(self, image_size: int) -> None:
        if image_size != self.sized.spec.image_size:
            self.sized = self._sized(image_size)
            self.learn.dls = self.sized.dls

    def _facts(self, before: dict[str, Any]) -> dict[str, Any]:
        batch_norm = has_batch_norm(self.backbone.body)
        return {
            "recipe": self.recipe.to_dict(),
            "backbone": self.backbone.arch,
            "weights": before.get("weights", asdict(self.backbone.source)),
            "stages": self.stages,
            "stage_parameters": [sum(p.numel() for p in stage.parameters()) for stage in self.backbone.body],
            "layers": layers_of(self.network, self.recipe.image_size),
            "rates": [phase.group_rates(self.stages, batch_norm) for phase in self.recipe.phases],
            "classes": self.spec.classes,
            "image_size": self.recipe.image_size,
            "train_images": len(self.train_files),
            "valid_images": len(self.valid_files),
            "sample_images": [image.id for image in self.sample_images],
            "device": device_name(self.device),
            "plan": self.plan.to_dict(),
        }


def _settled(run: Run, before: dict[str, Any]) -> Recipe:
    """The run's recipe with what an earlier process of it, or its parent, decided; `before` are that one's facts."""
    recipe = Recipe.from_dict(run.recipe)
    if not before:
        return recipe
    decided = Recipe.from_dict(before["recipe"])
    if "recipe" in run.facts:
        return replace(decided, phases=recipe.phases)  # phases may have been added
    precision = decided.precision if recipe.precision == "auto" else recipe.precision
    return replace(recipe, backbone=decided.backbone, precision=precision)


def _spread(images: list[Image]) -> list[Image]:
    """`SAMPLE_IMAGES` of them, one of every class before the second of any, in the order of the classes."""
    seen: Counter[str] = Counter()
    ranked = []
    for image in images:
        seen[image.label] += 1
        ranked.append((seen[image.label], image.label, image))
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:SAMPLE_IMAGES]
    return [image for _, _, image in sorted(chosen, key=lambda entry: entry[1])]


@torch.inference_mode()
def map_size(body: nn.Module, image_size: int) -> tuple[int, int]:
    """Height and width of the feature map that `body` makes of images of that side."""
    training = body.training
    x = body.eval()(torch.zeros(1, 3, image_size, image_size))
    body.train(training)
    return x.shape[2], x.shape[3]
