"""The feature cache: decoded images and outputs of frozen stages, computed once and kept on disk.

What is kept is found again by everything that decides it: the image's content, its view (see `Recipe.views`), the exact
weights of the stages, image size, statistics, precision and kind of device. So phases and runs share it.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fastcore.basics import chunked
from torch import Tensor

from learner.features.arrays import Budget, DiskError, Rows, RowStore
from learner.features.loaders import Decoder, LabelledFile, Pixels, Views, ahead
from learner.features.preprocess import Preprocess
from learner.models.network import Helpers, Network, lowered
from learner.workspace import Workspace

FORMAT = 1
LARGEST_BATCH = 64
BATCHES_A_TURN = 32
"""Where several processes make the cache, each makes so many batches before the run looks whether it is to stop."""

Tick = Callable[[int], None]
"""Hears how many more images are done; may raise to stop, and then what was done so far is kept."""


@dataclass(frozen=True)
class Item:
    """An image in one view; `view` is None for the image as it is."""

    file: LabelledFile
    view: int | None = None

    @property
    def name(self) -> str:
        return self.file.sha256 if self.view is None else f"{self.file.sha256}:{self.view}"


def all_views(files: list[LabelledFile], views: Views | None) -> list[Item]:
    """Every image in each of its views, an image's views next to each other."""
    if views is None:
        return [Item(file) for file in files]
    return [Item(file, view) for file in files for view in range(views.count)]


