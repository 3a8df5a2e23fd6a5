"""The keys that were written in Laravel and not carried yet: asked, taken, put back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from task_migration import database, queries

_FILE = "change_log.sql"


def exists(connection: database.Connection) -> bool:
    """Whether there is a change log at all."""
    return bool(_value(connection, "exists"))


def length(connection: database.Connection) -> int:
    """Entries that were not carried yet; 0 if there is no change log."""
    return int(_value(connection, "length")) if exists(connection) else 0


def newest(connection: database.Connection) -> int:
    """The id of the newest entry; 0 if there is none."""
    return int(_value(connection, "newest"))


def take(connection: database.Connection, newest: int, entries: int) -> dict[str, set[int]]:
    """Takes up to ``entries`` entries with ids up to ``newest``, oldest first: the written keys of each Laravel table.

    They are gone when the caller's transaction commits, and not before.
    """
    written: dict[str, set[int]] = {}
    parameters = {"newest": newest, "entries": entries}
    for part, key in connection.execute(queries.statement(_FILE, "take"), parameters):
        written.setdefault(part, set()).add(key)
    return written


def peek(connection: database.Connection) -> dict[str, set[int]]:
    """The written keys of each Laravel table that are on the log, left there."""
    written: dict[str, set[int]] = {}
    for part, key in connection.execute(queries.statement(_FILE, "peek")):
        written.setdefault(part, set()).add(key)
    return written


def put(connection: database.Connection, part: str, keys: Iterable[int]) -> None:
    """Says that these rows of Laravel's table ``part`` have to be carried (again)."""
    connection.execute(queries.statement(_FILE, "put"), {"part": part, "keys": list(keys)})


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(queries.statement(_FILE, name)).fetchone()
    assert row is not None
    return row[0]
