"""The work deferred to the end of a load: secondary indexes and foreign keys, dropped on an empty target; quarantine.

Inserting is faster without maintaining every index for each row. What is dropped is recorded in the same transaction,
so that the next run knows what to create again if this run is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from psycopg import sql

from task_migration import sql_files
from task_migration.postgres import database

_FILE = "prepare/deferred_indexes.sql"
Connect = Callable[[], AbstractContextManager[database.Connection]]


@dataclass(frozen=True)
class _DeferredDefinition:
    ordinal: int
    kind: str
    table: str
    name: str
    definition: str


def take_off(connection: database.Connection, tables: Sequence[str]) -> None:
    """Drops the secondary indexes and foreign keys of these tables, in the caller's transaction."""
    for kind, found, drop in (
        ("index", "secondary indexes", "drop index"),
        ("foreign key", "foreign keys", "drop constraint"),
    ):
        for table, name, definition in connection.execute(
            sql_files.statement(_FILE, found), {"tables": list(tables)}
        ).fetchall():
            connection.execute(
                sql_files.statement(_FILE, "keep definition"),
                {"kind": kind, "table_name": table, "name": name, "definition": definition},
            )
            identifier = sql.Identifier("public", name) if kind == "index" else sql.Identifier(name)
            connection.execute(sql_files.statement(_FILE, drop, table=sql.Identifier("public", table), name=identifier))


def owe_quarantine(connection: database.Connection, tables: Sequence[str]) -> None:
    """Records, in the caller's transaction, that the quarantine of these tables must be determined after the load."""
    for table in tables:
        connection.execute(
            sql_files.statement(_FILE, "keep definition"),
            {"kind": "quarantine", "table_name": table, "name": "quarantine", "definition": ""},
        )


def settle_quarantine(connect: Connect, ask: Callable[[database.Connection, str], None]) -> None:
    """Calls ``ask`` for each table whose quarantine is deferred, in the transaction that removes its record."""

    def act(connection: database.Connection, one: _DeferredDefinition) -> None:
        ask(connection, one.table)
        connection.execute(sql_files.statement(_FILE, "forget definition"), {"ordinal": one.ordinal})

    _each(connect, 1, "quarantine", act)


def owed(connection: database.Connection) -> int:
    """Returns how many deferred indexes, foreign keys and quarantines remain."""
    return len(_kept(connection))


def put_back_indexes(connect: Connect, workers: int) -> None:
    """Builds the dropped indexes, ``workers`` at a time."""
    _each(connect, workers, "index", _build)


def put_back_foreign_keys(connect: Connect, workers: int) -> None:
    """Adds the dropped foreign keys, then validates every row."""
    _each(connect, 1, "foreign key", _add)
    _each(connect, workers, "unvalidated", _validate)


def _each(
    connect: Connect, workers: int, kind: str, act: Callable[[database.Connection, _DeferredDefinition], None]
) -> None:
    with connect() as connection:
        kept = [one for one in _kept(connection) if one.kind == kind]

    def one_of_them(one: _DeferredDefinition) -> None:
        with connect() as connection, connection.transaction():
            act(connection, one)

    if kept:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one_of_them, kept))


def _build(connection: database.Connection, one: _DeferredDefinition) -> None:
    connection.execute(sql_files.as_sql(one.definition))
    connection.execute(sql_files.statement(_FILE, "forget definition"), {"ordinal": one.ordinal})


def _add(connection: database.Connection, one: _DeferredDefinition) -> None:
    connection.execute(
        sql_files.statement(_FILE, "add constraint", definition=sql_files.as_sql(one.definition), **_names(one))
    )
    connection.execute(sql_files.statement(_FILE, "constraint waits for validation"), {"ordinal": one.ordinal})


def _validate(connection: database.Connection, one: _DeferredDefinition) -> None:
    connection.execute(sql_files.statement(_FILE, "validate constraint", **_names(one)))
    connection.execute(sql_files.statement(_FILE, "forget definition"), {"ordinal": one.ordinal})


def _names(one: _DeferredDefinition) -> dict[str, sql.Composable]:
    return {"table": sql.Identifier("public", one.table), "name": sql.Identifier(one.name)}


def _kept(connection: database.Connection) -> list[_DeferredDefinition]:
    return [_DeferredDefinition(*row) for row in connection.execute(sql_files.statement(_FILE, "kept definitions"))]
