"""Resume points: everything that a killed run needs to go on as if nothing had happened.

A point is one file, written under another name, flushed and renamed, so that it is whole or not there. The best model
so far lies beside it under the number of its epoch, since `model.safetensors` may already be a later one.
"""

import logging
import os
import pickle
import random
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.learner import Learner
from torch import Tensor

from learner.atomic import replace, written_whole
from learner.training.position import Position

log = logging.getLogger(__name__)

FORMAT = 1


def save_point(path: Path, learn: Learner, position: Position, best_model: Path) -> None:
    """Write a resume point. Raises OSError where the disk does not take it; the one before is then still there."""
    kept = _best_of(path, position.best_epoch)
    if kept is not None and not kept.exists():
        link_or_copy(best_model, kept)
    state = {
        "format": FORMAT,
        "place": position.to_dict(),
        "model": learn.model.state_dict(),
        "optimizer": _plain(learn.opt.state_dict()),
        "scaler": learn.scaler.state_dict() if getattr(learn, "scaler", None) else None,
        "average": learn.weight_average.state,
        "random": random_states(),
    }
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    for other in path.parent.glob("best-*.safetensors"):
        if other != kept:
            other.unlink(missing_ok=True)


def load_point(path: Path) -> dict[str, Any] | None:
    """What `save_point` wrote, on the CPU, its `position` as a Position; None where there is none that can be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']}")
        return state | {"position": Position.from_dict(state.pop("place"))}
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
        log.exception("The resume point %s cannot be read, so an earlier state is used", path)
        return None


def restore_best(path: Path, position: Position, best_model: Path) -> None:
    """Make the best model of that position `best_model` again."""
    kept = _best_of(path, position.best_epoch)
    if kept is None:
        best_model.unlink(missing_ok=True)
    elif kept.exists():
        temporary = best_model.with_name(best_model.name + ".back")
        temporary.unlink(missing_ok=True)
        link_or_copy(kept, temporary)
        replace(temporary, best_model)
        temporary.unlink(missing_ok=True)  # two names of one file are not replaced by each other


def remove_point(path: Path) -> None:
    """A run that has finished needs it no more."""
    for file in [path, *path.parent.glob("best-*.safetensors")]:
        file.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what a killed process left half-written in a run's folder: ours, and safetensors' own `.tmp…`."""
    for pattern in ("*.part", "*.back", ".tmp*"):
        for file in folder.rglob(pattern):
            file.unlink(missing_ok=True)


def restore_random(states: dict[str, Any]) -> None:
    """Set every random generator to where `save_point` found it."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def random_states() -> dict[str, Any]:
    """Of every random generator, for `restore_random`."""
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)  # as `legacy` says
    name, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _best_of(path: Path, epoch: int | None) -> Path | None:
    return None if epoch is None else path.with_name(f"best-{epoch}.safetensors")


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that is only ever replaced; a copy where the disk has no such names."""
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_name(target.name + ".part")
        with suppress(FileNotFoundError):
            temporary.unlink()
        shutil.copyfile(source, temporary)
        replace(temporary, target)


def _plain(value: Any) -> Any:
    """Lists and dictionaries of Python's own classes instead of fastai's, as a file without pickled classes needs."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_plain(item) for item in value]
