"""Keras's files, read without Keras: `.keras`, `.h5` of a whole model, `.h5` and `.weights.h5` of weights alone.

Nothing in them is ever run: of the configuration only names and numbers of layers are read, of the rest only arrays.
What a file claims of its sizes is checked before anything is unpacked. Needs no torch.
"""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import h5py
import numpy as np

from learner.errors import ModelError

MOST_BYTES = 4 * 10**9
"""Of all arrays together; VGG19 with its own top has 0.6 GB."""
MOST_ARRAYS = 5000
MOST_CONFIG_BYTES = 20_000_000
MOST_DEPTH = 40
"""Of groups within groups."""
MOST_MODELS = 6
"""Within each other; each doubles the places where a layer's arrays are looked for."""
_OLD_NAME = re.compile(r"(?P<layer>.+)_(?P<what>W|b)(_\d+)?")
_OF_VAR = {
    "Dense": ("kernel", "bias"),
    "Conv2D": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What Keras 3 numbers, in that order, where the layer has it."""


@dataclass
class Layer:
    """One layer of a model, whatever model it lies in."""

    kind: str
    """Keras's name of its class."""
    name: str
    config: dict[str, Any]
    places: tuple[str, ...] = ()
    """In a file of Keras 3, the groups that its arrays may lie in."""
    sources: int = 1
    """Layers that it takes values from."""


@dataclass
class KerasFile:
    """What a file holds."""

    layers: list[Layer] | None
    """In order; None where the file has weights alone."""
    arrays: dict[tuple[str, str], h5py.Dataset] = field(repr=False)
    """By the layer's name and what it is: `kernel`, `bias`, `gamma`, `beta`, `moving_mean`, `moving_variance`."""

    def array(self, layer: str, what: str) -> np.ndarray:
        """Raises ModelError where there is none, or it cannot be read."""
        if (layer, what) not in self.arrays:
            raise ModelError(f"The file has no {what} of the layer {layer}.")
        try:
            values = np.asarray(self.arrays[layer, what][()], dtype=np.float32)
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"The {what} of the layer {layer} cannot be read ({error}). Save the model again."
            ) from None
        if not np.isfinite(values).all():
            raise ModelError(f"The {what} of the layer {layer} has values that are no numbers.")
        return values

    def has(self, layer: str, what: str) -> bool:
        return (layer, what) in self.arrays


@contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """What the file holds, while it is open. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"There is no model at {path}.")
    with TemporaryDirectory() as folder:
        packed, config = path, None
        if zipfile.is_zipfile(path):
            packed, config = _unpacked(path, Path(folder))
        try:
            file = h5py.File(packed, "r")
        except OSError:
            raise ModelError(
                f"{path} is not a Keras file that can be read: neither HDF5 nor a .keras archive."
            ) from None
        with file:
            try:
                datasets = _datasets(file)
                config = config or _config_in(file)
                layers = None if config is None else list(_layers(config))
                yield KerasFile(layers, _named(datasets, layers))
            except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
                raise ModelError(f"{path} is damaged, or not of Keras: {type(error).__name__}: {error}") from None


def _unpacked(path: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The weights of a `.keras` archive in `folder`, and the configuration."""
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("config.json") as entry:
                config = _parsed(_read(entry, MOST_CONFIG_BYTES), path)
            target = folder / "model.weights.h5"
            with archive.open("model.weights.h5") as entry, target.open("wb") as file:
                left = MOST_BYTES
                while piece := entry.read(1 << 20):
                    left -= len(piece)
                    if left < 0:
                        raise ModelError(f"{path} unpacks to more than {MOST_BYTES // 10**9} GB, and was not opened.")
                    file.write(piece)
    except KeyError as error:
        raise ModelError(f"{path} is not a .keras archive ({error.args[0]}).") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be unpacked ({error}). Save the model again.") from None
    return target, config


def _read(entry: IO[bytes], most: int) -> bytes:
    content = entry.read(most + 1)
    if len(content) > most:
        raise ModelError(f"Its configuration has more than {most // 10**6} MB, which no model needs.")
    return content


def _parsed(text: bytes | str, path: object) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"The configuration in {path} is not valid JSON. Save the model again.") from None
    if not isinstance(config, dict):
        raise ModelError(f"The configuration in {path} describes no model. Save the model again.")
    return config


