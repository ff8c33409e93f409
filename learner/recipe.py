"""Recipes: everything that decides a result, as dataclasses that read and write YAML.

The docstring under a field is its help text in the page and in `docs/formats.md`.
"""

import re
import shlex
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from learner.errors import RecipeError

RECIPES = Path(__file__).parent.parent / "recipes"
SMALL_IMAGE_PX = 64
"""A data set whose images are typically no larger than this trains at `SMALL_IMAGE_SIZE`."""
SMALL_IMAGE_SIZE = 96
USUAL_IMAGE_SIZE = 224

HEAD_RATE = 2e-3
RATES_WITH_BATCH_NORM = (1e-4, 2e-3)
RATES_WITHOUT_BATCH_NORM = (1e-6, 1e-4)
SGD_FACTOR = 10
"""`auto` rates are for optimizers that divide by the gradient's size; plain SGD needs larger ones."""
CYCLED_MOMENTUM, STEADY_MOMENTUM = 0.95, 0.9
MOMENTUM_DIP = 0.1
"""one_cycle lowers the momentum by this while the rate is high (Smith 2018, arXiv:1803.09820)."""

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(config=_CONFIG)
class Phase:
    """A stretch of training with one choice of trainable stages, learning rates and schedule."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the curves and tables call it."""
    trainable: Annotated[str, Field(min_length=1)] = "head"
    """What learns: `head`, `all`, or a stage such as `block5`, which means that stage and all above it."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    """Passes over the training images."""
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

    def first_trainable_group(self, stages: list[str]) -> int:
        """Index of the lowest parameter group that learns, of one group a stage and a last one for the head."""
        if self.trainable == "all":
            return 0
        return len(stages) if self.trainable == "head" else stages.index(self.trainable)

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
        if self.trainable == "head":
            return factor * HEAD_RATE, factor * HEAD_RATE
        low, high = RATES_WITH_BATCH_NORM if batch_norm else RATES_WITHOUT_BATCH_NORM
        return factor * low, factor * high

    def group_rates(self, stages: list[str], batch_norm: bool) -> list[float]:
        """Peak learning rate of every group (stages, then head): 0 where frozen, two rates spread by equal ratios.

        The spread is the one of fastai's `slice(low, high)`, taken over the groups that learn.
        """
        first = self.first_trainable_group(stages)
        if isinstance(self.lr, dict):
            parts = [*stages, "head"]
            return [0.0] * first + [
                next((self.lr[part] for part in parts[index:] if part in self.lr), list(self.lr.values())[-1])
                for index in range(first, len(parts))
            ]
        low, high = self.rates(batch_norm)
        steps = len(stages) - first
        learning = [low * (high / low) ** (step / steps) for step in range(steps)] + [high]
        return [0.0] * first + learning

    def momenta(self) -> tuple[float, float]:
        """Momentum at low and at high rates; the same unless the schedule is one_cycle."""
        momentum = self.momentum
        if momentum == "auto":
            momentum = CYCLED_MOMENTUM if self.schedule == "one_cycle" else STEADY_MOMENTUM
            momentum = 0.0 if self.optimizer == "rmsprop" else momentum
        return momentum, max(momentum - MOMENTUM_DIP, 0.0) if self.schedule == "one_cycle" else momentum


@dataclass(config=_CONFIG)
class Head:
    """The new classifier on top of the body."""

    kind: Literal["fastai", "fc", "linear", "attention"] = "fastai"
    """`fastai`: average and maximum pooling, a layer of 512, batch-norm and dropout. `fc`: layers of the widths below.
    `linear`: average pooling and one layer, the fastest. `attention`: learns where to look, and shows it."""
    widths: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(max_length=5)] = field(
        default_factory=lambda: [256]
    )
    """Units of each hidden layer of an `fc` or `attention` head, each followed by ReLU and dropout."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a hidden layer that is left out at each step. Raise it against overfitting. Not for `linear`."""
    pool: Literal["average", "flatten"] = "average"
    """What an `fc` head begins with: the mean over the feature map, or (`flatten`) all of it, as VGG16's own head does;
    then all phases have one image size."""


@dataclass(config=_CONFIG)
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

    @property
    def zoom_range(self) -> tuple[float, float]:
        """Lowest and highest factor."""
        return (self.zoom[0], self.zoom[1]) if isinstance(self.zoom, list) else (1.0, self.zoom)

    @property
    def changes_anything(self) -> bool:
        return self != Augment()


