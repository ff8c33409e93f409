"""What Thaw keeps on disk, how much of it there is, and what bounds it. Needs no torch."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from learner.datasets.disk import bytes_in
from learner.datasets.names import dataset_folder
from learner.datasets.uploads import uploads_bytes
from learner.errors import StoreError
from learner.features.arrays import BUDGET_VARIABLE, Budget
from learner.inference.batches import LIMIT_SETTING, batches_bytes
from learner.store import Store
from learner.store.image_cache import BOUND_VARIABLE
from learner.wording import file_size
from learner.workspace import Workspace

log = logging.getLogger(__name__)

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
    fetched = bytes_in(workspace.fetched_images)
    images = [StorageKind("Fetched images", fetched, "cache/images", f"{BOUND_VARIABLE}, but 1 day at least")]
    apart = (workspace.features, workspace.thumbnails, workspace.fetched_images)
    others = [folder for folder in caches if folder not in apart]
    budget = f"{BUDGET_VARIABLE}, together with {{}}; the longest unused goes first"
    deleted = [workspace.run_folder(run.id) for run in store.runs.deleted()]
    return [
        StorageKind("Feature cache", bytes_in(workspace.features), "cache/features", budget.format("thumbnails")),
        StorageKind(
            "Thumbnails", bytes_in(workspace.thumbnails), "cache/thumbnails", budget.format("the feature cache")
        ),
        *(images if store.files.is_on else []),
        StorageKind("Other answers", bytes_in(*others), "cache", "one small file an answer; `cache clear`"),
        StorageKind("Uploads", uploads_bytes(workspace), "uploads", "7 days, an unfinished upload 1 hour"),
        StorageKind("Predictions", batches_bytes(workspace), "predictions", f"14 days, and {LIMIT_SETTING}"),
        StorageKind("Deleted runs", bytes_in(*deleted), "runs", "1 day, as long as they can be had back"),
        StorageKind("Logs", bytes_in(*_logs(workspace)), "runs, uploads", f"{file_size(2 * LOG_BYTES)} each"),
    ]


def clean_up(store: Store) -> None:
    """Bring what is bounded back within its bounds: deleted runs, logs, thumbnails and the feature cache.

    Where an object store holds the files, send what it does not have yet, and remove there what nothing names.
    """
    for run_id in store.runs.purge():
        shutil.rmtree(store.workspace.run_folder(run_id), ignore_errors=True)
    store.studies.purge()
    for file in _logs(store.workspace):
        cut_log(file)
    Budget.of(store.workspace).make_room(0)
    try:
        for name, files in store.files.unkept_images().items():
            folder = dataset_folder(store.workspace, name)
            store.files.images.keep(folder / file for file in files)
        store.files.keep_all()
        store.files.clear_up()
    except StoreError as error:
        log.warning("%s", error)


def clear_cache(workspace: Workspace) -> int:
    """Remove all that can be made again; returns the bytes that it took."""
    freed = 0
    for folder in _folders(workspace.features.parent):
        if folder in (
            workspace.fetched_images,
            workspace.on_their_way,
        ):  # runs use them, and they have bounds of their own
            continue
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
