"""What a run will cost: seconds and disk for every phase, from a short measurement of this machine. Needs no torch."""

import math
from dataclasses import asdict, dataclass, field, replace

from learner.planning.speeds import Speed
from learner.recipe import Recipe
from learner.recipe.parts import PrecisionName
from learner.wording import duration

UNLIMITED = 2**63
TOLERANCE = 0.25
"""A run that takes so much more or less than expected, as a share, was expected by a wrong measurement."""

POINTS = 6
"""Checks on the validation images that `Phase.interpolate` adds at a phase's end."""
SOLVE_S, SOLVE_S_PER_VALUE = 0.5, 2e-5
"""What solving a head takes (measured on two cores of a Xeon): a start, and for every row and class."""

NOISE = 0.15
"""Share by which two measured times may differ and still be the same."""


@dataclass
class PhasePlan:
    """What one phase is expected to cost, and after it has run what it did cost."""

    name: str
    cut: int
    """Stages below the lowest that learns."""
    cached: bool
    reason: str
    """Why the outputs of the frozen stages are kept, or are not, for a person."""
    cached_s: float | None
    """Expected seconds of the phase with the cache, and without it; None where there is nothing to cache."""
    uncached_s: float
    features_s: float
    """Expected seconds, in these, for computing features before the first epoch."""
    train_s: float
    """Expected seconds of training in one epoch."""
    valid_s: float
    """Expected seconds of validation in one epoch."""
    disk: int
    """Bytes that the phase adds to the cache."""
    also: list[int] = field(default_factory=list)
    """Cuts of later phases that the same pass computes."""
    true_features_s: float | None = None
    true_s: float | None = None

    @property
    def expected_s(self) -> float:
        """Of features and epochs together."""
        return self.cached_s if self.cached and self.cached_s is not None else self.uncached_s

    def add(self, seconds: float) -> None:
        """Let it cost so much more, whether it is cached or not: reading the images in a size of its own."""
        self.features_s += seconds
        self.uncached_s += seconds
        self.cached_s = None if self.cached_s is None else self.cached_s + seconds


@dataclass
class RunPlan:
    """What a whole run is expected to cost."""

    decode_s: float
    """Decoding every image once, before the first phase."""
    decode_disk: int
    phases: list[PhasePlan]
    precision: PrecisionName
    precision_reason: str
    device: str
    true_decode_s: float | None = None
    refit: list[PhasePlan] = field(default_factory=list)
    """The phases of the refit, if there is one."""

    @property
    def stretches(self) -> list[PhasePlan]:
        """All that is trained, in order: the phases, then those of the refit."""
        return self.phases + self.refit

    @property
    def expected_s(self) -> float:
        return self.decode_s + sum(phase.expected_s for phase in self.stretches)

    @property
    def was_accurate(self) -> bool:
        """Whether the phases that have run took about as long as expected; a second more or less always does."""
        ran = [(phase.expected_s, phase.true_s) for phase in self.stretches if phase.true_s is not None]
        expected, true = sum(expected_s for expected_s, _ in ran), sum(true_s for _, true_s in ran)
        return abs(true - expected) <= max(TOLERANCE * expected, 1.0)

    @property
    def disk(self) -> int:
        return self.decode_disk + sum(phase.disk for phase in self.stretches)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: dict) -> "RunPlan | None":
        """The plan that a run keeps in its facts; None before it has started, and for a run of an earlier Thaw."""
        try:
            values = facts["plan"]
            lists = {"phases": values["phases"], "refit": values.get("refit", [])}
            return cls(**values | {name: [PhasePlan(**phase) for phase in plans] for name, plans in lists.items()})
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Workload:
    """How much there is to do."""

    train: int
    """Images, like `valid`."""
    valid: int
    decode_s: float
    """Seconds to decode one of them, with all cores at work."""
    undecoded: int
    """Images that are not yet in the store of decoded ones."""
    room: int
    """Bytes that the cache may still grow."""
    classes: int = 10
    kept: frozenset[int] = frozenset()
    """Cuts whose features an earlier run left, for every image and view."""


def choose_speed(recipe: Recipe, speeds: list[Speed], amounts: Workload) -> Speed:
    """Of the measured precisions the first, which is the machine's own, unless the other is done clearly sooner.

    Its reason says what the other would take. Neither the cache nor what is in it decides, since the precision, other
    than these, changes the result.
    """
    if len(speeds) == 1:
        return speeds[0]
    plans = _to_choose_from(recipe, speeds, amounts)
    own, other = (plan.expected_s for plan in plans)
    best = int(other < (1 - NOISE) * own)
    told, left = plans[best], plans[1 - best]
    instead = f" About {duration(told.expected_s)} instead of {duration(left.expected_s)} in {left.precision}."
    if told.expected_s > left.expected_s or duration(told.expected_s) == duration(left.expected_s):
        instead = f" About {duration(told.expected_s)}; {left.precision} would take about as long."
    return replace(speeds[best], precision_reason=speeds[best].precision_reason + instead)