def _config_in(file: h5py.File) -> dict[str, Any] | None:
    text = file.attrs.get("model_config")
    if text is None:
        return None
    if len(text) > MOST_CONFIG_BYTES:
        raise ModelError(f"Its configuration has more than {MOST_CONFIG_BYTES // 10**6} MB, which no model needs.")
    return _parsed(text, Path(file.filename).name)


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every array by its path. What lies in other files, or is larger than any model, is refused before it is read."""
    found: dict[str, h5py.Dataset] = {}
    total = 0
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    while waiting:
        place, group, depth = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{place}{name} points elsewhere, which no model needs, so the file was not opened.")
            item = group[name]
            if isinstance(item, h5py.Group):
                if depth >= MOST_DEPTH:
                    raise ModelError("Its groups lie deeper in each other than those of any model.")
                waiting.append((f"{place}{name}/", item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                continue
            if item.external or item.is_virtual:
                raise ModelError(f"{place}{name} lies in another file, so this one was not opened.")
            total += item.size * item.dtype.itemsize if item.size else 0
            if total > MOST_BYTES or len(found) >= MOST_ARRAYS:
                raise ModelError("Its arrays are more, or larger, than those of any model that can be imported.")
            found[f"{place}{name}"] = item
    return found


def _layers(model: dict[str, Any], places: tuple[str, ...] = ("",), depth: int = 0) -> Iterator[Layer]:
    """The layers of a model, and of the models in it, in order. Raises ModelError."""
    if depth > MOST_MODELS:
        raise ModelError("Its models lie deeper in each other than those of any network.")
    config = model.get("config")
    rows = config if isinstance(config, list) else (config or {}).get("layers")
    if not isinstance(rows, list):
        raise ModelError(f"{str(model.get('class_name'))[:60]} is not a model of layers.")
    used: Counter[str] = Counter()
    for row in rows:
        kind, settings = str(row["class_name"]), row.get("config") or {}
        name = str(settings.get("name") or row.get("name") or kind)
        numbered = kind_in_file(kind) + (f"_{used[kind]}" if used[kind] else "")
        used[kind] += 1
        own = tuple(f"{place}layers/{each}" for place in places for each in (name, numbered))
        if isinstance(settings.get("layers"), list):
            yield from _layers(row, tuple(f"{place}/" for place in own), depth + 1)
        else:
            yield Layer(kind, name, settings, own, _sources(row.get("inbound_nodes")))


def kind_in_file(kind: str) -> str:
    """`batch_normalization`, as files of Keras 3 write a class."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()


def _sources(inbound: Any) -> int:
    """How many layers a layer takes values from, in the notation of Keras 3 or 2."""
    if not inbound:
        return 1
    return json.dumps(inbound).count('"keras_history"') or (len(inbound[0]) if isinstance(inbound[0], list) else 1)


def _named(datasets: dict[str, h5py.Dataset], layers: list[Layer] | None) -> dict[tuple[str, str], h5py.Dataset]:
    """The arrays by their layer's name and what they are."""
    named: dict[tuple[str, str], h5py.Dataset] = {}
    layer_at = {place: layer for layer in layers or [] for place in layer.places}
    for path, dataset in datasets.items():
        parts = path.split("/")
        last = parts[-1].split(":")[0]
        if parts[0].startswith("optimizer"):
            continue
        if len(parts) > 2 and parts[-2] == "vars" and last.isdecimal():
            place = "/".join(parts[:-2])
            known = layer_at.get(place)
            first = datasets.get(f"{place}/vars/0", dataset)
            kind = known.kind if known else {4: "Conv2D", 2: "Dense", 1: "BatchNormalization"}.get(first.ndim, "")
            names = _OF_VAR.get(kind, ())
            key = (known.name if known else place, names[int(last)] if int(last) < len(names) else last)
        elif match := _OLD_NAME.fullmatch(last):
            key = (match["layer"], {"W": "kernel", "b": "bias"}[match["what"]])
        else:
            key = (parts[-2] if len(parts) > 1 else "", last)
        if key in named:
            raise ModelError(f"Two layers are called {key[0]}, so their weights cannot be told apart.")
        named[key] = dataset
    return named
