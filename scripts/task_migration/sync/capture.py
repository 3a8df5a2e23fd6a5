"""The change log of a side's task tables: triggers that note which rows are written.

They go in before the first row is copied. From then on a chunk of the copy needs no common snapshot with another:
what changes after it was read is on the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.mapping.table_mapping import Captured, captured_tables, mappings
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants
from task_migration.postgres.lock_retry import with_lock_retry
from task_migration.sync import change_log, sync_tables

_FILE = "sync/capture.sql"
_EVENTS = ("insert", "update", "rekey", "delete", "truncate")


@dataclass(frozen=True)
class _CaptureTrigger:
    """One trigger of one table, with the statements that make it."""

    table: str
    event: str
    create: sql.Composed
    comment: str

    @property
    def name(self) -> str:
        return f"task_migration_{self.event}"


def capture(
    *,
    laravel_dsn: str,
    task_service_dsn: str = "",
    side: Literal["laravel", "task_service"] = "laravel",
    state: Literal["present", "absent"] = "present",
    lock_timeout_seconds: float = 2,
    check: bool,
) -> Outcome:
    """Puts the change log and its triggers on one side's task tables, or takes them off: Laravel's, or those of the
    Task Service, whose writes have to be carried back once it takes any.

    Waits at most ``lock_timeout_seconds`` for a lock, and tries again a few times. Details: ``tables`` whose triggers
    were put on or taken off, and ``change_log_length``. Taking them off loses what the log holds.
    """
    where = database.laravel(laravel_dsn) if side == "laravel" else database.task_service(task_service_dsn)
    with database.translated_errors(where), database.connect(where, "capture") as connection:
        if state == "present":
            return _present(where, connection, lock_timeout_seconds, check)
        return _absent(where, connection, lock_timeout_seconds, check)


def missing(connection: database.Connection) -> list[str]:
    """The side's tables whose writes do not all reach its log: a trigger is gone, switched off or another one."""
    if not change_log.exists(connection) or sync_tables.missing(connection):
        return sorted(_captured(connection.side.name))
    installed = {
        (table, name): comment
        for table, name, enabled, comment in connection.execute(sql_files.statement(_FILE, "installed triggers"), {})
        if enabled
    }
    return sorted(
        {
            trigger.table
            for trigger in _triggers(connection.side.name)
            if installed.get((trigger.table, trigger.name)) != trigger.comment
        }
    )


def task_tables(side: str) -> list[str]:
    """The captured tables of a side that tasks are made of, parents first; cognito_user_mapping is about users."""
    return [table for table in _captured(side) if table != "cognito_user_mapping"]


def require(connection: database.Connection) -> None:
    """Raises Refused unless every write to this side's task tables reaches its change log."""
    if tables := missing(connection):
        whose = "Laravel's" if connection.side.name == "laravel" else "the Task Service's"
        raise Refused(
            f"writes to {whose} task tables would be lost: they are not captured",
            measured=f"no complete capture on {', '.join(tables)}",
            allowed="capture on every table that the mappings read",
            next_step="ansible-playbook phase-2.1-prepare.yml, then ansible-playbook phase-2.2-verify.yml"
            if connection.side.name == "laravel"
            else "put the Task Service's capture on, then ansible-playbook phase-2.2-verify.yml",
        )


