"""Row accounts: expected rows = copied + quarantined + in flight, with nothing left over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Failed
from task_migration.mapping.table_mapping import Mapping, mappings
from task_migration.postgres import database
from task_migration.sync import change_log
from task_migration.sync.drain import pending_keys

_FILE = "prepare/row_accounts.sql"


@dataclass(frozen=True)
class Account:
    """The account of one table, in rows: ``expected`` = ``copied`` + ``quarantined`` + ``in_flight``.

    ``in_flight`` are changes of Laravel's application that are still in the change log; negative for deletes.
    """

    expected: int
    copied: int
    quarantined: int
    in_flight: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def counted(
    laravel: database.Connection, task_service: database.Connection
) -> tuple[dict[str, Account], dict[str, int]]:
    """Returns the accounts of every mapped table, both sides counted at the same time; and how many rows are in flight.

    ``in_flight`` is the difference that remains; only ``balanced`` accounts are reliable. A sync that runs at the same
    time applies rows between the two counts and removes them from the change log. Entries that were in the log before
    or after the count, and entries written in between, can explain the difference.
    """
    before = {mapping.table: pending_keys(laravel, task_service, mapping) for mapping in mappings()}
    written = _written(laravel, task_service)
    with ThreadPoolExecutor(1) as other:
        arrived = other.submit(_arrived, task_service)
        with laravel.transaction():
            expected = {mapping.table: expected_rows(laravel, mapping) for mapping in mappings()}
            there = arrived.result()
    meanwhile = _written(laravel, task_service) - written
    moving = {
        mapping.table: len(before[mapping.table] | pending_keys(laravel, task_service, mapping)) + meanwhile
        for mapping in mappings()
    }
    kept = {table: Account(rows, *there[table], rows - sum(there[table])) for table, rows in expected.items()}
    return kept, moving


def balanced(kept: dict[str, Account], on_the_way: dict[str, int]) -> dict[str, Account]:
    """Returns the accounts if the change log explains what is in flight. Raises Failed otherwise."""
    lost = {table: account for table, account in kept.items() if abs(account.in_flight) > on_the_way[table]}
    if lost:
        raise Failed(
            "rows are unaccounted for: expected is not copied + quarantined + in the change log",
            measured="; ".join(
                f"{table}: expected {account.expected}, copied {account.copied}, quarantined {account.quarantined}, "
                f"in the change log {on_the_way[table]}"
                for table, account in lost.items()
            ),
            allowed="a difference of 0",
            next_step="ansible-playbook phase-2.2-verify.yml lists the rows; then ansible-playbook reconcile.yml",
        )
    return kept


def expected_rows(laravel: database.Connection, mapping: Mapping) -> int:
    """Returns how many rows of this table the plan moves."""
    row = laravel.execute(sql_files.statement(_FILE, "candidates", candidates=mapping.candidates())).fetchone()
    return int(row[0]) if row else 0


def quarantine_by_kind(task_service: database.Connection) -> list[dict[str, Any]]:
    """Returns ``kind``, ``held_back``, ``count`` and ``sample_keys`` ("tasks 17") of the rows in quarantine."""
    return [
        {"kind": kind, "held_back": held_back, "count": count, "sample_keys": list(keys)}
        for kind, held_back, count, keys in task_service.execute(sql_files.statement(_FILE, "quarantine by kind"))
    ]


def _written(laravel: database.Connection, task_service: database.Connection) -> int:
    """Returns how many entries were ever written to both change logs."""
    return sum(change_log.total_written(side) for side in (laravel, task_service) if change_log.exists(side))


def _arrived(task_service: database.Connection) -> dict[str, tuple[int, int]]:
    """Returns for each table the number of stored rows and of rows that are held back."""
    there = {}
    with task_service.transaction():
        for mapping in mappings():
            table = sql.Identifier("public", mapping.table)
            only = sql_files.as_sql(mapping.destination_only)
            stored = task_service.execute(
                sql_files.statement(_FILE, "stored", table=table, destination_only=only)
            ).fetchone()
            held = task_service.execute(
                sql_files.statement(_FILE, "held back", table=table, key=sql.Identifier(mapping.key)),
                {"table_name": mapping.table},
            ).fetchone()
            assert stored is not None
            assert held is not None
            there[mapping.table] = (int(stored[0]), int(held[0]))
    return there
