"""The rows of all tables as lines of JSON, the same for SQLite and PostgreSQL: out of one moment, and in again."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Connection, Engine, MetaData, Table, column, func, insert, inspect, select, table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import Boolean, Float, Integer, LargeBinary, String, TypeEngine

from learner.operations.manifest import Refused, is_inside, said
from learner.store.tables import Base

OWN = ("workers", "workspace", "run_files", "pieces", "alembic_version")
"""Tables that speak of the processes, the folder and the object store that are there now, not of what is kept."""
_CHUNK_ROWS = 500
_LARGEST = 2**63


def kept_tables() -> list[Table]:
    """Those that a backup holds, the ones that others refer to first."""
    return [one for one in Base.metadata.sorted_tables if one.name not in OWN]


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """A connection that sees the database as it is now for as long as it is open, while others write."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # the driver itself begins only before it writes
            connection.execute(text("SELECT count(*) FROM alembic_version"))  # from here on
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            connection.execute(text("SELECT 1"))
        try:
            yield connection
        finally:
            connection.rollback()


def lines_of(connection: Connection, one: Table) -> Iterator[bytes]:
    """Each row as an object, in the order of its key."""
    columns = [(each.name, isinstance(each.type, LargeBinary)) for each in one.columns]
    rows = connection.execution_options(yield_per=_CHUNK_ROWS).execute(select(one).order_by(*one.primary_key.columns))
    for row in rows:
        values = {
            name: base64.b64encode(value).decode() if is_bytes and value is not None else value
            for (name, is_bytes), value in zip(columns, row, strict=True)
        }
        yield json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def fill(connection: Connection, lines: dict[str, Iterable[bytes]]) -> dict[str, int]:
    """Write the rows of every table, in the transaction of the connection; returns how many of each.

    The tables are those that the database has now, which may be of an older step. Raises Refused for rows that do
    not fit them.
    """
    there = MetaData()
    there.reflect(connection)
    wanted = [one for one in there.sorted_tables if one.name in lines]
    unknown = sorted(lines.keys() - {one.name for one in wanted} | lines.keys() & set(OWN))
    if unknown:
        raise Refused(f"it has rows of a table {said(unknown[0])}, which its step does not have")
    counts = {}
    for one in wanted:
        counts[one.name] = 0
        # SQL's NULL and JSON's null read the same, and all that is optional was NULL.
        kinds = {each.name: JSON(none_as_null=True) if _is_json(each.type) else each.type for each in one.columns}
        target = table(one.name, *(column(name, kind) for name, kind in kinds.items()))
        rows = (_row(one.name, number, line, kinds) for number, line in enumerate(lines[one.name], 1))
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            try:
                connection.execute(insert(target), chunk)
            except (SQLAlchemyError, ValueError, OverflowError) as error:
                cause = getattr(error, "orig", None) or error
                raise Refused(f"rows of its table {one.name!r} do not fit: {' '.join(str(cause).split())}") from error
            counts[one.name] += len(chunk)
        _continue_ids(connection, one)
    return counts


def is_empty(connection: Connection) -> bool:
    """Whether no table holds anything that a backup would keep."""
    there = set(inspect(connection).get_table_names())
    return not any(
        connection.execute(select(one.primary_key.columns[0]).limit(1)).first()
        for one in kept_tables()
        if one.name in there
    )


def _continue_ids(connection: Connection, one: Table) -> None:
    """Let PostgreSQL number new rows after those that came with their ids; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for key in one.primary_key.columns:
        name = connection.execute(select(func.pg_get_serial_sequence(one.name, key.name))).scalar()
        largest = connection.execute(select(func.max(key))).scalar()
        if name and largest is not None:
            connection.execute(select(func.setval(name, largest)))


def _row(name: str, number: int, line: bytes, kinds: dict[str, TypeEngine[Any]]) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.keys() - kinds.keys():
        raise Refused(f"row {number} of its table {said(name)} is none of that table")
    row = {}
    for each, kind in kinds.items():
        row[each] = _value(values.get(each), kind)
        if row[each] is _WRONG:
            raise Refused(f"row {number} of its table {said(name)} has no {each!r} that fits")
    if name == "images" and not is_inside(row["file"] or ""):
        raise Refused(f"row {number} of its table 'images' names a file outside of its data set")
    return row


_WRONG = object()


def _value(value: Any, kind: TypeEngine[Any]) -> Any:
    """As the column takes it; `_WRONG` for anything else."""
    if value is None or _is_json(kind):
        return value
    fits = False
    if isinstance(kind, Boolean):
        fits = isinstance(value, bool)
    elif isinstance(kind, Integer):
        fits = type(value) is int and -_LARGEST <= value < _LARGEST
    elif isinstance(kind, Float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif isinstance(kind, LargeBinary):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            return _WRONG
    elif isinstance(kind, String):
        fits = isinstance(value, str)
    return value if fits else _WRONG


def _is_json(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, JSON)
