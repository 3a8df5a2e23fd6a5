"""Compares the tables of both databases with the tables that the mappings were written for."""

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
"""The mappings do not distinguish Laravel's timestamp(0) from timestamp."""


def columns(connection: database.Connection, tables: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the columns of these tables of schema public, with their types as PostgreSQL formats them."""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in connection.execute(
        sql_files.statement("postgres/schema_drift.sql", "columns of tables"), {"tables": list(tables)}
    ):
        found.setdefault(table, {})[column] = _PRECISION_OF_TIME.sub("", type_)
    return found


def drift(laravel: database.Connection) -> list[str]:
    """Returns how Laravel's tables differ from the column ledger, a few words each; none if every column is known."""
    declared = ledger()
    found = columns(laravel, list(declared))
    differences = []
    for table, known in declared.items():
        there = found.get(table)
        if there is None:
            differences.append(f"table {table} does not exist")
            continue
        differences += [f"{table}.{column} {there[column]} is new" for column in sorted(there.keys() - known.keys())]
        differences += [f"{table}.{column} no longer exists" for column in sorted(known.keys() - there.keys())]
        differences += [
            f"{table}.{column} is {there[column]}, was {known[column].type}"
            for column in sorted(there.keys() & known.keys())
            if there[column] != known[column].type
        ]
    return differences


def require_known_columns(laravel: database.Connection) -> None:
    """Raises Refused if a column of Laravel's is not in the ledger, no longer exists, or has another type."""
    if differences := drift(laravel):
        raise Refused(
            "Laravel's tables have changed since the mappings were written",
            measured="; ".join(differences),
            allowed=f"every column in the ledger of {mapping_directory.described('mapping')}/",
            next_step="add the column to the ledger there as moved, derived or kept, then run the same command again",
        )


def schema_fingerprint(laravel: database.Connection, task_service: database.Connection) -> str:
    """Returns a fingerprint that changes with any table of either side or any mapping: a verdict is valid for one."""
    tables = [mapping.table for mapping in mappings()]
    seen = {
        "laravel": columns(laravel, list(ledger())),
        "task_service": columns(task_service, tables),
        "mappings": [dict(mapping.blocks) for mapping in mappings()],
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]
