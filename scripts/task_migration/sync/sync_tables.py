"""The tables that the sync needs in each database: lanes, conflicts, quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from task_migration import sql_files
from task_migration.postgres import database

FILE = "sync/sync_tables.sql"
TABLES = ("quarantine", "lane", "conflict")


@dataclass(frozen=True)
class DeadLetters:
    """The rows of one kind that are held back; ``newest`` names up to five of them ("tasks 17")."""

    kind: str
    rows: int
    newest: tuple[str, ...]


def missing(connection: database.Connection) -> list[str]:
    """Returns the tables that do not exist."""
    return [table for table in TABLES if not _exists(connection, table)]


def dead_letters_by_kind(connection: database.Connection, signed_off: Iterable[str]) -> list[DeadLetters]:
    """Returns the rows that cannot be migrated into this database, without the kinds that are signed off.

    Empty where no sync ever ran.
    """
    if "quarantine" in missing(connection):
        return []
    rows = connection.execute(sql_files.statement(FILE, "dead letters"), {"signed_off": list(signed_off)})
    return [DeadLetters(str(kind), int(count), tuple(newest)) for kind, count, newest in rows]


def dead_letters(connection: database.Connection, signed_off: Iterable[str]) -> dict[str, int]:
    """Returns how many rows of each kind cannot be migrated into this database, without the signed off kinds."""
    return {one.kind: one.rows for one in dead_letters_by_kind(connection, signed_off)}


def conflicts_by_winner(connection: database.Connection) -> dict[str, int]:
    """Returns how many conflicts each side has won, of those recorded in this database."""
    return {
        str(winner): int(count)
        for winner, count in connection.execute(sql_files.statement(FILE, "conflicts by winner"))
    }


def make(connection: database.Connection) -> None:
    """Creates the missing tables. The schema task_migration must exist."""
    for table in missing(connection):
        connection.execute(sql_files.statement(FILE, f"create {table}"))


def drop(connection: database.Connection) -> None:
    """Drops the tables. A conflict table with rows remains: they are the only record of the writes that lost."""
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
