"""The end of the migration: removes everything temporary from both databases and this machine, and checks the catalogs.

These remain on purpose: the fence on the tables that Laravel keeps, the journal with the verdicts and the checks, and
rows that exist nowhere else (the losing write of a conflict, and rows that were held back from the Task Service).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from psycopg import sql

from task_migration import sql_files, times
from task_migration.control import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.postgres.lock_retry import with_lock_retry
from task_migration.runtime import service_host, services
from task_migration.sync import capture, fence

_FILE = "finish/cleanup.sql"
_SWITCHES: tuple[sync_switch.Name, ...] = ("sync_forward", "sync_backward")
_RECORDS: Mapping[str, tuple[str, ...]] = {"laravel": ("conflict",), "task_service": ("conflict", "quarantine")}
"""Tables that remain while they hold a row."""
_JOURNAL = {"journal", "journal_end", "verdict", "consistency"}
_JOURNALS_FUNCTIONS = {"chain_entry", "refuse_rewriting"}
_OF_THE_COPY = ("lane", "copy_chunk", "deferred_ddl")
_EMPTY_ONLY = {"deferred_ddl", "conflict", "quarantine"}
_SAME_COMMAND = "run the same command again"


@dataclass(frozen=True)
class _DatabaseObject:
    """An object that the runbook created: a trigger ("name on table"), a table, a sequence or a function."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def cleanup(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    migration_environment: str,
    service_kind: Literal["systemd", "process"],
    service_directory: str,
    fence_until: str,
    lock_timeout_seconds: float = 2,
    check: bool = False,
) -> Outcome:
    """Removes capture from both sides, and every other temporary object, then checks both catalogs.

    It may be run from any half-done state, and again. ``fence_until`` ("2026-12-31") is the day on which you decide
    what happens to Laravel's tables; nothing happens automatically on that day. Details: ``removed`` and ``kept`` by
    side, ``fence_until``. Raises Refused while a sync is on or Laravel is not fenced, Failed if a temporary object is
    left.
    """
    _require_future_date(fence_until)
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    before: dict[str, list[_DatabaseObject]] = {side.name: _objects(side) for side in (laravel, task_service)}
    remaining: dict[str, list[_DatabaseObject]] = {
        side.name: _remaining(side, before[side.name]) for side in (laravel, task_service)
    }
    temporary = {side: [one for one in found if one not in remaining[side]] for side, found in before.items()}
    configuration = configuration_file(service_directory)
    files = [str(configuration)] if configuration.exists() else []
    _require_fence(laravel)
    number = sum(map(len, temporary.values())) + len(files)
    details = {
        "removed": {side: list(map(str, found)) for side, found in temporary.items()} | {"machine": files},
        "kept": {side: list(map(str, found)) for side, found in remaining.items()},
        "fence_until": fence_until,
    }
    lines = tuple(_lines(temporary, files, remaining, fence_until))
    if check or not number:
        message = f"would remove {number} temporary objects" if number else "nothing temporary is left on either side"
        return Outcome(number > 0, f"clean-up: {message}", details, lines)
    _require_sync_stopped(laravel, _services(migration_environment, service_kind, service_directory))
    for side in (laravel, task_service):
        capture.capture(
            laravel_dsn=laravel_dsn,
            task_service_dsn=task_service_dsn,
            side=side.name,
            state="absent",
            lock_timeout_seconds=lock_timeout_seconds,
            check=False,
        )
        _remove_the_rest(side, lock_timeout_seconds)
    _unlink(configuration)
    left = [
        f"{one} in {side.title}"
        for side in (laravel, task_service)
        for found in [_objects(side)]
        for one in found
        if one not in _remaining(side, found)
    ]
    if left:
        raise Failed(
            "temporary objects are left",
            measured=", ".join(left),
            allowed="none",
            next_step=f"remove by hand what the runbook did not create; then {_SAME_COMMAND}",
        )
    return Outcome(True, f"clean-up: removed {number} temporary objects; nothing temporary is left", details, lines)


def configuration_file(service_directory: str) -> Path:
    """The file with the settings of the syncs."""
    return Path(os.path.abspath(service_directory), "sync.json")


def _require_future_date(fence_until: str) -> None:
    try:
        is_future = date.fromisoformat(fence_until) >= datetime.now(UTC).date()
    except ValueError:
        is_future = False
    if not is_future:
        state = "not a future date" if fence_until else "not set"
        raise Refused(
            f"fence_until is {state}: until when does Laravel keep its fenced task tables?",
            measured=f"fence_until is {fence_until!r}",
            allowed="a future date, such as 2026-12-31, on which you decide what happens to them",
            next_step="set fence_until in the inventory",
        )


def _require_fence(laravel: database.Side) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "cleanup") as connection:
        missing = fence.missing(connection)
    if missing:
        raise Refused(
            "the fence is not active, so Laravel could write tasks that are never synced",
            measured=f"no active fence on {', '.join(missing)}",
            allowed="the fence on every task table",
            next_step="ansible-playbook status.yml",
        )


