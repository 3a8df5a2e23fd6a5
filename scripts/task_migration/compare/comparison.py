"""Compares both sides: every column of every table, by fingerprints.

Rows that differ are compared again after the pending changes were synced. Only rows that still differ are differences.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from task_migration import progress
from task_migration.compare import fingerprint
from task_migration.errors import Refused
from task_migration.postgres import database, schema_drift
from task_migration.prepare import copy_ledger
from task_migration.sync import capture
from task_migration.sync.converge import Flow
from task_migration.sync.drain import drain_all, pending_keys
from task_migration.sync.table_shape import Shape

CHECKS = 8
"""How often a row that differs is checked again while changes are pending."""
SETTLED_CHECKS = 3
"""A row is a difference once this many checks in a row find that it differs and has no pending change. A sync that is
running may apply a change between the check of the rows and the check of the log, but not every time."""
PAUSES = (0.0, 0.05, 0.1, 0.2)
"""Seconds before each check; the last one is used for all that follow."""
NAMED = 1000
"""How many differences are listed one by one. All are counted, and reconcile finds all."""


@dataclass(frozen=True)
class Difference:
    """One row that is not the same on both sides."""

    table: str
    key: int
    kind: fingerprint.Kind
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        columns = f": {', '.join(self.columns)}" if self.columns else ""
        return f"{self.table} {self.key} {self.kind}{columns}"


@dataclass(frozen=True)
class Comparison:
    """The result of one comparison of both sides."""

    form: fingerprint.HashForm
    tables: dict[str, fingerprint.TableComparison]
    differences: tuple[Difference, ...]


def require_copy(origin: database.Connection, destination: database.Connection) -> datetime:
    """Returns when the copy was complete.

    Raises Refused unless it is complete, every write is captured, and every column is known.
    """
    capture.require(origin)
    schema_drift.require_known_columns(origin)
    finished = copy_ledger.finished_at(destination)
    if finished is None:
        raise Refused(
            "the copy is not complete, so there is nothing to compare yet",
            measured="no ledger, or ranges, indexes or foreign keys are missing",
            allowed="a complete copy",
            next_step="ansible-playbook phase-2.1-prepare.yml",
        )
    assert isinstance(finished, datetime)
    return finished


def differences(
    flow: Flow, *, draining: Flow | None = None, listener: progress.Listener = progress.no_listener
) -> Comparison:
    """Compares every table, then checks rows that differ again until no pending change can explain them.

    ``draining`` is a flow that may sync the pending changes between the checks; without it, rows that have pending
    changes are left out.
    """
    form = fingerprint.hash_form(flow.origin, flow.destination)
    tables = {}
    found: list[Difference] = []
    for shape, compared in zip(flow.shapes, _compare_tables(flow, form, listener), strict=True):
        differing = _settled(flow, shape, compared.differing, form, draining)
        tables[shape.mapping.table] = fingerprint.TableComparison(
            compared.laravel_rows, compared.task_service_rows, differing
        )
        named = sorted(differing)[: NAMED - len(found)]
        columns = fingerprint.differing_columns(flow, shape, named)
        found += [Difference(shape.mapping.table, key, differing[key], tuple(columns.get(key, ()))) for key in named]
    return Comparison(form, tables, tuple(found))


def _compare_tables(
    flow: Flow, form: fingerprint.HashForm, listener: progress.Listener
) -> list[fingerprint.TableComparison]:
    """Compares two tables at a time: on Laravel's side a pass keeps one CPU busy, and most servers have two."""
    rows: dict[str, int] = {}
    guard = threading.Lock()
    started = time.monotonic()

    def compare(shape: Shape) -> fingerprint.TableComparison:
        def report(table: progress.Progress) -> None:
            with guard:
                rows[shape.mapping.table] = table.done
                listener(progress.Progress("comparing", sum(rows.values()), 0, "rows", time.monotonic() - started))

        own = free_flows.get()
        try:
            return fingerprint.compare_table(own, shape, form, report)
        finally:
            free_flows.put(own)

    with (
        database.connect(flow.origin.side, "verify") as origin,
        database.connect(flow.destination.side, "verify") as destination,
        ThreadPoolExecutor(2) as pool,
    ):
        free_flows: queue.SimpleQueue[Flow] = queue.SimpleQueue()
        for one in (flow, Flow(origin, destination, flow.shapes)):
            free_flows.put(one)
        return list(pool.map(compare, flow.shapes))


def _settled(
    flow: Flow,
    shape: Shape,
    differing: dict[int, fingerprint.Kind],
    form: fingerprint.HashForm,
    draining: Flow | None,
) -> dict[int, fingerprint.Kind]:
    """Returns the rows that differ although they have no pending change.

    A row that is written again during each check has a pending change in one of the last checks, so it is left out.
    """
    settled: Counter[int] = Counter()
    for check in range(CHECKS):
        if not differing or all(settled[key] >= SETTLED_CHECKS for key in differing):
            break
        if (
            draining is None
            and check >= SETTLED_CHECKS
            and not any(0 < settled[key] < SETTLED_CHECKS for key in differing)
        ):
            break  # the rest has had a pending change all the time, and nothing here syncs it
        time.sleep(PAUSES[min(check, len(PAUSES) - 1)])
        if draining is not None:
            drain_all(draining)
        pending = _pending(flow, shape)
        differing = fingerprint.differing_rows(flow, shape, differing, form)
        pending |= _pending(flow, shape)
        settled = Counter({key: settled[key] + 1 for key in differing if key not in pending})
    refused = fingerprint.refused_keys(flow.destination, shape)
    return {key: kind for key, kind in differing.items() if settled[key] >= SETTLED_CHECKS and key not in refused}


def _pending(flow: Flow, shape: Shape) -> set[int]:
    return pending_keys(flow.origin, flow.destination, shape.mapping)
