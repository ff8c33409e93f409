"""Commands that find something out before a training: rates, the strategy that suits a data set."""

import os
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from learner.cli.printing import AsJson, out, print_json, progress_bar, table_of
from learner.executors import PATIENT_THREADS
from learner.rate_finds import Rates
from learner.recipe import Phase, Recipe, read_recipe
from learner.recommendations import Recommendation, recommended_recipe
from learner.store import Store
from learner.words import duration

Dataset = Annotated[str, typer.Option(help="A data set's name.")]


def find_rate(
    dataset: Dataset,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file.")] = "default",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key=value, e.g. batch_size=32.")
    ] = None,
    phase: Annotated[int, typer.Option(min=1, help="Which phase.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Find a learning rate for a phase, by trying rates from low to high for some steps. No run is made."""
    plan = read_recipe(recipe, dataset, set_)
    store = Store()
    store.datasets.version(dataset)
    _load_patiently()
    from learner.finding import find_rates

    with progress_bar(transient=True, disabled=as_json) as bar:
        task = bar.add_task("Loading", total=None)
        found = find_rates(store, plan, phase - 1, lambda text: bar.update(task, description=text))
    if as_json:
        print_json({"dataset": dataset, "phase": phase} | asdict(found))
        return
    table = table_of("Suggestion", "Rate", right=["Rate"])
    for name, rate in sorted(found.suggestions.items(), key=lambda pair: pair[1]):
        table.add_row(name, f"{rate:.2g}", style="bold" if name == found.chosen else None)
    out.print(f"Phase {phase}, {found.phase}: {rate_words(found.lr)}", markup=False)
    out.print(table)
    for sentence in (found.why, *found.notes, f"Found in {duration(found.seconds)}."):
        out.print(sentence, markup=False)
    out.print(f"Use it: --set 'phases.{phase - 1}.lr={_as_yaml(found.lr)}'", markup=False)


def recommend(
    dataset: Dataset,
    backbone: Annotated[str, typer.Option(help="A timm architecture, such as vgg16.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Recommend what to train: the head, some stages or everything, after a look at the data set."""
    plan = Recipe(dataset, backbone=backbone)
    store = Store()
    store.datasets.version(dataset)
    _load_patiently()
    from learner.recommending import recommend as measure

    with progress_bar(transient=True, disabled=as_json) as bar:
        task = bar.add_task("Loading", total=None)
        found = measure(store, plan, lambda text: bar.update(task, description=text))
    recipe = recommended_recipe(found)
    if as_json:
        print_json(asdict(found) | {"reasons": found.sentences, "changed_recipe": recipe.to_dict()})
        return
    for sentence in found.sentences:
        out.print(sentence, markup=False)
    out.print(f"Measured in {duration(found.seconds)}. Train like that: {_command(found, recipe)}", markup=False)


def _command(found: Recommendation, recipe: Recipe) -> str:
    """The shipped recipe, with what was changed to suit the backbone."""
    shipped = read_recipe(found.recipe, found.dataset)
    last, theirs = len(recipe.phases) - 1, shipped.phases[-1]
    changes = [f"backbone={recipe.backbone}"] if recipe.backbone != shipped.backbone else []
    changes += [f"phases.{last}.trainable={recipe.phases[-1].trainable}"] * (
        recipe.phases[-1].trainable != theirs.trainable
    )
    changes += [f"phases.{last}.lr=auto"] * (recipe.phases[-1].lr != theirs.lr)
    words = ["python", "-m", "learner", "train", "--dataset", found.dataset, "--recipe", found.recipe]
    return shlex.join([*words, *(word for change in changes for word in ("--set", change))])


def rate_words(lr: Rates) -> str:
    """`0.0023`, or the lowest part's rate and the head's."""
    low, high = Phase("-", lr=lr).rates(batch_norm=True)
    return f"{high:.2g}" if low == high else f"{low:.2g} for the lowest part that learns, up to {high:.2g}"


def _as_yaml(lr: Rates) -> str:
    if isinstance(lr, dict):
        return "{" + ", ".join(f"{part}: {rate}" for part, rate in lr.items()) + "}"
    return str(lr)


def _load_patiently() -> None:
    """Before torch is loaded; a person's own setting stays."""
    os.environ.update({**PATIENT_THREADS, **os.environ})


def add_to(app: typer.Typer) -> None:
    """Make these commands `app`'s."""
    app.command("find-rate")(find_rate)
    app.command()(recommend)
