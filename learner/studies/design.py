"""What a study compares: variants of a recipe, each with the same seeds and folds, and the runs that come of them.

In every run a fold is held back (`learner.recipe.Recipe.fold_is`): it judges the finished model, and nothing is chosen
by it. All variants have the same folds, so their runs can be compared in pairs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from learner.datasets.splits import has_own_split
from learner.errors import StudyError
from learner.recipe import Phase, Recipe, apply_changes
from learner.recipe.backbones import known_backbone
from learner.store import ACTIVE, Store
from learner.store.runs import RESUMABLE

SEEDS, FOLDS = 1, 5
"""What a study has unless it is told otherwise: every image judges each variant once."""
MOST_SEEDS, MOST_FOLDS, MOST_VARIANTS, MOST_RUNS = 20, 20, 12, 500


@dataclass(frozen=True)
class Variant:
    """One way to train, and what tables and charts call it."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Design:
    """A question. The first variant is what the others are compared with."""

    variants: tuple[Variant, ...]
    seeds: int = SEEDS
    """How often all of it is done, each time with other folds, another new head and another order of the images."""
    folds: int = FOLDS
    """How many parts the images are dealt into, each of which judges once for a seed. 1 where the data set's own
    validation images judge every time."""

    @property
    def number_of_runs(self) -> int:
        return len(self.variants) * self.seeds * self.folds

    def to_dict(self) -> dict[str, Any]:
        variants = [{"name": one.name, "recipe": one.recipe.to_dict()} for one in self.variants]
        return {"variants": variants, "seeds": self.seeds, "folds": self.folds}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Design":
        variants = (Variant(one["name"], Recipe.from_dict(one["recipe"])) for one in values["variants"])
        return cls(tuple(variants), values["seeds"], values["folds"])

    def recipes(self) -> list[tuple[int, Recipe]]:
        """What each run trains, with the number of its variant.

        All variants of a fold come one after the other: they share what frozen stages gave, and however early a study
        is stopped, its runs are pairs.
        """
        return [
            (
                index,
                replace(
                    one.recipe,
                    seed=one.recipe.seed + seed,
                    folds=max(self.folds, 2),  # where there is one only, no number is looked at
                    fold=fold,
                    fold_is="test",
                    repeats=1,
                ),
            )
            for seed in range(self.seeds)
            for fold in range(1, self.folds + 1)
            for index, one in enumerate(self.variants)
        ]


def grid(recipe: Recipe, vary: Sequence[str]) -> tuple[Variant, ...]:
    """A variant for each combination of values; each of `vary` is `dotted.key=value,value`, with YAML values.

    Raises StudyError for what is not of that form, and RecipeError for what no recipe can have.
    """
    choices = [_choices(one) for one in vary]
    found = []
    for values in product(*(values for _, values in choices)):
        changes = [f"{key}={value}" for (key, _), value in zip(choices, values, strict=True)]
        changed = recipe.to_dict()
        apply_changes(changed, changes)
        names = [f"{key.rpartition('.')[2]} {value}" for (key, _), value in zip(choices, values, strict=True)]
        found.append(Variant(values[0] if len(choices) == 1 else ", ".join(names), Recipe.from_dict(changed)))
    return tuple(found)


def unfreezing(recipe: Recipe, arch: str) -> tuple[Variant, ...]:
    """Did unfreezing help? The head alone; then the last stage, the last two, and everything with it.

    What the recipe trains after its first phase is replaced by one phase of fine-tuning, the recipe's own first one
    where it has any. `arch` is the backbone that its runs will have. Raises StudyError for one whose stages are not
    known.
    """
    known = known_backbone(arch)
    if known is None:
        raise StudyError(f"The stages of {arch} are not known by name. Say what varies: phases.1.trainable=head,all")
    first, *later = recipe.phases
    usual = Recipe(recipe.dataset).phases[-1]
    tuned = later[0] if later else replace(usual, name="Fine-tuning")
    depths = {known.stages[-1]: known.stages[-1], f"{known.stages[-2]} and up": known.stages[-2], "everything": "all"}
    recipe = replace(recipe, backbone=arch, budget=0)  # a search would choose what thaws
    return (
        Variant("head only", replace(recipe, phases=[_head_alone(first)])),
        *(
            Variant(name, replace(recipe, phases=[_head_alone(first), replace(tuned, trainable=lowest)]))
            for name, lowest in depths.items()
        ),
    )


