"""`python -m learner …`: the same work as the pages, from a shell. Heavy modules load inside the commands."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from learner.api import dataset_named, export_with_progress
from learner.cli import asking, exporting, operations, predicting, reporting, serving, watching
from learner.cli.cache import cache
from learner.cli.data import data
from learner.cli.models import models
from learner.cli.plans import forecast, plan_dict, print_plan
from learner.cli.printing import AsJson, check_target, out, print_json, print_result, run_dict
from learner.cli.results import results
from learner.cli.runs import ending_claimed_run, runs, train_here
from learner.cli.studies import study
from learner.errors import RunError, ThawError
from learner.logs import set_up_logs
from learner.recipe import AUTO, read_recipe, recipe_for
from learner.store import Store
from learner.terminal import err
from learner.wording import count, duration

app = typer.Typer(
    help="Fine-tune image classifiers phase by phase.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")
app.add_typer(models, name="models")
app.add_typer(cache, name="cache")
app.add_typer(results, name="results")
app.add_typer(study, name="study")


def main(program: str = "python -m learner") -> None:
    """Run a command; an error that a person can put right is one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", ".torch.jit.script.", FutureWarning)  # fastai's, and no concern of a person's
    try:
        code = app(prog_name=program, standalone_mode=False)
    except (ThawError, TyperException) as error:
        text = error.format_message() if isinstance(error, TyperException) else str(error)  # names the option
        err.print(f"Error: {' '.join(text.split())}", markup=False)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


# Training


@app.command()
@ending_claimed_run()
def train(
    dataset: Annotated[str, typer.Option(help="A data set's name, or a folder or archive, which is added first.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A shipped recipe's name, or a YAML file.",
            show_default="the one named like the data set, such as flowers17, else default",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Let Thaw choose the recipe: how long all of it may take, e.g. 10m.", show_default=False),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Write the trained model here as a learner.pkl.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key=value, e.g. phases.0.epochs=3.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(help="Write figures for a tracker too: tensorboard, mlflow or wandb. Repeatable."),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker instead of training here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model: here and now, or with --queue by a worker."""
    if dry_run and (queue or model):
        raise ThawError("--dry-run trains nothing, so it goes with neither --queue nor --model.")
    if queue and model:
        raise ThawError("--model needs the run to be done: with --queue, export it later with `learner export`.")
    from learner.training.trackers import checked

    trackers = checked(log or [])
    if model is not None:
        check_target(model)
    if budget is not None:
        if recipe not in (None, AUTO):
            raise ThawError("--budget lets Thaw choose the recipe, so it goes without --recipe, or with --recipe auto.")
        recipe, set_ = AUTO, [f"budget={budget}", *(set_ or [])]
    named = recipe is None and recipe_for(Path(dataset).name) != "default"
    recipe = recipe or recipe_for(Path(dataset).name)
    read_recipe(recipe, dataset, set_)  # mistakes are told before any image is read
    store = Store()
    plan = read_recipe(recipe, dataset_named(store, dataset, quiet=as_json), set_)
    if named and not as_json:
        out.print(f"The recipe is {recipe}, as the data set has its name. To use another: --recipe default")
    if dry_run and plan.budget:
        raise ThawError(f"With --budget there is no plan before it begins: it takes {duration(plan.budget)} at most.")
    if dry_run:
        foreseen = forecast(store, plan, quiet=as_json)
        if as_json:
            print_json(plan_dict(*foreseen))
        else:
            print_plan(*foreseen)
        return
    run_id = store.submit(plan, running=not queue, trackers=trackers)
    if plan.repeats > 1 and not as_json:
        others = count(plan.repeats - 1, "more run")
        out.print(f"{others} with the next seeds wait in the queue; `learner runs` lists them.")
    if queue:
        if as_json:
            print_json({"run": run_id, "status": "queued"})
            return
        out.print(f"Run {run_id} is queued. Watch it: python -m learner runs show {run_id}")
        if not store.workers.alive():
            err.print("No worker is running. Start one: python -m learner worker")
        return
    status = train_here(store, run_id, quiet=as_json)
    run = store.runs.get(run_id)
    if status == "failed":
        raise RunError(f"Run {run_id} failed. {run.reason}")
    made = export_with_progress(store, run_id, "learner", model, quiet=as_json) if model is not None else None
    if as_json:
        print_json(run_dict(store, run, whole=True) | {"model": str(made.path) if made else None})
        return
    print_result(store, run)
    if made:
        exporting.print_export(made, "Model: ")


# Models


@app.command()
def worker() -> None:
    """Train queued runs, one after another, until Ctrl-C; with EXECUTOR=ray in a Ray cluster, several at a time."""
    from learner.housekeeping import clean_up
    from learner.jobs.worker import Helpers, work
    from learner.planning.needs import lack_of
    from learner.studies.search import advance

    set_up_logs(for_people="%(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    work(Store(), Helpers(clean_up, advance, lack_of))


predicting.add_to(app)
asking.add_to(app)
exporting.add_to(app)
serving.add_to(app)
watching.add_to(app)
reporting.add_to(results)
operations.add_to(app)
