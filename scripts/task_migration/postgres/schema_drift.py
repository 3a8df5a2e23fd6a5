"""What the two databases' tables look like now, held against what the mappings were written for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.table_mapping import ledger, mappings
from task_migration.postgres import database

_PRECISION_OF_TIME = re.compile(r"(?<=timestamp)\(\d\)")
"""Laravel's timestamp(0) and a plain timestamp are the same to the mappings."""


def columns(connection: database.Connection, tables: Sequence[str]) -> dict[str, dict[str, str]]:
    """The columns of these tables of schema public, with their types as PostgreSQL writes them."""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in connection.execute(
        sql_files.statement("postgres/schema_drift.sql", "columns of tables"), {"tables": list(tables)}
    ):
        found.setdefault(table, {})[column] = _PRECISION_OF_TIME.sub("", type_)
    return found


def drift(laravel: database.Connection) -> list[str]:
    """How Laravel's tables differ from the column ledger, a few words each; none when the mappings know all."""
    written = ledger()
    found = columns(laravel, list(written))
    said = []
    for table, known in written.items():
        there = found.get(table)
        if there is None:
            said.append(f"table {table} is not there")
            continue
        said += [f"{table}.{column} {there[column]} is new" for column in sorted(there.keys() - known.keys())]
        said += [f"{table}.{column} is gone" for column in sorted(known.keys() - there.keys())]
        said += [
            f"{table}.{column} is {there[column]}, was {known[column].type}"
            for column in sorted(there.keys() & known.keys())
            if there[column] != known[column].type
        ]
    return said


def require_known_columns(laravel: database.Connection) -> None:
    """Raises Refused if a column of Laravel's is in no ledger, is gone, or has another type."""
    if said := drift(laravel):
        raise Refused(
            "Laravel's tables are not those that the mappings were written for",
            measured="; ".join(said),
            allowed=f"every column in the ledger of {mapping_directory.described('mapping')}/",
            next_step="say there what becomes of the column, moved, derived or kept, then run the same command again",
        )


def schema_fingerprint(laravel: database.Connection, task_service: database.Connection) -> str:
    """Changes when a table of either side or a mapping changes: a verdict holds for one fingerprint."""
    tables = [mapping.table for mapping in mappings()]
    seen = {
        "laravel": columns(laravel, list(ledger())),
        "task_service": columns(task_service, tables),
        "mappings": [dict(mapping.blocks) for mapping in mappings()],
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]
