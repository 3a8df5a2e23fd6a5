"""The drain: syncs every entry that is on the change logs now, batch by batch, and then ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import errors as pg

from task_migration import progress
from task_migration.control import operator_lock
from task_migration.errors import Failed
from task_migration.mapping.selector import KeySet
from task_migration.mapping.table_mapping import Mapping
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.sync import capture, change_log
from task_migration.sync.backward import Backward
from task_migration.sync.batch import Batch, BatchWriter, Overtaken, batch
from task_migration.sync.converge import Convergence, Flow, forward_flow
from task_migration.sync.forward import Forward

BATCH_ENTRIES = 5000
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 60.0
RETRIED = (Overtaken, pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)
"""Another session wrote the same rows: everything was rolled back, and can be retried at once."""


@dataclass(frozen=True)
class DrainResult:
    """``rows`` is what was written on the destinations; ``waiting`` entries went back on a log because a parent is
    missing; ``conflicts`` are rows that were written on both sides."""

    rows: Convergence
    keys: int
    waiting: int
    conflicts: int = 0


def drain(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Syncs every entry that is on the change logs now: Laravel's, and the Task Service's if it has one.

    Entries that are written meanwhile remain for the next time. Details: ``keys`` synced, rows ``inserted``,
    ``updated``, ``deleted``, ``waiting`` entries put back because a row's parent is missing, ``conflicts`` found, and
    ``left`` on the logs. Raises Refused if capture is not complete, Failed if another session holds its locks for too
    long.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    with database.translated_errors(laravel), database.connect(laravel, "drain") as origin:
        if check:
            entries = change_log.length(origin) + _length_if_there(database.task_service(task_service_dsn))
            return Outcome(entries > 0, f"change log: {entries} entries would be synced", {"left": entries})
        capture.require(origin)
        task_service = database.task_service(task_service_dsn)
        with (
            operator_lock.mutating(laravel, "drain"),
            database.translated_errors(task_service),
            database.connect(task_service, "drain") as destination,
        ):
            drained = drain_all(forward_flow(origin, destination), listener)
            left = change_log.length(origin) + change_log.length(destination)
    rows = drained.rows
    return Outcome(
        changed=drained.keys > 0,
        message=f"change log: {drained.keys} keys synced; {rows.inserted} rows inserted, {rows.updated} updated, "
        f"{rows.deleted} deleted, {drained.waiting} waiting for a parent, {drained.conflicts} conflicts; "
        f"{left} entries on the log now",
        details={
            "keys": drained.keys,
            "inserted": rows.inserted,
            "updated": rows.updated,
            "deleted": rows.deleted,
            "waiting": drained.waiting,
            "conflicts": drained.conflicts,
            "left": left,
        },
    )


@contextmanager
def writable(flow: Flow) -> Iterator[Flow]:
    """Yields the same flow with sessions that may write, for a caller whose own sessions may only read."""
    with (
        database.for_purpose(flow.origin, "drain") as origin,
        database.for_purpose(flow.destination, "drain") as destination,
    ):
        yield Flow(origin, destination, flow.shapes)


def _length_if_there(task_service: database.Side) -> int:
    with database.translated_errors(task_service):
        connection = database.connect_if_there(task_service, "drain")
        if connection is None:
            return 0
        with connection:
            return change_log.length(connection)


def drain_all(flow: Flow, listener: progress.Listener = progress.no_listener) -> DrainResult:
    """Syncs every entry that is on either log when this is called. Both connections are in autocommit.

    The backward sync runs first: rows that it puts on Laravel's log are then resolved by the forward sync.
    """
    laravel, task_service = flow.laravel, flow.task_service
    started = time.monotonic()
    drained = DrainResult(Convergence(), 0, 0)
    total = change_log.length(laravel) + change_log.length(task_service)
    skew = change_log.clock(laravel) - change_log.clock(task_service)

    def add(one: Batch) -> None:
        nonlocal drained
        rows = Convergence(one.writes.inserted, one.writes.updated, one.writes.deleted)
        drained = DrainResult(
            drained.rows + rows,
            drained.keys + one.entries,
            drained.waiting + one.waiting,
            drained.conflicts + one.conflicts,
        )
        seconds = time.monotonic() - started
        listener(progress.Progress("syncing changes", drained.keys, max(total, drained.keys), "keys", seconds))

    if change_log.exists(task_service):
        _sync_all(Backward(Flow(task_service, laravel, flow.shapes)), skew, add)
    _sync_all(Forward(Flow(laravel, task_service, flow.shapes)), skew, add)
    return drained


def _sync_all(writer: BatchWriter, skew: float, add: Callable[[Batch], None]) -> None:
    origin, laravel = writer.flow.origin, writer.flow.laravel
    _spread_all(laravel)
    newest = change_log.newest(origin)
    progressed = time.monotonic()
    while change_log.is_any(origin, newest):
        try:
            done = batch(writer, newest=newest, entries=BATCH_ENTRIES, skew=skew)
        except RETRIED:
            done = None
        if done is not None:
            add(done)
            progressed = time.monotonic()
        elif time.monotonic() - progressed > PATIENCE_SECONDS:
            raise Failed(
                "the change log cannot be synced completely; what was synced so far is committed",
                measured=f"for {PATIENCE_SECONDS:g} s another session locked the rest",
                next_step="look for long transactions on the task tables in pg_stat_activity, then run this again",
            )
        else:
            time.sleep(PAUSE_SECONDS)


def _spread_all(laravel: database.Connection) -> None:
    """Spreads the writes of many tasks that are on the log now; those written meanwhile remain for the next time."""
    newest, until = change_log.newest(laravel), time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if not change_log.spread(laravel, newest):
                return
        except RETRIED:
            if time.monotonic() > until:
                raise


def touched(laravel: database.Connection, mapping: Mapping, written: dict[str, set[int]]) -> set[int]:
    """Returns the keys of a mapping's rows that may have changed when these rows of Laravel's tables were written."""
    keys = set(written.get(mapping.base_table, ()))
    for table, written_keys in written.items():
        touching = mapping.touched_by(table, KeySet.of(written_keys))
        if touching is not None:
            keys.update(row[0] for row in laravel.execute(touching))
    return keys


def pending_keys(laravel: database.Connection, task_service: database.Connection, mapping: Mapping) -> set[int]:
    """Returns the keys of a mapping's rows that may still change, according to both logs."""
    keys = touched(laravel, mapping, change_log.peek(laravel))
    if change_log.exists(task_service):
        for table, written in change_log.peek(task_service).items():
            if change_log.row_group_of(table) == mapping.base_table:
                keys |= written
    return keys
