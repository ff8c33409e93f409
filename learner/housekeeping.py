"""What Thaw keeps on disk, how much of it there is, and what bounds it. Needs no torch."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from learner.datasets.disk import bytes_in
from learner.datasets.uploads import uploads_bytes
from learner.features.arrays import BUDGET_VARIABLE, Budget
from learner.inference.batches import LIMIT_SETTING, batches_bytes
from learner.store import Store
from learner.wording import file_size
from learner.workspace import Workspace

LOG_BYTES = 1_000_000
"""A log is cut to its newest lines of so many bytes once it has grown to twice as many."""


@dataclass
class StorageKind:
    """One kind of what grows with use."""

    what: str
    bytes: int
    where: str
    """Relative to the workspace."""
    bound: str
    """What keeps it from growing without an end, for a person."""


def storage_kinds(store: Store) -> list[StorageKind]:
    """Every kind, with its size now."""
    workspace = store.workspace
    caches = _folders(workspace.features.parent)
    others = [folder for folder in caches if folder not in (workspace.features, workspace.thumbnails)]
    budget = f"{BUDGET_VARIABLE}, together with {{}}; the longest unused goes first"
    deleted = [workspace.run_folder(run.id) for run in store.runs.deleted()]
    return [
        StorageKind("Feature cache", bytes_in(workspace.features), "cache/features", budget.format("thumbnails")),
        StorageKind(
            "Thumbnails", bytes_in(workspace.thumbnails), "cache/thumbnails", budget.format("the feature cache")
        ),
        StorageKind("Other answers", bytes_in(*others), "cache", "one small file an answer; `cache clear`"),
        StorageKind("Uploads", uploads_bytes(workspace), "uploads", "7 days, an unfinished upload 1 hour"),
        StorageKind("Predictions", batches_bytes(workspace), "predictions", f"14 days, and {LIMIT_SETTING}"),
        StorageKind("Deleted runs", bytes_in(*deleted), "runs", "1 day, as long as they can be had back"),
        StorageKind("Logs", bytes_in(*_logs(workspace)), "runs, uploads", f"{file_size(2 * LOG_BYTES)} each"),
    ]


def clean_up(store: Store) -> None:
    """Bring what is bounded back within its bounds: deleted runs, logs, thumbnails and the feature cache."""
    for run_id in store.runs.purge():
        shutil.rmtree(store.workspace.run_folder(run_id), ignore_errors=True)
    store.studies.purge()
    for log in _logs(store.workspace):
        cut_log(log)
    Budget.of(store.workspace).make_room(0)


def clear_cache(workspace: Workspace) -> int:
    """Remove all that can be made again; returns the bytes that it took."""
    freed = 0
    for folder in _folders(workspace.features.parent):
        freed += bytes_in(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def cut_log(log: Path) -> None:
    """Keep its newest lines. Who writes to it goes on: logs are opened for appending."""
    try:
        if log.stat().st_size <= 2 * LOG_BYTES:
            return
        with log.open("r+b") as file:
            file.seek(-LOG_BYTES, 2)
            newest = file.read().partition(b"\n")[2]
            file.truncate(0)
            file.seek(0)
            file.write(newest)
    except OSError:  # gone meanwhile, or not ours to write
        return


def _logs(workspace: Workspace) -> list[Path]:
    return [*workspace.runs.glob("*/log.txt"), *workspace.uploads.glob("*/log.txt")]


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
