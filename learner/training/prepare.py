"""Prepare a run: everything that is decided before its first step, as one description that does not change."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from fastai.data.core import DataLoaders
from fastai.losses import BaseLoss
from fastai.torch_core import set_seed

from learner.datasets import dataset_folder, split_by, summarize
from learner.errors import RunError
from learner.features.cache import FeatureCache
from learner.features.loaders import LabelledFile, Order, Views, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.jobs.process import Tell
from learner.models.backbones import Backbone, build
from learner.models.checkpoint import ModelSpec
from learner.models.heads import build_head
from learner.models.layers import layers_of
from learner.models.network import Network, map_size
from learner.models.precision import Precision
from learner.planning.cost import RunPlan, Workload, plan_run
from learner.planning.estimate import workload_for
from learner.planning.speeds import Speed
from learner.recipe import Augment, Recipe, choose_image_size
from learner.store import Image, Run, Store
from learner.training.benchmark import device_name, pick_device, speed_of_run
from learner.training.feed import Feed
from learner.training.losses import build_loss
from learner.training.phases import has_batch_norm
from learner.training.symmetry import MOST_IMAGES, Decided, choose_augment
from learner.workspace import Workspace

SAMPLE_IMAGES = 12
"""Validation photos whose predictions are noted after each epoch."""


@dataclass(frozen=True)
class Data:
    """A run's images in one size, as batches, and the cache of what the network makes of them."""

    spec: ModelSpec
    """Of a model that takes images of that size."""
    feed: Feed
    cache: FeatureCache
    dls: DataLoaders


@dataclass(frozen=True)
class Images:
    """What a run learns from and is checked on. `files` are the copies on disk, in the order of the images."""

    folder: Path
    """What the images' `file` is relative to."""
    train: list[Image]
    valid: list[Image]
    samples: list[Image]
    """Validation images whose predictions are noted after each epoch."""

    @property
    def together(self) -> "Images":
        """The same with the validation images to learn from, too."""
        return replace(self, train=self.train + self.valid)

    @property
    def train_files(self) -> list[LabelledFile]:
        return self.files(self.train)

    @property
    def valid_files(self) -> list[LabelledFile]:
        return self.files(self.valid)

    def files(self, images: list[Image]) -> list[LabelledFile]:
        return [LabelledFile.of(self.folder / image.file, image) for image in images]


@dataclass(frozen=True)
class PreparedRun:
    """What a run trains. The network's weights and the plan's true seconds change; nothing else does."""

    workspace: Workspace
    recipe: Recipe
    """With everything decided: version, backbone, image size, precision."""
    backbone: Backbone
    network: Network
    """On `device`."""
    device: torch.device
    spec: ModelSpec
    images: Images
    plan: RunPlan
    loss: BaseLoss
    data: Data
    """In the recipe's own image size."""

    def data_of(self, images: Images, image_size: int) -> Data:
        """Those images, in that size."""
        if images is self.images and image_size == self.data.spec.image_size:
            return self.data
        return make_data(self.workspace, self.recipe, self.backbone, self.network, self.spec, images, image_size)

    def facts(self) -> dict[str, Any]:
        """What the run's row remembers of it."""
        stages, batch_norm = self.backbone.stages, has_batch_norm(self.backbone.body)
        return {
            "recipe": self.recipe.to_dict(),
            "backbone": self.backbone.arch,
            "stages": stages,
            "stage_parameters": [sum(p.numel() for p in stage.parameters()) for stage in self.backbone.body],
            "layers": layers_of(self.network, self.recipe.side),
            "rates": [phase.group_rates(stages, batch_norm) for phase in self.recipe.phases],
            "classes": self.spec.classes,
            "image_size": self.recipe.image_size,
            "statistics": {"mean": list(self.backbone.mean), "std": list(self.backbone.std)},
            "train_images": len(self.images.train),
            "valid_images": len(self.images.valid),
            "sample_images": [image.id for image in self.images.samples],
            "device": device_name(self.device),
            "plan": self.plan.to_dict(),
        }


