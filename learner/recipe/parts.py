"""A recipe's parts: phases, the head, augmentation."""

from dataclasses import field, replace
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from learner.wording import count

HEAD_RATE = 2e-3
RATES_WITH_BATCH_NORM = (1e-4, 2e-3)
RATES_WITHOUT_BATCH_NORM = (1e-6, 1e-4)
SGD_FACTOR = 10
"""`auto` rates are for optimizers that divide by the gradient's size; plain SGD needs larger ones."""
CYCLED_MOMENTUM, STEADY_MOMENTUM = 0.95, 0.9
MOMENTUM_DIP = 0.1
"""one_cycle lowers the momentum by this while the rate is high (Smith 2018, arXiv:1803.09820)."""

PrecisionName = Literal["fp32", "bf16", "fp16"]
"""A number format that a backbone can compute in."""

AUTO_STEPS = 200
"""Steps of a phase with `epochs: auto`; where an epoch has more, it is one epoch."""
MOST_AUTO_EPOCHS = 30
USUAL_IMAGES, USUAL_BATCH = 320, 16

CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)

Trainable = Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]


@dataclass(config=CONFIG)
class Phase:
    """A stretch of training with one choice of trainable stages, learning rates and schedule."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the curves and tables call it."""
    trainable: Trainable = "head"
    """What learns: `head`, `last` (the last stage and the head), `all`, a stage such as `block4`, which means that
    stage and all above it, or a list of just those parts, such as `[block1, head]` (surgical fine-tuning, Lee et al.
    2022, arXiv:2210.11466)."""
    epochs: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] = 3
    """Passes over the training images. `auto` makes about as many steps for a few images as for some hundreds."""
    lr: float | list[float] | dict[str, float] | Literal["auto"] = "auto"
    """Learning rate; two numbers are spread from the lowest trainable group to the head, evenly in ratio; or one for
    each part by name, such as `{block5: 0.00001, head: 0.001}`, where a part that is not named takes the rate of the
    nearest named one above it. `auto` suits the backbone: see `Phase.rates`."""
    schedule: Literal["one_cycle", "flat_cos", "constant"] = "one_cycle"
    """How the rate moves: up and down again, flat then down, or not at all."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Pull of the weights towards zero. Raise it when the training loss falls while the validation loss rises.
    Decoupled from the rate's scale in AdamW and Ranger, part of the gradient in the others."""
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "ranger"] = "adamw"
    """How a gradient becomes a step. AdamW suits nearly everything; the others are there to repeat published work."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = "auto"
    """Share of the last step that goes on into the next (beta 1 of Adam). `auto` is 0.95, lowered by 0.1 while the
    rate is high, with one_cycle; 0.9 with other schedules; 0 with RMSprop."""
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    """Side in pixels for this phase, where it differs from the recipe's. Begin small and grow (progressive resizing)
    to save time. The model is used at the size that its best epoch was trained at."""
    patience: Annotated[int, Field(ge=0, le=1000)] = 0
    """Early stopping: the phase ends when its validation loss has not fallen for so many epochs. 0: never."""
    solve: bool = False
    """Solve the head: fit it to its optimum on what the frozen body gives (multinomial logistic regression), instead of
    by steps. Its strength of regularisation is chosen by cross-validation within the training images. For a head of
    kind `multiscale`, `solved` or `linear`; rates, schedule and optimizer have no part in it, and it counts as one
    epoch."""
    average: bool = False
    """Check and keep an exponential moving average of the weights, which is steadier than the weights of one step."""
    interpolate: bool = False
    """At its end, take the point on the line from the weights at its start to those at its end where the validation
    loss is lowest (WiSE-FT, Wortsman et al. 2021, arXiv:2109.01903); the start, unless the loss fell by more than one
    standard error. The phase cannot make that loss worse then."""

    @field_validator("lr", mode="before")
    @classmethod
    def _rates_are_numbers(cls, lr: Any) -> Any:
        if lr == "auto":
            return lr
        named = isinstance(lr, dict)
        rates = list(lr.values()) if named else list(lr) if isinstance(lr, list | tuple) else [lr]
        try:
            rates = [float(str(rate)) for rate in rates]  # YAML reads 1e-3 as text; by str(), `true` is no number
            fits = rates and all(0 < rate <= 10 for rate in rates)
            fits = fits and (named or (len(rates) <= 2 and rates == sorted(rates)))
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                "Use auto, one number such as 0.002, two, lowest first, such as [0.00001, 0.001], or one for each "
                "part, such as {block5: 0.00001, head: 0.001}; at most 10"
            )
        if named:
            return dict(zip(lr, rates, strict=True))
        return rates if len(rates) == 2 else rates[0]

    @field_validator("image_size", mode="before")
    @classmethod
    def _no_size_is_the_recipes(cls, image_size: Any) -> Any:
        return None if image_size == "auto" else image_size

    @field_validator("solve")
    @classmethod
    def _solving_is_of_the_head(cls, solve: bool, others: ValidationInfo) -> bool:
        if solve and others.data.get("trainable", "head") != "head":
            raise ValueError("With trainable: head it can be true; what else learns can only be trained by steps")
        return solve

    @field_validator("interpolate")
    @classmethod
    def _an_end_that_is_known(cls, interpolate: bool, others: ValidationInfo) -> bool:
        if interpolate and others.data.get("patience"):
            raise ValueError("With patience: 0 it can be true, as it is done in the last epoch; use one of the two")
        return interpolate

    @model_validator(mode="after")
    def _solving_is_one_epoch(self) -> Self:
        if self.solve:
            self.epochs = 1
        return self

    @property
    def length(self) -> int:
        """`epochs` as a number; for an `auto` that is not decided yet what some hundred images would have."""
        return self.epochs_for(USUAL_IMAGES, USUAL_BATCH)

    @property
    def length_text(self) -> str:
        """`3 epochs`, in a person's words."""
        if self.solve:
            return "solved at once"
        return "as many epochs as suit the images" if self.epochs == "auto" else count(self.epochs, "epoch")

    @property
    def learning_text(self) -> str:
        """What learns, in a person's words."""
        if isinstance(self.trainable, list):
            return f"{' and '.join(self.trainable)} alone"
        names = {"head": "the head", "last": "the last stage and the head", "all": "everything"}
        return names.get(self.trainable, f"{self.trainable} and all above")

    @property
    def trains_stages(self) -> bool:
        """Whether anything but the head learns."""
        return self.trainable not in ("head", ["head"])

    def parts(self, stages: list[str]) -> list[bool]:
        """Whether each parameter group learns: one a stage, and a last one for the head."""
        groups = [*stages, "head"]
        if isinstance(self.trainable, list):
            return [name in self.trainable for name in groups]
        first = {"all": 0, "last": len(stages) - 1}.get(self.trainable)
        first = groups.index(self.trainable) if first is None else first
        return [index >= first for index in range(len(groups))]

    def first_trainable_group(self, stages: list[str]) -> int:
        """Index of the lowest parameter group that learns, of one group a stage and a last one for the head."""
        return self.parts(stages).index(True)

    def epochs_for(self, images: int, batch_size: int) -> int:
        """`epochs` where so many images are trained on: `auto` counts steps."""
        if self.epochs != "auto":
            return self.epochs
        steps = max(1, ceil(images / batch_size))
        return min(MOST_AUTO_EPOCHS, max(1, round(AUTO_STEPS / steps)))

    def rates(self, batch_norm: bool) -> tuple[float, float]:
        """Learning rate of the lowest group that learns and of the head; `batch_norm`: whether the backbone has any.

        `auto` is 0.002 for the head alone, as in fastai's `fine_tune`. With stages it depends on batch-norm, which
        keeps activations in range while weights move: VGG16 has none, and at rates that suit others it forgets what
        it knew (measured: docs/benchmarks.md). Of rates by name these are the lowest and the highest.
        """
        if isinstance(self.lr, dict):
            return min(self.lr.values()), max(self.lr.values())
        if isinstance(self.lr, list):
            return self.lr[0], self.lr[1]
        if self.lr != "auto":
            return self.lr, self.lr
        factor = SGD_FACTOR if self.optimizer == "sgd" else 1
        if not self.trains_stages:
            return factor * HEAD_RATE, factor * HEAD_RATE
        low, high = RATES_WITH_BATCH_NORM if batch_norm else RATES_WITHOUT_BATCH_NORM
        return factor * low, factor * high

    def group_rates(self, stages: list[str], batch_norm: bool) -> list[float]:
        """Peak learning rate of every group (stages, then head): 0 where frozen, two rates spread by equal ratios.

        The spread is the one of fastai's `slice(low, high)`, taken over the groups that learn.
        """
        first, learns = self.first_trainable_group(stages), self.parts(stages)
        if isinstance(self.lr, dict):
            parts = [*stages, "head"]
            rates = [
                next((self.lr[part] for part in parts[index:] if part in self.lr), list(self.lr.values())[-1])
                for index in range(len(parts))
            ]
        else:
            low, high = self.rates(batch_norm)
            steps = max(1, len(stages) - first)
            rates = [low * (high / low) ** ((index - first) / steps) for index in range(len(stages))] + [high]
        return [rate if learns else 0.0 for rate, learns in zip(rates, learns, strict=True)]

    def momenta(self) -> tuple[float, float]:
        """Momentum at low and at high rates; the same unless the schedule is one_cycle."""
        momentum = self.momentum
        if momentum == "auto":
            momentum = CYCLED_MOMENTUM if self.schedule == "one_cycle" else STEADY_MOMENTUM
            momentum = 0.0 if self.optimizer == "rmsprop" else momentum
        return momentum, max(momentum - MOMENTUM_DIP, 0.0) if self.schedule == "one_cycle" else momentum


