"""The fence: triggers on Laravel's task tables that refuse every write except the sync's.

Laravel's tables remain as they are, and its application can still read them. Besides the sync, the fence allows what
the database does when a user is deleted: it deletes their tasks with images and tags, and sets references to NULL.
The foreign keys in the catalog define this. Tags are fenced too, because renaming a tag changes the tasks that have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import errors as pg
from psycopg import sql

from task_migration import sql_files
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.postgres.lock_retry import with_lock_retry
from task_migration.sync import capture

HELD_MS = 800
"""How long the first lock may be held while waiting for the others: less than PostgreSQL's deadlock_timeout of 1 s, so
that a transaction of the application that locked the tables in another order is never aborted as a deadlock."""
_FILE = "sync/fence.sql"
_SINCE = " since "
_KINDS = {"task_migration_fence": "row trigger", "task_migration_fence_truncate": "truncate trigger"}


@dataclass(frozen=True)
class _FenceTrigger:
    """One trigger with its definition; its comment starts with ``mark``, which differs for another definition."""

    table: str
    name: str
    function: sql.Composed

    def create(self, since: str) -> sql.Composed:
        names = {"function": _function(self.table), "trigger": sql.Identifier(self.name), "table": _table(self.table)}
        return sql_files.statement(_FILE, _KINDS[self.name], since=sql.Literal(since), **names)

    @property
    def mark(self) -> str:
        definition = self.function.as_string(None) + self.create("").as_string(None)
        return f"task_migration fence {hashlib.sha256(definition.encode()).hexdigest()[:16]}"


def fence(
    *,
    laravel_dsn: str,
    state: Literal["present", "absent"] = "present",
    lock_timeout_seconds: float = 2,
    check: bool,
) -> Outcome:
    """Installs the fence on all of Laravel's task tables at once, or removes it.

    It becomes active when all running writes have committed, so every earlier write is on the change log. Waits at most
    ``lock_timeout_seconds`` for a lock, and retries a few times. Details: ``tables`` whose fence was installed or
    removed, and ``since`` when the whole fence is active ("2026-01-31 23:59:59 UTC", None if it is not). Raises Refused
    if not every write is captured: the rows that are deleted with a user could not be synced.
    """
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "fence") as connection:
        if state == "present":
            return _present(side, connection, lock_timeout_seconds, check)
        return _absent(side, connection, lock_timeout_seconds, check)


def missing(laravel: database.Connection) -> list[str]:
    """Returns the task tables whose fence is missing, not enabled or another version."""
    active = {(table, name): comment for table, name, enabled, comment in _installed(laravel) if enabled == "A"}
    incomplete = {
        trigger.table
        for trigger in _triggers(laravel)
        if not active.get((trigger.table, trigger.name), "").startswith(trigger.mark + _SINCE)
    }
    return [table for table in capture.task_tables("laravel") if table in incomplete]


def active_since(laravel: database.Connection) -> str | None:
    """Returns since when the whole fence is active, such as "2026-01-31 23:59:59 UTC"; None if it is not."""
    if missing(laravel):
        return None
    return max(str(comment).partition(_SINCE)[2] for _, _, _, comment in _installed(laravel))


def _present(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    incomplete = missing(connection)
    if incomplete:
        capture.require(connection)
        if not check:
            triggers = list(_triggers(connection))

            def install(session: database.Connection) -> None:
                _lock(session, lock_timeout)
                since = _since_now(session)
                for trigger in triggers:
                    names = {"trigger": sql.Identifier(trigger.name), "table": _table(trigger.table)}
                    session.execute(trigger.function)
                    session.execute(trigger.create(since))
                    session.execute(sql_files.statement(_FILE, "enable", **names))
                    comment = sql.Literal(trigger.mark + _SINCE + since)
                    session.execute(sql_files.statement(_FILE, "comment", comment=comment, **names))

            with_lock_retry(side, connection, lock_timeout, "installing the fence", install)
    since = active_since(connection)
    verb = "would be installed on" if check else "installed on"
    return Outcome(
        bool(incomplete),
        f"fence: {verb} {', '.join(incomplete)}" if incomplete else f"fence: active on every table since {since}",
        {"tables": incomplete, "since": since},
    )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    installed = _installed(connection)
    tables = sorted({table for table, *_ in installed})
    functions = [name for (name,) in connection.execute(sql_files.statement(_FILE, "functions"))]
    is_installed = bool(tables or functions)
    left: list[str] = []
    if is_installed and not check:
        enabled_triggers = [(table, name) for table, name, enabled, _ in installed if enabled != "D"]
        if enabled_triggers:

            def disable_all(session: database.Connection) -> None:
                _lock(session, lock_timeout)
                for table, name in enabled_triggers:
                    names = {"trigger": sql.Identifier(name), "table": _table(table)}
                    session.execute(sql_files.statement(_FILE, "disable", **names))

            with_lock_retry(side, connection, lock_timeout, "disabling the fence", disable_all)
        left = [table for table in tables if not _dropped(connection, table, lock_timeout)]
        for name in functions:
            if name.removeprefix("fence_") not in left:
                function = sql.Identifier("task_migration", name)
                connection.execute(sql_files.statement(_FILE, "drop function", function=function))
    verb = "would be removed from" if check else "removed from"
    where = ", ".join(tables) or "no table; only its functions were left"
    return Outcome(
        is_installed,
        f"fence: {verb} {where}" if is_installed else "fence: not installed",
        {"tables": tables, "since": None},
        tuple(
            f"{table}: writable, but a long query prevents dropping the disabled triggers; the next run drops them"
            for table in left
        ),
    )


def _dropped(connection: database.Connection, table: str, lock_timeout: float) -> bool:
    """Drops a table's triggers, unless its readers hold a lock for too long: they are disabled, so it is not urgent.

    Returns whether they are dropped.
    """
    try:
        with connection.transaction():
            _limit_waiting(connection, int(lock_timeout * 1000))
            for name in _KINDS:
                names = {"trigger": sql.Identifier(name), "table": _table(table)}
                connection.execute(sql_files.statement(_FILE, "drop trigger", **names))
    except pg.LockNotAvailable:
        return False
    return True


def _lock(session: database.Connection, lock_timeout: float) -> None:
    """Locks all task tables against writers, first the one with the most writers."""
    first, *others = map(_table, capture.task_tables("laravel"))
    session.execute(sql_files.statement(_FILE, "lock", tables=first))
    _limit_waiting(session, min(int(lock_timeout * 1000), HELD_MS // len(others)))
    session.execute(sql_files.statement(_FILE, "lock", tables=sql.SQL(", ").join(others)))


def _limit_waiting(session: database.Connection, milliseconds: int) -> None:
    session.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", (f"{milliseconds}ms",))


def _since_now(session: database.Connection) -> str:
    row = session.execute(sql_files.statement(_FILE, "now")).fetchone()
    assert row is not None
    return str(row[0])


def _installed(connection: database.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(sql_files.statement(_FILE, "installed")).fetchall()


def _triggers(connection: database.Connection) -> Iterator[_FenceTrigger]:
    for table in capture.task_tables("laravel"):
        function = _refuse(connection, table)
        for name in _KINDS:
            yield _FenceTrigger(table, name, function)


def _refuse(connection: database.Connection, table: str) -> sql.Composed:
    """Returns the function of one table, with what its foreign keys do when the row that they refer to is deleted."""
    deletes: list[sql.Composable] = []
    sets_null: list[sql.Composable] = []
    for action, column, schema, parent, key in connection.execute(
        sql_files.statement(_FILE, "rows that it refers to"), {"table": table}
    ):
        names = {"column": sql.Identifier(column), "parent_key": sql.Identifier(key)}
        gone = sql_files.statement(_FILE, "is gone", parent=sql.Identifier(schema, parent), **names)
        if action == "c":
            deletes.append(gone)
        else:
            sets_null.append(sql_files.statement(_FILE, "is set to null", is_gone=gone, column=sql.Identifier(column)))
    return sql_files.statement(
        _FILE,
        "function",
        function=_function(table),
        table=_table(table),
        deletes=sql.SQL("\n           OR ").join(deletes) if deletes else sql.SQL("false"),
        sets_null=sql.SQL(";\n        ").join(sets_null or [sql.SQL("NULL")]),
    )


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)


def _function(table: str) -> sql.Identifier:
    return sql.Identifier("task_migration", f"fence_{table}")
