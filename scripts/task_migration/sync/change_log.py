"""The change log: the keys that were written on one side and are not yet synced to the other."""

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
"""Greater than every id of an entry."""
OF_MANY = 0
"""Not a task's id: the ``task_id`` of a write that touches many tasks."""


@dataclass(frozen=True)
class ChangeLogEntry:
    """One write of the row ``key`` of ``source_table``, which belongs to the task ``task_id`` or to many (OF_MANY).

    ``written_at`` is the time of the write, in seconds since 1970 by that side's clock; None for an entry that the
    runbook added to have a row checked again.
    """

    id: int
    source_table: str
    key: int
    task_id: int
    written_at: float | None


def exists(connection: database.Connection) -> bool:
    """Returns whether the database has a change log."""
    return bool(_value(connection, "exists"))


def length(connection: database.Connection) -> int:
    """Returns the number of entries that are not synced yet; 0 without a change log."""
    return int(_value(connection, "length")) if exists(connection) else 0


def newest(connection: database.Connection) -> int:
    """Returns the id of the newest entry; 0 if the log is empty."""
    return int(_value(connection, "newest"))


def total_written(connection: database.Connection) -> int:
    """Returns how many entries there have ever been, including those that are synced or were rolled back."""
    return int(_value(connection, "total written"))


def lock_lanes(
    connection: database.Connection, lanes: Collection[int], *, wait: bool
) -> Callable[[], tuple[list[int], bool]]:
    """Locks lanes in the caller's transaction.

    Lanes that another worker holds are skipped, or with ``wait`` waited for, for half a second at most. The query is
    sent now; the returned function reads the locked lanes, and whether this side has a change log. So this function
    and the next two can share one round trip with other queries.
    """
    connection.execute(sql_files.statement(_FILE, "limit waiting"))
    query = connection.execute(
        sql_files.statement(_FILE, "lock lanes" if wait else "lock free lanes"), {"lanes": list(lanes)}
    )

    def read() -> tuple[list[int], bool]:
        rows = query.fetchall()
        return [lane for lane, _ in rows], any(has_log for _, has_log in rows)

    return read


def take(
    connection: database.Connection, lanes: Collection[int], newest: int, entries: int
) -> Callable[[], list[ChangeLogEntry]]:
    """Deletes and returns up to ``entries`` entries of these lanes with ids up to ``newest``, oldest first.

    They are deleted when the caller's transaction commits.
    """
    parameters = {"lanes": list(lanes), "newest": newest, "entries": entries}
    query = connection.execute(sql_files.statement(_FILE, "take"), parameters)
    return lambda: [ChangeLogEntry(*row) for row in query]


def pending(connection: database.Connection, task_ids: Iterable[int]) -> Callable[[], list[ChangeLogEntry]]:
    """Reads the entries of these tasks and those of many tasks, and leaves them on the log."""
    query = connection.execute(sql_files.statement(_FILE, "pending of tasks"), {"task_ids": list(task_ids)})
    return lambda: [ChangeLogEntry(*row) for row in query]


def lanes_with_work(connection: database.Connection, entries: int) -> tuple[list[int], bool]:
    """Returns the lanes of the oldest entries, and whether a write that touches many tasks has to be spread.

    The other lanes stay free for the other direction.
    """
    row = connection.execute(sql_files.statement(_FILE, "lanes with work"), {"entries": entries}).fetchone()
    assert row is not None
    return row[0], row[1]


def remove(connection: database.Connection, entries: Iterable[ChangeLogEntry]) -> None:
    """Removes entries whose writes lost against newer writes of the other side."""
    connection.execute(sql_files.statement(_FILE, "remove"), {"ids": [entry.id for entry in entries]})


def peek(connection: database.Connection) -> dict[str, set[int]]:
    """Returns the written keys of each table, and leaves them on the log."""
    keys: dict[str, set[int]] = {}
    for source_table, key in connection.execute(sql_files.statement(_FILE, "peek")):
        keys.setdefault(source_table, set()).add(key)
    return keys


def put(connection: database.Connection, source_table: str, task_ids: Mapping[int, int]) -> None:
    """Adds entries for rows that have to be checked again; ``task_ids`` maps each row's key to its task.

    They have no time of a write, so they lose against any write.
    """
    parameters = {"source_table": source_table, "keys": list(task_ids), "task_ids": list(task_ids.values())}
    connection.execute(sql_files.statement(_FILE, "put"), parameters)


