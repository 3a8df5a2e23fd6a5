"""The tables that the sync keeps in either database: lanes, conflicts, quarantine."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from task_migration import sql_files
from task_migration.postgres import database

FILE = "sync/sync_tables.sql"
TABLES = ("quarantine", "lane", "conflict")


def missing(connection: database.Connection) -> list[str]:
    """Those that are not there."""
    return [table for table in TABLES if not _exists(connection, table)]


def dead_letters(connection: database.Connection, signed_off: Iterable[str]) -> dict[str, int]:
    """How many rows could not cross into this database, by kind, but for those that are signed off; none where no sync
    ever was."""
    if "quarantine" in missing(connection):
        return {}
    asked = connection.execute(
        sql_files.statement("report/sync_report.sql", "dead letters"), {"signed_off": list(signed_off)}
    )
    return {str(kind): int(count) for kind, count, _ in asked}


def make(connection: database.Connection) -> None:
    """Makes those that are not there; the schema task_migration is."""
    for table in missing(connection):
        connection.execute(sql_files.statement(FILE, f"create {table}"))


def drop(connection: database.Connection) -> None:
    """Drops them; conflicts stay as long as there are any: they are all that is left of a write that gave way."""
    for table in TABLES:
        name = sql.Identifier("task_migration", table)
        if not _exists(connection, table):
            continue
        row = connection.execute(sql_files.statement(FILE, "is empty", table=name)).fetchone()
        if table != "conflict" or (row and row[0]):
            connection.execute(sql_files.statement(FILE, "drop", table=name))


def _exists(connection: database.Connection, table: str) -> bool:
    row = connection.execute(sql_files.statement(FILE, "exists"), {"table": table}).fetchone()
    return bool(row and row[0])
