"""The coach: reads a run's curves and says what they mean and what to try. Pure: figures in, sentences out.

Needs no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import ceil, floor, log10, sqrt
from typing import Any, Literal

from learner.advice.setback import LOWEST_RATE, Setback, find_setback
from learner.evaluation.results import load_result
from learner.recipe import Augment, Phase, Recipe
from learner.recipe.backbones import known_backbone
from learner.store import Epoch, Run, Store
from learner.wording import count, percent

MOST_ADVICE = 3
"""More at once would not be read."""
GOOD_ENOUGH = 0.995
"""From this accuracy on there is nothing left to gain by other settings."""
LOWER, HIGHER = 0.1, 10.0
"""By how much the coach changes rates. A factor of 10 is the step in which rates are searched (Bengio 2012,
arXiv:1206.5533); less would be lost in the noise of a run."""

OVERFIT_EPOCHS = 3
"""So long the validation loss has to lie above its lowest: two bad epochs in a row happen by chance."""
OVERFIT_RISE, OVERFIT_FALL = 0.05, 0.10
"""Shares by which, since then, the validation loss has risen and the training loss has fallen."""
DROP, JUMP = 0.03, 0.25
"""A phase began badly when the accuracy fell by so many points (as a share), or the validation loss rose by so much."""
BACK_AGAIN = 0.01
"""It has come back when the accuracy is within so much of what it was."""
TRIED_EPOCHS = 2
"""Epochs a phase has before it is judged: frozen batch-norm makes the first one worse, and that passes."""
TRIED_SHARE = 2 / 3
"""Share of its epochs that a one-cycle phase has besides: near its highest rates it is often worse, and recovers."""
STILL_WARMING = 0.15
"""A head whose validation loss fell by this share in its last epoch was far from done. Of a short warm-up that is
nearly always so, so it matters only where the phase after it then went badly."""
STILL_FALLING = 0.02
"""A run whose validation loss fell by this share in its last epoch had not arrived."""
STUCK_EPOCHS, STUCK = 3, 0.02
"""A phase is stuck when over so many epochs the training loss has moved by less than this share."""
STUCK_BELOW = 0.9
"""Above this accuracy a steady loss means that all is learnt."""
FEWEST_IMAGES = 3
"""Of a class with fewer validation images, all may be wrong by chance."""
MIND_MADE_UP = 8
"""Sample photos that must all get one answer before the model is said to know no other."""

NO_NUMBER = "The loss stopped being a number"
"""How the reason of a run begins that failed so."""
MORE_EPOCHS = "More epochs"
"""Name of a phase that was added to a finished run."""
GENTLE_CHANGES = Augment(rotate=10, zoom=1.15, shift=0.05, lighting=0.2)
"""What could happen to any photo; mirroring is left out, as in letters and X-rays sides matter."""


@dataclass(frozen=True)
class Advice:
    """One thing that the curves show, and a recipe that answers it."""

    kind: Literal[
        "no_number",
        "rate_too_high",
        "setback",
        "classes_ignored",
        "rate_too_low",
        "overfitting",
        "cold_head",
        "unfinished",
    ]
    text: str
    """What the curves mean and what to try."""
    button: str
    """What the changed recipe does, as a verb."""
    recipe: Recipe
    parent: int | None
    """Index of the phase from whose end the changed recipe can start again; None for a start from nothing."""


def advise(
    recipe: Recipe,
    epochs: Sequence[Epoch],
    batch_norm: bool,
    recalls: Mapping[str, float] | None = None,
    ended: bool = False,
    lost_in: int | None = None,
    valid_images: int | None = None,
    interpolated: Mapping[str, Any] | None = None,
) -> list[Advice]:
    """What there is to say about a run, most important first, `MOST_ADVICE` at most; often nothing.

    `batch_norm`: whether the backbone has any. `recalls`: the share of each class's validation images that a finished
    run gets right. `ended`: it has run to its end. `lost_in`: index of the phase whose loss stopped being a number.
    `valid_images`: how many images the accuracies are shares of, which tells how much of a fall may be chance.
    `interpolated`: the run's facts of that name.
    """
    if lost_in is None and epochs and _has_no_number(recipe, epochs[-1]):
        lost_in = epochs[-1].phase
    if lost_in is not None:
        return [_no_number(recipe, lost_in, batch_norm)]
    if not epochs or epochs[-1].accuracy >= GOOD_ENOUGH or any(_has_no_number(recipe, epoch) for epoch in epochs):
        return []
    spoilt = _spoilt_phase(recipe, epochs, ended, valid_images)
    setback = None if spoilt else find_setback(recipe, epochs, ended, valid_images, interpolated or {})
    found = [
        _rate_too_high(recipe, spoilt, batch_norm) if spoilt else None,
        _setback(recipe, setback, batch_norm) if setback else None,
        None if spoilt else _classes_ignored(recipe, epochs, recalls),  # follows from that
        None if spoilt or setback else _rate_too_low(recipe, epochs, batch_norm),
        _overfitting(recipe, epochs),
        _cold_head(recipe, epochs, spoilt) if spoilt else None,
        _unfinished(recipe, epochs, batch_norm) if ended and not setback else None,
    ]
    return [advice for advice in found if advice is not None][:MOST_ADVICE]


def advice_about(store: Store, run: Run, recipe: Recipe, epochs: Sequence[Epoch]) -> list[Advice]:
    """What the coach says of a run, from its epochs and from what it left on the disk; nothing of an imported one."""
    kept = [index for index in range(len(recipe.phases)) if store.files.has(store.workspace.phase_end(run.id, index))]
    result = load_result(store.run_folder(run.id)) if run.status == "finished" else None
    return advise(
        recipe,
        [] if run.facts.get("weights", {}).get("kind") == "import" else epochs,
        has_batch_norm(run.facts),
        recalls=recalls_of(result) if result else None,
        ended=run.status == "finished",
        lost_in=lost_phase(run.reason, phases_done=len(kept)) if run.status == "failed" else None,
        valid_images=run.facts.get("valid_images"),
        interpolated=run.facts.get("interpolated"),
    )


def with_more_epochs(recipe: Recipe, epochs: int, batch_norm: bool) -> Recipe:
    """`recipe` with a phase added that trains the same parts for so many epochs more.

    A tenth of the last phase's highest rates, flat and then falling: the weights are near where they should be. A
    second such phase goes on at the rates of the first. Raises RecipeError for too many epochs or phases.
    """
    last = recipe.phases[-1]
    added = sum(phase.name.startswith(MORE_EPOCHS) for phase in recipe.phases)
    name = f"{MORE_EPOCHS} {added + 1}" if added else MORE_EPOCHS
    more = asdict(last if added else _with_rates(last, LOWER, batch_norm))
    longer = recipe.to_dict()
    longer["phases"].append(more | {"name": name, "epochs": epochs, "schedule": "flat_cos", "solve": False})
    return Recipe.from_dict(longer)


def has_batch_norm(facts: Mapping[str, Any]) -> bool:
    """Whether a run's backbone has batch-norm, by what the run wrote down at its start."""
    if layers := facts.get("layers"):
        return any("BatchNorm" in layer["kind"] for layer in layers if layer["stage"] != "head")
    known = known_backbone(facts.get("backbone", ""))
    return known.batch_norm if known else True