def create_study(store: Store, design: Design) -> int:
    """Check a study and queue its runs; returns its id. Raises StudyError, and what `Store.settle` raises."""
    names = [one.name for one in design.variants]
    if len(names) < 2:
        raise StudyError("A study compares at least two variants. Name several values, such as --vary seed=1,2.")
    if len(set(names)) < len(names):
        raise StudyError(f"Two variants are called {max(names, key=names.count)!r}. Give each a name of its own.")
    if len({one.recipe.dataset for one in design.variants} | {one.recipe.version for one in design.variants}) > 2:
        raise StudyError("All variants of a study train on the same version of one data set.")
    for what, number, most in (
        ("variants", len(names), MOST_VARIANTS),
        ("seeds", design.seeds, MOST_SEEDS),
        ("folds", design.folds, MOST_FOLDS),
        ("runs", design.number_of_runs, MOST_RUNS),
    ):
        if not 1 <= number <= most:
            raise StudyError(f"A study has 1 to {most} {what}, and this one would have {number}.")
    settled = [store.settle(one.recipe) for one in design.variants]
    version = settled[0][1]
    variants = [Variant(name, recipe) for name, (recipe, _) in zip(names, settled, strict=True)]
    for one in variants:
        _refuse_a_leak(store, one)
    folds = folds_for(store, version.id, design.folds)
    if design.seeds * folds < 2:
        raise StudyError("One run of each variant shows no chance. Use two seeds or more, or two folds or more.")
    design = replace(design, variants=tuple(variants), folds=folds)
    store.require_room_in_queue(design.number_of_runs)
    recipes = [(index, recipe.to_dict()) for index, recipe in design.recipes()]
    return store.studies.create(version.id, design.to_dict(), recipes)


def folds_for(store: Store, version_id: int, folds: int) -> int:
    """`folds`, or 1 where the version has validation images of its own, which then judge every run."""
    return 1 if has_own_split(image for image in store.datasets.images(version_id) if not image.excluded) else folds


def stop_study(store: Store, study_id: int) -> int:
    """Stop its runs that wait or train; returns how many. What has finished stays, and `resume_study` goes on.

    Of a search (`learner.studies.search`) no more trials are asked for.
    """
    _let_search(store, study_id, False)
    active = [run for run in reversed(store.studies.runs_of(study_id)) if run.status in ACTIVE]
    for run in active:
        store.runs.ask(run.id, "stop")
    return len(active)


def resume_study(store: Store, study_id: int) -> int:
    """Queue its runs that were paused, stopped or interrupted, or that failed; returns how many.

    Of a search those stay paused that fell behind, and what was not asked for yet counts, too.
    """
    design = store.studies.get(study_id).design
    runs = store.studies.runs_of(study_id)
    left = [run for run in runs if run.status in RESUMABLE and run.variant not in design.get("pruned", [])]
    for run in left:
        store.runs.resume(run.id)
    to_ask = design["trials"] - len(design["asked"]) if design.get("searching") is False else 0
    if left or to_ask:
        _let_search(store, study_id, True)
    return len(left) + to_ask


def _let_search(store: Store, study_id: int, searching: bool) -> None:
    """Whether more trials may be asked for; nothing changes in a study that is no search."""
    if "searching" in store.studies.get(study_id).design:
        with store.studies.changing_design(study_id) as (design, _):
            design |= {"searching": searching, "tuned": False}  # whoever asked for its trials may be gone


def _choices(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    found = split_values(values)
    if not key or not equals or not all(found):
        raise StudyError(f"{text!r} is not of the form key=value,value, as in phases.1.trainable=head,block5,all")
    return key.strip(), found


def split_values(text: str) -> list[str]:
    """At commas that are not within brackets."""
    return [value.strip() for value in re.split(r",(?![^\[{]*[\]}])", text)]


def _head_alone(phase: Phase) -> Phase:
    return phase if phase.solve else replace(phase, trainable="head")


def _refuse_a_leak(store: Store, variant: Variant) -> None:
    """A body that another run trained on this data set has learnt from images that a fold holds back."""
    kind, _, number = variant.recipe.weights.partition(":")
    if kind == "run" and store.runs.dataset_of(store.runs.get(int(number)))[0] == variant.recipe.dataset:
        raise StudyError(
            f"The body of {variant.name} was trained on {variant.recipe.dataset} by run {number}, so it knows images "
            "that are to judge it. Use weights: auto, or a run on another data set."
        )
