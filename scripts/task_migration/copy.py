"""The bulk copy: key ranges, each in one transaction with its row in the ledger, some at a time.

It can be killed anywhere: what the ledger calls copied is there, and nothing else is. What changes in Laravel after its
range was read is on the change log, so no long transaction and no common snapshot is asked of production.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from task_migration import capture, change_log, database, deferral, lock, progress, queries
from task_migration.accounts import balanced, counted, expected_rows
from task_migration.converge import PARENT_REFUSED, REFUSED_BY_DATABASE, Flow, converge, forward, quarantine
from task_migration.drain import drain_all
from task_migration.errors import MigrationError, Refused
from task_migration.mapping import Mapping, mappings
from task_migration.outcome import Outcome
from task_migration.selector import KeyRange, ranges
from task_migration.shape import Shape

_FILE = "copy.sql"
BUSY_PAUSE_SECONDS = 1.0
QUARANTINE_KEYS = 2_000_000
FEWEST_KEYS = 500
"""No chunk is cut shorter: its own transaction would cost more than its rows."""


@dataclass(frozen=True)
class _Chunk:
    """A planned range of one table; ``rows`` of its base table fall into it, as far as is known."""

    table: str
    range: KeyRange
    rows: int


@dataclass
class _Work:
    """What the workers share; every access is under ``guard``."""

    chunks: deque[_Chunk]
    total_rows: int
    listener: progress.Listener
    started: float = field(default_factory=time.monotonic)
    done_rows: int = 0
    stopped: bool = False
    rows_per_second: dict[str, float] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, note: str = "") -> None:
        self.listener(
            progress.Progress("copying", self.done_rows, self.total_rows, "rows", time.monotonic() - self.started, note)
        )


def copy(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    copy_workers: int = 2,
    copy_chunk_keys: int = 100_000,
    copy_chunk_seconds: float = 30,
    copy_max_laravel_load: int = 0,
    check: bool = False,
    listener: progress.Listener = progress.nobody,
) -> Outcome:
    """Copies every row that maps into the Task Service's tables, or goes on where an earlier run stopped.

    ``copy_workers`` ranges of ``copy_chunk_keys`` ids run at a time; a range that would take longer than
    ``copy_chunk_seconds`` is cut; no range begins while more than ``copy_max_laravel_load`` other sessions are active
    on Laravel's database (0: no limit). Details: ``tables``, an account of each. Raises Refused without capture, or if
    the target holds rows that no copy of ours put there; Failed when a side fails on the way.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    with database.said(laravel), database.connect(laravel, "copy") as origin:
        if check:
            return _predicted(origin, task_service)
        capture.require(origin)
        with (
            lock.mutating(laravel, "copy"),
            database.said(task_service),
            database.connect(task_service, "copy") as destination,
        ):
            flow = forward(origin, destination)
            chunks = _planned(flow, copy_chunk_keys)
            work = _Work(chunks, sum(chunk.rows for chunk in chunks), listener)
            limits = _Limits(copy_chunk_seconds, copy_max_laravel_load)
            changed = bool(chunks) or deferral.owed(destination) > 0
            if chunks:
                _run(work, flow.shapes, laravel, task_service, max(1, copy_workers), limits)
            if changed:
                _finish(flow, task_service, max(1, copy_workers), work)
            kept = balanced(*counted(origin, destination))
    return Outcome(
        changed=changed,
        message=f"copy: {_said(kept)}" + ("" if changed else "; nothing was left to copy"),
        details={"tables": {table: account.as_dict() for table, account in kept.items()}},
        lines=tuple(
            f"{table}: expected {a.expected} = copied {a.copied} + quarantined {a.quarantined}"
            f" + in flight {a.in_flight}"
            for table, a in kept.items()
        ),
    )


@dataclass(frozen=True)
class _Limits:
    chunk_seconds: float
    laravel_load: int


def finished_at(task_service: database.Connection) -> Any:
    """When the copy was complete (a datetime); None if there is none or it is not complete."""
    if not _value(task_service, queries.statement(_FILE, "ledger exists")):
        return None
    return _value(task_service, queries.statement(_FILE, "finished at"))


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


def _said(kept: dict[str, Any]) -> str:
    return (
        f"expected {sum(a.expected for a in kept.values())} rows = copied {sum(a.copied for a in kept.values())}"
        f" + quarantined {sum(a.quarantined for a in kept.values())}"
        f" + in flight {sum(a.in_flight for a in kept.values())}"
    )


def _predicted(origin: database.Connection, task_service: database.Side) -> Outcome:
    """What a run would do, also when the target is not there yet."""
    left = {mapping.table for mapping in mappings()}
    try:
        with database.connect(task_service, "copy check") as destination:
            if finished_at(destination) is not None:
                left = set()
    except MigrationError:
        pass  # no target yet: everything is to be copied
    if not left:
        return Outcome(False, "copy: complete, nothing would be copied")
    rows = {mapping.table: expected_rows(origin, mapping) for mapping in mappings()}
    return Outcome(
        True,
        f"copy: would move or quarantine {sum(rows.values())} rows",
        {"tables": {table: {"expected": count} for table, count in rows.items()}},
    )


def _planned(flow: Flow, width: int) -> deque[_Chunk]:
    """The ranges that are still to be copied, planned first if nobody has. Raises Refused for a foreign target."""
    ledger = flow.destination.execute(queries.statement(_FILE, "chunks")).fetchall()
    planned = {table for table, _, _, _ in ledger}
    with flow.destination.transaction():
        new = [shape for shape in flow.shapes if shape.mapping.table not in planned]
        _refuse_foreign_rows(flow, new)
        ranges_of: dict[str, list[_Chunk]] = {}
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
        _Chunk(table, KeyRange(low, high), high - low + 1) for table, low, high, state in ledger if state == "planned"
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


