"""`python -m learner study search` and `confirm`: look for a better recipe, then ask whether it is one."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.text import Text

from learner.api import dataset_named
from learner.cli.plans import forecast
from learner.cli.printing import AsJson, out, print_json, table_of
from learner.errors import StudyError
from learner.jobs.executor import INSTALL_RAY, has_ray
from learner.models.weights import choose_backbone
from learner.recipe import Recipe, read_recipe, recipe_for
from learner.store import Store
from learner.studies.design import FOLDS, SEEDS
from learner.studies.search import confirmed, create_search
from learner.studies.space import read_space, usual_space
from learner.studies.trials import TRIALS, Search, SearchResult, result_of_search, trial_rows
from learner.terminal import err
from learner.wording import count, duration


def add_to(study: typer.Typer) -> None:
    """Put the commands under `learner study`."""
    study.command("search")(study_search)
    study.command("confirm")(study_confirm)


def study_search(
    dataset: Annotated[str, typer.Option(help="A data set's name, or a folder or archive, which is added first.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="What the search begins with: a shipped recipe's name, or a YAML file.",
            show_default="the one named like the data set, else default",
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            help="What may change: key=value,value or a range, key=low..high, e.g. phases.1.lr=0.00001..0.001. A range "
            "that spans a factor of ten or more is searched on a log scale.",
            show_default="depth, learning rates, kind of head, augmentation",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="How many runs it may train.")] = TRIALS,
    at_once: Annotated[
        int, typer.Option(help="How many trials wait or train at a time.", show_default="as many as there are workers")
    ] = 0,
    with_tune: Annotated[
        bool,
        typer.Option(
            "--with-tune",
            help="Let Ray Tune steer it from this command, on the cluster of RAY_ADDRESS.",
        ),
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change what it begins with: key=value, e.g. image_size=96.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search for a better recipe: trials where the last ones did best; those that fall behind are paused."""
    base = recipe or recipe_for(Path(dataset).name)
    read_recipe(base, dataset, set_)  # mistakes are told before any image is read
    space = read_space(over) if over else None
    store = Store()
    whole = read_recipe(base, dataset_named(store, dataset, quiet=as_json), set_)
    if space is None:
        whole, space = usual_space(whole, choose_backbone(whole.backbone, whole.weights, store.workspace)[0])
    if dry_run:
        _print_cost(store, whole, trials, as_json)
        return
    if with_tune and not has_ray():
        raise StudyError(f"--with-tune needs Ray, which is not installed. Install Thaw with it: {INSTALL_RAY}")
    study_id = create_search(store, Search(whole, space, trials, at_once, tuned=with_tune))
    if with_tune:
        _steer(store, study_id)
    if as_json:
        print_json(search_dict(result_of_search(store, study_id)))
        return
    for key, one in space.items():
        out.print(f"{key}: {one.words}", markup=False)
    up_to = f"Study {study_id} searches with up to {count(trials, 'run')}"
    out.print(f"{up_to}. Watch it: python -m learner study show {study_id}")
    if not store.workers.alive():
        err.print("No worker is running. Start one: python -m learner worker")


def _steer(store: Store, study_id: int) -> None:
    from learner.studies.ray_tune import search_with_tune

    err.print(f"Ray Tune steers study {study_id} from here. Watch it: python -m learner study show {study_id}")
    with TemporaryDirectory() as folder:
        search_with_tune(store, study_id, Path(folder))


def study_confirm(
    study_id: Annotated[int, typer.Argument(metavar="ID", help="A search's id.")],
    seeds: Annotated[int, typer.Option(help="How often all of it is done, with other folds each time.")] = SEEDS,
    folds: Annotated[int, typer.Option(help="Parts of the images, each of which judges once for a seed.")] = FOLDS,
) -> None:
    """Ask with a study whether what a search has found is better than what it began with."""
    made = confirmed(Store(), study_id, seeds, folds)
    out.print(f"Study {made} is queued. Watch it: python -m learner study show {made}")


def print_search(result: SearchResult) -> None:
    """Every trial, the finished ones first and the best at the top."""
    rows = trial_rows(result)
    if rows:
        table = table_of(*rows[0], right=("Trial", "Run", "Loss"))
        for row in rows:
            table.add_row(*map(Text, row.values()))
        out.print(table)
    for sentence in result.answer:
        out.print(sentence, markup=False)
    if result.best is not None and result.best is not result.first:
        out.print(f"Is it better, or was it chance? python -m learner study confirm {result.study_id}", markup=False)


def search_dict(result: SearchResult) -> dict[str, Any]:
    """What `--json` tells of a search. Losses are those of the validation images, in nats."""
    return {
        "study": result.study_id,
        "status": result.status,
        "dataset": result.dataset,
        "version": result.version,
        "runs": result.search.trials,
        "finished": result.done,
        "space": {key: one.to_json() for key, one in result.search.space.items()},
        "trials": [
            {
                "trial": trial.number + 1,
                "run": trial.run and trial.run.id,
                "status": trial.status,
                "loss": trial.loss,
                "chosen": dict(trial.chosen),
            }
            for trial in result.trials
        ],
        "best": result.best and result.best.number + 1,
        "answer": result.answer,
    }


def _print_cost(store: Store, recipe: Recipe, trials: int, as_json: bool) -> None:
    a_run = forecast(store, recipe, as_json)[2].expected_s
    if as_json:
        print_json({"runs": trials, "expected_s": trials * a_run, "a_run_s": a_run})
        return
    together = duration(trials * a_run)
    out.print(
        f"Up to {count(trials, 'run')}; the recipe as it is takes {duration(a_run)}, so about {together} with one "
        "worker. Trials that thaw more take longer, those that fall behind less."
    )
