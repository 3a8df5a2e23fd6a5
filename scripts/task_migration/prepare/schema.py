"""Creates the Task Service's tables, with the bundled SQL or with sequelize-cli, and what the migration needs besides.

The catalog shows each time what is missing, so a second run has nothing to do, and check mode prints the same lines as
a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Failed, Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.table_mapping import mappings
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants, schema_drift
from task_migration.prepare import copy_ledger, deferred_indexes, sequelize
from task_migration.sync import sync_tables

_FILE = "prepare/schema.sql"
_OURS = {"copy_chunk": _FILE, "deferred_ddl": _FILE} | dict.fromkeys(sync_tables.TABLES, sync_tables.FILE)
_TITLE_LENGTH = 255
_LIMITED = re.compile(r"character varying\((\d+)\)")
_MAKES_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_SAMPLE = 10


@dataclass(frozen=True)
class _Existing:
    """The tables and recorded migrations of the Task Service's database: empty if it does not exist yet."""

    columns: dict[str, dict[str, str]]
    recorded: frozenset[str]


@dataclass(frozen=True)
class _Step:
    """One change in addition to the Task Service's own migrations."""

    line: str
    statement: sql.Composed


def schema(
    *,
    task_service_dsn: str,
    schema_runner: Literal["sql", "sequelize"] = "sql",
    sequelize_directory: str = "",
    title_policy: Literal["widen", "refuse"] = "widen",
    id_policy: Literal["refuse", "bigint"] = "refuse",
    check: bool = False,
) -> Outcome:
    """Runs the migrations that SequelizeMeta does not list, then creates what the copy, the sync and verify need.

    That is: one row per task in group_tasks and task_approvals, a title as long as Laravel's (``title_policy=widen``),
    BIGINT ids (``id_policy=bigint``), and the schema task_migration. Details: ``migrations`` and ``adjustments``.
    Raises Refused for rows that the runbook did not copy, for tables of unknown origin, and for duplicate keys.
    """
    side = database.task_service(task_service_dsn)
    known = _migrations(schema_runner, sequelize_directory)
    with database.translated_errors(side):
        connection = database.connect_if_there(side, "schema") if check else database.connect(side, "schema")
        if connection is None:
            steps = list(_steps(None, _Existing({}, frozenset()), title_policy, id_policy))
            return _outcome(known, steps, check)
        with connection:
            found = _look(connection)
            pending = [name for name in known if name not in found.recorded]
            _refuse_other_origin(found, known, pending, schema_runner)
            _refuse_foreign_rows(connection, found)
            _require_fit(connection, list(found.columns), Refused)
            _refuse_repeated_keys(connection, found)
            if check:
                return _outcome(pending, list(_steps(connection, found, title_policy, id_policy)), check)
            if pending:
                _run(connection, schema_runner, sequelize_directory, pending)
            _require_fit(connection, _tables(), Failed)
            found = _look(connection)
            steps = list(_steps(connection, found, title_policy, id_policy))
            _take(connection, steps)
            return _outcome(pending, steps, check)


def _tables() -> list[str]:
    return [mapping.table for mapping in mappings()]


def _parent_columns() -> dict[str, str]:
    """Returns the column that refers to the parent, for each table with a parent."""
    return {mapping.table: mapping.parent.column for mapping in mappings() if mapping.parent is not None}


def _one_row_per_parent() -> dict[str, str]:
    """Returns the column that refers to the parent, for each table in which it is the key."""
    keys = {mapping.table: mapping.key for mapping in mappings()}
    return {table: column for table, column in _parent_columns().items() if keys[table] == column}


def _look(connection: database.Connection) -> _Existing:
    recorded = (
        [row[0] for row in connection.execute(sql_files.statement(_FILE, "recorded migrations"))]
        if _value(connection, "recorded table exists")
        else []
    )
    return _Existing(schema_drift.columns(connection, _tables()), frozenset(recorded))


def _migrations(runner: str, directory: str) -> list[str]:
    """Returns the names of this runner's migrations, in order."""
    if runner == "sequelize":
        return sequelize.migrations_in(directory)
    bundled = list(_bundled())
    folder = Path(directory) / "migrations" if directory else None
    if folder is not None and folder.is_dir():
        own = sorted(file.name for file in folder.iterdir() if file.suffix in (".js", ".cjs"))
        if own and own != bundled:
            raise Refused(
                "the migrations in the Task Service's checkout differ from the bundled ones",
                measured=f"in the checkout: {', '.join(own)}",
                allowed=", ".join(bundled),
                next_step="set schema_runner: sequelize in the inventory",
            )
    return bundled