def _default_phases() -> list[Phase]:
    return [
        Phase(name="Warm-up", trainable="head", epochs=2),
        Phase(name="Fine-tuning", trainable="all", epochs=3),
    ]


@dataclass(config=_CONFIG)
class Recipe:
    """Everything that decides a result."""

    dataset: Annotated[str, Field(min_length=1)]
    """Name of the data set."""
    version: Annotated[int, Field(ge=1)] | None = None
    """Version of the data set; the newest when left out."""
    backbone: Annotated[str, Field(min_length=1)] = "auto"
    """A timm architecture such as `vgg16`; `auto` takes VGG16 if it can have its ImageNet weights, else
    EfficientNet-Lite0."""
    weights: Annotated[str, Field(min_length=1)] = "auto"
    """Where the pretrained weights come from: `auto`, a file, `run:12` for the body of that run, `run:NAME` for that of
    the newest finished run on the data set of that name, or `random` to start from nothing."""
    head: Head = field(default_factory=Head)
    """The new classifier on top of the backbone."""
    image_size: Annotated[int, Field(ge=32, le=1024)] | Literal["auto"] = "auto"
    """Side in pixels to which every image is resized; `auto` is 224, or 96 where the images are tiny."""
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 16
    """Images a training step looks at together; lower it when memory runs out."""
    valid_fraction: Annotated[float, Field(ge=0.05, le=0.5)] = 0.2
    """Share of the images kept for validation, by class, where the data set has no split of its own."""
    grouped: bool = True
    """Keep near duplicates and declared groups on one side of the split. Without, the accuracy may flatter."""
    folds: Annotated[int, Field(ge=0, le=20)] = 0
    """Cross-validation: the number of folds, 2 or more; 0 keeps `valid_fraction` for validation instead."""
    fold: Annotated[int, Field(ge=1, le=20)] = 1
    """Which of the folds validates this run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Fixes the split, the new head, the order of the images and their augmentation."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    """Runs with this seed, the next, and so on. Three or more show how much of a difference is chance."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """What is minimised; `focal` pays more attention to images that are still wrong, for very unequal classes."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """How much more, for `focal`; 0 is cross entropy."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of certainty taken from every label; 0.1 helps where some labels are wrong. Cross entropy only."""
    balance: Literal["none", "weights", "oversample"] = "none"
    """For classes of unequal size: count the images of small classes more in the loss, or show them more often."""
    mix: Literal["none", "mixup", "cutmix"] = "none"
    """Train on blends of two images (MixUp) or with a piece of another (CutMix). For long trainings that overfit; the
    cache of frozen stages cannot be used with it."""
    mix_alpha: Annotated[float, Field(gt=0, le=10)] = 0.4
    """How evenly two images are blended: low leaves most nearly as they are."""
    clip_norm: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Gradients longer than this are shortened to it; 1 tames a loss that jumps. 0: never."""
    accumulate: Annotated[int, Field(ge=1, le=256)] = 1
    """Batches whose gradients make one step: the effect of a larger batch in the memory of a small one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the backbone's arithmetic; `auto` takes the fastest that this machine does well. The head and
    the loss always use fp32."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Whether the outputs of frozen stages are computed once and kept for every epoch; `auto` does what is faster."""
    augment: Augment = field(default_factory=Augment)
    """Random changes to the training images."""
    views: Annotated[int, Field(ge=0, le=64)] = 4
    """With augmentation: how many changed copies of an image there are, of which every epoch draws one. 0 changes it
    anew in every epoch, which the cache cannot keep."""
    phases: Annotated[list[Phase], Field(min_length=1, max_length=50)] = field(default_factory=_default_phases)
    """What is trained, in order."""

    @field_validator("cache", mode="before")
    @classmethod
    def _on_is_no_yes(cls, cache: Any) -> Any:
        """YAML reads a plain `on` or `off` as true or false."""
        return {True: "on", False: "off"}.get(cache, cache) if isinstance(cache, bool) else cache

    @field_validator("cache")
    @classmethod
    def _blends_cannot_be_kept(cls, cache: str, others: ValidationInfo) -> str:
        mix = others.data.get("mix", "none")
        if cache == "on" and mix != "none":
            raise ValueError(f"With mix: {mix} it cannot be on, as every step sees other images; use cache: auto")
        return cache

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("Use 0 for a plain split, or 2 folds and more")
        return folds

    @field_validator("fold")
    @classmethod
    def _an_existing_fold(cls, fold: int, others: ValidationInfo) -> int:
        if fold > max(others.data.get("folds", 0), 1):
            raise ValueError("It should be no more than `folds`")
        return fold

    @field_validator("views")
    @classmethod
    def _something_to_cache(cls, views: int, others: ValidationInfo) -> int:
        if views == 0 and others.data.get("cache") == "on" and others.data.get("augment", Augment()).changes_anything:
            raise ValueError("With cache: on and augmentation it should be 1 or more; or use cache: auto")
        return views

    @field_validator("label_smoothing")
    @classmethod
    def _smoothing_of_cross_entropy(cls, label_smoothing: float, others: ValidationInfo) -> float:
        if label_smoothing and others.data.get("loss") == "focal":
            raise ValueError("With loss: focal it should be 0; or use loss: cross_entropy")
        return label_smoothing

    @field_validator("phases")
    @classmethod
    def _one_size_for_a_flat_head(cls, phases: list[Phase], others: ValidationInfo) -> list[Phase]:
        head = others.data.get("head", Head())
        if head.kind == "fc" and head.pool == "flatten" and any(phase.image_size for phase in phases):
            raise ValueError("With head.pool: flatten no phase can have its own image_size; or use head.pool: average")
        return phases

    @classmethod
    def from_dict(cls, values: Any, source: str = "The recipe") -> "Recipe":
        """Raises RecipeError with every mistake at once, each with its key's path."""
        if not isinstance(values, dict):
            raise RecipeError([f"it should be a list of keys and values, not {values!r}"], source)
        try:
            return _ADAPTER.validate_python(values)
        except ValidationError as error:
            raise RecipeError(_problems(error), source) from None

    @classmethod
    def from_yaml(cls, text: str, source: str = "The recipe") -> "Recipe":
        return cls.from_dict(_parse(text, source), source)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_yaml(self) -> str:
        """YAML that `from_yaml` reads back to an equal recipe."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)

    def check(self, stages: list[str] | None = None) -> None:
        """Raise RecipeError with every mistake; `stages` are the backbone's, where they are known."""
        Recipe.from_dict(self.to_dict())
        if stages is not None:
            allowed = ["head", "all", *stages]
            parts = [*stages, "head"]
            problems = [
                f"phases.{i}.trainable: {phase.trainable!r} is not a part of {self.backbone}. "
                f"Choose one of {', '.join(allowed)}"
                for i, phase in enumerate(self.phases)
                if phase.trainable not in allowed
            ]
            problems += [
                f"phases.{i}.lr: {name!r} is not a part of {self.backbone}. Choose from {', '.join(parts)}"
                for i, phase in enumerate(self.phases)
                for name in (phase.lr if isinstance(phase.lr, dict) else ())
                if name not in parts
            ]
            if problems:
                raise RecipeError(problems)

    def command(self, *flags: str) -> str:
        """The shell command that does the same: `default` with only what differs set."""
        mine, usual = self.to_dict(), Recipe(dataset=self.dataset).to_dict()
        options = [option for key in mine for option in _differences(key, mine[key], usual[key])]
        words = ["python", "-m", "learner", "train", "--dataset", self.dataset]
        words += [word for option in options for word in ("--set", option)]
        return shlex.join([*words, *flags])