def _present(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    _refuse_another_service(side, connection)
    lacking = missing(connection)
    absent = [name for name in lacking if name != "cognito_user_mapping" and not _table_exists(connection, name)]
    if absent:
        raise Refused(
            f"{side.title} has no table {', '.join(absent)}",
            next_step=f"correct {side.name}_dsn in the inventory, or make the tables: phase-2.1-prepare.yml",
        )
    if not check and lacking:
        if side.name == "laravel" and not _table_exists(connection, "cognito_user_mapping"):
            raise Refused(
                "cognito_user_mapping is not there yet, and changes of it must be captured too",
                next_step="ansible-playbook phase-2.1-prepare.yml",
            )
        # In one transaction with the grants: a sync that runs looks into a log as soon as there is one.
        with connection.transaction():
            connection.execute(sql_files.statement(_FILE, "create change log"))
            sync_tables.make(connection)
            grants.give(connection)
        for table in lacking:
            with_lock_retry(side, connection, lock_timeout, f"putting capture on {table}", _put_on(table))
    verb = "would be put on" if check else "put on"
    return Outcome(
        changed=bool(lacking),
        message="change log: " + (f"{verb} {', '.join(lacking)}" if lacking else "on, every table"),
        details={"tables": lacking, "change_log_length": change_log.length(connection)},
    )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    tables = _installed(connection)
    length = change_log.length(connection)
    there = bool(tables) or change_log.exists(connection)
    if not check:
        for table in tables:
            with_lock_retry(side, connection, lock_timeout, f"taking capture off {table}", _take_off(table))
        for table in {*tables, *_captured(side.name)}:
            for event in _EVENTS:
                connection.execute(sql_files.statement(_FILE, "drop function", function=_function(table, event)))
        connection.execute(sql_files.statement(_FILE, "drop change log"))
        if side.name == "laravel":
            sync_tables.drop(connection)  # the Task Service's belong to its schema, and hold the copy's quarantine
    verb = "would be taken off" if check else "taken off"
    return Outcome(
        changed=there,
        message="change log: "
        + (f"{verb} {len(tables)} tables, {length} entries with it" if there else "is not there"),
        details={"tables": tables, "change_log_length": length},
    )


def _installed(connection: database.Connection) -> list[str]:
    """The tables with a trigger of ours."""
    return sorted(
        {
            table
            for table, name, _, _ in connection.execute(sql_files.statement(_FILE, "installed triggers"), {})
            if name.removeprefix("task_migration_") in _EVENTS
        }
    )


def _refuse_another_service(side: database.Side, connection: database.Connection) -> None:
    """One log holds the writes of one service: the sync of another would take them, and not know what they are."""
    if others := sorted(set(_installed(connection)) - _captured(side.name).keys()):
        raise Refused(
            f"{side.title} has the change log of another service's migration",
            measured=f"capture on {', '.join(others)}",
            allowed="one service at a time",
            next_step="end that migration first, or correct mapping_directory in the inventory",
        )


def _put_on(table: str) -> Any:
    def act(connection: database.Connection) -> None:
        for trigger in _triggers(connection.side.name):
            if trigger.table == table:
                connection.execute(trigger.create)
                connection.execute(
                    sql_files.statement(
                        _FILE,
                        "comment on trigger",
                        trigger=sql.Identifier(trigger.name),
                        table=sql.Identifier("public", table),
                        comment=sql.Literal(trigger.comment),
                    )
                )

    return act


def _take_off(table: str) -> Any:
    def act(connection: database.Connection) -> None:
        for event in _EVENTS:
            connection.execute(
                sql_files.statement(
                    _FILE,
                    "drop trigger",
                    trigger=sql.Identifier(f"task_migration_{event}"),
                    table=sql.Identifier("public", table),
                )
            )

    return act


def _captured(side: str) -> Table[str, Captured]:
    """What is captured on a side: what the mappings read in Laravel, what they write in the Task Service."""
    if side == "laravel":
        return captured_tables()
    return {
        mapping.table: Captured(mapping.key, mapping.parent.column if mapping.parent else mapping.key)
        for mapping in mappings()
    }


def _triggers(side: str) -> Iterator[_CaptureTrigger]:
    for table, captured in _captured(side).items():
        for event in _EVENTS:
            if event == "rekey" and captured.updates_of:
                continue  # an update of some columns looks at the old rows anyway
            create = _create(table, captured, event)
            digest = hashlib.sha256(create.as_string(None).encode()).hexdigest()[:16]
            yield _CaptureTrigger(table, event, create, f"task_migration capture {digest}")


def _create(table: str, captured: Captured, event: str) -> sql.Composed:
    """The function and the trigger for one event of one table."""
    column, nothing = sql.Identifier(captured.column), sql.SQL("NULL::bigint")
    of_some = event == "update" and captured.updates_of
    names: dict[str, sql.Composable] = {
        "function": _function(table, event),
        "trigger": sql.Identifier(f"task_migration_{event}"),
        "table": sql.Identifier("public", table),
        "part": sql.Literal(table),
        "column": column,
        "root": sql.Identifier(captured.root) if captured.root else nothing,
        "old_root": sql.SQL("OLD.{}").format(sql.Identifier(captured.root)) if captured.root else nothing,
        "new_root": sql.SQL("NEW.{}").format(sql.Identifier(captured.root)) if captured.root else nothing,
        "updates_of": sql.SQL(", ").join(map(sql.Identifier, captured.updates_of)),
    }
    function = f"function for {event}{' of some columns' if of_some else ''}"
    trigger = "trigger for update without the old rows" if event == "update" and not of_some else f"trigger for {event}"
    return sql.SQL(";\n").join([sql_files.statement(_FILE, one, **names) for one in (function, trigger)])


def _function(table: str, event: str) -> sql.Identifier:
    return sql.Identifier("task_migration", f"log_{table}_{event}")


def _table_exists(connection: database.Connection, name: str) -> bool:
    row = connection.execute(sql_files.statement(_FILE, "table exists"), {"name": f"public.{name}"}).fetchone()
    return bool(row and row[0])