def is_narrow(recipe: Recipe, speeds: list[Speed], amounts: Workload) -> bool:
    """Whether a measurement that is a little wrong would choose another precision."""
    if len(speeds) == 1:
        return False
    own, other = (plan.expected_s for plan in _to_choose_from(recipe, speeds, amounts))
    return abs(other / own - (1 - NOISE)) < NOISE


def _to_choose_from(recipe: Recipe, speeds: list[Speed], amounts: Workload) -> list["RunPlan"]:
    recipe, amounts = replace(recipe, cache="auto"), replace(amounts, room=UNLIMITED, kept=frozenset())
    return [plan_run(recipe, speed, amounts) for speed in speeds]


def plan_run(recipe: Recipe, speed: Speed, amounts: Workload) -> RunPlan:
    """Decide for every phase whether the cache is worth it, and say what it will cost."""
    stages = speed.stages
    decode_disk = amounts.undecoded * speed.row_bytes[0]
    stored = decode_disk <= amounts.room
    room = amounts.room - (decode_disk if stored else 0)
    views = recipe.views if recipe.augment.changes_anything else 1
    kept = {0} | set(amounts.kept)
    plans = []
    kept_by_size = {speed.image_size: kept}
    for index, phase in enumerate(recipe.phases):
        cut = phase.first_trainable_group(stages)
        size = phase.image_size or speed.image_size
        reads_anew = size not in kept_by_size
        kept = {one for one in kept_by_size.get(size, {0}) if one <= _lowest_trained(recipe, stages, index)}
        later = _also(recipe, stages, index, cut)
        plan = _plan_phase(recipe, phase, cut, later, kept, views, speed.at(size), amounts, stored, room)
        if plan.cached:
            kept |= {cut, *plan.also}
            room -= plan.disk
        if reads_anew:
            plan.add((amounts.train + amounts.valid) * amounts.decode_s)
        kept_by_size[size] = kept
        plans.append(plan)
    refit = _plan_refit(recipe, plans, views, speed, amounts, stored, room) if recipe.refits else []
    return RunPlan(
        decode_s=amounts.undecoded * amounts.decode_s if stored else 0.0,
        decode_disk=decode_disk if stored else 0,
        phases=plans,
        precision=speed.precision,
        precision_reason=speed.precision_reason,
        device=speed.device,
        refit=refit,
    )


def refit_epochs(recipe: Recipe, epochs: int, learnt: int, together: int) -> int:
    """How many passes over `together` images make about as many steps as `epochs` passes over `learnt` of them."""

    def steps(images: int) -> int:
        return math.ceil(math.ceil(images / recipe.batch_size) / recipe.accumulate)

    return max(1, round(epochs * steps(learnt) / steps(together)))


def _plan_refit(recipe, plans, views, speed, amounts, stored, room) -> list[PhasePlan]:
    """Each phase once more with the validation images to learn from, from what the first time has left in the cache."""
    together = replace(amounts, train=amounts.train + amounts.valid, valid=0)
    found, kept = [], {0}
    for index, (phase, first) in enumerate(zip(recipe.phases, plans, strict=True)):
        lowest = _lowest_trained(recipe, speed.stages, index)
        kept = {cut for cut in kept | ({first.cut, *first.also} if first.cached else set()) if cut <= lowest}
        epochs = phase.epochs_for(amounts.train, recipe.batch_size * recipe.accumulate)
        again = replace(
            phase,
            name=f"{phase.name}, on all images",
            epochs=refit_epochs(recipe, epochs, amounts.train, together.train),
            interpolate=False,
        )
        size_speed = speed.at(phase.image_size)
        plan = _plan_phase(recipe, again, first.cut, [], kept, views, size_speed, together, stored, room)
        if plan.cached and recipe.augment.changes_anything:  # of the validation images only the unchanged ones are kept
            seconds = views * amounts.valid * (sum(size_speed.forward[: first.cut]) + speed.augment)
            plan.features_s += seconds
            plan.cached_s = (plan.cached_s or 0.0) + seconds
        found.append(plan)
    return found