def lost_phase(reason: str, phases_done: int) -> int | None:
    """Index of the phase whose loss stopped being a number: the one after those that were done; None else."""
    return phases_done if reason.startswith(NO_NUMBER) else None


def recalls_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Recall by class from a run's `result.json`, of the classes with enough validation images to judge."""
    return {row["class"]: row["recall"] for row in result["per_class"] if row["support"] >= FEWEST_IMAGES}


# Rules, each on all epochs so far


def _no_number(recipe: Recipe, index: int, batch_norm: bool) -> Advice:
    phase = _with_rates(recipe.phases[index], LOWER, batch_norm)
    changed = replace(_with_phase(recipe, index, phase), clip_norm=recipe.clip_norm or 1.0)
    text = (
        f"In {phase.name} the loss stopped being a number: a step was so large that the weights left all bounds. Train "
        "that phase at a tenth of its rates, with long gradients shortened."
    )
    return Advice("no_number", text, "Try a tenth of the rates", changed, _before(index))


def _rate_too_high(recipe: Recipe, spoilt: "_Spoilt", batch_norm: bool) -> Advice:
    phase = recipe.phases[spoilt.index]
    text = (
        f"When {phase.name} began, the accuracy went from {percent(spoilt.before.accuracy)} to "
        f"{percent(spoilt.first.accuracy)} and has not come back: what the network knew was overwritten, as its rates "
        "are too high. Try a tenth of them."
    )
    changed = _with_phase(recipe, spoilt.index, _with_rates(phase, LOWER, batch_norm))
    return Advice("rate_too_high", text, "Try a tenth of the rates", changed, _before(spoilt.index))


def _setback(recipe: Recipe, setback: Setback, batch_norm: bool) -> Advice:
    index, phase = setback.phase, recipe.phases[setback.phase]
    is_low = phase.rates(batch_norm)[0] <= LOWEST_RATE
    text = setback.text(recipe.phases, is_low)
    if is_low:
        return Advice("setback", text, f"Leave out {phase.name}", replace(recipe, phases=recipe.phases[:index]), None)
    changed = _with_phase(recipe, index, _with_rates(phase, LOWER, batch_norm))
    return Advice("setback", text, "Try a tenth of the rates", changed, _before(index))


