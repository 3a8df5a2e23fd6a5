"""The bulk copy: copies ranges of keys, each in one transaction with its row in the ledger, several at a time.

It can be killed at any moment: exactly the ranges that the ledger lists as copied are in the target. Rows that change
in Laravel after their range was read are in the change log, so production needs no long transaction and no snapshot.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from task_migration import progress
from task_migration.control import operator_lock
from task_migration.mapping.selector import ranges
from task_migration.mapping.table_mapping import mappings
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.prepare import copy_ledger, copy_worker, deferred_indexes
from task_migration.prepare.row_accounts import Account, balanced, counted, expected_rows
from task_migration.sync import capture
from task_migration.sync.converge import PARENT_REFUSED, REFUSED_BY_DATABASE, Flow, forward_flow, quarantine
from task_migration.sync.drain import drain_all
from task_migration.sync.table_shape import Shape

QUARANTINE_KEYS = 2_000_000


def bulk_copy(
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
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Copies every row that can be mapped to the Task Service's tables, or continues where an earlier run stopped.

    ``copy_workers`` ranges of ``copy_chunk_keys`` ids are copied at a time. A range that would take longer than
    ``copy_chunk_seconds`` is split. No range starts while more than ``copy_max_laravel_load`` other sessions are active
    on Laravel's database (0: no limit). Details: ``tables``, the row account of each. Raises Refused without capture,
    or if the target has rows that the runbook did not copy; Failed if a database fails during the copy.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    with database.translated_errors(laravel), database.connect(laravel, "copy") as origin:
        if check:
            return _predicted(origin, task_service)
        capture.require(origin)
        with (
            operator_lock.mutating(laravel, "copy"),
            database.translated_errors(task_service),
            database.connect(task_service, "copy") as destination,
        ):
            flow = forward_flow(origin, destination)
            changed = copy_ledger.plan(flow, copy_chunk_keys) or deferred_indexes.owed(destination) > 0
            with database.under_way():
                if changed:
                    teller = _Teller(destination, listener)
                    task = copy_worker.CopyTask(
                        laravel, task_service, flow.shapes, copy_chunk_seconds, copy_max_laravel_load
                    )
                    for _ in copy_worker.run(task, max(1, copy_workers)):
                        busy = copy_worker.too_busy(origin, copy_max_laravel_load)
                        teller.tell(
                            f"paused: {busy} active sessions on Laravel's database, allowed: {copy_max_laravel_load}"
                            if busy
                            else ""
                        )
                    _finish(flow, task_service, max(1, copy_workers), teller)
                kept = balanced(*_counted_beside_foreign_keys(flow, task_service, max(1, copy_workers)))
    return Outcome(
        changed=changed,
        message=f"copy: {_counts_text(kept)}" + ("" if changed else "; there was nothing left to copy"),
        details={"tables": {table: account.as_dict() for table, account in kept.items()}},
        lines=tuple(
            f"{table}: expected {a.expected} = copied {a.copied} + quarantined {a.quarantined}"
            f" + in flight {a.in_flight}"
            for table, a in kept.items()
        ),
    )


class _Teller:
    """Reports the progress of the ledger to the listener."""

    def __init__(self, task_service: database.Connection, listener: progress.Listener) -> None:
        self._task_service = task_service
        self._listener = listener
        self._started = time.monotonic()
        self._before = copy_ledger.how_far(task_service)[0]

    def tell(self, note: str = "") -> None:
        done, total = copy_ledger.how_far(self._task_service)
        seconds = time.monotonic() - self._started
        self._listener(progress.Progress("copying", done - self._before, total - self._before, "ids", seconds, note))


def _counts_text(kept: dict[str, Any]) -> str:
    return (
        f"expected {sum(a.expected for a in kept.values())} rows = copied {sum(a.copied for a in kept.values())}"
        f" + quarantined {sum(a.quarantined for a in kept.values())}"
        f" + in flight {sum(a.in_flight for a in kept.values())}"
    )


def _predicted(origin: database.Connection, task_service: database.Side) -> Outcome:
    """Returns what a run would do, also if the target does not exist yet."""
    destination = database.connect_if_there(task_service, "copy check")
    if destination is not None:
        with destination:
            if copy_ledger.finished_at(destination) is not None:
                return Outcome(False, "copy: already complete, nothing would be copied")
    rows = {mapping.table: expected_rows(origin, mapping) for mapping in mappings()}
    return Outcome(
        True,
        f"copy: would copy or quarantine {sum(rows.values())} rows",
        {"tables": {table: {"expected": count} for table, count in rows.items()}},
    )


def _finish(flow: Flow, task_service: database.Side, workers: int, teller: _Teller) -> None:
    """Rebuilds indexes and records quarantined rows; then drains the change log, so that every child has its parent."""

    def connect() -> database.Connection:
        return database.connect(task_service, "copy indexes")

    def ask(destination: database.Connection, table: str) -> None:
        shape = next(shape for shape in flow.shapes if shape.mapping.table == table)
        _quarantine(Flow(flow.origin, destination, flow.shapes), shape)

    teller.tell("building indexes, recording quarantined rows")
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(deferred_indexes.settle_quarantine, connect, ask)
        deferred_indexes.put_back_indexes(connect, workers)
        asked.result()
    drain_all(flow)
    teller.tell("checking foreign keys, counting rows")


def _counted_beside_foreign_keys(
    flow: Flow, task_service: database.Side, workers: int
) -> tuple[dict[str, Account], dict[str, int]]:
    """Returns the accounts. Meanwhile PostgreSQL validates the foreign keys that were dropped for the load."""

    def connect() -> database.Connection:
        return database.connect(task_service, "copy foreign keys")

    with ThreadPoolExecutor(1) as other:
        checked = other.submit(deferred_indexes.put_back_foreign_keys, connect, workers)
        counts = counted(flow.origin, flow.destination)
        checked.result()
    return counts


def _quarantine(flow: Flow, shape: Shape) -> None:
    """Records the quarantined rows of a table, in ranges, so that no statement on Laravel's database runs too long."""
    covered = copy_ledger.copied_keys(flow.destination, shape.mapping.table)
    if covered is not None:
        for selected in ranges(covered.low, covered.high, QUARANTINE_KEYS):
            quarantine(flow, shape, selected, spared=(REFUSED_BY_DATABASE, PARENT_REFUSED))
