"""The fence: triggers on Laravel's task tables that refuse every writer but the sync.

Laravel's tables stay as they are, and its application goes on reading. What passes besides the sync is what the
database does by itself when a user is deleted: her tasks go, with their images and tags, and others forget her. The
foreign keys in the catalog say what that is. Tags are fenced too: to rename one changes the tasks that bear it.
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
"""For so long the first lock may be held while the others are waited for: less than PostgreSQL's deadlock_timeout of
1 s, so that a transaction of the application's that locked them in another order is never ended as a deadlock."""
_FILE = "sync/fence.sql"
_SINCE = " since "
_KINDS = {"task_migration_fence": "row trigger", "task_migration_fence_truncate": "truncate trigger"}


@dataclass(frozen=True)
class _FenceTrigger:
    """One trigger, with what makes it; ``mark`` begins its comment, and is another one for another definition."""

    table: str
    name: str
    function: sql.Composed

    def create(self, since: str) -> sql.Composed:
        names = {"function": _function(self.table), "trigger": sql.Identifier(self.name), "table": _table(self.table)}
        return sql_files.statement(_FILE, _KINDS[self.name], since=sql.Literal(since), **names)

    @property
    def mark(self) -> str:
        made_of = self.function.as_string(None) + self.create("").as_string(None)
        return f"task_migration fence {hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def fence(
    *,
    laravel_dsn: str,
    state: Literal["present", "absent"] = "present",
    lock_timeout_seconds: float = 2,
    check: bool,
) -> Outcome:
    """Puts the fence on all of Laravel's task tables at once, or takes it off.

    It is put on when all writes that are under way have committed, so every write before it is on the change log.
    Waits at most ``lock_timeout_seconds`` for a lock, and tries again a few times. Details: ``tables`` whose fence was
    put on or taken off, and ``since`` when the whole fence stands ("2026-01-31 23:59:59 UTC", None if it does not).
    Raises Refused if not every write is captured: what a deleted user takes along could not be carried.
    """
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "fence") as connection:
        if state == "present":
            return _present(side, connection, lock_timeout_seconds, check)
        return _absent(side, connection, lock_timeout_seconds, check)


def missing(laravel: database.Connection) -> list[str]:
    """The task tables whose fence is not there, not in force or another one."""
    standing = {(table, name): comment for table, name, enabled, comment in _installed(laravel) if enabled == "A"}
    lacking = {
        trigger.table
        for trigger in _triggers(laravel)
        if not standing.get((trigger.table, trigger.name), "").startswith(trigger.mark + _SINCE)
    }
    return [table for table in capture.task_tables("laravel") if table in lacking]


def standing_since(laravel: database.Connection) -> str | None:
    """Since when the whole fence stands, such as "2026-01-31 23:59:59 UTC"; None if it does not."""
    if missing(laravel):
        return None
    return max(str(comment).partition(_SINCE)[2] for _, _, _, comment in _installed(laravel))


def _present(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    lacking = missing(connection)
    if lacking:
        capture.require(connection)
        if not check:
            triggers = list(_triggers(connection))

            def put_on(session: database.Connection) -> None:
                _lock(session, lock_timeout)
                since = _since_now(session)
                for trigger in triggers:
                    names = {"trigger": sql.Identifier(trigger.name), "table": _table(trigger.table)}
                    session.execute(trigger.function)
                    session.execute(trigger.create(since))
                    session.execute(sql_files.statement(_FILE, "enable", **names))
                    comment = sql.Literal(trigger.mark + _SINCE + since)
                    session.execute(sql_files.statement(_FILE, "comment", comment=comment, **names))

            with_lock_retry(side, connection, lock_timeout, "putting the fence on", put_on)
    since = standing_since(connection)
    return Outcome(
        bool(lacking),
        f"fence: {'would be put on' if check else 'put on'} {', '.join(lacking)}"
        if lacking
        else f"fence: stands on every table since {since}",
        {"tables": lacking, "since": since},
    )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    installed = _installed(connection)
    tables = sorted({table for table, *_ in installed})
    functions = [name for (name,) in connection.execute(sql_files.statement(_FILE, "functions"))]
    there = bool(tables or functions)
    left: list[str] = []
    if there and not check:
        standing = [(table, name) for table, name, enabled, _ in installed if enabled != "D"]
        if standing:

            def open_all(session: database.Connection) -> None:
                _lock(session, lock_timeout)
                for table, name in standing:
                    names = {"trigger": sql.Identifier(name), "table": _table(table)}
                    session.execute(sql_files.statement(_FILE, "disable", **names))

            with_lock_retry(side, connection, lock_timeout, "opening the fence", open_all)
        left = [table for table in tables if not _dropped(connection, table, lock_timeout)]
        for name in functions:
            if name.removeprefix("fence_") not in left:
                function = sql.Identifier("task_migration", name)
                connection.execute(sql_files.statement(_FILE, "drop function", function=function))
    verb = "would be taken off" if check else "taken off"
    return Outcome(
        there,
        "fence: " + (f"{verb} {', '.join(tables) or 'no table, its functions were left'}" if there else "is not there"),
        {"tables": tables, "since": None},
        tuple(
            f"{table}: open, but a long query keeps its switched-off triggers from being dropped; the next run does it"
            for table in left
        ),
    )


def _dropped(connection: database.Connection, table: str, lock_timeout: float) -> bool:
    """Drops a table's triggers, if its readers let us: the fence is open already, so that nobody has to wait for it."""
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
    """Locks all task tables against writers, the one first on which most of them are."""
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
    """The function of one table, with what its foreign keys do when a row goes that they refer to."""
    goes: list[sql.Composable] = []
    forgets: list[sql.Composable] = []
    for action, column, schema, parent, key in connection.execute(
        sql_files.statement(_FILE, "rows that it refers to"), {"table": table}
    ):
        names = {"column": sql.Identifier(column), "parent_key": sql.Identifier(key)}
        gone = sql_files.statement(_FILE, "is gone", parent=sql.Identifier(schema, parent), **names)
        if action == "c":
            goes.append(gone)
        else:
            forgets.append(sql_files.statement(_FILE, "is forgotten", is_gone=gone, column=sql.Identifier(column)))
    return sql_files.statement(
        _FILE,
        "function",
        function=_function(table),
        table=_table(table),
        goes=sql.SQL("\n           OR ").join(goes) if goes else sql.SQL("false"),
        forgets=sql.SQL(";\n        ").join(forgets or [sql.SQL("NULL")]),
    )


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)


def _function(table: str) -> sql.Identifier:
    return sql.Identifier("task_migration", f"fence_{table}")
