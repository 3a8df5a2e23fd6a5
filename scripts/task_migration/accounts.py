"""Row accounting: what the plan moves, what arrived, what is held back, what is on its way; nothing is left over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from task_migration import change_log, database, queries
from task_migration.errors import Failed
from task_migration.mapping import Mapping, mappings

_FILE = "accounts.sql"


@dataclass(frozen=True)
class Account:
    """One table, in rows: ``expected`` = ``copied`` + ``quarantined`` + ``in_flight``.

    ``in_flight`` rows are changes that Laravel's application made and the change log still holds; negative for deletes.
    """

    expected: int
    copied: int
    quarantined: int
    in_flight: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def accounts(laravel: database.Connection, task_service: database.Connection) -> dict[str, Account]:
    """The accounts of every mapped table, both sides counted at the same time.

    Raises Failed if rows are left over that no entry of the change log explains.
    """
    with ThreadPoolExecutor(1) as other:
        arrived = other.submit(_arrived, task_service)
        with laravel.transaction():
            expected = {mapping.table: expected_rows(laravel, mapping) for mapping in mappings()}
            pending = change_log.length(laravel)
        counted = arrived.result()
    kept = {table: Account(expected[table], *counted[table]) for table in expected}
    left_over = {table: account.expected - account.copied - account.quarantined for table, account in kept.items()}
    lost = {table: rows for table, rows in left_over.items() if rows and not pending}
    if lost:
        raise Failed(
            "rows are unaccounted for: expected is not copied + quarantined",
            measured="; ".join(
                f"{table}: expected {kept[table].expected}, copied {kept[table].copied}, "
                f"quarantined {kept[table].quarantined}"
                for table in lost
            ),
            allowed="a difference of 0",
            next_step="ansible-playbook phase-2.2-verify.yml names the rows; ansible-playbook reconcile.yml mends them",
        )
    return {
        table: Account(account.expected, account.copied, account.quarantined, left_over[table])
        for table, account in kept.items()
    }


def expected_rows(laravel: database.Connection, mapping: Mapping) -> int:
    """How many rows of this table the plan moves."""
    row = laravel.execute(queries.statement(_FILE, "candidates", candidates=mapping.candidates())).fetchone()
    return int(row[0]) if row else 0


def quarantine_by_kind(task_service: database.Connection) -> list[dict[str, Any]]:
    """``kind``, ``held_back``, ``count`` and ``sample_keys`` ("tasks 17") of what is in quarantine."""
    return [
        {"kind": kind, "held_back": held_back, "count": count, "sample_keys": list(keys)}
        for kind, held_back, count, keys in task_service.execute(queries.statement(_FILE, "quarantine by kind"))
    ]


def _arrived(task_service: database.Connection) -> dict[str, tuple[int, int]]:
    """For each table the rows that are there and the rows that are held back."""
    counted = {}
    with task_service.transaction():
        for mapping in mappings():
            table = sql.Identifier("public", mapping.table)
            stored = task_service.execute(queries.statement(_FILE, "stored", table=table)).fetchone()
            held = task_service.execute(queries.statement(_FILE, "held back"), {"table_name": mapping.table}).fetchone()
            assert stored is not None
            assert held is not None
            counted[mapping.table] = (int(stored[0]), int(held[0]))
    return counted
