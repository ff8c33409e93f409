"""The recipe: everything that decides a result."""

import re
import shlex
from dataclasses import asdict, field, replace
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from learner.errors import RecipeError
from learner.recipe.parts import CONFIG, Augment, Head, Phase

SMALL_IMAGE_PX = 64
"""A data set whose images are typically no larger than this trains at `SMALL_IMAGE_SIZE`."""
SMALL_IMAGE_SIZE = 96
USUAL_IMAGE_SIZE = 224
SOLVABLE = ("multiscale", "solved", "linear")
"""Kinds of head that are one layer after pooling, and so have one optimum."""
MOST_SHOWN = 200
"""Characters of a wrong value that are repeated to a person."""
MAX_CHARACTERS = 100_000
"""Of a recipe as YAML; 50 phases with every setting written out have 20,000."""
MAX_VALUE = 3000
"""Characters of one value; a number of so many digits can still be shown."""
MAX_DEPTH = 20
LEAST_BUDGET_S = 30
"""For less, nothing could be tried: a process starts and its result is written in about half of it."""


def default_phases() -> list[Phase]:
    """What is trained where a recipe names no phases: the head is solved, then the last stage learns with it."""
    return [
        Phase(name="Solve the head", solve=True),
        Phase(
            name="Fine-tuning",
            trainable="last",
            epochs="auto",
            lr=[1e-5, 1e-4],
            average=True,
            interpolate=True,
        ),
    ]


@dataclass(config=CONFIG)
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
    head: Head = field(default_factory=lambda: Head(kind="auto"))
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
    fold_is: Literal["valid", "test"] = "valid"
    """What the fold is for: `valid`, or `test`. Then it judges the finished model and nothing is chosen by it;
    validation images are drawn from the other folds. A data set's own validation images take the fold's place."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Fixes the split, the new head, the order of the images and their augmentation."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    """Runs with this seed, the next, and so on. Three or more show how much of a difference is chance."""
    refit: bool | Literal["auto"] = "auto"
    """Once the phases are done, train once more on training and validation images together, for as many steps as led
    to the best epoch. That model is handed over; the figures are of the one before, which had not learnt from the
    validation images. Has no part where a fold validates. `auto` is true where a phase solves the head."""
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
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that train the run together, each with its rows of every batch; more than 1 need a Ray cluster."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the backbone's arithmetic; `auto` takes the fastest that this machine does well. The head and
    the loss always use fp32."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Whether the outputs of frozen stages are computed once and kept for every epoch; `auto` does what is faster."""
    device: Literal["auto", "gpu"] = "auto"
    """`gpu`: only a worker with a GPU takes the run. `auto`: any worker."""
    memory: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """GB of memory that the machine of a worker must have to take the run. 0: any."""
    augment: Augment = field(default_factory=Augment)
    """Random changes to the training images."""
    views: Annotated[int, Field(ge=0, le=64)] = 4
    """With augmentation: how many changed copies of an image there are, of which every epoch draws one. 0 changes it
    anew in every epoch, which the cache cannot keep."""
    phases: Annotated[list[Phase], Field(min_length=1, max_length=50)] = field(default_factory=default_phases)
    """What is trained, in order."""
    budget: Annotated[int, Field(ge=0, le=7 * 86400)] = 0
    """Seconds that all of it may take (`10m` and `2h` can be written, too). Within them Thaw tries what is left open
    and chooses: backbone and image size where they are `auto`, augmentation, the head, and what thaws at which rates.
    0: the phases are trained as they are."""

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

    @field_validator("augment", mode="before")
    @classmethod
    def _auto_is_a_word(cls, augment: Any) -> Any:
        return {"auto": True} if augment == "auto" else augment

    @field_validator("budget", mode="before")
    @classmethod
    def _a_time_in_words(cls, budget: Any) -> Any:
        """`90s`, `10m` or `2h` as seconds."""
        match = re.fullmatch(r"(\d{1,6})\s*([smh])", budget.strip().lower()) if isinstance(budget, str) else None
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else budget

    @field_validator("budget")
    @classmethod
    def _time_for_something(cls, budget: int, others: ValidationInfo) -> int:
        if budget and others.data.get("workers", 1) > 1:
            raise ValueError("With workers it should be 0, as one process tries all of it; or use workers: 1")
        if 0 < budget < LEAST_BUDGET_S:
            raise ValueError(f"Use at least {LEAST_BUDGET_S} s, such as 3m, or 0 to train the phases as they are")
        return budget

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

    @field_validator("phases")
    @classmethod
    def _a_head_that_can_be_solved(cls, phases: list[Phase], others: ValidationInfo) -> list[Phase]:
        kind = others.data.get("head", Head()).kind
        if any(phase.solve for phase in phases) and kind not in ("auto", *SOLVABLE):
            raise ValueError(f"A head of kind {kind} cannot be solved; use head.kind: auto, or phases without solve")
        return phases

    @model_validator(mode="after")
    def _what_its_phases_decide(self) -> Self:
        solves = any(phase.solve for phase in self.phases)
        if self.head.kind == "auto":
            self.head = replace(self.head, kind="multiscale" if solves else "fastai")
        if self.refit == "auto":
            self.refit = solves
        return self

    @classmethod
    def from_dict(cls, values: Any, source: str = "The recipe") -> "Recipe":
        """Raises RecipeError with every mistake at once, each with its key's path."""
        if not isinstance(values, dict):
            raise RecipeError([f"it should be a list of keys and values, not {_shown(values)}"], source)
        try:
            return _ADAPTER.validate_python(values)
        except ValidationError as error:
            raise RecipeError(_problems(error), source) from None

    @classmethod
    def from_yaml(cls, text: str, source: str = "The recipe") -> "Recipe":
        return cls.from_dict(parse_yaml(text, source), source)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_yaml(self) -> str:
        """YAML that `from_yaml` reads back to an equal recipe."""
        layout = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 100}
        text: str = yaml.safe_dump(self.to_dict(), **layout)
        return text

    def check(self, stages: list[str] | None = None) -> None:
        """Raise RecipeError with every mistake; `stages` are the backbone's, where they are known."""
        Recipe.from_dict(self.to_dict())
        if stages is not None:
            allowed = ["head", "last", "all", *stages]
            parts = [*stages, "head"]
            problems = [
                f"phases.{i}.trainable: {name!r} is not a part of {self.backbone}. "
                f"Choose one of {', '.join(parts if isinstance(phase.trainable, list) else allowed)}"
                for i, phase in enumerate(self.phases)
                for name in (phase.trainable if isinstance(phase.trainable, list) else [phase.trainable])
                if name not in (parts if isinstance(phase.trainable, list) else allowed)
            ]
            problems += [
                f"phases.{i}.lr: {name!r} is not a part of {self.backbone}. Choose from {', '.join(parts)}"
                for i, phase in enumerate(self.phases)
                for name in (phase.lr if isinstance(phase.lr, dict) else ())
                if name not in parts
            ]
            if problems:
                raise RecipeError(problems)

    def with_epochs(self, images: int) -> "Recipe":
        """The recipe with `epochs: auto` decided for so many training images."""
        per_step = self.batch_size * self.accumulate
        phases = [replace(phase, epochs=phase.epochs_for(images, per_step)) for phase in self.phases]
        return replace(self, phases=phases)

    @property
    def refits(self) -> bool:
        """Whether there is a refit: a model that its fold validates is made only to be checked."""
        return bool(self.refit) and not (self.folds and self.fold_is == "valid")

    @property
    def holds_back(self) -> bool:
        """Whether a fold only judges the finished model."""
        return bool(self.folds) and self.fold_is == "test"

    @property
    def side(self) -> int:
        """`image_size` in pixels, of a recipe that is settled: `auto` is decided by then."""
        assert self.image_size != "auto"
        return self.image_size

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
    return {
        name: field.description or ""
        for part in parts
        for name, field in part.__pydantic_fields__.items()  # type: ignore[union-attr]  # pydantic's decorator adds it
    }


