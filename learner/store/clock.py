"""The database's own clock. Clocks of machines differ; what several processes compare is all told by this one."""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):
    """Unix seconds, to the millisecond or finer, when the row is read or written; within a statement only.

    On SQLite that is the machine's clock: such a file is not shared between machines.
    """

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _on_sqlite(element: now, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"  # `unixepoch` counts parts of a second from 3.42 on


@compiles(now, "postgresql")
def _on_postgresql(element: now, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(EXTRACT(epoch FROM clock_timestamp()) AS double precision)"  # now() stands still in a transaction
