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
from psycopg import sql

from task_migration import change_log, conflict, database, queries
from task_migration.change_log import EVER, LANES, Entry
from task_migration.conflict import Conflict, Written
from task_migration.converge import Flow
from task_migration.mapping import mappings
from task_migration.selector import KeyParameter
from task_migration.shape import Shape

Direction = Literal["forward", "backward"]
Keys = dict[str, dict[int, Written]]
"""For each unit (the kind of row that one write changes) the rows, each with its writes."""

Asks = Callable[[database.Connection], Callable[[], Any]]
"""Sends a question; the answer is read by calling the result, so that several go in one round trip."""

BATCH_ENTRIES = 1000
FILE = "carry.sql"


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
    seen_last: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """One batch that was committed. ``claims`` are the times of the writes that it carried, by the origin's clock."""

    entries: int
    claims: tuple[float, ...] = ()
    done: Done = field(default_factory=Done)
    conflicts: int = 0
    waiting: int = 0
    paused: bool = False


class Way(Protocol):
    """What differs between the two directions.

    ``derive`` adds the rows that the written ones touch, and gives writes of the destination's that could not be
    carried back; ``lock`` locks the destination's rows and says whose they are; ``write`` reads the origin and writes,
    and asks ``once_more`` in the round trip of its last statement.
    """

    flow: Flow

    def derive(self, keys: Keys) -> Keys: ...
    def lock(self, keys: Keys) -> Callable[[], dict[int, str]]: ...
    def write(self, keys: Keys, owners: dict[int, str], once_more: Asks) -> Done: ...


def laravels(flow: Flow) -> database.Connection:
    """Laravel's end of a flow."""
    return flow.origin if flow.origin.side.name == "laravel" else flow.destination


def task_services(flow: Flow) -> database.Connection:
    """The Task Service's end of a flow."""
    return flow.destination if flow.origin.side.name == "laravel" else flow.origin


def batch(
    way: Way,
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
            with database.blamed(connection):
                connection.commit()
    except _Unspread:
        _roll_back(flow)
        change_log.spread(laravels(flow))
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
    way: Way, wanted: Collection[int], newest: int, entries: int, skew: float, switch: Asks | None, wait: bool
) -> Batch | None:
    """All of a batch but its two commits."""
    flow = way.flow
    laravel, task_service = laravels(flow), task_services(flow)
    with database.pipelined(laravel):
        laravel.execute(queries.statement(FILE, "begin"))
        here = change_log.lock_lanes(laravel, wanted, wait=wait)
        may_carry = switch(laravel) if switch is not None else None
    lanes, _ = here()
    if may_carry is not None and not may_carry():
        return Batch(0, paused=True)
    with database.pipelined(task_service):
        task_service.execute(queries.statement(FILE, "begin"))
        # Held there at most by a batch that is just being committed, or by one that lost its other side.
        there = change_log.lock_lanes(task_service, lanes, wait=True)
    lanes, task_service_has_log = there()
    taken = change_log.take(flow.origin, lanes, newest, entries)() if lanes else []
    if not taken:
        return None
    keys = _units(taken)
    roots = sorted({entry.root for entry in taken})
    has_log = task_service_has_log or flow.destination is laravel

    def ask(destination: database.Connection) -> Callable[[], list[Entry]]:
        return change_log.pending(destination, roots) if has_log else list

    held_back_there = way.derive(keys)
    with database.pipelined(flow.destination):
        owners = way.lock(keys)
        pending = ask(flow.destination)
    seen = pending()
    _refuse_of_many(seen)
    conflicts = _settle_conflicts(way, keys, seen, held_back_there, skew)
    done = way.write(keys, owners(), ask)
    _refuse_overtaken(keys, seen, done.seen_last)
    waiting = 0
    for unit, rows in done.waiting.items():
        back = {key: (root, keys[unit][key].claim) for key, root in rows.items()}
        change_log.put_back(flow.origin, unit, back)
        waiting += len(back)
    claims = tuple(entry.claim for entry in taken if entry.claim is not None)
    return Batch(len(taken), claims, done, conflicts, waiting)


def _task() -> str:
    """The unit that the others belong to."""
    return next(mapping.base_table for mapping in mappings() if mapping.parent is None)


def _units(taken: Iterable[Entry]) -> Keys:
    """The rows that these entries are about."""
    task = _task()
    keys: Keys = {}
    for entry in taken:
        unit = change_log.unit_of(entry.part)
        name, key = (task, entry.root) if unit is None else (unit, entry.key)
        keys.setdefault(name, {}).setdefault(key, Written(entry.root)).add(entry)
    return keys


def _settle_conflicts(way: Way, keys: Keys, pending: Iterable[Entry], held_back_there: Keys, skew: float) -> int:
    """Takes out of ``keys`` what gives way to the destination's own writes, and lets those give way that are older."""
    theirs = _units(pending)
    for unit, rows in held_back_there.items():
        theirs.setdefault(unit, {}).update(rows)
    task = _task()
    conflicts = _conflicts(way, keys, theirs, task, skew)
    if way.flow.origin.side.name == "laravel":
        conflicts += _gone_with_their_task(way, keys, theirs, conflicts)
    for unit in keys.keys() - {task}:
        conflicts += _conflicts(way, keys, theirs, unit, skew)
    if conflicts:
        _keep(way, keys, conflicts, skew)
    return len(conflicts)


