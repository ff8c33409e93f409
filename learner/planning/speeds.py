"""How fast this machine is with a backbone, and where that is kept. Needs no torch."""

import socket
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from learner.atomic import read_json, write_json
from learner.recipe import Recipe
from learner.recipe.parts import PrecisionName
from learner.workspace import Workspace


@dataclass(frozen=True)
class Speed:
    """How fast a machine is with one backbone, image size and precision.

    Lists have one value a parameter group: the stages in order, then the head. Seconds are per image unless said.
    """

    arch: str
    stages: list[str]
    image_size: int
    batch_size: int
    device: str
    """A person's name for it: `CPU, 2 threads`."""
    precision: PrecisionName
    precision_reason: str
    forward: list[float]
    """Inference."""
    lowest: list[float]
    """A training step of the lowest group that learns: forward, and the gradients of its weights."""
    above: list[float]
    """A training step of a group above it: forward, and the gradients of its weights and of its input."""
    update: list[float]
    """The optimizer's step, per batch."""
    augment: float
    """Augmenting."""
    batch: float
    """Whatever a batch costs besides."""
    row_bytes: list[int]
    """Disk of one image at cut 0 (decoded), 1, … and after the last stage."""

    def or_faster(self, other: "Speed") -> "Speed":
        """Of two measurements of the same the shorter times: nothing makes a machine faster than it is."""
        return replace(
            self,
            augment=min(self.augment, other.augment),
            forward=list(map(min, self.forward, other.forward)),
            lowest=list(map(min, self.lowest, other.lowest)),
            above=list(map(min, self.above, other.above)),
            update=list(map(min, self.update, other.update)),
        )

    def at(self, image_size: int | None) -> "Speed":
        """About what it is at another size: convolutions and rows grow with the number of pixels."""
        if image_size is None or image_size == self.image_size:
            return self
        ratio = (image_size / self.image_size) ** 2
        forward, lowest, above = (
            [ratio * value for value in groups[:-1]] + groups[-1:] for groups in (self.forward, self.lowest, self.above)
        )
        return replace(
            self,
            image_size=image_size,
            forward=forward,
            lowest=lowest,
            above=above,
            augment=ratio * self.augment,
            row_bytes=[round(ratio * size) for size in self.row_bytes],
        )


def load_speeds(workspace: Workspace, recipe: Recipe) -> list[Speed]:
    """What an earlier measurement of this machine found for a recipe whose backbone and image size are decided."""
    try:
        return [Speed(**speed) for speed in _kept(workspace)[_key(recipe)]]
    except (KeyError, TypeError):
        return []


def save_speeds(workspace: Workspace, recipe: Recipe, speeds: list[Speed]) -> None:
    """Keep what was measured for a recipe's backbone, image size and batch size, in place of what was known before."""
    write_json(workspace.speeds, _kept(workspace) | {_key(recipe): [asdict(speed) for speed in speeds]})


def forget_speeds(workspace: Workspace, recipe: Recipe) -> None:
    """Measure anew next time, in whatever precision: this machine was busy, then or now."""
    same = _key(replace(recipe, precision="auto")).removesuffix("auto")
    others = {key: speeds for key, speeds in _kept(workspace).items() if not key.startswith(same)}
    write_json(workspace.speeds, others)


def _kept(workspace: Workspace) -> dict[str, Any]:
    """Nothing where the file cannot be read: what was measured can be measured again."""
    try:
        return read_json(workspace.speeds, {})
    except (OSError, ValueError):
        return {}


def _key(recipe: Recipe) -> str:
    decides = (socket.gethostname(), version("torch"), recipe.backbone, recipe.image_size, recipe.batch_size)
    return " ".join(map(str, [*decides, recipe.precision]))
