"""`python -m learner runs …`: list, show, control and compare runs; `train_here` trains one in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from learner.advice.coach import advice_about, has_batch_norm, with_more_epochs
from learner.api import train_run
from learner.cli.plans import print_expected_and_true, print_trials
from learner.cli.printing import AsJson, out, print_findings, print_json, print_result, run_dict, table_of, took
from learner.errors import RunError, ThawError
from learner.evaluation.compare import common_accuracy, compare, phase_gains
from learner.planning.cost import RunPlan
from learner.planning.needs import why_it_waits
from learner.recipe import Recipe, apply_changes
from learner.store import Store
from learner.terminal import epoch_line, err
from learner.wording import count, duration, percent

runs = typer.Typer(help="Runs: list, show, stop, pause, resume, extend, compare, delete.")

RunId = Annotated[int, typer.Argument(metavar="ID", help="A run's id.")]


@runs.callback(invoke_without_command=True)
def runs_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the runs, newest first."""
    if context.invoked_subcommand is not None:
        return
    store = Store()
    store.runs.requeue_silent()
    every = store.runs.all()
    if as_json:
        print_json({"runs": [run_dict(store, run) for run in every]})
        return
    if not every:
        out.print("No runs yet. Start one: python -m learner train --dataset NAME")
        return
    table = table_of("Run", "Status", "Data set", "Best accuracy", "Took", right=("Run", "Best accuracy", "Took"))
    for run in every:
        name, number = store.runs.dataset_of(run)
        best = percent(run.best_accuracy) if run.best_accuracy is not None else "–"
        table.add_row(str(run.id), run.status, f"{name} (version {number})", best, took(run))
    out.print(table)


@runs.command("show")
def runs_show(run_id: RunId, as_json: AsJson = False) -> None:
    """Show a run: its status, every epoch, its result, and what its curves mean."""
    store = Store()
    store.runs.requeue_silent()
    run = store.runs.get(run_id)
    if as_json:
        print_json(run_dict(store, run, whole=True))
        return
    name, number = store.runs.dataset_of(run)
    out.print(f"Run {run.id}: {run.status}, data set {name} (version {number})", markup=False)
    if run.reason:
        out.print(run.reason, markup=False)
    if run.status == "queued" and (lacking := why_it_waits(store, run_id)):
        out.print(lacking, markup=False)
    if run.parent is not None and run.parent_phase is not None:
        out.print(f"It began from the end of phase {run.parent_phase + 1} of run {run.parent}.")
    if "backbone" in run.facts:
        out.print(f"{run.facts['backbone']} at {run.facts['image_size']} px on {run.facts['device']}", markup=False)
        weights = run.facts["weights"]
        out.print(" ".join([weights["reason"], *(f"({place})" for place in weights["tried"])]), markup=False)
    for note in run.notes:
        out.print(note, markup=False)
    if run.status == "running":
        left = run.progress.get("seconds_left")
        out.print(
            f"{run.progress.get('message', 'Starting')}, {percent(run.progress.get('done', 0))} done"
            + (f", {duration(left)} left" if left is not None else "")
        )
    print_trials(run.facts)
    recipe, epochs = Recipe.from_dict(run.recipe_with_epochs), store.runs.epochs(run_id)
    for epoch in epochs:
        out.print(epoch_line(epoch.__dict__, recipe.phases[epoch.phase].name), markup=False)
    if cost := RunPlan.from_facts(run.facts):
        print_expected_and_true(cost, finished=run.status == "finished")
    if run.status in ("finished", "stopped"):
        print_result(store, run)
    print_findings(store, run)
    for advice in advice_about(store, run, recipe, epochs):
        out.print(f"Coach: {advice.text}", markup=False)


@runs.command("stop")
def runs_stop(
    run_id: RunId,
    after_epoch: Annotated[bool, typer.Option("--after-epoch", help="Let the present epoch end first.")] = False,
) -> None:
    """Stop a run; what it has learnt so far is kept."""
    status = Store().runs.ask(run_id, "stop_after_epoch" if after_epoch else "stop")
    if status == "stopped":
        out.print(f"Run {run_id} was taken out of the queue.")
    elif after_epoch and status == "running":
        out.print(f"Run {run_id} stops when its present epoch is done.")
    else:
        out.print(f"Run {run_id} stops after checking what it has learnt so far.")


@runs.command("pause")
def runs_pause(run_id: RunId) -> None:
    """Pause a run when its present epoch is done; nothing is lost."""
    status = Store().runs.ask(run_id, "pause")
    when = "is paused" if status == "paused" else "pauses when its present epoch is done"
    out.print(f"Run {run_id} {when}. Go on with: python -m learner runs resume {run_id}")


@contextmanager
def ending_claimed_run() -> Iterator[None]:
    """Ctrl-C ends the run that this process has claimed, too, where its training has not taken care of that yet."""
    try:
        yield
    except KeyboardInterrupt:
        Store().runs.end_own("interrupted", "It was interrupted before training began.")
        raise


