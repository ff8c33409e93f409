"""What each phase trains on: images, or what the frozen stages made of them."""

import time
from dataclasses import replace

import numpy as np
import torch
from fastai.data.core import DataLoaders

from learner.features.arrays import DiskError
from learner.features.cache import FeatureCache, Item, Tick, all_views
from learner.features.loaders import ImageLoader, LabelledFile, Views
from learner.models.network import Network, head_of
from learner.planning.cost import PhasePlan
from learner.training.progress import ProgressReporter


class Feed:
    """Sets a network and its loaders up for one phase after the other."""

    def __init__(self, network: Network, cache: FeatureCache, dls: DataLoaders, views: Views | None):
        self._network, self._cache, self._dls = network, cache, dls
        train, valid = (loader.pixels.files for loader in (dls.train, dls.valid))
        self._train = all_views(train, views) if views is None or views.count else []
        self._valid = [Item(file) for file in valid]

    def kept_cuts(self) -> frozenset[int]:
        """Cuts whose outputs, with the present weights, an earlier run left for everything that this one needs."""
        cuts = range(1, len(self._cache.shapes))
        return frozenset(cut for cut in cuts if self._train and self._cache.has(cut, self._train + self._valid))

    def decode(self, expected_s: float, progression: ProgressReporter, phase: int | None = None) -> float:
        """Decode the images that are not yet in their store, which should take `expected_s`; returns the true seconds.

        Raises ImageError, and StopAsked when asked to stop.
        """
        began = time.monotonic()
        loaders = (self._dls.train, self._dls.valid)
        total = self._cache.missing_pixels([file for loader in loaders for file in loader.pixels.files])

        def tick(images: int) -> None:
            progression.prepare("Reading the images, once", images, total, expected_s, phase)

        self.read(tick)
        return time.monotonic() - began

    def read(self, tick: Tick) -> None:
        """The same; `tick` hears how many more images are decoded."""
        for loader in (self._dls.train, self._dls.valid):
            loader.pixels = self._cache.pixels(loader.pixels.files, tick)

    def begin(self, index: int, plan: PhasePlan, progression: ProgressReporter, unchanged: bool = False) -> None:
        """Compute what the phase keeps, and start its network and loaders from there.

        With `unchanged` it keeps the training images as they are, too, and not only their views. Changes `plan` where
        the disk has no room after all. Raises StopAsked when asked to stop.
        """
        began = time.monotonic()
        self._cache.weights_changed()
        if plan.cached:
            plan.cached = self._compute(index, plan, progression, unchanged)
        self.start_at(plan.cut if plan.cached else 0, [self._dls.train, self._dls.valid])
        plan.true_features_s = time.monotonic() - began

    def look_at(self, files: list[LabelledFile]) -> ImageLoader:
        """These images as they are, in that order, from the deepest outputs that are kept for the present weights.

        The network then starts there.
        """
        self._cache.weights_changed()
        items = [Item(file) for file in files]
        cut, valid = self._cache.deepest(items), self._dls.valid
        targets = np.zeros(len(files), dtype=np.int64)
        loader = ImageLoader(self._cache.pixels(files), targets, valid.preprocess, valid.bs, valid.device)
        self._network.skip = cut
        self._give(loader, cut, items)
        return loader

    @torch.inference_mode()
    def pooled(self, network: Network, views: int, tick: Tick) -> np.ndarray:
        """What enters the last layer of a head, of the training images: (images, 1 + views, numbers) of float32.

        The image as it is comes first, then so many of its views. The phase has begun; where it keeps nothing, all is
        computed here. `tick` hears how many more pictures are done.
        """
        network.eval()
        return np.stack([self._pooled(network, view, tick) for view in (None, *range(views))], axis=1)

    def _pooled(self, network: Network, view: int | None, tick: Tick) -> np.ndarray:
        """(images, numbers) of every training image in one view, or (None) as it is."""
        train = self._dls.train
        items = [Item(file, view) for file in train.pixels.files]
        views = None if view is None else replace(train.views, count=0)  # then its epoch says which view
        loader = ImageLoader(train.pixels, train.targets, train.preprocess, train.bs, train.device, views)
        loader.epoch = view or 0
        cut = len(network.body)
        if self._cache.has(cut, items):
            loader.views = None
            self._give(loader, cut, items)
        skip = cut if loader.features is not None else 0
        pooling, rows = head_of(network)[:-1], []
        for x, _ in loader:
            for stage in range(skip, cut):
                x = network.stage(stage, x)
            rows.append(pooling(x.float()).cpu().numpy())
            tick(len(x))
        return np.concatenate(rows)

    def keep(self, cuts: list[int], tick: Tick, unchanged: bool = False) -> bool:
        """Put what the first stages give, up to each of `cuts`, into the cache; False where its budget has no room.

        Of views, and of the validation images; with `unchanged` of the training images as they are, too. Raises
        DiskError.
        """
        return self._cache.compute(cuts, self._items(unchanged), tick)

    def _items(self, unchanged: bool) -> list[Item]:
        own = list(map(Item, self._dls.train.pixels.files)) if unchanged else []  # without views they are there already
        return list(dict.fromkeys([*self._train, *self._valid, *own]))

    def _compute(self, index: int, plan: PhasePlan, progression: ProgressReporter, unchanged: bool) -> bool:
        cuts = [plan.cut, *plan.also]
        total = self._cache.missing(cuts, self._items(unchanged))
        what = f"{plan.name}: running every image through the frozen stages, once"

        def tick(images: int) -> None:
            progression.prepare(what, images, total, plan.features_s, phase=index)

        try:
            if self.keep(cuts, tick, unchanged):
                return True
            plan.reason = "The disk budget has no room for the frozen stages' outputs, so they are computed anew."
        except DiskError as error:
            plan.reason = f"{error} So everything is computed anew."
        return False

    def start_at(self, cut: int, loaders: list[ImageLoader]) -> None:
        """Leave the first `cut` stages out, and let these loaders give what they would have given; 0: give images."""
        self._network.skip = cut
        for loader in loaders:
            self._give(loader, cut, self._train if loader is self._dls.train else self._valid)

    def _give(self, loader: ImageLoader, cut: int, items: list[Item]) -> None:
        loader.features = self._cache.features(cut, items) if cut else None
        loader.feature_dtype = self._network.precision.dtype