def choose_image_size(image_size: int | Literal["auto"], typical_side: int) -> int:
    """Pixels for `auto`, given the median of the images' longer sides (pixels)."""
    if image_size != "auto":
        return image_size
    return SMALL_IMAGE_SIZE if typical_side <= SMALL_IMAGE_PX else USUAL_IMAGE_SIZE


def parse_yaml(text: str, source: str) -> Any:
    """What a YAML text says, as plain values; no text costs more than its length. Raises RecipeError, naming `source`.

    Aliases, deep nesting and long texts, which no recipe needs, are refused.
    """
    if len(text) > MAX_CHARACTERS:
        raise RecipeError(
            [f"it has more than {MAX_CHARACTERS:,} characters, which no recipe needs. Shorten it"], source
        )
    try:
        return yaml.load(text, _PlainLoader)
    except _Refused as error:
        raise RecipeError([str(error)], source) from None
    except (yaml.YAMLError, ValueError) as error:  # dates and numbers that cannot be are ValueErrors
        raise RecipeError([f"it is not valid YAML: {' '.join(str(error).split())}"], source) from None


class _Refused(yaml.YAMLError):  # type: ignore[misc]  # yaml brings no types
    """Valid YAML that no recipe needs."""


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # yaml brings no types
    """Values as a person writes them: nothing stands for anything else, and nothing lies deep."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        line = f"line {event.start_mark.line + 1}"
        if event.anchor is not None:  # an alias has one too
            raise _Refused(f"{line} has an alias or an anchor (* or &), which recipes do not use. Write the value out")
        if self._depth > MAX_DEPTH:
            raise _Refused(f"{line} is nested more than {MAX_DEPTH} deep. A recipe needs four levels")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_VALUE:
            raise _Refused(f"{line} has a value of more than {MAX_VALUE:,} characters. Shorten it")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


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
            values[path] = f" (it is {_shown(item['input'])})"
        found.setdefault(path, []).append(message)
    return [
        f"{path}: {messages[0]}{''.join(', or' + text.removeprefix('It should') for text in messages[1:])}"
        f"{values.get(path, '')}"
        for path, messages in found.items()
    ]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def _is_field(part: str) -> bool:
    """False for the names that pydantic gives to a union's branches."""
    return part not in ("float", "int", "str", "list", "none") and not part.startswith(
        ("constrained-", "list[", "literal[", "function-")
    )
