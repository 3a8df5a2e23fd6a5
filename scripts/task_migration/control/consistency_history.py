"""The results of the consistency checks, one row each, in Laravel's database. Gates, the watch and status use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from task_migration import sql_files
from task_migration.control import journal
from task_migration.postgres import database, grants

_FILE = "control/consistency_history.sql"


@dataclass(frozen=True)
class Check:
    """One check. ``passed`` is None if it could not run; ``seconds`` is how long it took, ``age_seconds`` how long ago
    it ended, by the clock of Laravel's database."""

    at: datetime
    passed: bool | None
    seconds: float
    differences: int
    change_log_length: int
    details: dict[str, Any]
    age_seconds: float

    @property
    def word(self) -> str:
        return {True: "passed", False: "failed", None: "could not run"}[self.passed]

    @property
    def reasons(self) -> str:
        return "; ".join(self.details.get("reasons", []))


def newest(laravel: database.Connection) -> Check | None:
    """Returns the last check; None if there was none."""
    if not _there(laravel):
        return None
    with laravel.cursor(row_factory=class_row(Check)) as cursor:
        return cursor.execute(sql_files.statement(_FILE, "newest")).fetchone()


def last_result(laravel: database.Connection) -> tuple[str, float | None]:
    """Returns the last result ("" if there is none), and how many seconds ago an alert about a failure was sent."""
    row = laravel.execute(sql_files.statement(_FILE, "last_result")).fetchone() if _there(laravel) else None
    if row is None:
        return "", None
    return {True: "passed", False: "failed", None: "could not run"}[row[0]], row[1]


def keep(
    laravel: database.Connection,
    *,
    passed: bool | None,
    seconds: float,
    differences: int,
    keys: Sequence[str],
    change_log_length: int,
    alerted: bool,
    details: Mapping[str, Any],
) -> None:
    """Adds one row, and creates the table on first use. ``keys`` are tables and keys, never a row's content."""
    if not _there(laravel):
        journal.ensure(laravel)
        with database.for_purpose(laravel, "making the checks' table") as owner, owner.transaction():
            owner.execute(sql_files.statement(_FILE, "create consistency"))
            grants.give(owner)
    laravel.execute(
        sql_files.statement(_FILE, "keep"),
        {
            "passed": passed,
            "seconds": seconds,
            "differences": differences,
            "keys": list(keys),
            "change_log_length": change_log_length,
            "alerted": alerted,
            "details": Jsonb(dict(details)),
        },
    )


def _there(laravel: database.Connection) -> bool:
    row = laravel.execute(sql_files.statement(_FILE, "there")).fetchone()
    return bool(row and row[0])
