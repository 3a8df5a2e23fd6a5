"""Carrying what the change log holds from Laravel to the Task Service, batch by batch.

One batch: take entries off the log, the transaction held open; converge the rows that they touch, in one transaction
on the destination, parents before children; commit the destination, then the log. A crash anywhere replays the batch,
and a replay changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from task_migration import capture, change_log, database, lock, progress
from task_migration.converge import Convergence, Flow, converge, forward
from task_migration.mapping import Mapping
from task_migration.outcome import Outcome
from task_migration.selector import KeySet

BATCH_ENTRIES = 5000
CONVERGE_KEYS = 5000


@dataclass(frozen=True)
class Drained:
    """``rows`` is what was done to the destination; ``waiting`` entries went back on the log for want of a parent."""

    rows: Convergence
    keys: int
    waiting: int


def drain(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    check: bool = False,
    listener: progress.Listener = progress.nobody,
) -> Outcome:
    """Carries every entry that is on Laravel's change log now to the Task Service.

    Entries that are written meanwhile stay for the next time. Details: ``keys`` carried, rows ``inserted``,
    ``updated``, ``deleted``, ``waiting`` entries put back because a row's parent is not there, and ``left`` on the log.
    Raises Refused if capture is not complete.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    with database.said(laravel), database.connect(laravel, "drain") as origin:
        if check:
            entries = change_log.length(origin)
            return Outcome(entries > 0, f"change log: {entries} entries would be carried", {"left": entries})
        capture.require(origin)
        task_service = database.task_service(task_service_dsn)
        with (
            lock.mutating(laravel, "drain"),
            database.said(task_service),
            database.connect(task_service, "drain") as destination,
        ):
            drained = drain_all(forward(origin, destination), listener)
        left = change_log.length(origin)
    rows = drained.rows
    return Outcome(
        changed=drained.keys > 0,
        message=f"change log: carried {drained.keys} keys; {rows.inserted} rows inserted, {rows.updated} updated, "
        f"{rows.deleted} deleted, {drained.waiting} waiting for a parent; {left} entries on the log now",
        details={
            "keys": drained.keys,
            "inserted": rows.inserted,
            "updated": rows.updated,
            "deleted": rows.deleted,
            "waiting": drained.waiting,
            "left": left,
        },
    )


def drain_all(flow: Flow, listener: progress.Listener = progress.nobody) -> Drained:
    """Carries every entry that is on the origin's log when this is called. Both connections are in autocommit."""
    newest = change_log.newest(flow.origin)
    started, total = time.monotonic(), change_log.length(flow.origin)
    rows, keys, waiting = Convergence(), 0, 0
    while True:
        batch = _batch(flow, newest)
        if batch is None:
            return Drained(rows, keys, waiting)
        rows, keys, waiting = rows + batch.rows, keys + batch.keys, waiting + batch.waiting
        listener(progress.Progress("carrying changes", keys, max(total, keys), "keys", time.monotonic() - started))


def _batch(flow: Flow, newest: int) -> Drained | None:
    """One batch; None if no entry up to ``newest`` is left."""
    with flow.origin.transaction():
        written = change_log.take(flow.origin, newest, BATCH_ENTRIES)
        if not written:
            return None
        rows, waiting = Convergence(), 0
        with flow.destination.transaction():
            for shape in flow.shapes:
                keys = sorted(touched(flow.origin, shape.mapping, written))
                for start in range(0, len(keys), CONVERGE_KEYS):
                    done = converge(flow, shape, KeySet(tuple(keys[start : start + CONVERGE_KEYS])))
                    change_log.put(flow.origin, shape.mapping.base_table, done.waiting)
                    waiting += len(done.waiting)
                    rows += done
    return Drained(rows, sum(map(len, written.values())), waiting)


def touched(laravel: database.Connection, mapping: Mapping, written: dict[str, set[int]]) -> set[int]:
    """The keys of a mapping's rows that may have changed, when these rows of Laravel's tables were written."""
    keys = set(written.get(mapping.base_table, ()))
    for table, written_keys in written.items():
        touching = mapping.touched_by(table, KeySet.of(written_keys))
        if touching is not None:
            keys.update(row[0] for row in laravel.execute(touching))
    return keys
