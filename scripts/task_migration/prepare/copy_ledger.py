"""The copy's ledger, in the Task Service's database: the planned and the copied key ranges of each table.

A range is marked as copied in the transaction that copies it, so the state after a killed run is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.mapping.selector import KeyRange
from task_migration.mapping.table_mapping import Mapping
from task_migration.postgres import database
from task_migration.prepare import deferred_indexes
from task_migration.sync.converge import Flow

_FILE = "prepare/copy_ledger.sql"


@dataclass(frozen=True)
class Chunk:
    """A planned range of one table; ``rows`` is the number of rows of its base table in it when it was planned."""

    table: str
    range: KeyRange
    rows: int


def plan(flow: Flow, width: int) -> bool:
    """Plans the ranges of the tables without a plan; returns whether any range still has to be copied.

    The work deferred to the end of the load is recorded in the same transaction. Raises Refused if the target has rows
    that the runbook did not copy.
    """
    planned = {table for (table,) in flow.destination.execute(sql_files.statement(_FILE, "planned tables"))}
    new = [shape.mapping for shape in flow.shapes if shape.mapping.table not in planned]
    if new:
        _refuse_foreign_rows(flow.destination, new)
        bases = {(mapping.base_table, mapping.chunk_width): mapping for mapping in new}
        ranges_of = {
            base: _ranges(flow.origin, mapping, width * mapping.chunk_width) for base, mapping in bases.items()
        }
        tables = [mapping.table for mapping in new]
        with flow.destination.transaction():
            for mapping in new:
                for planned_range, rows in ranges_of[mapping.base_table, mapping.chunk_width]:
                    _add(flow.destination, Chunk(mapping.table, planned_range, rows))
            deferred_indexes.take_off(flow.destination, tables)
            deferred_indexes.owe_quarantine(flow.destination, tables)
    return is_any_planned(flow.destination)


def is_any_planned(task_service: database.Connection) -> bool:
    """Returns whether any range still has to be copied."""
    return bool(_value(task_service, sql_files.statement(_FILE, "is any planned")))


def claim(task_service: database.Connection, tables: Sequence[str]) -> Chunk | None:
    """Returns the next planned chunk that no other worker has, locked until the caller's transaction ends; or None.

    ``tables`` is the order in which tables are copied.
    """
    row = task_service.execute(sql_files.statement(_FILE, "claim chunk"), {"tables": list(tables)}).fetchone()
    return Chunk(row[0], KeyRange(row[1], row[2]), row[3]) if row else None


def how_far(task_service: database.Connection) -> tuple[int, int]:
    """Returns how many planned rows are copied, and the number of all planned rows."""
    row = task_service.execute(sql_files.statement(_FILE, "how far")).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _refuse_foreign_rows(task_service: database.Connection, new: Sequence[Mapping]) -> None:
    holding = [mapping.table for mapping in new if holds_rows(task_service, mapping.table)]
    if holding:
        raise Refused(
            "the Task Service's tables contain rows that the runbook did not copy",
            measured=f"rows in {', '.join(holding)}",
            allowed="empty tables, or tables of an interrupted copy",
            next_step="find out who wrote these rows; to remove the whole target: ansible-playbook rollback-2.1.yml",
        )


def _ranges(laravel: database.Connection, mapping: Mapping, width: int) -> list[tuple[KeyRange, int]]:
    """Returns adjacent ranges of about ``width`` rows of the base table, from its first to its last id, with counts."""
    buckets = laravel.execute(
        sql_files.statement(
            _FILE,
            "rows by key",
            column=sql.Identifier(mapping.base_column),
            table=sql.Identifier("public", mapping.base_table),
        ),
        {"width": width},
    ).fetchall()
    found: list[tuple[KeyRange, int]] = []
    for bucket, rows in buckets:
        low, high = bucket * width, (bucket + 1) * width - 1
        if found and found[-1][1] + rows <= width:
            last, before = found.pop()
            found.append((KeyRange(last.low, high), before + rows))
        else:
            found.append((KeyRange(found[-1][0].high + 1 if found else low, high), rows))
    return found or [(KeyRange(0, 0), 0)]


def _add(task_service: database.Connection, chunk: Chunk) -> None:
    task_service.execute(sql_files.statement(_FILE, "plan chunk"), _parameters(chunk))


def cut(task_service: database.Connection, chunk: Chunk, keys: int) -> Chunk:
    """Splits a claimed chunk: returns its first ``keys`` keys; the rest becomes a planned chunk at commit."""
    last = chunk.range.low + keys - 1
    share = keys / (chunk.range.high - chunk.range.low + 1)
    first = Chunk(chunk.table, KeyRange(chunk.range.low, last), max(1, int(chunk.rows * share)))
    task_service.execute(sql_files.statement(_FILE, "shorten chunk"), _parameters(first))
    _add(task_service, Chunk(chunk.table, KeyRange(last + 1, chunk.range.high), max(0, chunk.rows - first.rows)))
    return first


def _parameters(chunk: Chunk) -> dict[str, str | int]:
    return {
        "table_name": chunk.table,
        "low": chunk.range.low,
        "high": chunk.range.high,
        "rows_planned": chunk.rows,
    }


def mark_copied(task_service: database.Connection, chunk: Chunk, rows: int, seconds: float) -> None:
    """Marks a chunk as copied, in the caller's transaction: ``rows`` in ``seconds``."""
    task_service.execute(
        sql_files.statement(_FILE, "mark copied"),
        {"table_name": chunk.table, "low": chunk.range.low, "rows_copied": rows, "seconds": seconds},
    )


def copied_keys(task_service: database.Connection, table: str) -> KeyRange | None:
    """Returns the range from the first to the last key of a table's chunks; None if there are none."""
    row = task_service.execute(sql_files.statement(_FILE, "copied keys"), {"table": table}).fetchone()
    return KeyRange(*row) if row else None


def finished_at(task_service: database.Connection) -> datetime | None:
    """Returns when the copy was completed; None if there is no copy or it is not complete."""
    if not _value(task_service, sql_files.statement(_FILE, "ledger exists")):
        return None
    finished: datetime | None = _value(task_service, sql_files.statement(_FILE, "finished at"))
    return finished


def holds_rows(task_service: database.Connection, table: str) -> bool:
    """Returns whether this table of the Task Service exists and has a row."""
    if not _value(task_service, sql_files.statement(_FILE, "table exists"), table=table):
        return False
    statement = sql_files.statement(_FILE, "holds rows", table=sql.Identifier("public", table))
    return bool(_value(task_service, statement))


def is_planned(task_service: database.Connection, table: str) -> bool:
    """Returns whether the ledger has a plan for this table."""
    if not _value(task_service, sql_files.statement(_FILE, "ledger exists")):
        return False
    return bool(_value(task_service, sql_files.statement(_FILE, "is planned"), table=table))


def _value(connection: database.Connection, statement: sql.Composed, **parameters: str) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]