@dataclass(frozen=True)
class Built:
    """A recipe's network, ready to train on this machine, and how fast that is expected to be."""

    recipe: Recipe
    """With the backbone and the precision decided."""
    backbone: Backbone
    network: Network
    """With a new head, on `device`."""
    device: torch.device
    spec: ModelSpec
    speed: Speed
    workload: Workload

    def with_augment(self, augment: Augment) -> "Built":
        return replace(
            self,
            recipe=replace(self.recipe, augment=augment),
            spec=replace(self.spec, augment=asdict(augment)),
        )


def build_network(
    store: Store,
    recipe: Recipe,
    train: list[Path],
    valid: int,
    classes: list[str],
    weights: str,
    statistics: Mapping[str, Any] | None = None,
) -> Built:
    """Build the network of a recipe whose image size is decided, in the precision that is fastest for these images.

    `train` are files to learn from, `valid` is the number of images to check on. `statistics` (`mean` and `std`) are
    what an earlier process took images by. Measures this machine where it has to.
    Raises WeightsError, BackboneError, RecipeError and ImageError.
    """
    set_seed(recipe.seed, reproducible=True)
    backbone = build(recipe.backbone, weights, store.workspace, recipe.head.two_scales)
    if statistics:
        backbone = replace(backbone, mean=tuple(statistics["mean"]), std=tuple(statistics["std"]))
    recipe = replace(recipe, backbone=backbone.arch)
    recipe.check(backbone.stages)
    device = pick_device()
    if recipe.device == "gpu" and device.type == "cpu":
        raise RunError("The recipe asks for a GPU (device: gpu), and torch finds none here. Use device: auto.")
    workload = workload_for(store.workspace, train, valid, len(classes), recipe.side)
    speed = speed_of_run(store.workspace, recipe, device, workload)
    recipe = replace(recipe, precision=speed.precision)
    spec = _spec(recipe, backbone, classes)
    height, width = spec.map_size
    set_seed(recipe.seed, reproducible=True)
    head = build_head(recipe.head, spec.num_features, len(classes), (height, width))
    network = Network(backbone.body, head, Precision(speed.precision, speed.precision_reason))
    network = network.to(device).to(memory_format=torch.channels_last)  # about twice as fast on a CPU
    return Built(recipe, backbone, network, device, spec, speed, workload)


def prepare(store: Store, run: Run, has_begun: bool, tell: Tell = lambda _: None) -> PreparedRun:
    """Decide what a run leaves open, and build its network and loaders; what was decided before stays decided.

    `has_begun`: the network's state was kept, and takes the place of the pretrained weights. Writes the run's facts.
    `tell` hears what takes a while.
    Raises DatasetError, WeightsError, BackboneError, RecipeError and ImageError.
    """
    before = run.facts
    if "recipe" not in before and run.parent is not None:
        before = store.runs.get(run.parent).facts
    version = store.datasets.version_by_id(run.dataset_version_id)
    summary = summarize(store, version)
    recipe = _with_earlier_decisions(run, before)
    train, valid = split_by(recipe, store.datasets.images(version.id))
    images = Images(dataset_folder(store.workspace, version.name), train, valid, _spread(valid))

    image_size = choose_image_size(recipe.image_size, max(summary.median_width, summary.median_height))
    recipe = replace(recipe, version=version.number, image_size=image_size).with_epochs(len(train))
    files, weights = [file.path for file in images.train_files], "random" if has_begun else recipe.weights
    built = build_network(store, recipe, files, len(valid), summary.classes, weights, before.get("statistics"))
    if recipe.augment.auto:
        tell("Trying whether mirror images are like the others")
        decided = augment_for(store.workspace, built, images)
        built = built.with_augment(decided.augment)
        store.runs.add_facts(run.id, augment={"reason": decided.reason})
    recipe, network, spec = built.recipe, built.network, built.spec
    data = make_data(store.workspace, recipe, built.backbone, network, spec, images, image_size)
    missing = data.cache.missing_pixels(images.train_files + images.valid_files)
    plan = RunPlan.from_facts(run.facts)
    if plan is None or len(plan.phases) != len(recipe.phases) or bool(plan.refit) != recipe.refits:
        workload = replace(built.workload, undecoded=missing, kept=data.feed.kept_cuts())
        plan = plan_run(recipe, built.speed, workload)
    counts = Counter(image.label for image in train)
    loss = build_loss(recipe, [counts[name] for name in spec.classes], built.device)
    prepared = PreparedRun(
        store.workspace, recipe, built.backbone, network, built.device, spec, images, plan, loss, data
    )
    source = before.get("weights", asdict(built.backbone.source))
    store.runs.add_facts(run.id, weights=source, **prepared.facts())
    return prepared