@runs.command("resume")
@ending_claimed_run()
def runs_resume(
    run_id: RunId,
    here: Annotated[bool, typer.Option("--here", help="Train here and now instead of leaving it to a worker.")] = False,
) -> None:
    """Go on with a run that was paused, stopped, interrupted or failed, from its last checkpoint."""
    store = Store()
    store.runs.resume(run_id, running=here)
    if not here:
        _say_queued(store, f"Run {run_id} goes on when a worker takes it.", run_id)
        return
    status = train_here(store, run_id, quiet=False)
    run = store.runs.get(run_id)
    if status == "failed":
        raise RunError(f"Run {run_id} failed. {run.reason}")
    print_result(store, run)


@runs.command("more")
def runs_more(
    run_id: RunId,
    epochs: Annotated[int, typer.Argument(metavar="EPOCHS", min=1, max=1000, help="How many epochs more.")],
) -> None:
    """Give a finished run more epochs: its last phase goes on, at a tenth of its learning rates."""
    store = Store()
    run = store.runs.get(run_id)
    longer = with_more_epochs(Recipe.from_dict(run.recipe_with_epochs), epochs, has_batch_norm(run.facts))
    store.runs.extend(run_id, longer.to_dict())
    _say_queued(store, f"Run {run_id} is queued again, for {count(epochs, 'more epoch')}.", run_id)


@runs.command("restart")
def runs_restart(
    run_id: RunId,
    after_phase: Annotated[int, typer.Option("--after-phase", min=1, help="Take over what was learnt until its end.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key=value, e.g. phases.1.epochs=3.")
    ] = None,
) -> None:
    """Queue another run that begins from the end of a phase (1 is the first) of this one."""
    store = Store()
    values = store.runs.get(run_id).recipe
    apply_changes(values, set_ or [])
    new_id = store.submit(Recipe.from_dict(values), parent=(run_id, after_phase - 1))
    _say_queued(
        store, f"Run {new_id} is queued. It begins from the end of phase {after_phase} of run {run_id}.", new_id
    )


@runs.command("move", context_settings={"ignore_unknown_options": True})  # or -2 would be taken for one
def runs_move(
    run_id: RunId,
    places: Annotated[int, typer.Argument(metavar="PLACES", help="How far back; a negative number brings it forward.")],
) -> None:
    """Move a waiting run to another place in the queue."""
    store = Store()
    store.queue.move(run_id, places)
    order = [run.id for run in store.queue.waiting()]
    out.print(f"Run {run_id} is number {order.index(run_id) + 1} of {len(order)} in the queue.")


@runs.command("delete")
def runs_delete(run_id: RunId) -> None:
    """Delete a run with its model; that can be undone for a day."""
    from learner.housekeeping import clean_up

    store = Store()
    store.runs.delete(run_id)
    clean_up(store)  # no worker may be there to do it
    out.print(f"Run {run_id} was deleted. Bring it back: python -m learner runs undelete {run_id}")


@runs.command("undelete")
def runs_undelete(run_id: RunId) -> None:
    """Bring a deleted run back."""
    Store().runs.undelete(run_id)
    out.print(f"Run {run_id} is back.")


@runs.command("compare")
def runs_compare(
    run_ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of two runs or more.")],
    as_json: AsJson = False,
) -> None:
    """Compare runs: what each reached, and how soon it was where all of them got to."""
    if len(set(run_ids)) < 2:
        raise ThawError("Name at least two runs to compare, such as: python -m learner runs compare 1 2")
    store = Store()
    curves = {store.runs.get(run_id).id: store.runs.epochs(run_id) for run_id in run_ids}
    goal, compared = common_accuracy(curves), compare(curves)
    gains = {run_id: [gain.gain for gain in phase_gains(epochs)] for run_id, epochs in curves.items()}
    if as_json:
        rows = []
        for row in compared:
            figures = asdict(row)
            rows.append({"run": figures.pop("run_id"), **figures, "phase_gains": gains[row.run_id]})
        print_json({"common_accuracy": goal, "runs": rows})
        return
    until = "Until all got there" if goal is None else f"Until {percent(goal)}"
    right = ("Run", "Best accuracy", "Epochs", "Time")
    table = table_of("Run", "Best accuracy", "Epochs", "Time", until, "Phases gained", right=right)
    for row in compared:
        best = "–" if row.best_accuracy is None else percent(row.best_accuracy)
        there = "–"
        if row.epochs_until is not None and row.seconds_until is not None:
            there = f"epoch {row.epochs_until}, {duration(row.seconds_until)}"
        gained = ", ".join(f"{100 * gain:+.1f}" for gain in gains[row.run_id] if gain is not None) or "–"
        table.add_row(str(row.run_id), best, str(row.epochs), duration(row.seconds), there, gained)
    out.print(table)


def train_here(store: Store, run_id: int, quiet: bool) -> str:
    """Train a run that this process has claimed; returns its status. Ctrl-C ends it with what it has learnt."""
    try:
        return train_run(store, run_id, quiet)
    except KeyboardInterrupt:
        go_on = f"Go on with it: python -m learner runs resume {run_id} --here"
        learnt = f"Export what run {run_id} has learnt: python -m learner export {run_id} --to ."
        kept = store.files.has(store.workspace.checkpoint(run_id))
        err.print(f"Interrupted. {learnt if kept else 'Nothing was learnt yet.'} {go_on}")
        raise


def _say_queued(store: Store, said: str, run_id: int) -> None:
    out.print(f"{said} Watch it: python -m learner runs show {run_id}")
    if not store.workers.alive():
        err.print("No worker is running. Start one: python -m learner worker")