_ADAPTER = TypeAdapter(Recipe)


def setting_help() -> dict[str, str]:
    """The docstring of every key of a recipe, a phase, the augmentation and the head, by the key's name."""
    parts = (Phase, Augment, Head, Recipe)  # a name that two of them have, such as image_size, is the recipe's
    return {name: field.description or "" for part in parts for name, field in part.__pydantic_fields__.items()}


def recipe_names() -> list[str]:
    """Names of the recipes that ship with Thaw."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_file: str, dataset: str, changes: list[str] | None = None) -> Recipe:
    """A shipped recipe or a YAML file, for `dataset`, with `key=value` changes applied.

    Raises RecipeError when it cannot be found or read, or has mistakes.
    """
    shipped = RECIPES / f"{name_or_file}.yaml"
    path = shipped if shipped.exists() else Path(name_or_file)
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise RecipeError([f"there is no such file, and no shipped recipe of that name ({known})"], f"{name_or_file!r}")
    source = f"Recipe {name_or_file}"
    try:
        values = _parse(path.read_text("utf-8"), source)
    except UnicodeDecodeError:
        raise RecipeError(["it is not a text file"], source) from None
    if isinstance(values, dict):
        values["dataset"] = dataset
        values.setdefault("phases", [asdict(phase) for phase in _default_phases()])
        apply_changes(values, changes or [])
    return Recipe.from_dict(values, source)


def recipe_for(dataset: str) -> str:
    """The shipped recipe that is named like a data set, as flowers-17 and flowers17; else `default`."""
    plain = {re.sub(r"[\W_]", "", name): name for name in recipe_names()}
    return plain.get(re.sub(r"[\W_]", "", dataset.lower()), "default")


def apply_changes(values: dict[str, Any], changes: list[str]) -> None:
    """Set each `dotted.key=value` in a recipe's dictionary. Raises RecipeError for a path that leads nowhere."""
    for change in changes:
        _apply(values, change)


