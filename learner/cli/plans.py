"""What a run is expected to cost and did cost, as tables; and `train --dry-run`, which finds that out beforehand."""

from typing import Any

from rich.table import Table
from rich.text import Text

from learner.cli.printing import out
from learner.evaluation.findings import trial_rows
from learner.jobs.process import use_patient_threads
from learner.models.weights import WeightsSource, choose_backbone
from learner.planning.cost import RunPlan
from learner.recipe import Recipe
from learner.store import Store
from learner.terminal import err
from learner.wording import duration, file_size

READING, TOGETHER = "Reading images", "Together"


def forecast(store: Store, recipe: Recipe, quiet: bool) -> tuple[Recipe, WeightsSource, RunPlan]:
    """A recipe with everything decided, its weights, and its plan; measures this machine first where it has to.

    Raises what the run would: DatasetError, WeightsError, BackboneError, RecipeError.
    """
    from learner.planning.estimate import expected_plan, resolve_recipe

    settled = resolve_recipe(store, recipe)
    _, weights = choose_backbone(recipe.backbone, settled.weights, store.workspace)
    plan = expected_plan(store, settled)
    if plan is None:
        if not quiet:
            err.print("Measuring this machine, about 15 s")
        use_patient_threads()
        from learner.training.benchmark import pick_device, speeds_of

        speeds_of(store.workspace, settled, pick_device())
        plan = expected_plan(store, settled)
        assert plan is not None  # this machine was measured by now
    return settled, weights, plan


def print_plan(recipe: Recipe, weights: WeightsSource, plan: RunPlan) -> None:
    """What a settled recipe will cost, phase by phase."""
    out.print(
        f"{recipe.dataset}, version {recipe.version}: {recipe.backbone} at {recipe.image_size} px, "
        f"{recipe.batch_size} images a step, on {plan.device}",
        markup=False,
    )
    out.print(weights.reason, markup=False)
    out.print(_precision(plan), markup=False)
    table = _table("Part", "Epochs", "Expected", "Cache", "Disk", "Why")
    table.add_row(READING, "", _time(plan.decode_s), "", _disk(plan.decode_disk), "")
    for phase, own in zip(plan.phases, recipe.phases, strict=True):
        cells = (str(own.epochs), _time(phase.expected_s), _yes(phase.cached), _disk(phase.disk))
        table.add_row(Text(phase.name), *cells, Text(phase.reason))
    for phase in plan.refit:
        cells = ("", _time(phase.expected_s), _yes(phase.cached), _disk(phase.disk))
        table.add_row(Text(phase.name), *cells, Text(phase.reason))
    table.add_row(TOGETHER, "", _time(plan.expected_s), "", _disk(plan.disk), "")
    out.print(table, soft_wrap=False)


def plan_dict(recipe: Recipe, weights: WeightsSource, plan: RunPlan) -> dict[str, Any]:
    """The same for programs: seconds and bytes."""
    phases = [
        {"epochs": own.epochs, "expected_s": phase.expected_s} | values
        for own, phase, values in zip(recipe.phases, plan.phases, plan.to_dict()["phases"], strict=True)
    ]
    return {
        "recipe": recipe.to_dict(),
        "weights": weights.reason,
        "expected_s": plan.expected_s,
        "disk": plan.disk,
        "plan": plan.to_dict() | {"phases": phases},
    }


def print_expected_and_true(plan: RunPlan, finished: bool) -> None:
    """Every part of a run, what it should have cost and what it did cost; nothing before the first phase has ended."""
    if all(phase.true_s is None for phase in plan.stretches):
        return
    out.print(_precision(plan), markup=False)
    table = _table("Part", "Expected", "True", "Cache", "Why")
    table.add_row(READING, _time(plan.decode_s), _time(plan.true_decode_s), "", "")
    for phase in plan.stretches:
        times = _time(phase.expected_s), _time(phase.true_s)
        table.add_row(Text(phase.name), *times, _yes(phase.cached), Text(phase.reason))
    parts = [plan.true_decode_s, *(phase.true_s for phase in plan.stretches)]
    spent = [seconds for seconds in parts if seconds is not None]
    if finished and len(spent) == len(parts):
        table.add_row(TOGETHER, _time(plan.expected_s), _time(sum(spent)), "", "")
    out.print(table, soft_wrap=False)


def print_trials(facts: dict[str, Any]) -> None:
    """What a run's search tried; nothing for a run that did not search."""
    for row in trial_rows(facts):
        number, trial, loss, accuracy, images, taken, outcome = row.values()
        out.print(
            f"Trial {number}  {trial}  log loss {loss}  accuracy {accuracy}  {images} images  {taken}  {outcome}",
            markup=False,
        )


def _precision(plan: RunPlan) -> str:
    return f"Computed in {plan.precision}. {plan.precision_reason}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        right = heading in ("Epochs", "Expected", "True", "Disk")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading not in ("Part", "Why"))
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return duration(seconds) if round(seconds) else "under 1 s"


def _disk(size: int) -> str:
    return file_size(size) if size else "–"


def _yes(cached: bool) -> str:
    return "yes" if cached else "no"
