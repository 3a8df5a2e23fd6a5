"""Capture: triggers on a side's task tables that write to the change log which rows were changed.

They are installed before the first row is copied. From then on the chunks of the copy need no common snapshot: what
changes after a chunk was read is on the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
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
_FUNCTIONS = ("write", *_EVENTS)
"""The names that a trigger's function may have, or had in an earlier version."""


@dataclass(frozen=True)
class _CaptureTrigger:
    """One trigger of one table, with the name of its function and the statements that create both."""

    table: str
    event: str
    function: str
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
    """Installs the change log and its triggers on the task tables of one side, or removes them.

    The Task Service's tables need them once the Task Service takes writes, which the backward sync applies to Laravel.
    Waits at most ``lock_timeout_seconds`` for a lock, and retries a few times. Details: ``tables`` whose triggers were
    installed or removed, and ``change_log_length``. Removing them deletes the entries of the log.
    """
    where = database.laravel(laravel_dsn) if side == "laravel" else database.task_service(task_service_dsn)
    with database.translated_errors(where), database.connect(where, "capture") as connection:
        if state == "present":
            return _present(where, connection, lock_timeout_seconds, check)
        return _absent(where, connection, lock_timeout_seconds, check)


def missing(connection: database.Connection) -> list[str]:
    """Returns the side's tables whose writes do not all reach its log: a trigger is missing, disabled or an older
    version."""
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
    """Returns the captured tables of a side that hold tasks, parents first. cognito_user_mapping holds users."""
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
            else "install the Task Service's capture again, then ansible-playbook phase-2.2-verify.yml",
        )


def _present(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    _refuse_another_service(side, connection)
    incomplete = missing(connection)
    absent = [name for name in incomplete if name != "cognito_user_mapping" and not _table_exists(connection, name)]
    if absent:
        raise Refused(
            f"{side.title} has no table {', '.join(absent)}",
            next_step=f"correct {side.name}_dsn in the inventory, or create the tables: "
            "ansible-playbook phase-2.1-prepare.yml",
        )
    if not check and incomplete:
        if side.name == "laravel" and not _table_exists(connection, "cognito_user_mapping"):
            raise Refused(
                "cognito_user_mapping does not exist yet, and its changes must be captured too",
                next_step="ansible-playbook phase-2.1-prepare.yml",
            )
        # In one transaction with the grants: a running sync reads the log as soon as it exists.
        with connection.transaction():
            connection.execute(sql_files.statement(_FILE, "create change log"))
            sync_tables.make(connection)
            grants.give(connection)
        for table in incomplete:
            with_lock_retry(side, connection, lock_timeout, f"installing capture on {table}", _install(table))
    verb = "would be installed on" if check else "installed on"
    return Outcome(
        changed=bool(incomplete),
        message=f"change log: {verb} {', '.join(incomplete)}" if incomplete else "change log: installed on every table",
        details={"tables": incomplete, "change_log_length": change_log.length(connection)},
    )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    tables = _installed(connection)
    length = change_log.length(connection)
    is_installed = bool(tables) or change_log.exists(connection)
    if not check:
        for table in tables:
            with_lock_retry(side, connection, lock_timeout, f"removing capture from {table}", _remove(table))
        for table in {*tables, *_captured(side.name)}:
            _drop_functions(connection, table, _FUNCTIONS)
        connection.execute(sql_files.statement(_FILE, "drop change log"))
        if side.name == "laravel":
            sync_tables.drop(connection)  # the Task Service's belong to its schema, and hold the copy's quarantine
    verb = "would be removed from" if check else "removed from"
    return Outcome(
        changed=is_installed,
        message=f"change log: {verb} {len(tables)} tables, with {length} entries"
        if is_installed
        else "change log: not installed",
        details={"tables": tables, "change_log_length": length},
    )


def _installed(connection: database.Connection) -> list[str]:
    """Returns the tables with a trigger of the runbook."""
    return sorted(
        {
            table
            for table, name, _, _ in connection.execute(sql_files.statement(_FILE, "installed triggers"), {})
            if name.removeprefix("task_migration_") in _EVENTS
        }
    )


def _refuse_another_service(side: database.Side, connection: database.Connection) -> None:
    """Raises Refused if the log belongs to another service's migration: this sync would take its entries and could not
    apply them."""
    if others := sorted(set(_installed(connection)) - _captured(side.name).keys()):
        raise Refused(
            f"{side.title} has the change log of another service's migration",
            measured=f"capture on {', '.join(others)}",
            allowed="one service at a time",
            next_step="finish that migration first, or correct mapping_directory in the inventory",
        )


def _install(table: str) -> Any:
    def act(connection: database.Connection) -> None:
        triggers = [trigger for trigger in _triggers(connection.side.name) if trigger.table == table]
        for trigger in triggers:
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
        _drop_functions(connection, table, set(_FUNCTIONS) - {trigger.function for trigger in triggers})

    return act


def _drop_functions(connection: database.Connection, table: str, names: Iterable[str]) -> None:
    for name in names:
        connection.execute(sql_files.statement(_FILE, "drop function", function=_function(table, name)))


def _remove(table: str) -> Any:
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


def _captured(side: str) -> Mapping[str, Captured]:
    """Returns what is captured on a side: what the mappings read in Laravel, what they write in the Task Service."""
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
                continue  # an update of some columns compares the old rows anyway
            yield _trigger(table, captured, event)


def _trigger(table: str, captured: Captured, event: str) -> _CaptureTrigger:
    """Returns the trigger for one event of one table. Insert and update share a function, unless only an update of some
    columns counts."""
    of_some_columns = event == "update" and bool(captured.updates_of)
    function = "write" if event in ("insert", "update") and not of_some_columns else event
    nothing = sql.SQL("NULL::bigint")
    names: dict[str, sql.Composable] = {
        "function": _function(table, function),
        "trigger": sql.Identifier(f"task_migration_{event}"),
        "table": sql.Identifier("public", table),
        "source_table": sql.Literal(table),
        "key": sql.Identifier(captured.column),
        "task": sql.Identifier(captured.root) if captured.root else nothing,
        "old_task": sql.SQL("OLD.{}").format(sql.Identifier(captured.root)) if captured.root else nothing,
        "new_task": sql.SQL("NEW.{}").format(sql.Identifier(captured.root)) if captured.root else nothing,
        "updates_of": sql.SQL(", ").join(map(sql.Identifier, captured.updates_of)),
    }
    suffix = " of some columns" if of_some_columns else ""
    blocks = (f"function for {function}{suffix}", f"trigger for {event}{suffix}")
    create = sql.SQL(";\n").join([sql_files.statement(_FILE, block, **names) for block in blocks])
    digest = hashlib.sha256(create.as_string(None).encode()).hexdigest()[:16]
    return _CaptureTrigger(table, event, function, create, f"task_migration capture {digest}")


def _function(table: str, name: str) -> sql.Identifier:
    return sql.Identifier("task_migration", f"log_{table}_{name}")


def _table_exists(connection: database.Connection, name: str) -> bool:
    row = connection.execute(sql_files.statement(_FILE, "table exists"), {"name": f"public.{name}"}).fetchone()
    return bool(row and row[0])