@dataclass(config=CONFIG)
class Head:
    """The new classifier on top of the body."""

    kind: Literal["fastai", "multiscale", "solved", "fc", "linear", "attention", "auto"] = "fastai"
    """`fastai`: average and maximum pooling, a layer of 512, batch-norm and dropout. `solved`: the same pooling and one
    layer, made to be solved. `multiscale`: the same again, and it also sees the last feature map of twice the size,
    which tells apart more than the last one alone (measured: docs/benchmarks.md). `fc`: layers of the widths below.
    `linear`: average pooling and one layer, the fastest. `attention`: learns where to look, and shows it. `auto`, what
    a recipe has that names none, is `multiscale` where a phase solves the head, else `fastai`."""
    widths: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(max_length=5)] = field(
        default_factory=lambda: [256]
    )
    """Units of each hidden layer of an `fc` or `attention` head, each followed by ReLU and dropout."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a hidden layer that is left out at each step. Raise it against overfitting. Not for `linear`."""
    pool: Literal["average", "flatten"] = "average"
    """What an `fc` head begins with: the mean over the feature map, or (`flatten`) all of it, as VGG16's own head does;
    then all phases have one image size."""

    @property
    def two_scales(self) -> bool:
        """Whether it sees two feature maps."""
        return self.kind == "multiscale"


