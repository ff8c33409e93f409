"""`python -m learner study …`: ask a question with variants × seeds × folds, watch it, and read the answer."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from learner.api import dataset_named
from learner.cli.plans import forecast
from learner.cli.printing import AsJson, check_target, confirm, out, print_json, table_of, telling_about
from learner.cli.searching import add_to as add_search
from learner.cli.searching import print_search, search_dict
from learner.errors import StudyError
from learner.models.weights import choose_backbone
from learner.recipe import read_recipe, recipe_for
from learner.store import Store
from learner.studies.analysis import Compared
from learner.studies.design import (
    FOLDS,
    SEEDS,
    Design,
    Variant,
    create_study,
    folds_for,
    grid,
    resume_study,
    stop_study,
    unfreezing,
)
from learner.studies.results import StudyResult, result_of
from learner.studies.trials import SearchResult, is_search, result_of_search
from learner.terminal import err
from learner.wording import count, duration

study = typer.Typer(help="Studies: did a change help, or was it chance? Variants × seeds × folds, compared in pairs.")

add_search(study)

StudyId = Annotated[int, typer.Argument(metavar="ID", help="A study's id.")]


@study.callback(invoke_without_command=True)
def study_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the studies, newest first."""
    if context.invoked_subcommand is not None:
        return
    store = Store()
    store.runs.requeue_silent()
    studies = store.studies.all()
    results = [result_of_search(store, one.id) if is_search(one) else result_of(store, one.id) for one in studies]
    if as_json:
        print_json({"studies": [_dict(result) for result in results]})
        return
    if not results:
        out.print("No studies yet. Did unfreezing help? python -m learner study create --dataset NAME")
        return
    table = table_of("Study", "Status", "Data set", "What varies", "Runs", right=("Study", "Runs"))
    for result in results:
        where = f"{result.dataset} (version {result.version})"
        done = f"{result.done} of {result.number_of_runs}"
        table.add_row(str(result.study_id), result.status, Text(where), Text(result.what_varies), done)
    out.print(table)


