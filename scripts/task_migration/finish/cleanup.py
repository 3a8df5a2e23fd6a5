"""The end of the migration: everything temporary goes from both databases and from this machine, and what is left is
asked of the catalogs.

What stays, stays on purpose: the fence on the tables that Laravel keeps, the journal with the verdicts and the checks,
and rows that exist nowhere else (a write that gave way in a conflict, what was held back from the Task Service).
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
"""Kept while they hold a row."""
_JOURNAL = {"journal", "journal_end", "verdict", "consistency"}
_JOURNALS_FUNCTIONS = {"chain_entry", "refuse_rewriting"}
_OF_THE_COPY = ("lane", "copy_chunk", "deferred_ddl")
_EMPTY_ONLY = {"deferred_ddl", "conflict", "quarantine"}
_SAME_COMMAND = "run the same command again"


@dataclass(frozen=True)
class _Thing:
    """Something of ours in a database: a trigger ("name on table"), a table, a sequence or a function."""

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
    """Takes capture off both sides, and every other temporary thing, and then asks both catalogs what is left.

    It may be run from any half-done state, and again. ``fence_until`` ("2026-12-31") is when Laravel's kept tables are
    to be decided on; nothing happens by itself then. Details: ``removed`` and ``kept`` by side, ``fence_until``. Raises
    Refused while a sync is on or Laravel is not fenced, Failed if anything temporary is left.
    """
    _refuse_no_date(fence_until)
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    before: dict[str, list[_Thing]] = {side.name: _things(side) for side in (laravel, task_service)}
    kept: dict[str, list[_Thing]] = {side.name: _kept(side, before[side.name]) for side in (laravel, task_service)}
    temporary = {side: [one for one in found if one not in kept[side]] for side, found in before.items()}
    told = configuration_file(service_directory)
    files = [str(told)] if told.exists() else []
    _refuse_unfenced(laravel)
    number = sum(map(len, temporary.values())) + len(files)
    details = {
        "removed": {side: list(map(str, found)) for side, found in temporary.items()} | {"machine": files},
        "kept": {side: list(map(str, found)) for side, found in kept.items()},
        "fence_until": fence_until,
    }
    lines = tuple(_lines(temporary, files, kept, fence_until))
    if check or not number:
        said = f"would take away {number} temporary things" if number else "nothing temporary is left on either side"
        return Outcome(number > 0, f"clean-up: {said}", details, lines)
    _refuse_what_runs(laravel, _services(migration_environment, service_kind, service_directory))
    for side in (laravel, task_service):
        capture.capture(
            laravel_dsn=laravel_dsn,
            task_service_dsn=task_service_dsn,
            side=side.name,
            state="absent",
            lock_timeout_seconds=lock_timeout_seconds,
            check=False,
        )
        _take_the_rest(side, lock_timeout_seconds)
    _unlink(told)
    left = [
        f"{one} in {side.title}"
        for side in (laravel, task_service)
        for found in [_things(side)]
        for one in found
        if one not in _kept(side, found)
    ]
    if left:
        raise Failed(
            "something temporary is left",
            measured=", ".join(left),
            allowed="none",
            next_step=f"what is not ours has to go by hand; then {_SAME_COMMAND}",
        )
    return Outcome(True, f"clean-up: took away {number} temporary things; nothing temporary is left", details, lines)


def configuration_file(service_directory: str) -> Path:
    """What the syncs were told."""
    return Path(os.path.abspath(service_directory), "sync.json")


def _refuse_no_date(fence_until: str) -> None:
    try:
        is_to_come = date.fromisoformat(fence_until) >= datetime.now(UTC).date()
    except ValueError:
        is_to_come = False
    if not is_to_come:
        raise Refused(
            "nobody has said for how long Laravel keeps its task tables, fenced",
            measured=f"fence_until is {fence_until!r}",
            allowed="a day to come, such as 2026-12-31, on which somebody decides what becomes of them",
            next_step="set fence_until in the inventory",
        )


def _refuse_unfenced(laravel: database.Side) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "cleanup") as connection:
        missing = fence.missing(connection)
    if missing:
        raise Refused(
            "Laravel could write tasks that nobody would carry: the fence does not stand",
            measured=f"none in force on {', '.join(missing)}",
            allowed="the fence on every task table",
            next_step="ansible-playbook status.yml",
        )


def _refuse_what_runs(laravel: database.Side, names: Iterable[str]) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "cleanup") as connection:
        running = [*names, *(f"switch {name}" for name in _SWITCHES if sync_switch.is_on(connection, name))]
    if running:
        raise Refused(
            "what carries changes has to be off before its change log goes",
            measured=f"there is {', '.join(running)}",
            allowed="no service, and both switches off",
            next_step="ansible-playbook phase-2.5-cleanup.yml, which takes them away first",
        )


def _services(migration_environment: str, kind: Literal["systemd", "process"], directory: str) -> list[str]:
    keeper = service_host.host(kind, services.UNITS if kind == "systemd" else directory)
    names = (
        services.service_name(migration_environment, name, worker)
        for name in services.NAMES
        for worker in range(1, services.MOST_WORKERS + 1)
    )
    return [name for name in names if keeper.installed(name)]


def _things(side: database.Side) -> list[_Thing]:
    with database.translated_errors(side), database.connect(side, "cleanup") as connection:
        return [_Thing(*row) for row in connection.execute(sql_files.statement(_FILE, "things of ours"))]


def _kept(side: database.Side, found: Iterable[_Thing]) -> list[_Thing]:
    with database.translated_errors(side), database.connect(side, "cleanup") as connection:
        return [one for one in found if _stays(connection, one)]


def _stays(connection: database.Connection, one: _Thing) -> bool:
    if one.kind == "table" and one.name in _RECORDS[connection.side.name]:
        return not _is_empty(connection, one.name)
    if connection.side.name == "task_service":
        return False
    if one.kind == "trigger":
        return one.name.startswith("task_migration_fence")
    if one.kind == "function":
        return one.name.startswith("fence_") or one.name in _JOURNALS_FUNCTIONS
    return one.kind == "table" and one.name in _JOURNAL


def _take_the_rest(side: database.Side, lock_timeout: float) -> None:
    """What capture leaves: the copy's and the sync's own tables, what a wait for quiet left behind, the followers."""
    things = _things(side)
    with database.translated_errors(side), database.connect(side, "clean up") as connection:
        if any(one.name.startswith("task_migration_follow_") or one.name == "follow_cognito_sub" for one in things):
            with_lock_retry(side, connection, lock_timeout, "taking the triggers off users", _stop_following)
        tables = ["switch"] if side.name == "laravel" else [*_OF_THE_COPY, *_RECORDS["task_service"]]
        for table in tables:
            if _Thing("table", table) in things and (table not in _EMPTY_ONLY or _is_empty(connection, table)):
                connection.execute(sql_files.statement(_FILE, "drop table", table=_ours(table)))
        for one in things:
            if one.kind == "sequence" and one.name.startswith("written_"):
                connection.execute(sql_files.statement(_FILE, "drop sequence", sequence=_ours(one.name)))
            if one == _Thing("function", "count_written"):
                connection.execute(sql_files.statement(_FILE, "drop function", function=_ours(one.name)))
        empty = connection.execute(sql_files.statement(_FILE, "schema is empty")).fetchone()
        if empty and empty[0]:
            connection.execute(sql_files.statement(_FILE, "drop schema"))


def _stop_following(connection: database.Connection) -> None:
    """The table of who is who stays, as the plan keeps it; whoever finds it reads how old it is."""
    connection.execute(sql_files.statement(_FILE, "drop followers"))
    said = f"As of {times.when(datetime.now(UTC))}, the end of the migration: it follows users.cognito_sub no more."
    connection.execute(sql_files.statement(_FILE, "say how old cognito_user_mapping is", comment=sql.Literal(said)))


def _is_empty(connection: database.Connection, table: str) -> bool:
    row = connection.execute(sql_files.statement(_FILE, "is empty", table=_ours(table))).fetchone()
    return bool(row and row[0])


def _ours(name: str) -> sql.Identifier:
    return sql.Identifier("task_migration", name)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(
            f"{path} could not be taken away, the last of all",
            measured=error.strerror or str(error),
            next_step=f"take it away by hand, then {_SAME_COMMAND}",
        ) from error


def _lines(
    temporary: Mapping[str, Iterable[_Thing]],
    files: Iterable[str],
    kept: Mapping[str, Iterable[_Thing]],
    fence_until: str,
) -> Iterable[str]:
    titles = {"laravel": "Laravel's database", "task_service": "the Task Service's database"}
    for side, found in temporary.items():
        if names := ", ".join(map(str, found)):
            yield f"goes from {titles[side]}: {names}"
    yield from (f"goes from this machine: {file}" for file in files)
    tables = ", ".join(capture.task_tables("laravel"))
    yield f"stays in Laravel's database: {tables}, fenced, until {fence_until}; cognito_user_mapping, as it is now"
    for side, found in kept.items():
        if names := ", ".join(one.name for one in found if one.kind == "table"):
            yield f"stays in {titles[side]}, for the record: {names}"