def _ranges(laravel: database.Connection, mapping: Mapping, width: int) -> list[_Chunk]:
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
    chunks: list[_Chunk] = []
    for bucket, rows in buckets:
        high = (bucket + 1) * width - 1
        if chunks and chunks[-1].rows + rows <= width:
            last = chunks[-1]
            chunks[-1] = _Chunk("", KeyRange(last.range.low, high), last.rows + rows)
        else:
            low = chunks[-1].range.high + 1 if chunks else bucket * width
            chunks.append(_Chunk("", KeyRange(low, high), rows))
    return chunks or [_Chunk("", KeyRange(0, 0), 0)]


def _run(
    work: _Work,
    shapes: tuple[Shape, ...],
    laravel: database.Side,
    task_service: database.Side,
    workers: int,
    limits: _Limits,
) -> None:
    """Copies every chunk. The first failure lets the other workers end their chunk and stop; then it is raised."""

    def worker() -> None:
        try:
            with database.connect(laravel, "copy") as origin, database.connect(task_service, "copy") as destination:
                flow = Flow(origin, destination, shapes)
                while (chunk := _next(work, flow, limits)) is not None:
                    _copy_chunk(work, flow, chunk)
        except BaseException:
            with work.guard:
                work.stopped = True
            raise

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(worker) for _ in range(workers)]
    for future in futures:
        future.result()


def _next(work: _Work, flow: Flow, limits: _Limits) -> _Chunk | None:
    """The next chunk, when Laravel has room for it, cut to the time that it may take; None if there is none left."""
    _wait_while_busy(work, flow.origin, limits.laravel_load)
    with work.guard:
        if work.stopped or not work.chunks:
            return None
        chunk = work.chunks.popleft()
        speed = work.rows_per_second.get(chunk.table, 0.0)
    keys = chunk.range.high - chunk.range.low + 1
    if not speed or chunk.rows / speed <= limits.chunk_seconds or keys <= FEWEST_KEYS:
        return chunk
    share = limits.chunk_seconds * speed / chunk.rows
    cut = chunk.range.low + max(FEWEST_KEYS, int(keys * share)) - 1
    first = _Chunk(chunk.table, KeyRange(chunk.range.low, cut), max(1, int(chunk.rows * share)))
    second = _Chunk(chunk.table, KeyRange(cut + 1, chunk.range.high), chunk.rows - first.rows)
    with flow.destination.transaction():
        for name, part in (("shorten chunk", first), ("plan chunk", second)):
            flow.destination.execute(
                queries.statement(_FILE, name),
                {"table_name": part.table, "low": part.range.low, "high": part.range.high},
            )
    with work.guard:
        work.chunks.appendleft(second)
    return first


def _wait_while_busy(work: _Work, laravel: database.Connection, allowed: int) -> None:
    while allowed > 0 and not work.stopped:
        active = _value(laravel, queries.statement(_FILE, "other active sessions"))
        if active <= allowed:
            return
        with work.guard:
            work.tell(f"paused: {active} active sessions on Laravel, allowed {allowed}")
        time.sleep(BUSY_PAUSE_SECONDS)


def _copy_chunk(work: _Work, flow: Flow, chunk: _Chunk) -> None:
    shape = next(shape for shape in flow.shapes if shape.mapping.table == chunk.table)
    began = time.monotonic()
    with flow.destination.transaction():
        done = converge(flow, shape, chunk.range, bulk=True)
        if done.waiting:
            change_log.put(flow.origin, shape.mapping.base_table, done.waiting)
        seconds = time.monotonic() - began
        flow.destination.execute(
            queries.statement(_FILE, "mark copied"),
            {
                "table_name": chunk.table,
                "low": chunk.range.low,
                "rows_copied": done.mapped,
                "seconds": seconds,
            },
        )
    with work.guard:
        work.done_rows += chunk.rows
        if chunk.rows:
            work.rows_per_second[chunk.table] = chunk.rows / max(seconds, 0.001)
        work.tell()


def _finish(flow: Flow, task_service: database.Side, workers: int, work: _Work) -> None:
    """Indexes back; then what changed meanwhile, so that no child lacks its parent; then the foreign keys."""

    def connect() -> database.Connection:
        return database.connect(task_service, "copy indexes")

    def ask(destination: database.Connection, table: str) -> None:
        shape = next(shape for shape in flow.shapes if shape.mapping.table == table)
        _quarantine(Flow(flow.origin, destination, flow.shapes), shape)

    with work.guard:
        work.tell("building indexes, writing down what is held back")
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(deferral.settle_quarantine, connect, ask)
        deferral.put_back_indexes(connect, workers)
        asked.result()
    drain_all(flow)
    with work.guard:
        work.tell("checking foreign keys")
    deferral.put_back_foreign_keys(connect, workers)


def _quarantine(flow: Flow, shape: Shape) -> None:
    """Writes down what of a table is held back, in a few wide ranges: no statement on Laravel without an end."""
    for low, high in flow.destination.execute(
        queries.statement(_FILE, "copied keys"), {"table": shape.mapping.table}
    ).fetchall():
        for selected in ranges(low, high, QUARANTINE_KEYS):
            quarantine(flow, shape, selected, spared=(REFUSED_BY_DATABASE, PARENT_REFUSED))


def _value(connection: database.Connection, statement: sql.Composed, **parameters: str) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]
