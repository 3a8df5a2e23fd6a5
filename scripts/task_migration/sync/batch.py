"""One batch of the sync, in either direction: applies to one side what was written on the other.

1. Lock lanes on both sides, so that no other worker, of either direction, changes the same tasks. Take the oldest
   entries of these lanes from the log, in the origin's transaction.
2. On the destination lock the rows, then read its own log: a write on it is not yet synced.
3. Read the origin's rows as they are now.
4. Write them; read the destination's log once more, for rows that did not exist when the rows were locked.
5. Commit the destination, then the origin. After a crash at any point the batch is repeated, and repeating it changes
   nothing.

docs/decisions/0007-sync.md describes the interleavings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import psycopg

from task_migration import sql_files
from task_migration.postgres import database
from task_migration.sync import change_log, conflict
from task_migration.sync.change_log import EVER, LANES, ChangeLogEntry
from task_migration.sync.changed_rows import ChangedRows, changed_rows, task_group
from task_migration.sync.converge import Flow

Direction = Literal["forward", "backward"]
PipelinedQuery = Callable[[database.Connection], Callable[[], Any]]
"""Sends a query and returns a function that reads the answer, so that several queries share one round trip."""

BATCH_ENTRIES = 1000
FILE = "sync/batch.sql"


class _NotSpread(Exception):
    """A write that touches many tasks is on the destination's log, and may touch tasks of this batch."""


class Overtaken(Exception):
    """Another session wrote a row that did not exist when this batch locked its rows; everything is rolled back."""


@dataclass
class BatchWrites:
    """What one batch wrote on the destination.

    ``waiting``: row group -> key -> task, the rows that go back on the log because their parent is missing or because
    of ``problem``; ``seen_last``: the entries on the destination's log after the last statement.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    held_back: int = 0
    waiting: dict[str, dict[int, int]] = field(default_factory=dict)
    problem: str = ""
    seen_last: list[ChangeLogEntry] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """One committed batch. ``write_times`` are the times of the writes that it synced, by the origin's clock."""

    entries: int
    write_times: tuple[float, ...] = ()
    writes: BatchWrites = field(default_factory=BatchWrites)
    conflicts: int = 0
    waiting: int = 0
    paused: bool = False


class BatchWriter(Protocol):
    """What differs between the two directions.

    ``derive`` adds the rows that the changed ones touch, and returns writes of the destination that could not be synced
    back; ``lock`` locks the destination's rows and reads their owners; ``write`` reads the origin and writes, and sends
    ``once_more`` in the round trip of its last statement.
    """

    flow: Flow

    def derive(self, rows: ChangedRows) -> ChangedRows: ...
    def lock(self, rows: ChangedRows) -> Callable[[], dict[int, str]]: ...
    def write(self, rows: ChangedRows, owners: dict[int, str], once_more: PipelinedQuery) -> BatchWrites: ...


def batch(
    writer: BatchWriter,
    *,
    lanes: Collection[int] = LANES,
    newest: int = EVER,
    entries: int = BATCH_ENTRIES,
    skew: float = 0.0,
    switch: PipelinedQuery | None = None,
    wait: bool = False,
) -> Batch | None:
    """Syncs one batch of these lanes; returns None if no entry up to ``newest`` can be taken.

    ``skew`` is Laravel's clock minus the Task Service's, in seconds. ``switch`` asks on Laravel's connection, inside
    the batch's transaction, whether the sync is on. Lanes that another worker holds are skipped, or waited for if
    ``wait``. Raises Overtaken, and psycopg's errors that no single row caused; then nothing was changed on either side.
    """
    flow = writer.flow
    try:
        synced = _uncommitted(writer, lanes, newest, entries, skew, switch, wait)
        # Also if there was nothing to sync: a rollback would discard the statements that the server has prepared.
        for connection in (flow.destination, flow.origin):
            with database.tagged_errors(connection):
                connection.commit()
    except _NotSpread:
        _roll_back(flow)
        change_log.spread(flow.laravel)
        raise Overtaken from None
    finally:
        _roll_back(flow)
    return synced


def _roll_back(flow: Flow) -> None:
    """Rolls back both sides. After a commit nothing is sent."""
    for connection in (flow.destination, flow.origin):
        with suppress(psycopg.Error):
            connection.rollback()


def _uncommitted(
    writer: BatchWriter,
    wanted: Collection[int],
    newest: int,
    entries: int,
    skew: float,
    switch: PipelinedQuery | None,
    wait: bool,
) -> Batch | None:
    """Does everything of a batch except its two commits."""
    flow = writer.flow
    laravel, task_service = flow.laravel, flow.task_service
    with database.pipelined(laravel):
        laravel.execute(sql_files.statement(FILE, "begin"))
        laravel_lanes = change_log.lock_lanes(laravel, wanted, wait=wait)
        is_on = switch(laravel) if switch is not None else None
    lanes, _ = laravel_lanes()
    if is_on is not None and not is_on():
        return Batch(0, paused=True)
    with database.pipelined(task_service):
        task_service.execute(sql_files.statement(FILE, "begin"))
        # Held there only by a batch that is being committed, or by one that lost its connection to the other side.
        task_service_lanes = change_log.lock_lanes(task_service, lanes, wait=True)
    lanes, task_service_has_log = task_service_lanes()
    taken = change_log.take(flow.origin, lanes, newest, entries)() if lanes else []
    if not taken:
        return None
    rows = changed_rows(taken)
    task_ids = sorted({entry.task_id for entry in taken})
    has_log = task_service_has_log or flow.destination is laravel

    def pending(destination: database.Connection) -> Callable[[], list[ChangeLogEntry]]:
        return change_log.pending(destination, task_ids) if has_log else list

    held_back_there = writer.derive(rows)
    with database.pipelined(flow.destination):
        owners = writer.lock(rows)
        pending_there = pending(flow.destination)
    seen = pending_there()
    _refuse_of_many(seen)
    conflicts = conflict.settle(flow, rows, seen, held_back_there, skew)
    writes = writer.write(rows, owners(), pending)
    _refuse_overtaken(rows, seen, writes.seen_last)
    waiting = 0
    for row_group, keys in writes.waiting.items():
        back = {key: (task_id, rows[row_group][key].written_at) for key, task_id in keys.items()}
        change_log.put_back(flow.origin, row_group, back)
        waiting += len(back)
    write_times = tuple(entry.written_at for entry in taken if entry.written_at is not None)
    return Batch(len(taken), write_times, writes, conflicts, waiting)


def _refuse_of_many(pending: Iterable[ChangeLogEntry]) -> None:
    if any(entry.task_id == change_log.OF_MANY for entry in pending):
        raise _NotSpread


def _refuse_overtaken(rows: ChangedRows, seen: Iterable[ChangeLogEntry], pending: Iterable[ChangeLogEntry]) -> None:
    """Raises Overtaken for new writes of rows that could not be locked: this batch's own, or those of its tasks."""
    _refuse_of_many(pending)
    known = {entry.id for entry in seen}
    tasks = rows.get(task_group(), {})
    new = [entry for entry in pending if entry.id not in known and entry.written_at is not None]
    for row_group, found in changed_rows(new).items():
        if found.keys() & rows.get(row_group, {}).keys() or any(row.task_id in tasks for row in found.values()):
            raise Overtaken
