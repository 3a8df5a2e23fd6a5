"""Conflicts: both sides wrote the same row before either write was synced. Decides which write wins, stores the other.

A conflict needs a write of each side that is still on its log. The newer write wins, after the clocks are made
comparable; of two writes of the same time Laravel's wins. The losing row and its log entries are stored in
``task_migration.conflict``, in the transaction that removes them, so no acknowledged write is lost silently.
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
from task_migration.sync.changed_rows import ChangedRow, ChangedRows, changed_rows, shapes_of, task_group
from task_migration.sync.converge import Flow

_FILE = "sync/batch.sql"
Winner = Literal["laravel", "task_service"]
Images = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Conflict:
    """One row that both sides wrote. ``laravel`` and ``task_service`` hold each side's writes."""

    row_group: str
    key: int
    laravel: ChangedRow
    task_service: ChangedRow
    winner: Winner


def settle(
    flow: Flow, rows: ChangedRows, pending: Iterable[ChangeLogEntry], held_back_there: ChangedRows, skew: float
) -> int:
    """Removes from ``rows`` what loses against the destination's writes, and from the destination's log what loses
    against ``rows``. Returns the number of conflicts."""
    theirs = changed_rows(pending)
    for row_group, held_back in held_back_there.items():
        theirs.setdefault(row_group, {}).update(held_back)
    task = task_group()
    conflicts = _conflicts(flow, rows, theirs, task, skew)
    if flow.origin.side.name == "laravel":
        conflicts += _conflicts_of_children(flow, rows, theirs, conflicts)
    for row_group in rows.keys() - {task}:
        conflicts += _conflicts(flow, rows, theirs, row_group, skew)
    if conflicts:
        _store(flow, rows, conflicts, skew)
    return len(conflicts)


def _conflicts(flow: Flow, rows: ChangedRows, theirs: ChangedRows, row_group: str, skew: float) -> list[Conflict]:
    """Returns the rows of one row group that both sides wrote. Removes at once the rows that the origin did not
    write."""
    from_laravel = flow.origin.side.name == "laravel"
    conflicts: list[Conflict] = []
    both = rows.get(row_group, {}).keys() & theirs.get(row_group, {}).keys()
    gone = _gone_for_good(flow, row_group, [key for key in both if rows[row_group][key].written_at is not None])
    for key in both:
        own, other = rows[row_group][key], theirs[row_group][key]
        if other.written_at is None:
            continue
        if own.written_at is None:
            del rows[row_group][key]  # not a write: the other side's write is synced, and the row is checked then
            continue
        laravel, task_service = (own, other) if from_laravel else (other, own)
        won = winner(laravel, task_service, skew, key in gone)
        conflicts.append(Conflict(row_group, key, laravel, task_service, won))
    return conflicts


def _conflicts_of_children(
    flow: Flow, rows: ChangedRows, theirs: ChangedRows, conflicts: list[Conflict]
) -> list[Conflict]:
    """Returns the conflicts of the Task Service's rows whose task this batch deletes there, or creates again.

    A task that Laravel deleted takes its images with it: a write of one has lost, and is stored. A task whose deletion
    in the Task Service has lost is created again with its images, because their deletion was part of it. Both are
    removed from ``theirs``.
    """
    task = task_group()
    lost = {one.key for one in conflicts if one.winner != "laravel"}
    won = {one.key: one for one in conflicts if one.winner == "laravel"}
    task_ids = rows.get(task, {}).keys() - lost
    children = [
        (row_group, key, row)
        for row_group, found in theirs.items()
        for key, row in found.items()
        if row_group != task and row.written_at is not None and row.task_id in task_ids
    ]
    if not children:
        return []
    wanted = {row.task_id for _, _, row in children}
    laravel, task_service = images(flow.laravel, flow, task, wanted), images(flow.task_service, flow, task, wanted)
    found_conflicts = []
    for row_group, key, row in children:
        task_id = row.task_id
        if task_id in task_service and task_id not in laravel:
            deleted = ChangedRow(task_id, rows[task][task_id].written_at or row.written_at)
            found_conflicts.append(Conflict(row_group, key, deleted, row, "laravel"))
        elif task_id not in task_service and task_id in laravel and task_id in won:
            won[task_id].task_service.entries.extend(row.entries)
        else:
            continue
        del theirs[row_group][key]
    return found_conflicts