def _plan_phase(recipe, phase, cut, later, kept, views, speed, amounts, stored, room) -> PhasePlan:
    augments = recipe.augment.changes_anything
    images = views * amounts.train + amounts.valid
    if phase.solve and augments:
        images += amounts.train  # as they are, too
    start = max(one for one in kept if one <= cut)
    decode_s = 0.0 if stored else amounts.decode_s
    epochs, checks = phase.epochs_for(amounts.train, recipe.batch_size * recipe.accumulate), 0
    if phase.interpolate:
        checks = POINTS
    train_s, valid_s = _epoch(speed, amounts, recipe.batch_size, 0, cut, augments, decode_s)
    solve_s = _solve_s(images - amounts.valid, amounts.classes) if phase.solve else 0.0
    if phase.solve:
        train_s = solve_s + (images - amounts.valid) * (sum(speed.forward[:cut]) + decode_s)
    uncached_s = epochs * (train_s + valid_s) + checks * valid_s
    plan = PhasePlan(phase.name, cut, False, "", None, uncached_s, 0.0, train_s, valid_s, disk=0)
    if cut == 0:
        plan.reason = "Every stage learns, so there is nothing constant to keep."
        return plan
    if recipe.cache == "off":
        plan.reason = "The recipe turns the cache off."
        return plan
    if recipe.mix != "none":
        plan.reason = "Every step blends other images (mix), so there is nothing constant to keep."
        return plan
    if augments and recipe.views == 0:
        plan.reason = "Every epoch sees newly changed images (views: 0), so there is nothing constant to keep."
        return plan
    also = [one for one in later if one > start]
    missing_cuts = [one for one in {cut, *also} if one not in kept]
    features_s = 0.0
    if cut not in kept:
        per_image = sum(speed.forward[start:cut]) + (0.0 if start else decode_s)
        features_s = images * per_image + (views * amounts.train * speed.augment if augments and not start else 0.0)
    train_s, valid_s = _epoch(speed, amounts, recipe.batch_size, cut, cut, False, 0.0)
    train_s = solve_s if phase.solve else train_s
    plan.cached_s = features_s + epochs * (train_s + valid_s) + checks * valid_s
    disk = images * sum(speed.row_bytes[one] for one in missing_cuts)
    if disk > room and also:
        also, disk = [], images * speed.row_bytes[cut] * (cut not in kept)
    if disk > room:
        plan.reason = (
            f"Keeping the frozen stages' outputs would take {disk / 1e9:.1f} GB, and the cache has room for "
            f"{room / 1e9:.1f} GB."
        )
        return plan
    if recipe.cache == "auto" and plan.cached_s >= uncached_s:
        anew, kept_s = duration(uncached_s), duration(plan.cached_s)
        plan.reason = (
            f"Computing them anew takes no longer: {anew}."
            if anew == kept_s
            else f"Computing them anew costs less: {anew} instead of {kept_s}."
        )
        return plan
    plan.cached, plan.features_s, plan.disk, plan.also = True, features_s, disk, also
    plan.train_s, plan.valid_s = train_s, valid_s
    plan.reason = (
        "The recipe turns the cache on."
        if recipe.cache == "on"
        else f"{duration(plan.cached_s)} instead of {duration(uncached_s)} without."
    )
    return plan


def _epoch(
    speed: Speed, amounts: Workload, batch_size: int, start: int, cut: int, augments: bool, decode_s: float
) -> tuple[float, float]:
    """Seconds of training and of validation in one epoch, from the outputs of the first `start` stages."""
    train = (
        sum(speed.forward[start:cut])
        + speed.lowest[cut]
        + sum(speed.above[cut + 1 :])
        + (speed.augment if augments else 0.0)
        + decode_s
    )
    valid = sum(speed.forward[start:]) + decode_s
    steps = math.ceil(amounts.train / batch_size)
    checks = math.ceil(amounts.valid / batch_size)
    update = speed.batch + sum(speed.update[cut:])
    return amounts.train * train + steps * update, amounts.valid * valid + checks * speed.batch


def _solve_s(rows: int, classes: int) -> float:
    """About the seconds that solving a head takes: a product of matrices for each step of each fit."""
    return SOLVE_S + rows * classes * SOLVE_S_PER_VALUE


def _lowest_trained(recipe: Recipe, stages: list[str], before: int) -> int:
    """The lowest group that any phase before that one trains; what is kept above it is no longer right."""
    return min((phase.first_trainable_group(stages) for phase in recipe.phases[:before]), default=len(stages))


def _also(recipe: Recipe, stages: list[str], index: int, cut: int) -> list[int]:
    """Lower cuts that later phases start from while everything below them is still as it is now."""
    found, lowest = set(), cut
    size = recipe.phases[index].image_size
    for phase in recipe.phases[index + 1 :]:
        own = phase.first_trainable_group(stages)
        if 0 < own < cut and own <= lowest and phase.image_size == size:
            found.add(own)
        lowest = min(lowest, own)
    return sorted(found)