def _bundled() -> dict[str, str]:
    """Returns the bundled migrations: the name that is recorded, and the SQL."""
    return {f"{name}.js": text for name, text in mapping_directory.texts("schema").items()}


def _refuse_other_origin(found: _Existing, known: list[str], pending: list[str], runner: str) -> None:
    """Raises Refused if the tables come from other migrations than the ones to run."""
    if not pending:
        return
    if others := sorted(found.recorded - set(known)):
        raise Refused(
            "the Task Service's database has other migrations than these",
            measured=f"SequelizeMeta lists {', '.join(others)}",
            allowed=f"only {', '.join(known)}",
            next_step="set schema_runner and sequelize_directory in the inventory to what created these tables",
        )
    if runner == "sql":
        made = {table for name in pending for table in _MAKES_TABLE.findall(_bundled()[name])}
        if there := sorted(made & found.columns.keys()):
            raise Refused(
                "tables of the Task Service exist, but SequelizeMeta lists no migration that created them",
                measured=f"{', '.join(there)}",
                allowed="tables created by a recorded migration, or none",
                next_step="find out what created them; to remove the whole target: ansible-playbook rollback-2.1.yml",
            )


def _refuse_foreign_rows(connection: database.Connection, found: _Existing) -> None:
    foreign = {
        table: _value(connection, "count rows", table=sql.Identifier("public", table))
        for table in found.columns
        if copy_ledger.holds_rows(connection, table) and not copy_ledger.is_planned(connection, table)
    }
    if foreign:
        raise Refused(
            "the Task Service's tables contain rows that the runbook did not copy",
            measured=", ".join(f"{count} rows in {table}" for table, count in foreign.items()),
            allowed="empty tables, or tables of an interrupted copy",
            next_step="find out who wrote these rows; to remove the whole target: ansible-playbook rollback-2.1.yml",
        )


def _refuse_repeated_keys(connection: database.Connection, found: _Existing) -> None:
    for table, column in _one_row_per_parent().items():
        if table not in found.columns or _is_unique(connection, table, column):
            continue
        statement = sql_files.statement(
            _FILE, "duplicate keys", table=sql.Identifier("public", table), column=sql.Identifier(column)
        )
        keys = [row[0] for row in connection.execute(statement)]
        if keys:
            raise Refused(
                f"{table} has more than one row for a task, so {column} cannot be its key",
                measured=f"{len(keys)} duplicate values of {column}: {keys[:_SAMPLE]}",
                allowed="0",
                next_step=f"delete the duplicate rows of {table}, then run the same command again",
            )


def _require_fit(connection: database.Connection, tables: list[str], error: type[Refused] | type[Failed]) -> None:
    """Raises ``error`` if a column that the mappings write is missing or has an unsuitable type."""
    rows = connection.execute(sql_files.statement(_FILE, "columns that do not fit"), {"tables": tables})
    if differences := [row[0] for row in rows]:
        raise error(
            "the Task Service's tables do not match the mappings",
            measured="; ".join(differences),
            next_step=f"change the Task Service's migrations or {mapping_directory.described('mapping')}/ so that they "
            "match, then run the same command again",
        )


def _run(connection: database.Connection, runner: str, directory: str, pending: list[str]) -> None:
    if runner == "sequelize":
        sequelize.migrate(directory, connection)
        if left := sorted(set(pending) - _look(connection).recorded):
            raise Failed(
                "sequelize-cli succeeded, but its migrations are not recorded in this database",
                measured=f"not in SequelizeMeta: {', '.join(left)}",
                next_step="check .sequelizerc, and whether a migration opens its own connection; then run the same "
                "command again",
            )
        return
    for name in pending:
        with connection.transaction():
            connection.execute(sql_files.statement(_FILE, "create recorded table"))
            connection.execute(sql_files.as_sql(_bundled()[name]))
            connection.execute(sql_files.statement(_FILE, "record migration"), {"name": name})


