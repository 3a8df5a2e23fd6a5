"""One batch of the sync, whichever way it goes: what was written on one side is made so on the other.

1. Lock lanes on both sides, so that no other worker, of either direction, touches the same tasks. Take the log's oldest
   entries of these lanes, in the origin's transaction.
2. On the destination lock the rows, then look at its own log: a write that is on it was made and not yet carried.
3. Read the origin's rows as they are now.
4. Write them; look at the destination's log once more, for rows that were not there to be locked.
5. Commit the destination, then the origin. Dying anywhere replays the batch, and a replay changes nothing.

docs/decisions/0007-sync.md goes through the interleavings.
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
from task_migration.sync.changed_rows import Keys, rows_of, task_unit
from task_migration.sync.converge import Flow

Direction = Literal["forward", "backward"]
Asks = Callable[[database.Connection], Callable[[], Any]]
"""Sends a question; the answer is read by calling the result, so that several go in one round trip."""

BATCH_ENTRIES = 1000
FILE = "sync/batch.sql"


class _Unspread(Exception):
    """A write that touches many tasks is on the destination's log, and may touch these."""


class Overtaken(Exception):
    """Somebody wrote a row that was not there to be locked while this batch wrote it: everything is rolled back."""


@dataclass
class Done:
    """What writing one batch did on the destination.

    ``waiting``: unit -> key -> task, what goes back on the log, for want of a parent or because of ``problem``;
    ``seen_last``: what was on the destination's log after the last statement.
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
    """One batch that was committed. ``claims`` are the times of the writes that it carried, by the origin's clock."""

    entries: int
    claims: tuple[float, ...] = ()
    done: Done = field(default_factory=Done)
    conflicts: int = 0
    waiting: int = 0
    paused: bool = False


class Carrier(Protocol):
    """What differs between the two directions.

    ``derive`` adds the rows that the written ones touch, and gives writes of the destination's that could not be
    carried back; ``lock`` locks the destination's rows and says whose they are; ``write`` reads the origin and writes,
    and asks ``once_more`` in the round trip of its last statement.
    """

    flow: Flow

    def derive(self, keys: Keys) -> Keys: ...
    def lock(self, keys: Keys) -> Callable[[], dict[int, str]]: ...
    def write(self, keys: Keys, owners: dict[int, str], once_more: Asks) -> Done: ...


def batch(
    way: Carrier,
    *,
    lanes: Collection[int] = LANES,
    newest: int = EVER,
    entries: int = BATCH_ENTRIES,
    skew: float = 0.0,
    switch: Asks | None = None,
    wait: bool = False,
) -> Batch | None:
    """Carries one batch of these lanes; None if no entry up to ``newest`` is free to be taken.

    ``skew`` is Laravel's clock less the Task Service's, in seconds; ``switch`` asks on Laravel's connection, inside the
    batch's transaction, whether anything may be carried; ``wait`` stands in line for lanes that another worker holds,
    where they are passed over otherwise. Raises Overtaken, and psycopg's errors for what is no row's
    fault; then nothing was changed on either side.
    """
    flow = way.flow
    try:
        carried = _begun(way, lanes, newest, entries, skew, switch, wait)
        # Also where there was nothing to carry: a rollback would throw away what the server has prepared.
        for connection in (flow.destination, flow.origin):
            with database.tagged_errors(connection):
                connection.commit()
    except _Unspread:
        _roll_back(flow)
        change_log.spread(flow.laravel)
        raise Overtaken from None
    finally:
        _roll_back(flow)
    return carried


def _roll_back(flow: Flow) -> None:
    """After a commit there is nothing to roll back, and nothing is sent."""
    for connection in (flow.destination, flow.origin):
        with suppress(psycopg.Error):
            connection.rollback()


def _begun(
    way: Carrier, wanted: Collection[int], newest: int, entries: int, skew: float, switch: Asks | None, wait: bool
) -> Batch | None:
    """All of a batch but its two commits."""
    flow = way.flow
    laravel, task_service = flow.laravel, flow.task_service
    with database.pipelined(laravel):
        laravel.execute(sql_files.statement(FILE, "begin"))
        here = change_log.lock_lanes(laravel, wanted, wait=wait)
        may_carry = switch(laravel) if switch is not None else None
    lanes, _ = here()
    if may_carry is not None and not may_carry():
        return Batch(0, paused=True)
    with database.pipelined(task_service):
        task_service.execute(sql_files.statement(FILE, "begin"))
        # Held there at most by a batch that is just being committed, or by one that lost its other side.
        there = change_log.lock_lanes(task_service, lanes, wait=True)
    lanes, task_service_has_log = there()
    taken = change_log.take(flow.origin, lanes, newest, entries)() if lanes else []
    if not taken:
        return None
    keys = rows_of(taken)
    roots = sorted({entry.root for entry in taken})
    has_log = task_service_has_log or flow.destination is laravel

    def ask(destination: database.Connection) -> Callable[[], list[ChangeLogEntry]]:
        return change_log.pending(destination, roots) if has_log else list

    held_back_there = way.derive(keys)
    with database.pipelined(flow.destination):
        owners = way.lock(keys)
        pending = ask(flow.destination)
    seen = pending()
    _refuse_of_many(seen)
    conflicts = conflict.settle(flow, keys, seen, held_back_there, skew)
    done = way.write(keys, owners(), ask)
    _refuse_overtaken(keys, seen, done.seen_last)
    waiting = 0
    for unit, rows in done.waiting.items():
        back = {key: (root, keys[unit][key].claim) for key, root in rows.items()}
        change_log.put_back(flow.origin, unit, back)
        waiting += len(back)
    claims = tuple(entry.claim for entry in taken if entry.claim is not None)
    return Batch(len(taken), claims, done, conflicts, waiting)


def _refuse_of_many(there: Iterable[ChangeLogEntry]) -> None:
    if any(entry.root == change_log.OF_MANY for entry in there):
        raise _Unspread


def _refuse_overtaken(keys: Keys, seen: Iterable[ChangeLogEntry], there: Iterable[ChangeLogEntry]) -> None:
    """Rows that were not there to be locked: of this batch's own, or that belong to its tasks."""
    _refuse_of_many(there)
    known = {entry.id for entry in seen}
    tasks = keys.get(task_unit(), {})
    new = [entry for entry in there if entry.id not in known and entry.claim is not None]
    for unit, rows in rows_of(new).items():
        if rows.keys() & keys.get(unit, {}).keys() or any(written.root in tasks for written in rows.values()):
            raise Overtaken