def spread(laravel: database.Connection, newest: int = EVER, entries: int = 5000) -> int:
    """Replaces writes that touch many tasks (of a tag, of a user) by one entry for each task; returns their number.

    It does so in one transaction: until the tasks are on the log, the write itself is. Raises LockNotAvailable if
    another worker holds a lane for too long.
    """
    with laravel.transaction():
        parameters = {"newest": newest, "entries": entries}
        taken = laravel.execute(sql_files.statement(_FILE, "take those of many tasks"), parameters).fetchall()
        if taken:
            laravel.execute(sql_files.statement(_FILE, "wait for all lanes"))
        for source_table in {source_table for source_table, _, _ in taken}:
            times = [time for table, _, time in taken if table == source_table and time is not None]
            keys = [key for table, key, _ in taken if table == source_table]
            for base_table, touched in _touched_tasks(source_table).items():
                laravel.execute(
                    sql_files.statement(_FILE, "spread", touched=touched),
                    {"source_table": base_table, "keys": keys, "written_at": max(times, default=None)},
                )
    return len(taken)


def _touched_tasks(source_table: str) -> dict[str, sql.Composed]:
    """Returns for each table of tasks the SELECT of those that written rows of ``source_table`` touch; children follow
    their task."""
    selects: dict[str, list[sql.Composed]] = {}
    tables = {mapping.base_table for mapping in mappings() if mapping.parent is None}
    for mapping in mappings():
        touched = mapping.touched_by(source_table, KeyParameter())
        if touched is not None and mapping.base_table in tables:
            selects.setdefault(mapping.base_table, []).append(touched)
    return {
        table: sql.SQL(" UNION ").join(sql.SQL("({})").format(one) for one in all_) for table, all_ in selects.items()
    }


def backlog(connection: database.Connection) -> tuple[int, float | None]:
    """Returns the number of entries and the age of the oldest write in seconds; None if there is no write."""
    row = connection.execute(sql_files.statement(_FILE, "backlog")).fetchone()
    assert row is not None
    return int(row[0]), row[1]


def put_back(
    connection: database.Connection, source_table: str, waiting: Mapping[int, tuple[int, float | None]]
) -> None:
    """Puts rows back that could not be synced yet; ``waiting`` maps each key to its task and the time of its write."""
    parameters = {
        "source_table": source_table,
        "keys": list(waiting),
        "task_ids": [task_id for task_id, _ in waiting.values()],
        "times": [written_at for _, written_at in waiting.values()],
    }
    connection.execute(sql_files.statement(_FILE, "put back"), parameters)


def task_ids_of(
    connection: database.Connection, table: str, key: str, task_column: str, keys: Iterable[int]
) -> dict[int, int]:
    """Returns the task of each of these rows of ``table``; for a row that does not exist, its own key."""
    wanted = list(keys)
    names = {
        "table": sql.Identifier("public", table),
        "key": sql.Identifier(key),
        "task_column": sql.Identifier(task_column),
    }
    found = dict(connection.execute(sql_files.statement(_FILE, "task ids of", **names), {"keys": wanted}).fetchall())
    return {one: found.get(one, one) for one in wanted}


def is_any(connection: database.Connection, newest: int = EVER) -> bool:
    """Returns whether the log has an entry of a single task with an id up to ``newest``."""
    row = connection.execute(sql_files.statement(_FILE, "is any"), {"newest": newest}).fetchone()
    return bool(row and row[0])


@cache
def _row_groups(_: str) -> dict[str, str]:
    own = {mapping.base_table: mapping.base_table for mapping in mappings()}
    return own | {mapping.table: mapping.base_table for mapping in mappings()}


def row_group_of(source_table: str) -> str | None:
    """Returns the row group that a write of this table, of either side, changes; None: that of the task it belongs
    to."""
    return _row_groups(mapping_directory.chosen()).get(source_table)


def clock(connection: database.Connection) -> float:
    """Returns that side's time, in seconds since 1970."""
    return float(_value(connection, "clock"))


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name)).fetchone()
    assert row is not None
    return row[0]
