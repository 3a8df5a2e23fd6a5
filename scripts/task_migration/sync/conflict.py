"""Both sides wrote the same row before either write was carried: who wins, and what is kept of the one that lost.

A conflict needs a write of each side that is still on its log. The newer write wins, by clocks that are made comparable
first; of two of the same time Laravel's. The loser's row and log entries go to ``task_migration.conflict`` in the
transaction that lets them give way, so no acknowledged write is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql
from psycopg.types.json import Jsonb

from task_migration import sql_files
from task_migration.mapping.selector import KeyParameter
from task_migration.mapping.table_mapping import mappings
from task_migration.postgres import database
from task_migration.sync import change_log, sync_tables
from task_migration.sync.change_log import ChangeLogEntry
from task_migration.sync.changed_rows import ChangedRow, Keys, of_unit, rows_of, task_unit
from task_migration.sync.converge import Flow

_FILE = "sync/batch.sql"
Winner = Literal["laravel", "task_service"]
Images = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Conflict:
    """One row that both sides wrote. ``laravel`` and ``task_service`` hold each side's writes."""

    unit: str
    key: int
    laravel: ChangedRow
    task_service: ChangedRow
    winner: Winner


def settle(flow: Flow, keys: Keys, pending: Iterable[ChangeLogEntry], held_back_there: Keys, skew: float) -> int:
    """Takes out of ``keys`` what gives way to the destination's own writes, and lets those give way that are older."""
    theirs = rows_of(pending)
    for unit, rows in held_back_there.items():
        theirs.setdefault(unit, {}).update(rows)
    task = task_unit()
    conflicts = _conflicts(flow, keys, theirs, task, skew)
    if flow.origin.side.name == "laravel":
        conflicts += _gone_with_their_task(flow, keys, theirs, conflicts)
    for unit in keys.keys() - {task}:
        conflicts += _conflicts(flow, keys, theirs, unit, skew)
    if conflicts:
        _keep(flow, keys, conflicts, skew)
    return len(conflicts)


def _conflicts(flow: Flow, keys: Keys, theirs: Keys, unit: str, skew: float) -> list[Conflict]:
    """The rows of one unit that both sides wrote; what no write of the origin's is about gives way at once."""
    from_laravel = flow.origin.side.name == "laravel"
    conflicts: list[Conflict] = []
    both = keys.get(unit, {}).keys() & theirs.get(unit, {}).keys()
    gone = _gone_for_good(flow, unit, [key for key in both if keys[unit][key].claim is not None])
    for key in both:
        ours, other = keys[unit][key], theirs[unit][key]
        if other.claim is None:
            continue
        if ours.claim is None:
            del keys[unit][key]  # no write of anybody's: theirs is carried, and this is looked at again then
            continue
        laravel, task_service = (ours, other) if from_laravel else (other, ours)
        won = winner(laravel, task_service, skew, key in gone)
        conflicts.append(Conflict(unit, key, laravel, task_service, won))
    return conflicts


def _gone_with_their_task(flow: Flow, keys: Keys, theirs: Keys, conflicts: list[Conflict]) -> list[Conflict]:
    """What the Task Service wrote of rows whose task this batch takes away there, or makes again.

    A task that Laravel deleted takes its images with it: a write of one has lost, and is kept. A task whose deletion
    there has lost comes back with its images: their deletion was part of it. Both are taken out of ``theirs``.
    """
    task = task_unit()
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
    here, there = images(flow.laravel, flow, task, asked), images(flow.task_service, flow, task, asked)
    found = []
    for unit, key, written in children:
        root = written.root
        if root in there and root not in here:
            deleted = ChangedRow(root, keys[task][root].claim or written.claim)
            found.append(Conflict(unit, key, deleted, written, "laravel"))
        elif root not in there and root in here and root in won:
            won[root].task_service.entries.extend(written.entries)
        else:
            continue
        del theirs[unit][key]
    return found


