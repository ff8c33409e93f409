"""`python -m learner cache`: what Thaw keeps on disk and what bounds it, and how to remove what can be made again."""

from dataclasses import asdict
from typing import Annotated

import typer

from learner.cli.printing import AsJson, confirm, out, print_json, table_of
from learner.errors import RunError
from learner.store import Store
from learner.wording import count, file_size
from learner.workspace import Workspace

cache = typer.Typer(help="What is kept on disk, above all the cache of what frozen stages computed: show, clear.")


@cache.callback(invoke_without_command=True)
def cache_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how much the cache holds and may hold, and what else grows. THAW_CACHE_GB sets its budget, in gigabytes."""
    if context.invoked_subcommand is not None:
        return
    from learner.features.arrays import Budget
    from learner.housekeeping import storage_kinds

    store = Store()
    workspace, kinds = store.workspace, storage_kinds(store)
    budget, used = Budget.of(workspace), kinds[0].bytes + kinds[1].bytes
    stores = len(list(workspace.features.glob("*/")))
    if as_json:
        about = {"used": used, "budget": budget.limit, "stores": stores, "folder": str(workspace.features)}
        print_json(about | {"kinds": [asdict(kind) for kind in kinds]})
        return
    out.print(
        f"{_size(used)} of {file_size(budget.limit)} (THAW_CACHE_GB) in {count(stores, 'store')}, in "
        f"{workspace.features}",
        markup=False,
    )
    table = table_of("What", "Size", "Where", "Bounded by", right=["Size"])
    for kind in kinds:
        table.add_row(kind.what, _size(kind.bytes), kind.where, kind.bound)
    out.print(table)
    out.print("All that lies in cache/ can be made again. Remove it: python -m learner cache clear")


@cache.command("clear")
def cache_clear(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove all that can be made again, thumbnails too; a run that needs any of it computes that again."""
    from learner.datasets.disk import bytes_in
    from learner.housekeeping import clear_cache

    workspace = Workspace.current()
    folder = workspace.features.parent
    held = bytes_in(*folder.glob("*/"))
    if not held:
        out.print("The cache is empty.")
        return
    _refuse_while_training()
    if not yes and not confirm(f"Remove all of the cache and free {_size(held)}?", "Nothing was removed"):
        out.print("Nothing was removed.")
        return
    out.print(f"Removed {_size(clear_cache(workspace))}.")


def _size(num_bytes: int) -> str:
    return file_size(num_bytes) if num_bytes else "0 MB"


def _refuse_while_training() -> None:
    store = Store()
    store.runs.requeue_silent()
    for run in store.runs.all():
        if run.status == "running":
            raise RunError(f"Run {run.id} is training and may be reading the cache. Stop it, or wait for its end.")