def _require_sync_stopped(laravel: database.Side, names: Iterable[str]) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "cleanup") as connection:
        running = [*names, *(f"switch {name}" for name in _SWITCHES if sync_switch.is_on(connection, name))]
    if running:
        raise Refused(
            "stop the sync before its change log is removed",
            measured=f"on or installed: {', '.join(running)}",
            allowed="no service, and both switches off",
            next_step="ansible-playbook phase-2.5-cleanup.yml removes them first",
        )


def _services(migration_environment: str, kind: Literal["systemd", "process"], directory: str) -> list[str]:
    host = service_host.host(kind, services.SYSTEMD_UNITS if kind == "systemd" else directory)
    names = (
        services.service_name(migration_environment, name, worker)
        for name in services.NAMES
        for worker in range(1, services.MOST_WORKERS + 1)
    )
    return [name for name in names if host.installed(name)]


def _objects(side: database.Side) -> list[_DatabaseObject]:
    with database.translated_errors(side), database.connect(side, "cleanup") as connection:
        return [
            _DatabaseObject(*row) for row in connection.execute(sql_files.statement(_FILE, "objects of the runbook"))
        ]


def _remaining(side: database.Side, found: Iterable[_DatabaseObject]) -> list[_DatabaseObject]:
    with database.translated_errors(side), database.connect(side, "cleanup") as connection:
        return [one for one in found if _remains(connection, one)]


def _remains(connection: database.Connection, one: _DatabaseObject) -> bool:
    if one.kind == "table" and one.name in _RECORDS[connection.side.name]:
        return not _is_empty(connection, one.name)
    if connection.side.name == "task_service":
        return False
    if one.kind == "trigger":
        return one.name.startswith("task_migration_fence")
    if one.kind == "function":
        return one.name.startswith("fence_") or one.name in _JOURNALS_FUNCTIONS
    return one.kind == "table" and one.name in _JOURNAL


def _remove_the_rest(side: database.Side, lock_timeout: float) -> None:
    """Removes what capture leaves: the tables of the copy and the sync, what quiesce created, the triggers on users."""
    objects = _objects(side)
    with database.translated_errors(side), database.connect(side, "clean up") as connection:
        if any(one.name.startswith("task_migration_follow_") or one.name == "follow_cognito_sub" for one in objects):
            with_lock_retry(side, connection, lock_timeout, "removing the triggers on users", _stop_following)
        tables = ["switch"] if side.name == "laravel" else [*_OF_THE_COPY, *_RECORDS["task_service"]]
        for table in tables:
            if _DatabaseObject("table", table) in objects and (
                table not in _EMPTY_ONLY or _is_empty(connection, table)
            ):
                connection.execute(sql_files.statement(_FILE, "drop table", table=_qualified(table)))
        for one in objects:
            if one.kind == "sequence" and one.name.startswith("written_"):
                connection.execute(sql_files.statement(_FILE, "drop sequence", sequence=_qualified(one.name)))
            if one == _DatabaseObject("function", "count_written"):
                connection.execute(sql_files.statement(_FILE, "drop function", function=_qualified(one.name)))
        empty = connection.execute(sql_files.statement(_FILE, "schema is empty")).fetchone()
        if empty and empty[0]:
            connection.execute(sql_files.statement(_FILE, "drop schema"))


def _stop_following(connection: database.Connection) -> None:
    """Removes the triggers on users. cognito_user_mapping remains, as in the plan, with a comment on how old it is."""
    connection.execute(sql_files.statement(_FILE, "drop followers"))
    comment = (
        f"As of {times.when(datetime.now(UTC))}, the end of the migration. It no longer follows users.cognito_sub."
    )
    connection.execute(sql_files.statement(_FILE, "comment on cognito_user_mapping", comment=sql.Literal(comment)))


def _is_empty(connection: database.Connection, table: str) -> bool:
    row = connection.execute(sql_files.statement(_FILE, "is empty", table=_qualified(table))).fetchone()
    return bool(row and row[0])


def _qualified(name: str) -> sql.Identifier:
    return sql.Identifier("task_migration", name)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(
            f"could not remove {path}; everything else is removed",
            measured=error.strerror or str(error),
            next_step=f"remove it by hand, then {_SAME_COMMAND}",
        ) from error


def _lines(
    temporary: Mapping[str, Iterable[_DatabaseObject]],
    files: Iterable[str],
    remaining: Mapping[str, Iterable[_DatabaseObject]],
    fence_until: str,
) -> Iterable[str]:
    titles = {"laravel": "Laravel's database", "task_service": "the Task Service's database"}
    for side, found in temporary.items():
        if names := ", ".join(map(str, found)):
            yield f"is removed from {titles[side]}: {names}"
    yield from (f"is removed from this machine: {file}" for file in files)
    tables = ", ".join(capture.task_tables("laravel"))
    yield f"remains in Laravel's database: {tables}, fenced, until {fence_until}; cognito_user_mapping, as it is now"
    for side, found in remaining.items():
        if names := ", ".join(one.name for one in found if one.kind == "table"):
            yield f"remains in {titles[side]}, for the record: {names}"
