"""The copy's ledger, in the Task Service's database: which key ranges of which table are planned, and which are copied.

A range's row says "copied" in the transaction that copies it, so what a killed run leaves is known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import sql

from task_migration import database, deferral, queries
from task_migration.converge import Flow
from task_migration.errors import Refused
from task_migration.mapping import Mapping
from task_migration.selector import KeyRange
from task_migration.shape import Shape

_FILE = "chunks.sql"


@dataclass(frozen=True)
class Chunk:
    """A planned range of one table; ``rows`` of its base table fall into it, as far as is known."""

    table: str
    range: KeyRange
    rows: int


def planned(flow: Flow, width: int) -> deque[Chunk]:
    """The ranges that are still to be copied, planned first if nobody has. Raises Refused for a foreign target."""
    ledger = flow.destination.execute(queries.statement(_FILE, "chunks")).fetchall()
    planned = {table for table, _, _, _ in ledger}
    with flow.destination.transaction():
        new = [shape for shape in flow.shapes if shape.mapping.table not in planned]
        _refuse_foreign_rows(flow, new)
        ranges_of: dict[str, list[Chunk]] = {}
        for shape in new:
            base = shape.mapping.base_table
            if base not in ranges_of:
                ranges_of[base] = _ranges(flow.origin, shape.mapping, width)
            for chunk in ranges_of[base]:
                flow.destination.execute(
                    queries.statement(_FILE, "plan chunk"),
                    {"table_name": shape.mapping.table, "low": chunk.range.low, "high": chunk.range.high},
                )
        if new:
            deferral.take_off(flow.destination, [shape.mapping.table for shape in new])
            deferral.owe_quarantine(flow.destination, [shape.mapping.table for shape in new])
    if new:
        chunks = [replace(chunk, table=s.mapping.table) for s in new for chunk in ranges_of[s.mapping.base_table]]
    else:
        chunks = []
    order = {shape.mapping.table: place for place, shape in enumerate(flow.shapes)}
    left = [
        Chunk(table, KeyRange(low, high), high - low + 1) for table, low, high, state in ledger if state == "planned"
    ]
    return deque(sorted(left + chunks, key=lambda chunk: (order[chunk.table], chunk.range.low)))


def _refuse_foreign_rows(flow: Flow, shapes: list[Shape]) -> None:
    holding = [shape.mapping.table for shape in shapes if holds_rows(flow.destination, shape.mapping.table)]
    if holding:
        raise Refused(
            "the Task Service's tables are not empty, and no copy of ours filled them",
            measured=f"rows in {', '.join(holding)}",
            allowed="empty tables, or tables that an interrupted copy left",
            next_step="look whose rows they are; ansible-playbook rollback-2.1.yml takes the whole target away",
        )


def _ranges(laravel: database.Connection, mapping: Mapping, width: int) -> list[Chunk]:
    """Ranges of about ``width`` rows of the base table, side by side from its first id to its last."""
    buckets = laravel.execute(
        queries.statement(
            _FILE,
            "rows by key",
            column=sql.Identifier(mapping.base_column),
            table=sql.Identifier("public", mapping.base_table),
        ),
        {"width": width},
    ).fetchall()
    chunks: list[Chunk] = []
    for bucket, rows in buckets:
        high = (bucket + 1) * width - 1
        if chunks and chunks[-1].rows + rows <= width:
            last = chunks[-1]
            chunks[-1] = Chunk("", KeyRange(last.range.low, high), last.rows + rows)
        else:
            low = chunks[-1].range.high + 1 if chunks else bucket * width
            chunks.append(Chunk("", KeyRange(low, high), rows))
    return chunks or [Chunk("", KeyRange(0, 0), 0)]


def cut(task_service: database.Connection, chunk: Chunk, keys: int) -> tuple[Chunk, Chunk]:
    """Two chunks in the place of a planned one, the first with so many keys."""
    last = chunk.range.low + keys - 1
    share = keys / (chunk.range.high - chunk.range.low + 1)
    first = Chunk(chunk.table, KeyRange(chunk.range.low, last), max(1, int(chunk.rows * share)))
    second = Chunk(chunk.table, KeyRange(last + 1, chunk.range.high), chunk.rows - first.rows)
    with task_service.transaction():
        for name, part in (("shorten chunk", first), ("plan chunk", second)):
            task_service.execute(
                queries.statement(_FILE, name),
                {"table_name": part.table, "low": part.range.low, "high": part.range.high},
            )
    return first, second


def mark_copied(task_service: database.Connection, chunk: Chunk, rows: int, seconds: float) -> None:
    """Says in the caller's transaction that a chunk is copied: ``rows`` in ``seconds``."""
    task_service.execute(
        queries.statement(_FILE, "mark copied"),
        {"table_name": chunk.table, "low": chunk.range.low, "rows_copied": rows, "seconds": seconds},
    )


def copied_keys(task_service: database.Connection, table: str) -> KeyRange | None:
    """From the first key to the last that the chunks of a table cover; None if there are none."""
    row = task_service.execute(queries.statement(_FILE, "copied keys"), {"table": table}).fetchone()
    return KeyRange(*row) if row else None


def finished_at(task_service: database.Connection) -> datetime | None:
    """When the copy was complete; None if there is none or it is not complete."""
    if not _value(task_service, queries.statement(_FILE, "ledger exists")):
        return None
    finished: datetime | None = _value(task_service, queries.statement(_FILE, "finished at"))
    return finished


def holds_rows(task_service: database.Connection, table: str) -> bool:
    """Whether there is such a table of the Task Service with a row in it."""
    if not _value(task_service, queries.statement(_FILE, "table exists"), table=table):
        return False
    statement = queries.statement(_FILE, "holds rows", table=sql.Identifier("public", table))
    return bool(_value(task_service, statement))


def is_planned(task_service: database.Connection, table: str) -> bool:
    """Whether a copy of ours has begun to fill this table."""
    if not _value(task_service, queries.statement(_FILE, "ledger exists")):
        return False
    return bool(_value(task_service, queries.statement(_FILE, "is planned"), table=table))


def _value(connection: database.Connection, statement: sql.Composed, **parameters: str) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]