def choose_image_size(image_size: int | Literal["auto"], typical_side: int) -> int:
    """Pixels for `auto`, given the median of the images' longer sides (pixels)."""
    if image_size != "auto":
        return image_size
    return SMALL_IMAGE_SIZE if typical_side <= SMALL_IMAGE_PX else USUAL_IMAGE_SIZE


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError([f"it is not valid YAML: {' '.join(str(error).split())}"], source) from None


def _apply(values: dict[str, Any], change: str) -> None:
    """Set one `dotted.key=value`, where the value is YAML."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise RecipeError([f"{change!r} is not of the form key=value, as in phases.0.epochs=3"], "--set")
    *parents, last = key.split(".")
    place: Any = values
    for step, name in enumerate([*parents, last]):
        if isinstance(place, list):
            if not name.isdecimal() or int(name) >= len(place):
                there = f"0 to {len(place) - 1}"
                raise RecipeError([f"{key}: there is no entry {name!r}, only {there}"], "--set")
            name = int(name)
        elif not isinstance(place, dict):
            raise RecipeError([f"{key}: {'.'.join(parents[:step])} has no parts"], "--set")
        if step == len(parents):
            place[name] = _parse(text, f"--set {key}")
        else:
            place = place[name] if isinstance(place, list) else place.setdefault(name, {})


def _differences(key: str, mine: Any, usual: Any) -> list[str]:
    if mine == usual:
        return []
    if isinstance(mine, dict) and isinstance(usual, dict):
        return [option for name in mine for option in _differences(f"{key}.{name}", mine[name], usual[name])]
    if isinstance(mine, list) and isinstance(usual, list) and len(mine) == len(usual) and isinstance(mine[0], dict):
        pairs = zip(mine, usual, strict=True)
        return [
            option
            for i, (left, right) in enumerate(pairs)
            for name in left
            for option in _differences(f"{key}.{i}.{name}", left[name], right[name])
        ]
    if mine in ("on", "off"):  # YAML would quote them, as other readers take them for true and false
        return [f"{key}={mine}"]
    text = yaml.safe_dump(mine, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return [f"{key}={text.removesuffix(chr(10)).removesuffix('...').strip()}"]


def _problems(error: ValidationError) -> list[str]:
    """Pydantic's findings as sentences that start with the key's path; a union's branches make one sentence."""
    found: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"] if isinstance(part, int) or _is_field(part)) or "recipe"
        if item["type"] == "unexpected_keyword_argument":
            message = "there is no such key"
        elif item["type"] == "missing":
            message = "this key is needed"
        else:
            message = item["msg"].removeprefix("Value error, ").replace("Input should", "It should")
            values[path] = f" (it is {item['input']!r})"
        found.setdefault(path, []).append(message)
    return [
        f"{path}: {messages[0]}{''.join(', or' + text.removeprefix('It should') for text in messages[1:])}"
        f"{values.get(path, '')}"
        for path, messages in found.items()
    ]


def _is_field(part: str) -> bool:
    """False for the names that pydantic gives to a union's branches."""
    return part not in ("float", "int", "str", "list", "none") and not part.startswith(
        ("constrained-", "list[", "literal[", "function-")
    )