def _keep(flow: Flow, keys: Keys, conflicts: list[Conflict], skew: float) -> None:
    origin_wins = flow.origin.side.name
    for unit in {one.unit for one in conflicts}:
        of_unit = [one for one in conflicts if one.unit == unit]
        numbers = [one.key for one in of_unit]
        laravel = images(flow.laravel, flow, unit, numbers)
        task_service = images(flow.task_service, flow, unit, numbers)
        won = [one for one in of_unit if one.winner == origin_wins]
        lost = [one for one in of_unit if one.winner != origin_wins]
        _keep_on(flow.destination, won, laravel, task_service, skew)
        _keep_on(flow.origin, lost, laravel, task_service, skew)
        overtaken = [one.task_service if origin_wins == "laravel" else one.laravel for one in won]
        change_log.give_way(flow.destination, [entry for written in overtaken for entry in written.entries])
        for one in lost:
            del keys[unit][one.key]


def winner(laravel: ChangedRow, task_service: ChangedRow, skew: float, gone_in_laravel: bool) -> Winner:
    """Whose write stands. ``skew`` is Laravel's clock less the Task Service's, in seconds.

    A task that is gone from Laravel for good went with its user: nobody is left to whom a newer write could belong.
    """
    if gone_in_laravel:
        return "laravel"
    assert laravel.claim is not None
    assert task_service.claim is not None
    return "laravel" if laravel.claim >= task_service.claim + skew else "task_service"


def _keep_on(
    connection: database.Connection, conflicts: Iterable[Conflict], laravel: Images, task_service: Images, skew: float
) -> None:
    """Writes conflicts down, in the caller's transaction on the side whose writes give way.

    ``laravel`` and ``task_service`` are the images of the rows by key; a row that is not there has none.
    """
    for one in conflicts:
        won, lost = (laravel, task_service) if one.winner == "laravel" else (task_service, laravel)
        superseded = one.task_service if one.winner == "laravel" else one.laravel
        connection.execute(
            sql_files.statement(sync_tables.FILE, "keep conflict"),
            {
                "unit": one.unit,
                "key": one.key,
                "task_key": superseded.root,
                "winner": one.winner,
                "laravel_at": one.laravel.claim,
                "task_service_at": (one.task_service.claim or 0) + skew,
                "winner_image": _image(won, one.key),
                "loser_image": _image(lost, one.key),
                "superseded": Jsonb(
                    [{"id": entry.id, "part": entry.part, "at": entry.claim} for entry in superseded.entries]
                ),
            },
        )


def _image(images: Images, key: int) -> Jsonb | None:
    return Jsonb(images[key]) if key in images else None


def images(connection: database.Connection, flow: Flow, unit: str, keys: Collection[int]) -> dict[int, dict[str, Any]]:
    """The rows of these keys as one side has them, in the Task Service's words: table -> row, by key."""
    found: dict[int, dict[str, Any]] = {}
    for shape in of_unit(flow.shapes, unit):
        rows = (
            shape.mapping.rows(KeyParameter())
            if connection.side.name == "laravel"
            else sql_files.statement(_FILE, "whole rows", table=shape.table, key=shape.key)
        )
        statement = sql_files.statement(
            _FILE, "image of rows", table_name=sql.Literal(shape.mapping.table), key=shape.key, rows=rows
        )
        for table, key, row in connection.execute(statement, {"keys": list(keys)}):
            found.setdefault(key, {})[table] = row
    return found


def _gone_for_good(flow: Flow, unit: str, keys: list[int]) -> set[int]:
    """Which of these tasks Laravel has no row of any more, not even a softly deleted one."""
    first = next(mapping for mapping in mappings() if mapping.base_table == unit)
    if first.parent is not None or not keys:
        return set()
    statement = sql_files.statement(
        _FILE,
        "there in Laravel",
        table=sql.Identifier("public", unit),
        key=sql.Identifier(first.base_column),
    )
    there = {key for (key,) in flow.laravel.execute(statement, {"keys": keys})}
    return set(keys) - there
