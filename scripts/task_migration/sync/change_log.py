"""The keys that were written on one side and not carried to the other yet: asked, taken, put back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from psycopg import sql

from task_migration import sql_files
from task_migration.mapping import mapping_directory
from task_migration.mapping.selector import KeyParameter
from task_migration.mapping.table_mapping import mappings
from task_migration.postgres import database

_FILE = "sync/change_log.sql"
LANES = range(8)
EVER = 2**62
"""Beyond every id of an entry."""
OF_MANY = 0
"""No task's id: the root of a write that touches many tasks."""


@dataclass(frozen=True)
class ChangeLogEntry:
    """One write: ``part`` and ``key`` say of which row, ``root`` of which task; OF_MANY.

    ``claim`` is when it was written, in seconds since 1970 by that side's clock; None for an entry that no write made.
    """

    id: int
    part: str
    key: int
    root: int
    claim: float | None


def exists(connection: database.Connection) -> bool:
    """Whether there is a change log at all."""
    return bool(_value(connection, "exists"))


def length(connection: database.Connection) -> int:
    """Entries that were not carried yet; 0 if there is no change log."""
    return int(_value(connection, "length")) if exists(connection) else 0


def newest(connection: database.Connection) -> int:
    """The id of the newest entry; 0 if there is none."""
    return int(_value(connection, "newest"))


def written(connection: database.Connection) -> int:
    """How many entries there ever were, those that are carried and those that were rolled back too."""
    return int(_value(connection, "written"))


def lock_lanes(
    connection: database.Connection, lanes: Collection[int], *, wait: bool
) -> Callable[[], tuple[list[int], bool]]:
    """The lanes that this transaction holds now, and whether this side has a change log.

    With ``wait`` it stands in line for those that another worker holds, for half a second at most.

    Asked now, read when the result is called: so may this and the next two be in one round trip with others.
    """
    connection.execute(sql_files.statement(_FILE, "limit waiting"))
    asked = connection.execute(
        sql_files.statement(_FILE, "lock lanes" if wait else "lock free lanes"), {"lanes": list(lanes)}
    )

    def read() -> tuple[list[int], bool]:
        rows = asked.fetchall()
        return [lane for lane, _ in rows], any(has_log for _, has_log in rows)

    return read


def take(
    connection: database.Connection, lanes: Collection[int], newest: int, entries: int
) -> Callable[[], list[ChangeLogEntry]]:
    """Takes up to ``entries`` entries of these lanes with ids up to ``newest``, oldest first.

    They are gone when the caller's transaction commits, and not before.
    """
    parameters = {"lanes": list(lanes), "newest": newest, "entries": entries}
    asked = connection.execute(sql_files.statement(_FILE, "take"), parameters)
    return lambda: [ChangeLogEntry(*row) for row in asked]


def pending(connection: database.Connection, roots: Iterable[int]) -> Callable[[], list[ChangeLogEntry]]:
    """The entries of these tasks that are on the log, and those of many tasks, left there."""
    asked = connection.execute(sql_files.statement(_FILE, "pending of tasks"), {"roots": list(roots)})
    return lambda: [ChangeLogEntry(*row) for row in asked]


def work(connection: database.Connection, entries: int) -> tuple[list[int], bool]:
    """The lanes of the log's oldest entries, so that the others stay free for the other direction; and whether a write
    that touches many tasks is to be spread."""
    row = connection.execute(sql_files.statement(_FILE, "work"), {"entries": entries}).fetchone()
    assert row is not None
    return row[0], row[1]


def give_way(connection: database.Connection, entries: Iterable[ChangeLogEntry]) -> None:
    """Takes off entries whose writes another side's newer write has overtaken."""
    connection.execute(sql_files.statement(_FILE, "give way"), {"ids": [entry.id for entry in entries]})


def peek(connection: database.Connection) -> dict[str, set[int]]:
    """The written keys of each table that are on the log, left there."""
    written: dict[str, set[int]] = {}
    for part, key in connection.execute(sql_files.statement(_FILE, "peek")):
        written.setdefault(part, set()).add(key)
    return written


