"""Laravel -> Task Service: writes the mapped rows of some tasks to the Task Service's database.

Normally a few statements write all rows of a batch. If the database refuses one of the rows, ``converge`` finds out
which, holds it back with the reason, and writes the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from task_migration import sql_files
from task_migration.mapping.selector import KeyParameter, KeySet
from task_migration.mapping.table_mapping import children_of
from task_migration.postgres import database
from task_migration.postgres.row_errors import may_be_of_a_row
from task_migration.sync import change_log
from task_migration.sync.batch import FILE, BatchWrites, PipelinedQuery
from task_migration.sync.changed_rows import ChangedRow, ChangedRows, shapes_of
from task_migration.sync.converge import OWNER_CHANGED, PARENT_REFUSED, Convergence, Flow, check_deferred, converge
from task_migration.sync.table_shape import Shape

_QuarantineRow = tuple[str, int, str, bool, str]
"""One row of quarantine: table, key, kind, whether the row is held back, reason."""


@dataclass(frozen=True)
class MappedRows:
    """Laravel's mapped rows of one table: as JSON text, their keys, and their owners if the mapping has an owner."""

    rows: str
    keys: tuple[int, ...]
    owners: dict[int, str]


class Forward:
    """Writes batches to the Task Service, over a flow whose origin is Laravel's database."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._read = _union(flow, lambda shape: _mapped_rows(shape))
        self._quarantine = _union(flow, lambda shape: _quarantine(shape))
        self._statements = {shape.mapping.table: _ForwardStatements(flow, shape) for shape in flow.shapes}
        self._held_back_there = sql_files.statement(FILE, "held back by the backward sync").as_bytes(flow.origin)
        self._touched = {
            (table, shape.mapping.base_table): sql_files.statement(FILE, "touched rows", touched=touched).as_bytes(
                flow.origin
            )
            for shape in flow.shapes
            for table in {one.mapping.base_table for one in flow.shapes}
            if shape.mapping.parent is not None
            and shape.mapping.base_table != table
            and (touched := shape.mapping.touched_by(table, KeyParameter())) is not None
        }

    def derive(self, rows: ChangedRows) -> ChangedRows:
        """Adds the rows of other row groups that the changed tasks touch, such as a task's images.

        Returns the Task Service's rows that Laravel could not take: Laravel's write overwrites them, as a conflict.
        """
        origin = self.flow.origin
        with database.pipelined(origin):
            touched = [
                (row_group, origin.execute(statement, {"keys": list(rows[table])}))
                for (table, row_group), statement in self._touched.items()
                if table in rows
            ]
            held = [
                (row_group, origin.execute(self._held_back_there, {"row_group": row_group, "keys": list(changed)}))
                for row_group, changed in rows.items()
            ]
        held_back_there: ChangedRows = {}
        for row_group, cursor in held:
            for key, recorded_at in cursor:
                held_back = ChangedRow(rows[row_group][key].task_id, recorded_at)
                held_back_there.setdefault(row_group, {})[key] = held_back
        for row_group, cursor in touched:
            for (key,) in cursor:
                rows.setdefault(row_group, {}).setdefault(key, ChangedRow(key))
        for row_group, found in held_back_there.items():
            _remove_quarantine(origin, {row_group}, found, [])
        return held_back_there

    def lock(self, rows: ChangedRows) -> Callable[[], dict[int, str]]:
        """Locks the rows in the Task Service, and reads the owners of those whose mapping has an owner."""
        locked = [
            self.flow.destination.execute(self._statements[shape.mapping.table].lock, {"keys": sorted(rows[row_group])})
            for row_group in rows
            for shape in shapes_of(self.flow.shapes, row_group)
        ]
        return lambda: {key: owner for cursor in locked for key, owner in cursor if owner is not None}

    def write(self, rows: ChangedRows, owners: dict[int, str], once_more: PipelinedQuery) -> BatchWrites:
        """Updates the Task Service's rows of these keys to what Laravel's are now."""
        if not any(rows.values()):
            return BatchWrites()
        mapped, quarantine = self._read_laravel(rows)
        refused = self._of_another_owner(mapped, owners)
        if refused:
            quarantine += [
                (shape.mapping.table, key, OWNER_CHANGED, True, "its task belongs to another user on the other side")
                for shape in self.flow.shapes
                for key in _of_tasks(shape, mapped[shape.mapping.table], refused)
            ]
        try:
            return self._write_together(rows, mapped, quarantine, refused, once_more)
        except psycopg.Error as error:
            if not may_be_of_a_row(error):
                raise
            # Prepared: after a plain ROLLBACK psycopg forgets its prepared statements, and the next pipeline fails.
            self.flow.destination.execute(sql_files.statement(FILE, "back to savepoint"), prepare=True)
        writes = self._write_one_by_one(rows, quarantine)
        writes.seen_last = once_more(self.flow.destination)()
        return writes

    def _read_laravel(self, rows: ChangedRows) -> tuple[dict[str, MappedRows], list[_QuarantineRow]]:
        parameters = {
            shape.mapping.base_table: list(rows.get(shape.mapping.base_table, ())) for shape in self.flow.shapes
        }
        origin = self.flow.origin
        with database.pipelined(origin):
            read = origin.execute(self._read, parameters)
            held = origin.execute(self._quarantine, parameters)
        mapped = {
            table: MappedRows(text, tuple(keys), dict(zip(keys, owners, strict=True)) if owners and owners[0] else {})
            for table, text, keys, owners in read
        }
        return mapped, held.fetchall()

    def _of_another_owner(self, mapped: dict[str, MappedRows], owners: dict[int, str]) -> list[int]:
        """Returns tasks whose owner would change from one known user to another: probably two tasks got the same id."""
        found = [
            (key, owners[key])
            for one in mapped.values()
            for key, owner in one.owners.items()
            if key in owners and owners[key] != owner
        ]
        if not found:
            return []
        statement = sql_files.statement(FILE, "owners known to Laravel")
        known = {sub for (sub,) in self.flow.origin.execute(statement, {"owners": [owner for _, owner in found]})}
        return [key for key, owner in found if owner in known]

    def _write_together(
        self,
        rows: ChangedRows,
        mapped: dict[str, MappedRows],
        quarantine: list[_QuarantineRow],
        refused: list[int],
        once_more: PipelinedQuery,
    ) -> BatchWrites:
        destination = self.flow.destination
        sent: list[tuple[Shape, str, psycopg.Cursor[tuple[Any, ...]]]] = []
        done = BatchWrites()
        with database.pipelined(destination):
            destination.execute(sql_files.statement(FILE, "savepoint"))
            for shape in self.flow.shapes:
                row_group, statements = shape.mapping.base_table, self._statements[shape.mapping.table]
                if not rows.get(row_group):
                    continue
                of_table = mapped[shape.mapping.table]
                parameters = {"rows": of_table.rows, "held": refused}
                if of_table.keys:
                    sent.append((shape, "upsert", destination.execute(statements.upsert, parameters)))
                    if statements.orphans is not None:
                        sent.append((shape, "orphans", destination.execute(statements.orphans, parameters)))
                gone = sorted(rows[row_group].keys() - set(of_table.keys))
                if gone:
                    for child in statements.children:
                        destination.execute(child, {"gone": gone})
                    sent.append((shape, "gone", destination.execute(statements.delete, {"gone": gone})))
            for row_group, changed in rows.items():
                done.held_back += store_quarantine(destination, self._tables_of(row_group), changed, quarantine)
            check_deferred(destination)
            seen_last = once_more(destination)
        done.seen_last = seen_last()
        orphans: list[_QuarantineRow] = []
        for shape, what, cursor in sent:
            if what == "upsert":
                new = [is_new for (is_new,) in cursor]
                done.inserted += sum(new)
                done.updated += len(new) - sum(new)
            elif what == "gone":
                done.deleted += cursor.rowcount
            else:
                for key, task_id, is_refused in cursor:
                    if is_refused:
                        reason = "its parent was refused by the database"
                        orphans.append((shape.mapping.table, key, PARENT_REFUSED, True, reason))
                    else:
                        done.waiting.setdefault(shape.mapping.base_table, {})[key] = task_id
        if orphans:
            tables, keys = {row[0] for row in orphans}, {row[1] for row in orphans}
            done.held_back += store_quarantine(destination, tables, keys, orphans)
        return done

    def _tables_of(self, row_group: str) -> set[str]:
        return {shape.mapping.table for shape in shapes_of(self.flow.shapes, row_group)}

    def _write_one_by_one(self, rows: ChangedRows, quarantine: list[_QuarantineRow]) -> BatchWrites:
        """Writes table by table, and halves what is refused until only the refused row is left."""
        done = BatchWrites()
        for shape in self.flow.shapes:
            row_group, table = shape.mapping.base_table, shape.mapping.table
            another = [row for row in quarantine if row[0] == table and row[2] == OWNER_CHANGED]
            if another:
                done.held_back += store_quarantine(self.flow.destination, {table}, [row[1] for row in another], another)
            wanted = KeySet.of(rows.get(row_group, {}).keys() - {row[1] for row in another})
            if not wanted.keys:
                continue
            one = converge(self.flow, shape, wanted)
            done.inserted += one.inserted
            done.updated += one.updated
            done.deleted += one.deleted
            done.held_back += one.held_back
            if one.waiting:
                done.waiting.setdefault(row_group, {}).update(self._task_ids(shape, one))
        return done

    def _task_ids(self, shape: Shape, one: Convergence) -> dict[int, int]:
        mapping = shape.mapping
        return change_log.task_ids_of(
            self.flow.origin, mapping.base_table, mapping.base_column, mapping.root_column, one.waiting
        )


class _ForwardStatements:
    """The statements on the Task Service for one table, built once, so that the server prepares them once."""

    def __init__(self, flow: Flow, shape: Shape) -> None:
        mapping, connection = shape.mapping, flow.destination

        def ready(file: str, name: str, **names: sql.Composable) -> bytes:
            base: dict[str, sql.Composable] = {"table": shape.table, "key": shape.key, "columns": shape.names}
            return sql_files.statement(file, name, **{**base, **names}).as_bytes(connection)

        owner = sql.Identifier(mapping.owner) if mapping.owner else sql.SQL("NULL::text")
        self.lock = ready(FILE, "lock rows", owner=owner)
        names: dict[str, sql.Composable] = {"table": shape.table, "task_column": shape.key}
        if mapping.parent is not None:
            parent_key = next(one.mapping.key for one in flow.shapes if one.mapping.table == mapping.parent.table)
            names |= {
                "task_column": sql.Identifier(mapping.parent.column),
                "parent": sql.Identifier("public", mapping.parent.table),
                "parent_key": sql.Identifier(parent_key),
                "parent_column": sql.Identifier(mapping.parent.column),
                "parent_name": sql.Literal(mapping.parent.table),
            }
        stage = sql_files.statement(FILE, "staged with a parent" if mapping.parent else "staged", **names)
        self.upsert = ready(
            "sync/converge.sql",
            "upsert",
            stage=stage,
            known=shape.known,
            updated=shape.updated,
            merged=shape.merged,
        )
        self.orphans = ready(FILE, "children without a parent", **names) if mapping.parent else None
        self.delete = ready(FILE, "delete rows", destination_only=sql_files.as_sql(mapping.destination_only))
        self.children = [
            ready(
                FILE,
                "delete children",
                child=sql.Identifier("public", child.table),
                child_column=sql.Identifier(child.parent.column),
            )
            for child in children_of(mapping.table)
            if child.parent is not None
        ]


def store_quarantine(
    connection: database.Connection, tables: Collection[str], keys: Collection[int], found: Sequence[tuple[Any, ...]]
) -> int:
    """Replaces the quarantine of these rows by ``found``: (table, key, kind, held back, reason). Returns how many rows
    are held back."""
    wanted = set(keys)
    own = [row for row in found if row[0] in tables and row[1] in wanted]
    _remove_quarantine(connection, tables, keys, own)
    if own:
        columns = [list(column) for column in zip(*own, strict=True)]
        names = ("tables", "found_keys", "kinds", "held_backs", "reasons")
        connection.execute(sql_files.statement(FILE, "store quarantine"), dict(zip(names, columns, strict=True)))
    return len({(table, key) for table, key, _, held, _ in own if held})


def _remove_quarantine(
    connection: database.Connection, tables: Collection[str], keys: Collection[int], own: Sequence[tuple[Any, ...]]
) -> None:
    parameters = {
        "of_tables": list(tables),
        "keys": list(keys),
        "tables": [row[0] for row in own],
        "found_keys": [row[1] for row in own],
        "kinds": [row[2] for row in own],
    }
    connection.execute(sql_files.statement(FILE, "remove quarantine"), parameters)


def _of_tasks(shape: Shape, mapped: MappedRows, task_ids: Collection[int]) -> list[int]:
    """Returns the keys of the rows that belong to these tasks."""
    task_column = shape.mapping.parent.column if shape.mapping.parent else shape.mapping.key
    return [row[shape.mapping.key] for row in json.loads(mapped.rows) if row[task_column] in task_ids]


def _mapped_rows(shape: Shape) -> sql.Composed:
    mapping = shape.mapping
    owner = sql.Identifier("mapped", mapping.owner) if mapping.owner else sql.SQL("NULL::text")
    return sql_files.statement(
        FILE,
        "mapped rows",
        table_name=sql.Literal(mapping.table),
        key=shape.key,
        owner=owner,
        rows=mapping.rows(KeyParameter(mapping.base_table)),
    )


def _quarantine(shape: Shape) -> sql.Composed:
    return sql_files.statement(
        FILE,
        "quarantine",
        table_name=sql.Literal(shape.mapping.table),
        quarantine=shape.mapping.quarantine(KeyParameter(shape.mapping.base_table)),
    )


def _union(flow: Flow, select: Callable[[Shape], sql.Composed]) -> bytes:
    return sql.SQL(" UNION ALL ").join(select(shape) for shape in flow.shapes).as_bytes(flow.origin)