@dataclass(config=CONFIG)
class Augment:
    """Random changes to training images, so that the network meets more than it was given. Nothing by default."""

    flip_horizontal: bool = False
    """Mirror left and right, every second time. Not where sides matter, as in writing."""
    flip_vertical: bool = False
    """Mirror top and bottom, every second time. For pictures taken from above or through a microscope."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Turn by up to so many degrees either way."""
    zoom: float | list[float] = 1.0
    """Enlarge by up to this factor, about a random point; or by a factor between two, such as [0.8, 1.2]. 0.2 to 3."""
    shear: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Slant by up to this share: 0.2 moves the upper edge sideways by up to a fifth of half the height."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Move by up to this share of width and height. For things that are not always in the middle."""
    lighting: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Change brightness and contrast by up to this share."""
    auto: bool = False
    """Decide it at the start of a run (`augment: auto`): small zooms and shifts; mirror images where a quick trial on
    the training images shows no harm, and all eight symmetries where turning them upside down does none either."""

    @field_validator("zoom", mode="before")
    @classmethod
    def _a_factor_or_two(cls, zoom: Any) -> Any:
        factors = list(zoom) if isinstance(zoom, list | tuple) else [1.0, zoom]
        try:
            factors = [float(str(factor)) for factor in factors]
            fits = len(factors) == 2 and factors == sorted(factors) and all(0.2 <= factor <= 3 for factor in factors)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError("Use one factor from 1 to 3, or two from 0.2 to 3, lower first, such as [0.8, 1.2]")
        return factors if isinstance(zoom, list | tuple) and factors[0] != 1 else factors[1]

    @model_validator(mode="after")
    def _auto_decides_alone(self) -> Self:
        if self.auto and replace(self, auto=False) != Augment():
            raise ValueError("With auto: true nothing else can be set, as it is decided when a run starts")
        return self

    @property
    def zoom_range(self) -> tuple[float, float]:
        """Lowest and highest factor."""
        return (self.zoom[0], self.zoom[1]) if isinstance(self.zoom, list) else (1.0, self.zoom)

    @property
    def changes_anything(self) -> bool:
        return self != Augment()