def put(connection: database.Connection, part: str, roots: Mapping[int, int]) -> None:
    """Says that these rows have to be looked at again: the task of each row by the row's key."""
    parameters = {"part": part, "keys": list(roots), "roots": list(roots.values())}
    connection.execute(sql_files.statement(_FILE, "put"), parameters)


def spread(laravel: database.Connection, newest: int = EVER, entries: int = 5000) -> int:
    """Turns writes that touch many tasks (of a tag, of a user) into entries for each task; gives how many there were.

    In one transaction: until the tasks are on the log, the write itself is. Raises LockNotAvailable if another worker
    does not let go of what it carries.
    """
    with laravel.transaction():
        parameters = {"newest": newest, "entries": entries}
        taken = laravel.execute(sql_files.statement(_FILE, "take those of many tasks"), parameters).fetchall()
        if taken:
            laravel.execute(sql_files.statement(_FILE, "wait for all lanes"))
        for part in {part for part, _, _ in taken}:
            claims = [claim for one, _, claim in taken if one == part and claim is not None]
            keys = [key for one, key, _ in taken if one == part]
            for base, touched in _touched(part).items():
                laravel.execute(
                    sql_files.statement(_FILE, "spread", touched=touched),
                    {"part": base, "keys": keys, "claim": max(claims, default=None)},
                )
    return len(taken)


def _touched(part: str) -> dict[str, sql.Composed]:
    """For each kind of task the SELECT of those that written rows of ``part`` touch; children follow their task."""
    found: dict[str, list[sql.Composed]] = {}
    tasks = {mapping.base_table for mapping in mappings() if mapping.parent is None}
    for mapping in mappings():
        touched = mapping.touched_by(part, KeyParameter())
        if touched is not None and mapping.base_table in tasks:
            found.setdefault(mapping.base_table, []).append(touched)
    return {base: sql.SQL(" UNION ").join(sql.SQL("({})").format(one) for one in all_) for base, all_ in found.items()}


def stand(connection: database.Connection) -> tuple[int, float | None]:
    """How many entries there are, and how old the oldest write is, in seconds; None if there is none."""
    row = connection.execute(sql_files.statement(_FILE, "stand")).fetchone()
    assert row is not None
    return int(row[0]), row[1]


def put_back(connection: database.Connection, part: str, waiting: Mapping[int, tuple[int, float | None]]) -> None:
    """Puts rows back that could not be carried yet, each with its task and the time of its write."""
    parameters = {
        "part": part,
        "keys": list(waiting),
        "roots": [root for root, _ in waiting.values()],
        "claims": [claim for _, claim in waiting.values()],
    }
    connection.execute(sql_files.statement(_FILE, "put back"), parameters)


def roots_of(connection: database.Connection, table: str, key: str, root: str, keys: Iterable[int]) -> dict[int, int]:
    """The task of each of these rows of ``table``; a row that is gone is its own."""
    wanted = list(keys)
    names = {"table": sql.Identifier("public", table), "key": sql.Identifier(key), "root": sql.Identifier(root)}
    found = dict(connection.execute(sql_files.statement(_FILE, "roots of", **names), {"keys": wanted}).fetchall())
    return {one: found.get(one, one) for one in wanted}


def is_any(connection: database.Connection, newest: int = EVER) -> bool:
    """Whether an entry of one task with an id up to ``newest`` is on the log."""
    row = connection.execute(sql_files.statement(_FILE, "is any"), {"newest": newest}).fetchone()
    return bool(row and row[0])


@cache
def _units(_: str) -> dict[str, str]:
    own = {mapping.base_table: mapping.base_table for mapping in mappings()}
    return own | {mapping.table: mapping.base_table for mapping in mappings()}


def unit_of(part: str) -> str | None:
    """The kind of row that a write of table ``part``, of either side, changes; None: the task that it belongs to."""
    return _units(mapping_directory.chosen()).get(part)


def clock(connection: database.Connection) -> float:
    """That side's clock, in seconds since 1970."""
    return float(_value(connection, "clock"))


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name)).fetchone()
    assert row is not None
    return row[0]
