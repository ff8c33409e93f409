"""Who did what: a line of JSON for each change that a person who has signed in makes."""

import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event

from learner.workspace import Workspace

LONGEST = 80
"""Characters of a value; longer ones, such as whole recipes, are left out."""
PRIVATE = ("url", "token", "secret", "password", "key")
"""Columns and parameters with such a word in their name are left out."""


def audit_file(workspace: Workspace) -> Path:
    """Of all spaces together, in the top workspace."""
    return workspace.top.root / "audit.jsonl"


def note(workspace: Workspace, who: str, what: str, **values: Any) -> None:
    """Append a line; `what` is a verb and its object, such as `upload files`."""
    line = {"at": round(time.time(), 3), "who": who, "space": workspace.root.name, "what": what} | _plain(values)
    file = audit_file(workspace)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:  # one write of a short line: lines of several processes do not mix
        log.write(json.dumps(line, ensure_ascii=False) + "\n")


def note_changes(engine: Engine, workspace: Workspace, who: str) -> None:
    """From now on every change of a row through the engine is noted as this person's."""

    @event.listens_for(engine, "after_execute")
    def noted(
        _connection: Connection, statement: Executable, many: list[dict], one: dict, _options: object, _result: object
    ) -> None:
        if not statement.is_dml:
            return
        verb = type(statement).__name__.lower()
        rows = many or [one]
        values = statement.compile().params | rows[0]  # type: ignore[attr-defined]  # a statement that changes rows has it
        note(workspace, who, f"{verb} {statement.table.name}", rows=len(rows), **values)  # type: ignore[attr-defined]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str | int | float | bool)
        and len(str(value)) <= LONGEST
        and not any(word in name.lower() for word in PRIVATE)
    }
