"""A recipe's network and images, made ready outside of a run: for what is found out before one."""

from collections import Counter
from dataclasses import dataclass

import torch

from learner.datasets import bring_images, image_path, split_by, summarize
from learner.features.cache import FeatureCache
from learner.features.loaders import ImageLoader, LabelledFile, Order, Pixels, Views
from learner.features.preprocess import Preprocess
from learner.features.targets import targets_of
from learner.models.backbones import Backbone
from learner.models.network import Network
from learner.planning.estimate import resolve_recipe
from learner.recipe import Recipe
from learner.store import Store
from learner.training.prepare import build_network


@dataclass
class Trial:
    """A settled recipe with its precision chosen, as a run of it would have chosen it, and what it works with."""

    recipe: Recipe
    backbone: Backbone
    network: Network
    """With a new head, on `device`."""
    device: torch.device
    classes: list[str]
    train: list[LabelledFile]
    images_per_class: list[int]
    """Of all training images, in the order of `classes`; `train` may be some of them."""

    def preprocess(self, image_size: int) -> Preprocess:
        return Preprocess(image_size, self.backbone.mean, self.backbone.std)

    def cache(self, store: Store, image_size: int, views: Views | None = None) -> FeatureCache:
        """What a run would keep of this network is found there, and the other way round."""
        arch, preprocess = self.backbone.arch, self.preprocess(image_size)
        return FeatureCache(store.workspace, self.network, arch, preprocess, views, self.recipe.batch_size)

    def loader(self, cache: FeatureCache, image_size: int, views: Views | None) -> ImageLoader:
        """The training images in the recipe's order."""
        order = Order.of(self.train, self.recipe.seed, oversample=self.recipe.balance == "oversample")
        return ImageLoader(
            Pixels(self.train, cache.decoder, None),
            targets_of(self.train, self.classes),
            self.preprocess(image_size),
            min(self.recipe.batch_size, len(self.train)),
            self.device,
            views=views,
            order=order,
        )


def set_up(store: Store, recipe: Recipe, most_images: int | None = None) -> Trial:
    """Build a recipe's network as a run does, on at most so many training images, drawn as an epoch would.

    Measures this machine where it has to. Raises DatasetError, WeightsError, BackboneError, RecipeError, ImageError.
    """
    recipe = resolve_recipe(store, recipe)
    version = store.datasets.version(recipe.dataset, recipe.version)
    store.datasets.require_trainable(version)
    train, valid = split_by(recipe, store.datasets.images(version.id))
    bring_images(store, version.name, train)
    files = [LabelledFile.of(image_path(store.workspace, version.name, image), image) for image in train]
    classes = summarize(store, version).classes
    paths = [file.path for file in files]
    built = build_network(store, recipe, paths, len(valid), classes, recipe.weights)
    recipe = built.recipe
    counts = Counter(file.label for file in files)
    if most_images is not None and most_images < len(files):
        order = Order.of(files, recipe.seed, oversample=False).of_epoch(0, len(files))
        files = [files[index] for index in sorted(order[:most_images])]
    per_class = [counts[name] for name in classes]
    return Trial(recipe, built.backbone, built.network, built.device, classes, files, per_class)
