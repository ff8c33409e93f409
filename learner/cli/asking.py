"""Commands that find something out without training: rates, what suits a data set, what ImageNet's network sees."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from learner.cli.printing import AsJson, out, print_json, table_of
from learner.errors import ModelError, ThawError
from learner.jobs.process import use_patient_threads
from learner.questions.rates import Rates
from learner.questions.strategy import Recommendation, recommended_recipe
from learner.recipe import Phase, Recipe, apply_changes, read_recipe
from learner.store import Store
from learner.terminal import progress_bar, telling
from learner.wording import count, duration, percent

Dataset = Annotated[str, typer.Option(help="A data set's name.")]
Backbone = Annotated[str | None, typer.Option(help="A timm architecture, such as vgg16; else `auto`.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe: key=value, e.g. weights=vgg16.safetensors.")
]


def find_rate(
    dataset: Dataset,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file.")] = "default",
    set_: Changes = None,
    phase: Annotated[int, typer.Option(min=1, help="Which phase.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Find a learning rate for a phase, by trying rates from low to high for some steps. No run is made."""
    plan = read_recipe(recipe, dataset, set_)
    store = Store()
    store.datasets.version(dataset)
    _load_patiently()
    from learner.training.lr_finder import find_rates

    with telling("Loading", as_json) as tell:
        found = find_rates(store, plan, phase - 1, tell)
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
    backbone: Backbone = None,
    set_: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Recommend what to train: the head, some stages or everything, after a look at the data set."""
    plan = _changed(dataset, backbone, set_)
    store = Store()
    store.datasets.version(dataset)
    _load_patiently()
    from learner.advice.strategy import recommend as measure

    with telling("Loading", as_json) as tell:
        found = measure(store, plan, tell)
    own = [change for change in set_ or [] if not change.startswith("backbone=")]  # it is in what was found
    recommended = recommended_recipe(found)
    values = recommended.to_dict()
    apply_changes(values, own)
    recipe = Recipe.from_dict(values)
    if as_json:
        print_json(asdict(found) | {"reasons": found.sentences, "changed_recipe": recipe.to_dict()})
        return
    for sentence in found.sentences:
        out.print(sentence, markup=False)
    out.print(
        f"Measured in {duration(found.seconds)}. Train like that: {_command(found, recommended, own)}", markup=False
    )


def imagenet(
    images: Annotated[list[Path] | None, typer.Argument(help="Images, or folders of images.")] = None,
    dataset: Annotated[str | None, typer.Option(help="A data set's name: a table by class.")] = None,
    backbone: Backbone = None,
    set_: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Say what the untouched ImageNet network sees: its own 1,000 classes, nothing learnt from you."""
    if bool(images) == (dataset is not None):
        raise ThawError("Name images or a data set (--dataset NAME), one of the two.")
    if unused := {change.partition("=")[0] for change in set_ or []} - {"backbone", "weights"}:
        raise ThawError(f"The untouched network takes no {min(unused)}; --set changes its backbone and weights.")
    asked = _changed(dataset or "-", backbone, set_)
    store = Store()
    if dataset is not None:
        store.datasets.version(dataset)
    paths = list(image_files(images or []))
    _load_patiently()
    from learner.inference.imagenet import ImageNetModel, ask_about

    model = ImageNetModel.open(asked.backbone, store.workspace, asked.weights)
    told = f"{model.arch}, untouched. {model.source.reason}"
    if dataset is not None:
        with progress_bar(transient=True, disabled=as_json) as bar:
            task = bar.add_task("Asking", total=None)
            found = ask_about(store, dataset, model, lambda done, total: bar.update(task, completed=done, total=total))
        if as_json:
            print_json(
                {"backbone": model.arch, "reason": model.source.reason, "classes": [asdict(one) for one in found]}
            )
            return
        out.print(told, markup=False)
        table = table_of("Class", "Photos", "Most frequent answers", right=["Photos"])
        for one in found:
            answers = ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.answers)
            table.add_row(Text(one.label), f"{one.photos:,}", Text(answers))
        out.print(table, soft_wrap=False)
        return
    predictions = list(model.predict(paths))
    if as_json:
        rows = [asdict(row) | {"source": str(row.source)} for row in predictions]
        print_json({"backbone": model.arch, "reason": model.source.reason, "predictions": rows})
    else:
        out.print(told, markup=False)
        for row in predictions:
            answer = ", ".join(f"{name} {percent(p)}" for name, p in zip(row.classes, row.probs, strict=True))
            out.print(f"{row.source}: {answer or 'not read. ' + row.error}", markup=False)
    if all(row.error for row in predictions):
        raise ModelError(f"None of the {count(len(predictions), 'file')} could be read as an image.")


def _changed(dataset: str, backbone: str | None, changes: list[str] | None) -> Recipe:
    """The default recipe with those changes, as `train` makes them. Raises RecipeError."""
    named = [f"backbone={backbone}"] if backbone else []
    return read_recipe("default", dataset, [*named, *(changes or [])])


def image_files(paths: list[Path]) -> Iterator[Path]:
    """Files as they are named, and every image in the folders. Raises ModelError."""
    from learner.datasets.images import IMAGE_SUFFIXES

    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not found:
                raise ModelError(f"There are no images in {path}.")
            yield from found
        elif path.exists():
            yield path
        else:
            raise ModelError(f"There is no file or folder {path}.")


def _command(found: Recommendation, recipe: Recipe, own: list[str]) -> str:
    """The shipped recipe, with what was changed to suit the backbone, and a person's own changes."""
    shipped = read_recipe(found.recipe, found.dataset)
    last, theirs = len(recipe.phases) - 1, shipped.phases[-1]
    changes = [f"backbone={recipe.backbone}"] if recipe.backbone != shipped.backbone else []
    changes += [f"phases.{last}.trainable={recipe.phases[-1].trainable}"] * (
        recipe.phases[-1].trainable != theirs.trainable
    )
    changes += [f"phases.{last}.lr=auto"] * (recipe.phases[-1].lr != theirs.lr)
    words = ["python", "-m", "learner", "train", "--dataset", found.dataset, "--recipe", found.recipe]
    return shlex.join([*words, *(word for change in [*changes, *own] for word in ("--set", change))])


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
    use_patient_threads()


def add_to(app: typer.Typer) -> None:
    """Make these commands `app`'s."""
    app.command("find-rate")(find_rate)
    app.command()(recommend)
    app.command()(imagenet)