def _store(flow: Flow, rows: ChangedRows, conflicts: list[Conflict], skew: float) -> None:
    """Stores the conflicts, and removes the losing writes from ``rows`` and from the destination's log."""
    origin = flow.origin.side.name
    for row_group in {one.row_group for one in conflicts}:
        in_group = [one for one in conflicts if one.row_group == row_group]
        keys = [one.key for one in in_group]
        laravel = images(flow.laravel, flow, row_group, keys)
        task_service = images(flow.task_service, flow, row_group, keys)
        won = [one for one in in_group if one.winner == origin]
        lost = [one for one in in_group if one.winner != origin]
        _store_on(flow.destination, won, laravel, task_service, skew)
        _store_on(flow.origin, lost, laravel, task_service, skew)
        overtaken = [one.task_service if origin == "laravel" else one.laravel for one in won]
        change_log.remove(flow.destination, [entry for row in overtaken for entry in row.entries])
        for one in lost:
            del rows[row_group][one.key]


def winner(laravel: ChangedRow, task_service: ChangedRow, skew: float, gone_in_laravel: bool) -> Winner:
    """Returns whose write wins. ``skew`` is Laravel's clock minus the Task Service's, in seconds.

    A task that was physically deleted in Laravel was deleted with its user, so a newer write has no owner.
    """
    if gone_in_laravel:
        return "laravel"
    assert laravel.written_at is not None
    assert task_service.written_at is not None
    return "laravel" if laravel.written_at >= task_service.written_at + skew else "task_service"


def _store_on(
    connection: database.Connection, conflicts: Iterable[Conflict], laravel: Images, task_service: Images, skew: float
) -> None:
    """Stores conflicts in the caller's transaction, on the side whose writes lost.

    ``laravel`` and ``task_service`` are the images of the rows by key; a row that does not exist has no image.
    """
    for one in conflicts:
        won, lost = (laravel, task_service) if one.winner == "laravel" else (task_service, laravel)
        superseded = one.task_service if one.winner == "laravel" else one.laravel
        connection.execute(
            sql_files.statement(sync_tables.FILE, "store conflict"),
            {
                "row_group": one.row_group,
                "key": one.key,
                "task_key": superseded.task_id,
                "winner": one.winner,
                "laravel_at": one.laravel.written_at,
                "task_service_at": (one.task_service.written_at or 0) + skew,
                "winner_image": _image(won, one.key),
                "loser_image": _image(lost, one.key),
                "superseded": Jsonb(
                    [
                        {"id": entry.id, "part": entry.source_table, "at": entry.written_at}
                        for entry in superseded.entries
                    ]
                ),
            },
        )


def _image(images: Images, key: int) -> Jsonb | None:
    return Jsonb(images[key]) if key in images else None


def images(
    connection: database.Connection, flow: Flow, row_group: str, keys: Collection[int]
) -> dict[int, dict[str, Any]]:
    """Returns the rows of these keys on one side, mapped to the Task Service's tables: table -> row, by key."""
    found: dict[int, dict[str, Any]] = {}
    for shape in shapes_of(flow.shapes, row_group):
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


def _gone_for_good(flow: Flow, row_group: str, keys: list[int]) -> set[int]:
    """Returns which of these tasks Laravel has no row of any more, not even a soft-deleted one."""
    first = next(mapping for mapping in mappings() if mapping.base_table == row_group)
    if first.parent is not None or not keys:
        return set()
    statement = sql_files.statement(
        _FILE,
        "existing in Laravel",
        table=sql.Identifier("public", row_group),
        key=sql.Identifier(first.base_column),
    )
    existing = {key for (key,) in flow.laravel.execute(statement, {"keys": keys})}
    return set(keys) - existing