def drawn(images: list[Image], most: int) -> list[Image]:
    """At most so many, drawn by their content."""
    return sorted(images, key=lambda image: (image.sha256, image.path))[:most]


def augment_for(workspace: Workspace, built: Built, images: Images) -> Decided:
    """What `augment: auto` comes to for these images and that network."""
    tried = drawn(images.train, MOST_IMAGES)
    plain = built.with_augment(Augment())
    files = replace(images, train=tried, valid=tried)
    data = make_data(workspace, plain.recipe, plain.backbone, plain.network, plain.spec, files, plain.recipe.side)
    return choose_augment(plain.network, data.dls.valid, tried, plain.spec.classes, plain.recipe.seed)


def _with_earlier_decisions(run: Run, before: Mapping[str, Any]) -> Recipe:
    """The run's recipe with what an earlier process of it, or its parent, decided; `before` are that one's facts."""
    recipe = Recipe.from_dict(run.recipe)
    if "recipe" not in before:
        return recipe
    decided = Recipe.from_dict(before["recipe"])
    if "recipe" in run.facts:
        return replace(decided, phases=recipe.phases)  # phases may have been added
    precision = decided.precision if recipe.precision == "auto" else recipe.precision
    return replace(recipe, backbone=decided.backbone, precision=precision)


def _spec(recipe: Recipe, backbone: Backbone, classes: list[str]) -> ModelSpec:
    return ModelSpec(
        arch=backbone.arch,
        stages=backbone.stages,
        classes=classes,
        image_size=recipe.side,
        mean=list(backbone.mean),
        std=list(backbone.std),
        num_features=backbone.num_features,
        precision=recipe.precision,
        head=asdict(recipe.head),
        map_size=list(map_size(backbone.body, recipe.side)),
        augment=asdict(recipe.augment),
    )


def make_data(
    workspace: Workspace,
    recipe: Recipe,
    backbone: Backbone,
    network: Network,
    spec: ModelSpec,
    images: Images,
    image_size: int,
) -> Data:
    """Those images in that size, for a network that has the recipe's head or another."""
    preprocess = Preprocess(image_size, backbone.mean, backbone.std)
    views = Views(recipe.augment, recipe.views, recipe.seed) if recipe.augment.changes_anything else None
    cache = FeatureCache(workspace, network, backbone.arch, preprocess, views, recipe.batch_size)
    train = images.train_files
    dls = make_dataloaders(
        train,
        images.valid_files,
        spec.classes,
        cache.decoder,
        preprocess,
        views,
        recipe.batch_size,
        next(network.parameters()).device,
        Order.of(train, recipe.seed, oversample=recipe.balance == "oversample"),
    )
    return Data(replace(spec, image_size=image_size), Feed(network, cache, dls, views), cache, dls)


def _spread(images: list[Image]) -> list[Image]:
    """`SAMPLE_IMAGES` of them, one of every class before the second of any, in the order of the classes."""
    taken: Counter[str] = Counter()
    ranked = []
    for image in images:
        taken[image.label] += 1
        ranked.append((taken[image.label], image.label, image))
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:SAMPLE_IMAGES]
    return [image for _, _, image in sorted(chosen, key=lambda entry: entry[1])]
