"""The bulk copy: key ranges, each in one transaction with its row in the ledger, some at a time.

It can be killed anywhere: what the ledger calls copied is there, and nothing else is. What changes in Laravel after its
range was read is on the change log, so no long transaction and no common snapshot is asked of production.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from task_migration import capture, change_log, chunks, database, deferral, lock, progress, queries
from task_migration.accounts import balanced, counted, expected_rows
from task_migration.chunks import Chunk
from task_migration.converge import PARENT_REFUSED, REFUSED_BY_DATABASE, Flow, converge, forward, quarantine
from task_migration.drain import drain_all
from task_migration.mapping import mappings
from task_migration.outcome import Outcome
from task_migration.selector import ranges
from task_migration.shape import Shape

BUSY_PAUSE_SECONDS = 1.0
QUARANTINE_KEYS = 2_000_000
FEWEST_KEYS = 500
"""No chunk is cut shorter: its own transaction would cost more than its rows."""


@dataclass
class _Work:
    """What the workers share; every access is under ``guard``."""

    chunks: deque[Chunk]
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
            left = chunks.planned(flow, copy_chunk_keys)
            work = _Work(left, sum(chunk.rows for chunk in left), listener)
            limits = _Limits(copy_chunk_seconds, copy_max_laravel_load)
            changed = bool(left) or deferral.owed(destination) > 0
            if left:
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


def _said(kept: dict[str, Any]) -> str:
    return (
        f"expected {sum(a.expected for a in kept.values())} rows = copied {sum(a.copied for a in kept.values())}"
        f" + quarantined {sum(a.quarantined for a in kept.values())}"
        f" + in flight {sum(a.in_flight for a in kept.values())}"
    )


def _predicted(origin: database.Connection, task_service: database.Side) -> Outcome:
    """What a run would do, also when the target is not there yet."""
    destination = database.connect_if_there(task_service, "copy check")
    if destination is not None:
        with destination:
            if chunks.finished_at(destination) is not None:
                return Outcome(False, "copy: complete, nothing would be copied")
    rows = {mapping.table: expected_rows(origin, mapping) for mapping in mappings()}
    return Outcome(
        True,
        f"copy: would move or quarantine {sum(rows.values())} rows",
        {"tables": {table: {"expected": count} for table, count in rows.items()}},
    )


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


def _next(work: _Work, flow: Flow, limits: _Limits) -> Chunk | None:
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
    within = int(keys * limits.chunk_seconds * speed / chunk.rows)
    first, second = chunks.cut(flow.destination, chunk, min(keys - 1, max(FEWEST_KEYS, within)))
    with work.guard:
        work.chunks.appendleft(second)
    return first


def _wait_while_busy(work: _Work, laravel: database.Connection, allowed: int) -> None:
    while allowed > 0 and not work.stopped:
        row = laravel.execute(queries.statement("copy.sql", "other active sessions"), {}).fetchone()
        active = row[0] if row else 0
        if active <= allowed:
            return
        with work.guard:
            work.tell(f"paused: {active} active sessions on Laravel, allowed {allowed}")
        time.sleep(BUSY_PAUSE_SECONDS)


def _copy_chunk(work: _Work, flow: Flow, chunk: Chunk) -> None:
    shape = next(shape for shape in flow.shapes if shape.mapping.table == chunk.table)
    began = time.monotonic()
    with flow.destination.transaction():
        done = converge(flow, shape, chunk.range, bulk=True)
        if done.waiting:
            change_log.put(flow.origin, shape.mapping.base_table, done.waiting)
        seconds = time.monotonic() - began
        chunks.mark_copied(flow.destination, chunk, done.mapped, seconds)
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
    """Writes down what of a table is held back, in wide ranges: no statement on Laravel without an end."""
    covered = chunks.copied_keys(flow.destination, shape.mapping.table)
    if covered is not None:
        for selected in ranges(covered.low, covered.high, QUARANTINE_KEYS):
            quarantine(flow, shape, selected, spared=(REFUSED_BY_DATABASE, PARENT_REFUSED))