def _conflicts(way: Way, keys: Keys, theirs: Keys, unit: str, skew: float) -> list[Conflict]:
    """The rows of one unit that both sides wrote; what no write of the origin's is about gives way at once."""
    from_laravel = way.flow.origin.side.name == "laravel"
    conflicts: list[Conflict] = []
    both = keys.get(unit, {}).keys() & theirs.get(unit, {}).keys()
    gone = _gone_for_good(way.flow, unit, [key for key in both if keys[unit][key].claim is not None])
    for key in both:
        ours, other = keys[unit][key], theirs[unit][key]
        if other.claim is None:
            continue
        if ours.claim is None:
            del keys[unit][key]  # no write of anybody's: theirs is carried, and this is looked at again then
            continue
        laravel, task_service = (ours, other) if from_laravel else (other, ours)
        won = conflict.winner(laravel, task_service, skew, key in gone)
        conflicts.append(Conflict(unit, key, laravel, task_service, won))
    return conflicts


def _gone_with_their_task(way: Way, keys: Keys, theirs: Keys, conflicts: list[Conflict]) -> list[Conflict]:
    """What the Task Service wrote of rows whose task this batch takes away there, or makes again.

    A task that Laravel deleted takes its images with it: a write of one has lost, and is kept. A task whose deletion
    there has lost comes back with its images: their deletion was part of it. Both are taken out of ``theirs``.
    """
    task, flow = _task(), way.flow
    lost = {one.key for one in conflicts if one.winner != "laravel"}
    won = {one.key: one for one in conflicts if one.winner == "laravel"}
    roots = keys.get(task, {}).keys() - lost
    children = [
        (unit, key, written)
        for unit, rows in theirs.items()
        for key, written in rows.items()
        if unit != task and written.claim is not None and written.root in roots
    ]
    if not children:
        return []
    asked = {written.root for _, _, written in children}
    here, there = images(laravels(flow), flow, task, asked), images(task_services(flow), flow, task, asked)
    found = []
    for unit, key, written in children:
        root = written.root
        if root in there and root not in here:
            deleted = Written(root, keys[task][root].claim or written.claim)
            found.append(Conflict(unit, key, deleted, written, "laravel"))
        elif root not in there and root in here and root in won:
            won[root].task_service.entries.extend(written.entries)
        else:
            continue
        del theirs[unit][key]
    return found


def _keep(way: Way, keys: Keys, conflicts: list[Conflict], skew: float) -> None:
    flow = way.flow
    origin_wins = flow.origin.side.name
    for unit in {one.unit for one in conflicts}:
        of_unit = [one for one in conflicts if one.unit == unit]
        numbers = [one.key for one in of_unit]
        laravel = images(laravels(flow), flow, unit, numbers)
        task_service = images(task_services(flow), flow, unit, numbers)
        won = [one for one in of_unit if one.winner == origin_wins]
        lost = [one for one in of_unit if one.winner != origin_wins]
        conflict.keep(flow.destination, won, laravel, task_service, skew)
        conflict.keep(flow.origin, lost, laravel, task_service, skew)
        overtaken = [one.task_service if origin_wins == "laravel" else one.laravel for one in won]
        change_log.give_way(flow.destination, [entry for written in overtaken for entry in written.entries])
        for one in lost:
            del keys[unit][one.key]


def images(connection: database.Connection, flow: Flow, unit: str, keys: Collection[int]) -> dict[int, dict[str, Any]]:
    """The rows of these keys as one side has them, in the Task Service's words: table -> row, by key."""
    found: dict[int, dict[str, Any]] = {}
    for shape in of_unit(flow.shapes, unit):
        rows = (
            shape.mapping.rows(KeyParameter())
            if connection.side.name == "laravel"
            else queries.statement(FILE, "whole rows", table=shape.table, key=shape.key)
        )
        statement = queries.statement(
            FILE, "image of rows", table_name=sql.Literal(shape.mapping.table), key=shape.key, rows=rows
        )
        for table, key, row in connection.execute(statement, {"keys": list(keys)}):
            found.setdefault(key, {})[table] = row
    return found


def of_unit(shapes: Iterable[Shape], unit: str) -> list[Shape]:
    """The shapes whose rows one write of this unit changes: the tables that are made of the same table of Laravel's."""
    return [shape for shape in shapes if shape.mapping.base_table == unit]


def _gone_for_good(flow: Flow, unit: str, keys: list[int]) -> set[int]:
    """Which of these tasks Laravel has no row of any more, not even a softly deleted one."""
    first = next(mapping for mapping in mappings() if mapping.base_table == unit)
    if first.parent is not None or not keys:
        return set()
    statement = queries.statement(
        FILE,
        "there in Laravel",
        table=sql.Identifier("public", unit),
        key=sql.Identifier(first.base_column),
    )
    there = {key for (key,) in laravels(flow).execute(statement, {"keys": keys})}
    return set(keys) - there


def _refuse_of_many(there: Iterable[Entry]) -> None:
    if any(entry.root == change_log.OF_MANY for entry in there):
        raise _Unspread


def _refuse_overtaken(keys: Keys, seen: Iterable[Entry], there: Iterable[Entry]) -> None:
    """Rows that were not there to be locked: of this batch's own, or that belong to its tasks."""
    _refuse_of_many(there)
    known = {entry.id for entry in seen}
    tasks = keys.get(_task(), {})
    new = [entry for entry in there if entry.id not in known and entry.claim is not None]
    for unit, rows in _units(new).items():
        if rows.keys() & keys.get(unit, {}).keys() or any(written.root in tasks for written in rows.values()):
            raise Overtaken