def _classes_ignored(recipe: Recipe, epochs: Sequence[Epoch], recalls: Mapping[str, float] | None) -> Advice | None:
    never = [name for name, recall in (recalls or {}).items() if recall == 0]
    answers = {int(sample[0]) for sample in epochs[-1].samples or []}
    if never:
        named = ", ".join(never[:3]) + (
            f" and {count(len(never) - 3, 'more class', 'more classes')}" * (len(never) > 3)
        )
        seen = f"Not one validation image of {named} is recognised"
    elif len(epochs) >= TRIED_EPOCHS and len(answers) == 1 and len(epochs[-1].samples) >= MIND_MADE_UP:
        seen = f"All {len(epochs[-1].samples)} sample photos get the same answer"
    else:
        return None
    if recipe.balance == "none":
        text = f"{seen}. That happens where classes differ in size: show small ones as often as large ones."
        return Advice(
            "classes_ignored", text, "Show small classes more often", replace(recipe, balance="oversample"), None
        )
    if recipe.loss == "cross_entropy":
        text = f"{seen}, although classes are balanced. Let images that are still wrong count more (focal loss)."
        focal = replace(recipe, loss="focal", label_smoothing=0.0)
        return Advice("classes_ignored", text, "Let wrong images count more", focal, None)
    return None


def _rate_too_low(recipe: Recipe, epochs: Sequence[Epoch], batch_norm: bool) -> Advice | None:
    index = epochs[-1].phase
    losses = [_train_loss(epoch) for epoch in epochs if epoch.phase == index and not recipe.phases[index].solve]
    if len(losses) < STUCK_EPOCHS or epochs[-1].accuracy >= STUCK_BELOW:
        return None
    if max(losses) - min(losses) >= STUCK * losses[0]:
        return None
    phase = recipe.phases[index]
    text = (
        f"In {phase.name} the training loss has hardly moved in {len(losses)} epochs: its steps are too small to learn "
        "anything. Try ten times the rates."
    )
    changed = _with_phase(recipe, index, _with_rates(phase, HIGHER, batch_norm))
    return Advice("rate_too_low", text, "Try ten times the rates", changed, _before(index))


def _overfitting(recipe: Recipe, epochs: Sequence[Epoch]) -> Advice | None:
    index = epochs[-1].phase
    own = [epoch for epoch in epochs if epoch.phase == index]
    lowest, newest = min(own, key=_valid_loss), own[-1]
    if newest.epoch - lowest.epoch < OVERFIT_EPOCHS:
        return None
    rose = all(_valid_loss(epoch) > _valid_loss(lowest) for epoch in own if epoch.epoch > lowest.epoch)
    rose = rose and _valid_loss(newest) >= _valid_loss(lowest) * (1 + OVERFIT_RISE)
    rose = rose and _valid_loss(newest) > _valid_loss(
        own[own.index(lowest) + 1]
    )  # else it jumped once, and falls again
    if not rose or _fall(_train_loss(lowest), _train_loss(newest)) < OVERFIT_FALL:
        return None
    seen = (
        f"Since epoch {lowest.epoch} the training loss falls while the validation loss rises: the network learns these "
        "photos by heart (overfitting). The model from the best epoch is kept in any case. "
    )
    if not recipe.augment.changes_anything:
        return Advice(
            "overfitting",
            f"{seen}Slight random changes to the photos make that harder.",
            "Change the photos at random",
            replace(recipe, augment=GENTLE_CHANGES),
            _before(index),
        )
    phase = replace(recipe.phases[index], weight_decay=min(1.0, max(0.05, 5 * recipe.phases[index].weight_decay)))
    if phase.weight_decay == recipe.phases[index].weight_decay:
        return None
    return Advice(
        "overfitting",
        f"{seen}A stronger pull of the weights towards zero (weight decay {phase.weight_decay:g}) holds against it.",
        "Raise the weight decay",
        _with_phase(recipe, index, phase),
        _before(index),
    )


def _cold_head(recipe: Recipe, epochs: Sequence[Epoch], spoilt: "_Spoilt") -> Advice | None:
    head, after = recipe.phases[spoilt.index - 1], recipe.phases[spoilt.index]
    warm_up = [epoch for epoch in epochs if epoch.phase == spoilt.index - 1]
    if head.trains_stages or not after.trains_stages or len(warm_up) < 2:
        return None
    fall = _fall(_valid_loss(warm_up[-2]), _valid_loss(warm_up[-1]))
    if fall < STILL_WARMING:
        return None
    head = replace(head, epochs=min(1000, head.length + max(2, head.length)))
    text = (
        f"When {after.name} began, the new head was still learning fast: its validation loss fell by {percent(fall)} "
        "in its last epoch. A head that is not done sends rough gradients into the body, which may be why the accuracy "
        f"fell. Warm it up for {count(head.length, 'epoch')}."
    )
    return Advice("cold_head", text, "Warm the head up for longer", _with_phase(recipe, spoilt.index - 1, head), None)


