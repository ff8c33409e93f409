"""Backups as tests look at them, change them and forge them."""

import hashlib
import json
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

import learner.operations.restore
from learner.operations.manifest import MANIFEST
from learner.operations.restore import restore
from learner.operations.rows import kept_tables
from learner.store import Store
from learner.store.database import connect
from learner.workspace import Workspace

Entries = dict[str, bytes]


def entries_of(file: Path) -> Entries:
    with zipfile.ZipFile(file) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def forge(file: Path, held: Entries, /, **about: Any) -> Path:
    """Write a backup of such entries with a manifest that fits them, but for what `about` says otherwise."""
    entries = dict(held)
    manifest = json.loads(entries.pop(MANIFEST))
    told = {name: {"bytes": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in entries.items()}
    manifest["entries"] = told
    for key, value in about.items():
        manifest[key] = value(manifest[key]) if callable(value) else value
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {**entries, MANIFEST: json.dumps(manifest).encode()}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file


def rows_of(url: str, schema: str = "") -> dict[str, list[dict]]:
    """Every row that is kept, by table."""
    engine = connect(url, schema)
    with engine.connect() as connection:
        found = {
            table.name: [
                row._asdict() for row in connection.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in kept_tables()
        }
    engine.dispose()
    return found


def files_of(workspace: Workspace) -> dict[str, bytes]:
    """Everything on disk that is kept, by its path in the workspace."""
    return {
        path.relative_to(workspace.root).as_posix(): path.read_bytes()
        for folder in ("datasets", "runs", "weights", "predictions")
        for path in sorted((workspace.root / folder).rglob("*"))
        if path.is_file()
    }


def die_in_restore(root: str, url: str, file: str, name: str, at_call: int, before: bool) -> None:
    """Restore in this process, and be killed at a call of `name`: a function that the restore uses."""
    os.environ["THAW_HOME"] = root
    os.environ.pop("DATABASE_URL", None)
    if url:
        os.environ["DATABASE_URL"] = url
    module: Any = learner.operations.restore
    owner = module.shutil if name in ("move", "rmtree") else module
    whole: Callable = getattr(owner, name)
    calls = []

    def once(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        if before and len(calls) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*arguments, **named)
        if len(calls) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, once)
    restore(Workspace.current(), Path(file))


def holds_nothing(workspace: Workspace) -> bool:
    """Whether it looks empty to whoever opens it."""
    store = Store(workspace)
    return not (store.runs.all() or store.datasets.names() or files_of(workspace))
