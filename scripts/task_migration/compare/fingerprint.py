"""Finds the rows that differ between the two sides, by hashes that each database computes of its own rows.

First come sums of row hashes over ranges of keys, on both sides at once; then, where a sum differs, the hashes of the
rows in that range; then, for the rows that differ, the hashes of their columns. No row's content leaves a database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql

from task_migration import progress, sql_files
from task_migration.mapping.selector import KeyRange, KeySet, Selector
from task_migration.postgres import database
from task_migration.sync.converge import REFUSED, Flow
from task_migration.sync.table_shape import Shape

_FILE = "compare/fingerprint.sql"
RANGE_KEYS = 200_000
BUCKET_KEYS = 20_000
KEYS_AT_ONCE = 1000

HashForm = Literal["record", "text"]
Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True)
class TableComparison:
    """The result for one table: rows on each side, and the keys of the rows that differ, with how they differ."""

    laravel_rows: int
    task_service_rows: int
    differing: dict[int, Kind]


@dataclass(frozen=True)
class _SideRows:
    """One side: its connection, and its rows of a selector."""

    connection: database.Connection
    rows: Callable[[Selector], sql.Composed]


def hash_form(laravel: database.Connection, task_service: database.Connection) -> HashForm:
    """Returns the fast form if both servers have it and agree on it, else the one over the row's text."""
    probes = []
    for connection in (laravel, task_service):
        if not _value(connection, sql_files.statement(_FILE, "has record hash")):
            return "text"
        probes.append(_value(connection, sql_files.statement(_FILE, "probe of record hash")))
    return "record" if probes[0] == probes[1] else "text"


def compare_table(
    flow: Flow, shape: Shape, form: HashForm, listener: progress.Listener = progress.no_listener
) -> TableComparison:
    """Compares every mapped row with the stored row, in the whole table. Rows that the database refused are left
    out."""
    here, there = _both_sides(flow, shape)
    counts = [0, 0]
    differing: dict[int, Kind] = {}
    refused = refused_keys(flow.destination, shape)
    started = time.monotonic()
    after = -(2**62)
    with ThreadPoolExecutor(1) as other:
        while (low := _next_key(flow, shape, after)) is not None:
            selected = KeyRange(low, low + RANGE_KEYS * shape.mapping.chunk_width - 1)
            after = selected.high
            waiting = other.submit(_sums, there, shape, selected, form)
            mapped, stored = _sums(here, shape, selected, form), waiting.result()
            counts[0] += sum(count for count, _ in mapped.values())
            counts[1] += sum(count for count, _ in stored.values())
            for bucket in sorted(mapped.keys() | stored.keys()):
                if mapped.get(bucket) != stored.get(bucket):
                    first = low + bucket * BUCKET_KEYS
                    inside = KeyRange(first, min(selected.high, first + BUCKET_KEYS - 1))
                    differing.update(_differing(here, there, shape, inside, form))
            listener(
                progress.Progress(
                    f"comparing {shape.mapping.table}", max(counts), 0, "rows", time.monotonic() - started
                )
            )
    left = {key: kind for key, kind in differing.items() if key not in refused}
    return TableComparison(counts[0], counts[1], left)


def differing_rows(flow: Flow, shape: Shape, keys: Iterable[int], form: HashForm) -> dict[int, Kind]:
    """Returns which of these rows differ now, and how."""
    here, there = _both_sides(flow, shape)
    wanted = sorted(keys)
    differing: dict[int, Kind] = {}
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        differing.update(_differing(here, there, shape, KeySet(tuple(wanted[start : start + KEYS_AT_ONCE])), form))
    return differing


def differing_columns(flow: Flow, shape: Shape, keys: Iterable[int]) -> dict[int, list[str]]:
    """Returns the columns in which these rows differ, for rows that are on both sides."""
    here, there = _both_sides(flow, shape)
    wanted = sorted(keys)
    found: dict[int, list[str]] = {}
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        selected = KeySet(tuple(wanted[start : start + KEYS_AT_ONCE]))
        mapped, stored = _column_hashes(here, shape, selected), _column_hashes(there, shape, selected)
        for key in mapped.keys() & stored.keys():
            found[key] = [
                column.name
                for column, one, other in zip(shape.columns, mapped[key], stored[key], strict=True)
                if one != other
            ]
    return found


def refused_keys(task_service: database.Connection, shape: Shape) -> set[int]:
    """Returns the keys of rows that the Task Service's database refused: they are in quarantine and cannot be equal."""
    found = task_service.execute(
        sql_files.statement(_FILE, "refused keys"),
        {"table_name": shape.mapping.table, "kinds": list(REFUSED)},
    )
    return {key for (key,) in found}


def _both_sides(flow: Flow, shape: Shape) -> tuple[_SideRows, _SideRows]:
    return _SideRows(flow.origin, shape.mapped_rows), _SideRows(flow.destination, shape.stored_rows)


def _sums(side: _SideRows, shape: Shape, selected: KeyRange, form: HashForm) -> dict[int, tuple[int, Any]]:
    statement = sql_files.statement(
        _FILE,
        f"of ranges, {form}",
        key=shape.key,
        low=sql.Literal(selected.low),
        width=sql.Literal(BUCKET_KEYS),
        rows=side.rows(selected),
    )
    return {bucket: (count, hashed) for bucket, count, hashed in side.connection.execute(statement)}


def _row_hashes(side: _SideRows, shape: Shape, selector: Selector, form: HashForm) -> dict[int, int]:
    statement = sql_files.statement(_FILE, f"of rows, {form}", key=shape.key, rows=side.rows(selector))
    return dict(side.connection.execute(statement).fetchall())


def _differing(here: _SideRows, there: _SideRows, shape: Shape, selector: Selector, form: HashForm) -> dict[int, Kind]:
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(_row_hashes, there, shape, selector, form)
        mapped, stored = _row_hashes(here, shape, selector, form), waiting.result()
    differing: dict[int, Kind] = {}
    for key in mapped.keys() | stored.keys():
        if key not in stored:
            differing[key] = "missing"
        elif key not in mapped:
            differing[key] = "extra"
        elif mapped[key] != stored[key]:
            differing[key] = "different"
    return differing


def _column_hashes(side: _SideRows, shape: Shape, selector: Selector) -> dict[int, list[int | None]]:
    hashes = sql.SQL(", ").join(
        sql_files.statement(_FILE, "of a column", column=sql.Identifier(column.name)) for column in shape.columns
    )
    statement = sql_files.statement(_FILE, "of columns", key=shape.key, hashes=hashes, rows=side.rows(selector))
    return dict(side.connection.execute(statement).fetchall())


def _next_key(flow: Flow, shape: Shape, after: int) -> int | None:
    """Returns the lowest key above ``after`` on either side, so that gaps in the ids cost nothing."""
    base = (sql.Identifier("public", shape.mapping.base_table), sql.Identifier(shape.mapping.base_column))
    keys = [
        _value(
            connection,
            sql_files.statement(_FILE, "next key", table=table, column=column),
            {"after": after},
        )
        for connection, (table, column) in ((flow.origin, base), (flow.destination, (shape.table, shape.key)))
    ]
    return min((key for key in keys if key is not None), default=None)


def _value(connection: database.Connection, statement: sql.Composed, parameters: dict[str, int] | None = None) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]
