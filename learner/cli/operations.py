"""`python -m learner backup`, `restore` and `doctor`: what whoever runs Thaw for others needs."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from learner.cli.printing import AsJson, out, print_json, table_of
from learner.datasets.importing import ImportProgress
from learner.operations.manifest import Manifest
from learner.terminal import err, showing_progress
from learner.wording import count, file_size
from learner.workspace import Workspace

COUNTED = {"datasets": "data set", "images": "image row", "runs": "run"}


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .zip to write; one that is there is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write everything that is kept into one file, of one moment; training and pages go on meanwhile."""
    from learner.operations.backup import back_up

    with showing_progress("Looking", quiet=as_json) as show:
        made = back_up(Workspace.current(), file, _bytes_to(show, "Copying"))
    for name in made.left_out:
        err.print(f"Left out, as it cannot be read: {name}", markup=False)
    for space in made.spaces:
        err.print(f"A space of its own is not in it: THAW_HOME={space} python -m learner backup FILE", markup=False)
    if as_json:
        told = {"left_out": made.left_out, "spaces": [str(space) for space in made.spaces]}
        print_json({"file": str(made.path), "bytes": made.bytes} | told | _about(made.manifest))
        return
    out.print(f"{made.path}: {_counts(made.manifest)} ({file_size(made.bytes)})", markup=False)
    err.print("Restore it into an empty workspace: THAW_HOME=FOLDER python -m learner restore FILE")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Bring a backup into an empty workspace, on SQLite or PostgreSQL. All of it is checked before any is in place."""
    from learner.operations.restore import restore as restore_backup

    workspace = Workspace.current()
    with showing_progress("Looking", quiet=as_json) as show:
        restored = restore_backup(workspace, file, _bytes_to(show, "Checking and copying"))
    if as_json:
        print_json({"workspace": str(workspace.root), "queued": restored.queued} | _about(restored.manifest))
        return
    manifest = restored.manifest
    made_at = datetime.fromtimestamp(manifest.made_at, UTC)
    if restored.was_complete:
        out.print("The restore before this one had put everything in place already.")
    out.print(
        f"{workspace.root}: {_counts(manifest)}, as they were on {made_at:%Y-%m-%d %H:%M} UTC (Thaw {manifest.thaw})",
        markup=False,
    )
    if restored.queued:
        goes = "goes" if len(restored.queued) == 1 else "go"
        out.print(f"{count(len(restored.queued), 'run')} {goes} on when a worker is started: python -m learner worker")


def doctor(as_json: AsJson = False) -> int:
    """Look at installation, workspace, database, weights, workers and settings; 1 where something does not work."""
    from learner.operations.doctor import examine

    table = table_of("", "", "How it is")
    findings, styles = [], {"ok": "green", "attention": "yellow", "failed": "bold red"}
    for found in examine(Workspace.current()):
        findings.append(asdict(found))
        told = f"{found.told}\n{found.remedy}" if found.remedy else found.told
        table.add_row(found.what, Text(found.state, styles[found.state]), Text(told))
    worst = [found["state"] for found in findings]
    if as_json:
        print_json({"ok": "failed" not in worst, "findings": findings})
    else:
        out.print(table)
    return int("failed" in worst)


def add_to(app: typer.Typer) -> None:
    """Make the commands `app`'s."""
    app.command()(backup)
    app.command()(restore)
    app.command()(doctor)


def _bytes_to(show: Callable[[ImportProgress], None], what: str) -> Callable[[int, int], None]:
    """Shows done and all bytes, with the time left at the speed so far."""
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = (time.monotonic() - began) * (total - done) / done if done else None
        show(ImportProgress(done, total, what, left, unit="bytes"))

    return progress


def _counts(manifest: Manifest) -> str:
    return ", ".join(count(manifest.rows.get(table, 0), noun) for table, noun in COUNTED.items())


def _about(manifest: Manifest) -> dict:
    return {
        "thaw": manifest.thaw,
        "schema_revision": manifest.schema_revision,
        "made_at": manifest.made_at,
        "rows": manifest.rows,
        "files": len(manifest.entries) - len(manifest.rows),
    }