class FeatureCache:
    """The stores of one run's network and preparation."""

    def __init__(
        self,
        workspace: Workspace,
        network: Network,
        arch: str,
        preprocess: Preprocess,
        views: Views | None = None,
        batch_size: int = 16,
    ):
        """`batch_size` is the one of training: a processor rounds differently in batches of another size."""
        self._network, self._arch, self._preprocess, self._views = network, arch, preprocess, views
        self._batch_size = min(batch_size, LARGEST_BATCH)
        self._device = next(network.parameters()).device
        self.decoder = Decoder(preprocess.image_size)
        self._workspace, self._root = workspace, workspace.features
        self.budget = Budget.of(workspace)
        self.shapes = network.shapes(preprocess.image_size)
        self._stores: dict[str, RowStore] = {}
        self._in_use: set[Path] = set()
        self._digests: dict[int, str] = {}

    # Decoded images

    def pixels(self, files: list[LabelledFile], tick: Tick = lambda images: None) -> Pixels:
        """The images, decoded from their store; what is missing there is added first, if the budget has room.

        Raises ImageError for a file that cannot be read.
        """
        store = self._pixel_store()
        missing = self._without_pixels(files)
        if self._make_room({store: len(missing)}):
            with suppress(DiskError):
                if missing and self._network.helpers is not None:
                    self._share_out(self._network.helpers, [], [Item(file) for file in missing], tick)
                    store, missing = self._pixel_store(), self._without_pixels(missing)
                with store.writer() as writer:
                    for chunk in ahead(partial(self._decode, chunk) for chunk in chunked(missing, self._batch_size)):
                        writer.add(*chunk)
                        tick(len(chunk[0]))
                return Pixels(files, self.decoder, store.reader([file.sha256 for file in files]))
        return Pixels(files, self.decoder, None)

    def _without_pixels(self, files: list[LabelledFile]) -> list[LabelledFile]:
        """Those whose content is not in the store, each content once."""
        names = set(self._pixel_store().missing(file.sha256 for file in files))
        return list({file.sha256: file for file in files if file.sha256 in names}.values())

    def missing_pixels(self, files: list[LabelledFile]) -> int:
        return len(self._pixel_store().missing(file.sha256 for file in files))

    def _decode(self, files: list[LabelledFile]) -> tuple[list[str], np.ndarray]:
        return [file.sha256 for file in files], self.decoder(files)

    # Outputs of stages

    def has(self, cut: int, items: list[Item]) -> bool:
        """Whether the outputs of the first `cut` stages, with their present weights, are kept for all `items`."""
        return not any(
            self._store(cut, augmented).missing(item.name for item in part)
            for augmented, part in _by_kind(items).items()
        )

    def missing(self, cuts: list[int], items: list[Item]) -> int:
        """How many of `items` lack what `compute` would keep at any of `cuts`."""
        total = 0
        for augmented, part in _by_kind(items).items():
            names = [item.name for item in part]
            total += len(set().union(*(self._store(cut, augmented).missing(names) for cut in cuts)))
        return total

    def deepest(self, items: list[Item]) -> int:
        """How many stages, with their present weights, can be skipped because their output is kept for all `items`."""
        return next((cut for cut in range(len(self.shapes) - 1, 0, -1) if self.has(cut, items)), 0)

    def features(self, cut: int, items: list[Item]) -> Rows:
        """What `compute` kept: rows of (height, width, channels). `items` are all changed views, or all unchanged."""
        (augmented,) = _by_kind(items)
        return self._store(cut, augmented).reader([item.name for item in items])

    def compute(self, cuts: list[int], items: list[Item], tick: Tick = lambda images: None) -> bool:
        """Make what is missing at all `cuts`, running every image through the stages once.

        Starts from the deepest output that is kept already. Returns False, with nothing computed, when the disk budget
        has no room. Raises ImageError for a file that cannot be read.
        """
        passes = self._passes(cuts, items)
        if not self._make_room({stores[cut]: len(wanted[cut]) for stores, wanted, *_ in passes for cut in cuts}):
            return False
        if passes and self._network.helpers is not None:
            for _, _, missing, _ in passes:
                self._share_out(self._network.helpers, cuts, missing, tick)
            passes = self._passes(cuts, items)  # what a slow folder does not show yet
        for job in passes:
            self._run(*job, tick)
        return True

    def _passes(
        self, cuts: list[int], items: list[Item]
    ) -> list[tuple[dict[int, RowStore], dict[int, set[str]], list[Item], bool]]:
        """By kind of items: the stores of each cut, which rows they lack, the items that lack any, and the kind."""
        passes = []
        for augmented, part in _by_kind(items).items():
            stores = {cut: self._store(cut, augmented) for cut in cuts}
            wanted = {cut: set(store.missing(item.name for item in part)) for cut, store in stores.items()}
            missing = [item for item in part if any(item.name in names for names in wanted.values())]
            if missing:
                passes.append((stores, wanted, missing, augmented))
        return passes

    def _share_out(self, helpers: Helpers, cuts: list[int], items: list[Item], tick: Tick) -> None:
        """Let each process make its part of what `items` lack; without `cuts` of decoded images.

        A part is whole batches, as one process would make them: a processor rounds differently in others.
        """
        about = (self._workspace, self._arch, self._preprocess, self._views, self._batch_size, self._in_use)
        batches = list(chunked(items, self._batch_size))
        size = helpers.count * BATCHES_A_TURN
        for start in range(0, len(batches), size):
            turn = batches[start : start + size]
            parts = [[item for batch in turn[rank :: helpers.count] for item in batch] for rank in range(helpers.count)]
            mine = partial(make_part, self._network, about, cuts, parts[0], tick)
            helpers.each(make_part, [(about, cuts, part) for part in parts], mine)
            tick(sum(map(len, parts[1:])))
        self._stores.clear()  # they do not know the others' parts

    @torch.inference_mode()
    def _run(
        self, stores: dict[int, RowStore], wanted: dict[int, set[str]], items: list[Item], augmented: bool, tick: Tick
    ):
        missing_cuts = [cut for cut in stores if wanted[cut]]
        last = max(missing_cuts)
        start = next((cut for cut in range(min(missing_cuts) - 1, 0, -1) if self.has(cut, items)), 0)
        twin = lowered(self._network)
        source = self._source(start, items, augmented)
        with ExitStack() as stack:
            writers = {cut: stack.enter_context(store.writer()) for cut, store in stores.items()}
            chunks = chunked(range(len(items)), self._batch_size)
            for chunk, rows, draws in ahead(partial(source, chunk) for chunk in chunks):
                x = torch.from_numpy(rows).to(self._device)
                if start:
                    x = x.view(twin.precision.dtype).permute(0, 3, 1, 2)
                else:
                    x = self._preprocess(x, None if draws is None else torch.from_numpy(draws).to(self._device))
                for cut in range(start + 1, last + 1):
                    x = twin.stage(cut - 1, x)
                    if cut in writers:
                        kept = [row for row, index in enumerate(chunk) if items[index].name in wanted[cut]]
                        if kept:
                            writers[cut].add([items[chunk[row]].name for row in kept], self._as_rows(x[kept]))
                tick(len(chunk))

    def _source(self, start: int, items: list[Item], augmented: bool):
        """A function from a chunk of indices to (chunk, rows, draws)."""
        if start:
            rows = self._store(start, augmented).reader([item.name for item in items])
            return lambda chunk: (chunk, rows[np.array(chunk)], None)
        store = self._pixel_store()
        whole = not store.missing(item.file.sha256 for item in items)
        decoded = store.reader([item.file.sha256 for item in items]) if whole else None
        pixels = Pixels([item.file for item in items], self.decoder, decoded)
        views = self._views if augmented else None

        def fetch(chunk):
            draws = None
            if views is not None:
                part = [items[index] for index in chunk]
                draws = views.draw([item.file for item in part], np.array([item.view for item in part]))
            return chunk, pixels[np.array(chunk)], draws

        return fetch

    # Stores and their keys

    def _make_room(self, rows: dict[RowStore, int]) -> bool:
        """Whether so many more rows fit into the budget, once what this run does not use is removed."""
        return self.budget.make_room(sum(store.row_bytes * count for store, count in rows.items()), keep=self._in_use)

    def _pixel_store(self) -> RowStore:
        size = self._preprocess.image_size
        return self._open(f"pixels-{size}-{FORMAT}", (size, size, 3), np.uint8)

    def _store(self, cut: int, augmented: bool) -> RowStore:
        name = f"{self._arch}-{self._stage_names()[cut - 1]}-{self._key(cut, augmented)}"
        return self._open(name, self.shapes[cut], self._dtype)

    def _open(self, name: str, shape: tuple[int, ...], dtype) -> RowStore:
        if name not in self._stores:
            self._stores[name] = RowStore(self._root / name, shape, dtype)
        self._in_use.add(self._root / name)
        return self._stores[name]

    def _key(self, cut: int, augmented: bool) -> str:
        views = self._views if augmented else None
        decides = {
            "format": FORMAT,
            "weights": self._digest(cut),
            "shape": self.shapes[cut],
            "preprocess": asdict(self._preprocess),
            "precision": self._network.precision.name,
            "device": self._device.type,
            "views": {"augment": asdict(views.augment), "seed": views.seed} if views else None,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:24]

    def weights_changed(self) -> None:
        """Training has moved the weights: what is kept belongs to others now, and may make room."""
        self._digests.clear()
        self._in_use = {self._pixel_store().folder}

    def _digest(self, cut: int) -> str:
        """Of the architecture and every tensor of the first `cut` stages; those of smaller cuts come with it."""
        if cut not in self._digests:
            sha = hashlib.sha256(self._arch.encode())
            for number, stage in enumerate(list(self._network.body)[:cut], start=1):
                for name, tensor in stage.state_dict().items():
                    sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                    sha.update(tensor.detach().cpu().contiguous().numpy().data)
                self._digests[number] = sha.hexdigest()
        return self._digests[cut]

    def _stage_names(self) -> list[str]:
        return [name for name, _ in self._network.body.named_children()]

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(np.float32 if not self._network.precision.is_low else np.int16)  # numpy has no bf16: its bits

    def _as_rows(self, x: Tensor) -> np.ndarray:
        """(batch, channels, height, width) as (batch, height, width, channels) of the stores' type."""
        x = x.to(self._network.precision.dtype).permute(0, 2, 3, 1).contiguous().cpu()
        return (x.view(torch.int16) if self._network.precision.is_low else x).numpy()


def make_part(
    network: Network, about: tuple, cuts: list[int], items: list[Item], tick: Tick = lambda images: None
) -> None:
    """One process's part of what several make: `about` is what a FeatureCache is of, and which stores are in use."""
    if not items:
        return
    workspace, arch, preprocess, views, batch_size, in_use = about
    helpers, network.helpers = network.helpers, None
    try:
        cache = FeatureCache(workspace, network, arch, preprocess, views, batch_size)
        cache._in_use |= in_use
        if cuts:
            cache.compute(cuts, items, tick)
        else:
            cache.pixels([item.file for item in items], tick)
    finally:
        network.helpers = helpers


def _by_kind(items: list[Item]) -> dict[bool, list[Item]]:
    """Items in changed views and items as they are live in different stores."""
    kinds: dict[bool, list[Item]] = {}
    for item in items:
        kinds.setdefault(item.view is not None, []).append(item)
    return kinds