def _steps(
    connection: database.Connection | None, found: _Existing, title_policy: str, id_policy: str
) -> Iterator[_Step]:
    """Yields the missing changes. A table that does not exist yet is treated as the plan's models create it."""
    if title_policy == "widen" and "tasks" in _tables() and _is_short(found.columns.get("tasks", {}).get("title")):
        yield _Step(f"tasks.title widened to VARCHAR({_TITLE_LENGTH})", sql_files.statement(_FILE, "widen title"))
    if id_policy == "bigint":
        yield from _wider_ids(connection, found)
    keys = _one_row_per_parent()
    for table, column in keys.items():
        if connection is None or table not in found.columns or not _is_unique(connection, table, column):
            index = f"{table}_{column}_key"
            statement = sql_files.statement(
                _FILE,
                "create unique index",
                index=sql.Identifier(index),
                table=sql.Identifier("public", table),
                column=sql.Identifier(column),
            )
            yield _Step(f"unique index {index}", statement)
    for table, column in _parent_columns().items():
        if table in keys:
            continue
        if connection is None or table not in found.columns or not _is_indexed(connection, table, column):
            # Without this index, deleting a task would read all images to find those of the task.
            index = f"{table}_{column}_idx"
            statement = sql_files.statement(
                _FILE,
                "create index",
                index=sql.Identifier(index),
                table=sql.Identifier("public", table),
                column=sql.Identifier(column),
            )
            yield _Step(f"index {index}", statement)
    for table, file in _OURS.items():
        if connection is None or not _value(connection, "ours exists", parameters={"table": table}):
            yield _Step(f"table task_migration.{table}", sql_files.statement(file, f"create {table}"))


def _wider_ids(connection: database.Connection | None, found: _Existing) -> Iterator[_Step]:
    parents = _parent_columns()
    for table in _tables():
        for column in ("id", *([parents[table]] if table in parents else [])):
            names = {"table": sql.Identifier("public", table), "column": sql.Identifier(column)}
            if found.columns.get(table, {}).get(column, "integer") == "integer":
                yield _Step(f"{table}.{column} widened to BIGINT", sql_files.statement(_FILE, "widen id", **names))
        sequence = f"{table}_id_seq"
        if connection is not None and table in found.columns:
            parameters = {"table": table, "column": "id"}
            row = connection.execute(sql_files.statement(_FILE, "integer sequence"), parameters).fetchone()
            if row is None:
                continue
            sequence = row[0]
        statement = sql_files.statement(_FILE, "widen sequence", sequence=sql_files.as_sql(sequence))
        yield _Step(f"sequence {sequence} widened to BIGINT", statement)


def _is_short(type_: str | None) -> bool:
    """Returns whether Laravel's longest title does not fit; a table that does not exist yet will be too short."""
    if type_ is None:
        return True
    limit = _LIMITED.fullmatch(type_)
    return limit is not None and int(limit[1]) < _TITLE_LENGTH


def _is_unique(connection: database.Connection, table: str, column: str) -> bool:
    return bool(_value(connection, "unique on column", parameters={"table": table, "column": column}))


def _is_indexed(connection: database.Connection, table: str, column: str) -> bool:
    """Returns whether there is an index, or one was dropped for a load that will create it again."""
    if _value(connection, "ours exists", parameters={"table": "deferred_ddl"}) and deferred_indexes.owed(connection):
        return True
    return bool(_value(connection, "indexed on column", parameters={"table": table, "column": column}))


def _take(connection: database.Connection, steps: list[_Step]) -> None:
    """Applies all changes and the grants on them in one transaction."""
    with connection.transaction():
        if not steps:
            grants.give(connection)
            return
        connection.execute(sql_files.statement(_FILE, "limit lock waiting"))
        connection.execute(sql_files.statement(_FILE, "create schema"))
        for step in steps:
            connection.execute(step.statement)
        grants.give(connection)


def _outcome(migrations: list[str], steps: list[_Step], check: bool) -> Outcome:
    lines = (*(f"migration {name}" for name in migrations), *(step.line for step in steps))
    if not lines:
        return Outcome(False, "schema: up to date, nothing to do", {"migrations": [], "adjustments": []})
    verb = "would run" if check else "ran"
    return Outcome(
        True,
        f"schema: {verb} {len(migrations)} migrations and {len(steps)} adjustments",
        {"migrations": migrations, "adjustments": [step.line for step in steps]},
        lines,
    )


def _value(
    connection: database.Connection,
    name: str,
    parameters: dict[str, str] | None = None,
    **identifiers: sql.Composable,
) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name, **identifiers), parameters).fetchone()
    assert row is not None
    return row[0]