@study.command("create")
def study_create(
    dataset: Annotated[str, typer.Option(help="A data set's name, or a folder or archive, which is added first.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="What all variants begin with: a shipped recipe's name, or a YAML file.",
            show_default="the one named like the data set, else default",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="What varies: key=value,value, e.g. phases.1.trainable=head,block5,all. Several make a grid. The "
            "first value is what the others are compared with.",
            show_default="did unfreezing help: head only, the last stage, the last two, everything",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="A variant with a name and a recipe of its own: NAME=RECIPE.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often all of it is done, with other folds each time.")] = SEEDS,
    folds: Annotated[int, typer.Option(help="Parts of the images, each of which judges once for a seed.")] = FOLDS,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change every variant: key=value, e.g. image_size=96.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a study's runs. Without --vary and --variant it asks whether unfreezing helps."""
    if vary and variant:
        raise StudyError("--vary makes variants of one recipe, --variant names whole recipes: use one of them.")
    base = recipe or recipe_for(Path(dataset).name)
    read_recipe(base, dataset, set_)  # mistakes are told before any image is read
    store = Store()
    name = dataset_named(store, dataset, quiet=as_json)
    whole = read_recipe(base, name, set_)
    variants: tuple[Variant, ...]
    if variant:
        variants = tuple(_named(one, name, set_) for one in variant)
    elif vary:
        variants = grid(whole, vary)
    else:
        variants = unfreezing(whole, choose_backbone(whole.backbone, whole.weights, store.workspace)[0])
    version = store.datasets.version(name, whole.version)
    design = Design(variants, seeds, folds_for(store, version.id, folds))
    if dry_run:
        _print_cost(store, design, as_json)
        return
    study_id = create_study(store, design)
    if as_json:
        print_json(study_dict(result_of(store, study_id)))
        return
    runs = count(design.number_of_runs, "run")
    out.print(f"Study {study_id} is queued: {runs}. Watch it: python -m learner study show {study_id}")
    if design.folds == 1:
        out.print(f"{name} has validation images of its own: these judge every run, and there are no folds.")
    if not store.workers.alive():
        err.print("No worker is running. Start one: python -m learner worker")


@study.command("show")
def study_show(study_id: StudyId, as_json: AsJson = False) -> None:
    """Show how far a study is, and its answer so far."""
    store = Store()
    store.runs.requeue_silent()
    result = result_of_search(store, study_id) if is_search(store.studies.get(study_id)) else result_of(store, study_id)
    if as_json:
        print_json(_dict(result))
        return
    out.print(f"Study {study_id}: {result.status}, data set {result.dataset} (version {result.version})", markup=False)
    out.print(f"{result.progress}.", markup=False)
    if isinstance(result, SearchResult):
        print_search(result)
        return
    table = table_of("Variant", "Runs", "Accuracy", "Log loss", "A run took", right=("Runs", "Accuracy", "Log loss"))
    for one in result.variants:
        table.add_row(Text(one.name), f"{one.runs} of {one.of}", one.accuracy_text, one.log_loss_text, one.time_text)
    out.print(table)
    for sentence in result.answer:
        out.print(sentence, markup=False)
    for run in result.failed:
        out.print(f"Run {run.id} failed. {run.reason}", markup=False)


@study.command("stop")
def study_stop(study_id: StudyId) -> None:
    """Stop a study; what its finished runs say is kept."""
    stopped = stop_study(Store(), study_id)
    if not stopped:
        raise StudyError(f"Nothing of study {study_id} waits or trains, so there is nothing to stop.")
    out.print(f"{count(stopped, 'run')} stopped or about to. Go on with: python -m learner study resume {study_id}")


@study.command("resume")
def study_resume(study_id: StudyId) -> None:
    """Go on with a study that was stopped; failed runs are tried again."""
    queued = resume_study(Store(), study_id)
    if not queued:
        raise StudyError(f"No run of study {study_id} was stopped or failed, so there is nothing to go on with.")
    out.print(f"{count(queued, 'run')} queued again.")


@study.command("delete")
def study_delete(
    study_id: StudyId, yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False
) -> None:
    """Delete a study with its runs; for a day it can be had back."""
    store = Store()
    store.studies.get(study_id)
    runs = count(len(store.studies.runs_of(study_id)), "run")
    if yes or confirm(f"Delete study {study_id} with {runs}?", "Nothing was deleted"):
        store.studies.delete(study_id)
        out.print(f"Study {study_id} is deleted. Bring it back: python -m learner study undelete {study_id}")


@study.command("undelete")
def study_undelete(study_id: StudyId) -> None:
    """Bring a deleted study back, with its runs."""
    Store().studies.undelete(study_id)
    out.print(f"Study {study_id} is back.")


@study.command("report")
def study_report(
    study_id: StudyId, to: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("study.html")
) -> None:
    """Write a report of a study: one HTML file with its question, answer, figures and every run."""
    check_target(to)
    from learner.report.study import make_search_report, make_study_report

    store = Store()
    make = make_search_report if is_search(store.studies.get(study_id)) else make_study_report
    text = make(store, study_id)
    with telling_about(to):
        to.write_text(text, "utf-8")
    out.print(f"The report is {to}.", markup=False)


def _dict(result: StudyResult | SearchResult) -> dict[str, Any]:
    return search_dict(result) if isinstance(result, SearchResult) else study_dict(result)


def study_dict(result: StudyResult) -> dict[str, Any]:
    """What `--json` tells of a study. Accuracies and their differences are shares, log loss is in nats."""
    return {
        "study": result.study_id,
        "status": result.status,
        "dataset": result.dataset,
        "version": result.version,
        "seeds": result.design.seeds,
        "folds": result.design.folds,
        "runs": result.design.number_of_runs,
        "finished": result.done,
        "variants": [vars(one) for one in result.variants],
        "differences": [_difference_dict(one) for one in result.compared],
        "answer": result.answer,
    }


def _difference_dict(one: Compared) -> dict[str, Any]:
    return {
        "variant": one.name,
        "against": one.against,
        "pairs": len(one.places),
        "accuracy": one.accuracy.mean,
        "accuracy_interval": one.accuracy.interval,
        "p_value": one.p_value,
        "mcnemar_p_value": one.mcnemar,
        "log_loss": one.log_loss.mean,
        "log_loss_interval": one.log_loss.interval,
        "log_loss_p_value": one.log_loss.p_value,
        "is_proven": one.is_proven,
    }


def _named(text: str, dataset: str, changes: list[str] | None) -> Variant:
    name, equals, recipe = text.partition("=")
    if not name or not recipe or not equals:
        raise StudyError(f"--variant {text!r} is not of the form NAME=RECIPE, as in slow=my.yaml")
    return Variant(name, read_recipe(recipe, dataset, changes))


def _print_cost(store: Store, design: Design, as_json: bool) -> None:
    """What the runs of each variant are expected to take, one after another."""
    each = {one.name: forecast(store, one.recipe, as_json)[2].expected_s for one in design.variants}
    repeats = design.seeds * design.folds
    together = repeats * sum(each.values())
    if as_json:
        print_json({"runs": design.number_of_runs, "expected_s": together, "a_run_s": each})
        return
    table = table_of("Variant", "Runs", "A run", "Together", right=("Runs", "A run", "Together"))
    for name, seconds in each.items():
        table.add_row(Text(name), str(repeats), duration(seconds), duration(repeats * seconds))
    out.print(table)
    out.print(
        f"{count(design.number_of_runs, 'run')}, {duration(together)} with one worker, or less: runs share what frozen "
        "stages give."
    )
