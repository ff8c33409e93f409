"""`python -m learner cache`: what decoded images and outputs of frozen stages take on disk, and how to remove them."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.printing import AsJson, confirm, out, print_json
from learner.errors import RunError
from learner.store import Store
from learner.words import count, file_size
from learner.workspace import Workspace

cache = typer.Typer(help="The cache of decoded images and of what frozen stages computed: show, clear.")


@cache.callback(invoke_without_command=True)
def cache_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how much the cache holds and may hold. THAW_CACHE_GB sets its budget, in gigabytes."""
    if context.invoked_subcommand is not None:
        return
    from learner.rows import Budget

    workspace = Workspace.current()
    budget = Budget(workspace.features)
    used, stores = budget.used(), len(_stores(workspace))
    if as_json:
        print_json({"used": used, "budget": budget.limit, "stores": stores, "folder": str(workspace.features)})
        return
    out.print(
        f"{file_size(used) if used else '0 MB'} of {file_size(budget.limit)} (THAW_CACHE_GB) in "
        f"{count(stores, 'store')}, in {workspace.features}",
        markup=False,
    )
    if stores:
        out.print("All of it can be computed again. Remove it: python -m learner cache clear")


@cache.command("clear")
def cache_clear(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove all of the cache; a run that needs any of it computes that again."""
    from learner.rows import Budget

    workspace = Workspace.current()
    stores = _stores(workspace)
    if not stores:
        out.print("The cache is empty.")
        return
    _refuse_while_training()
    size = file_size(Budget(workspace.features).used())
    if not yes and not confirm(f"Remove {count(len(stores), 'store')} and free {size}?", "Nothing was removed"):
        out.print("Nothing was removed.")
        return
    for store in stores:
        shutil.rmtree(store)
    out.print(f"Removed {count(len(stores), 'store')}, {size}.")


def _stores(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.features.iterdir() if path.is_dir()] if workspace.features.is_dir() else []


def _refuse_while_training() -> None:
    store = Store()
    store.runs.requeue_silent()
    for run in store.runs.all():
        if run.status == "running":
            raise RunError(f"Run {run.id} is training and may be reading the cache. Stop it, or wait for its end.")