def _unfinished(recipe: Recipe, epochs: Sequence[Epoch], batch_norm: bool) -> Advice | None:
    own = [epoch for epoch in epochs if epoch.phase == epochs[-1].phase]
    newest = own[-1]
    if len(own) < TRIED_EPOCHS or newest.accuracy < max(epoch.accuracy for epoch in epochs):
        return None
    fall = _fall(_valid_loss(own[-2]), _valid_loss(newest))
    if fall < STILL_FALLING:
        return None
    more = max(2, len(own) // 2)
    text = (
        f"It was still getting better when it ended: the validation loss fell by "
        f"{percent(fall)} in the last epoch, and the accuracy was at its best."
    )
    return Advice(
        "unfinished",
        text,
        f"Add {count(more, 'epoch')}",
        with_more_epochs(recipe, more, batch_norm),
        len(recipe.phases) - 1,
    )


# Helpers


@dataclass(frozen=True)
class _Spoilt:
    """A phase that began badly and has not come back."""

    index: int
    before: Epoch
    """The last epoch of the phase before."""
    first: Epoch


def _spoilt_phase(recipe: Recipe, epochs: Sequence[Epoch], ended: bool, valid_images: int | None) -> _Spoilt | None:
    """The first phase that left the network worse than it found it, by more than chance, after a fair try."""
    for index, before, own in _phase_changes(epochs):
        phase, first = recipe.phases[index], own[0]
        is_over = ended or epochs[-1].phase > index
        share = TRIED_SHARE if phase.schedule == "one_cycle" and not is_over else 0.0
        if len(own) < max(TRIED_EPOCHS, ceil(share * phase.length)):
            continue
        chance = sqrt(before.accuracy * (1 - before.accuracy) / valid_images) if valid_images else 0.0  # standard error
        fell = before.accuracy - first.accuracy >= max(DROP, chance)
        jumped = _valid_loss(first) >= _valid_loss(before) * (1 + JUMP)
        back_again = before.accuracy - max(BACK_AGAIN, chance)
        if (fell or jumped) and max(epoch.accuracy for epoch in own) < back_again:
            return _Spoilt(index, before, first)
    return None


def _phase_changes(epochs: Sequence[Epoch]) -> list[tuple[int, Epoch, list[Epoch]]]:
    """Every phase after the first one seen: its index, the last epoch before it, and its own epochs."""
    return [
        (epoch.phase, before, [other for other in epochs if other.phase == epoch.phase])
        for before, epoch in pairwise(epochs)
        if epoch.phase != before.phase
    ]


def _has_no_number(recipe: Recipe, epoch: Epoch) -> bool:
    """A solved head has no training loss."""
    return None in (epoch.valid_loss, 0.0 if recipe.phases[epoch.phase].solve else epoch.train_loss)


def _train_loss(epoch: Epoch) -> float:
    """Of an epoch whose losses are numbers, as `advise` has seen."""
    assert epoch.train_loss is not None
    return epoch.train_loss


def _valid_loss(epoch: Epoch) -> float:
    """Of an epoch whose losses are numbers, as `advise` has seen."""
    assert epoch.valid_loss is not None
    return epoch.valid_loss


def _fall(before: float, after: float) -> float:
    """By which share a loss has fallen; negative where it rose."""
    return 1 - after / before if before else 0.0


def _with_phase(recipe: Recipe, index: int, phase: Phase) -> Recipe:
    return replace(recipe, phases=[phase if at == index else other for at, other in enumerate(recipe.phases)])


def _with_rates(phase: Phase, factor: float, batch_norm: bool) -> Phase:
    """`phase` with all its rates times `factor`, at most 10; automatic ones become numbers."""
    if isinstance(phase.lr, dict):
        return replace(phase, lr={part: _scaled(rate, factor) for part, rate in phase.lr.items()})
    low, high = (_scaled(rate, factor) for rate in phase.rates(batch_norm))
    return replace(phase, lr=low if low == high else [low, high])


def _scaled(rate: float, factor: float) -> float:
    """Two significant digits, as a person would write it."""
    product = min(rate * factor, 10.0)
    return round(product, 1 - floor(log10(product)))


def _before(index: int) -> int | None:
    return index - 1 if index else None
