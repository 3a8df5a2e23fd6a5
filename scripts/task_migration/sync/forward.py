"""Laravel -> Task Service: the mapped rows of some tasks, made so in the Task Service's database.

The quick way writes all rows of a batch with a few statements. If the database refuses one of them, the careful way of
``converge`` finds out which, holds it back with the reason, and lets the others pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from task_migration import sql_files
from task_migration.mapping.selector import KeyParameter, KeySet
from task_migration.mapping.table_mapping import children_of
from task_migration.postgres import database
from task_migration.sync import change_log
from task_migration.sync.batch import FILE, Asks, Done
from task_migration.sync.changed_rows import ChangedRow, Keys, of_unit
from task_migration.sync.converge import OWNER_CHANGED, PARENT_REFUSED, Convergence, Flow, converge
from task_migration.sync.table_shape import Shape

_Held = tuple[str, int, str, bool, str]
"""One row of quarantine: table, key, kind, whether it is held back, reason."""


@dataclass(frozen=True)
class Read:
    """What Laravel has of one table: rows as JSON text, their keys, and whose they are where the mapping says."""

    rows: str
    keys: tuple[int, ...]
    owners: dict[int, str]


class Forward:
    """The way from Laravel, over a flow whose origin is Laravel's database."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._read = _union(flow, lambda shape: _mapped_rows(shape))
        self._quarantine = _union(flow, lambda shape: _quarantine(shape))
        self._writes = {shape.mapping.table: _Writes(flow, shape) for shape in flow.shapes}
        self._held_back_there = sql_files.statement(FILE, "held back on the way back").as_bytes(flow.origin)
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

    def derive(self, keys: Keys) -> Keys:
        """Adds the rows of other units that the written tasks touch, such as a task's images.

        Gives the Task Service's rows that Laravel could not take: a write from here goes over them, as a conflict.
        """
        origin = self.flow.origin
        with database.pipelined(origin):
            touched = [
                (unit, origin.execute(statement, {"keys": list(keys[table])}))
                for (table, unit), statement in self._touched.items()
                if table in keys
            ]
            held = [
                (unit, origin.execute(self._held_back_there, {"unit": unit, "keys": list(rows)}))
                for unit, rows in keys.items()
            ]
        found: Keys = {}
        for unit, cursor in held:
            for key, recorded_at in cursor:
                found.setdefault(unit, {})[key] = ChangedRow(keys[unit][key].root, recorded_at)
        for unit, cursor in touched:
            for (key,) in cursor:
                keys.setdefault(unit, {}).setdefault(key, ChangedRow(key))
        for unit, rows in found.items():
            _forget(origin, {unit}, rows, [])
        return found

    def lock(self, keys: Keys) -> Callable[[], dict[int, str]]:
        """Locks the rows in the Task Service; gives the owners of those whose mapping names one."""
        asked = [
            self.flow.destination.execute(self._writes[shape.mapping.table].lock, {"keys": sorted(keys[unit])})
            for unit in keys
            for shape in of_unit(self.flow.shapes, unit)
        ]
        return lambda: {key: owner for cursor in asked for key, owner in cursor if owner is not None}

    def write(self, keys: Keys, owners: dict[int, str], once_more: Asks) -> Done:
        """Makes the Task Service's rows of these keys what Laravel's are now."""
        if not any(keys.values()):
            return Done()
        read, held_back = self._ask(keys)
        refused = self._of_another_owner(read, owners)
        if refused:
            held_back += [
                (shape.mapping.table, key, OWNER_CHANGED, True, "its task belongs to another user on the other side")
                for shape in self.flow.shapes
                for key in _of_tasks(shape, read[shape.mapping.table], refused)
            ]
        try:
            return self._quickly(keys, read, held_back, refused, once_more)
        except (pg.DataError, pg.IntegrityError):
            # Not prepared, psycopg would take it for the end of all it has prepared, and mix up the next pipeline.
            self.flow.destination.execute(sql_files.statement(FILE, "back to savepoint"), prepare=True)
        done = self._carefully(keys, held_back)
        done.seen_last = once_more(self.flow.destination)()
        return done

    def _ask(self, keys: Keys) -> tuple[dict[str, Read], list[_Held]]:
        parameters = {
            shape.mapping.base_table: list(keys.get(shape.mapping.base_table, ())) for shape in self.flow.shapes
        }
        origin = self.flow.origin
        with database.pipelined(origin):
            rows = origin.execute(self._read, parameters)
            held = origin.execute(self._quarantine, parameters)
        read = {
            table: Read(text, tuple(found), dict(zip(found, owners, strict=True)) if owners and owners[0] else {})
            for table, text, found, owners in rows
        }
        return read, held.fetchall()

    def _of_another_owner(self, read: dict[str, Read], owners: dict[int, str]) -> list[int]:
        """Tasks that would go from one user to another, both known: two tasks that were given one id, most likely."""
        found = [
            (key, owners[key])
            for one in read.values()
            for key, owner in one.owners.items()
            if key in owners and owners[key] != owner
        ]
        if not found:
            return []
        statement = sql_files.statement(FILE, "owners known to Laravel")
        known = {sub for (sub,) in self.flow.origin.execute(statement, {"owners": [owner for _, owner in found]})}
        return [key for key, owner in found if owner in known]

    def _quickly(
        self,
        keys: Keys,
        read: dict[str, Read],
        held_back: list[_Held],
        refused: list[int],
        once_more: Asks,
    ) -> Done:
        destination = self.flow.destination
        asked: list[tuple[Shape, str, psycopg.Cursor[tuple[Any, ...]]]] = []
        done = Done()
        with database.pipelined(destination):
            destination.execute(sql_files.statement(FILE, "savepoint"))
            for shape in self.flow.shapes:
                unit, writes = shape.mapping.base_table, self._writes[shape.mapping.table]
                if not keys.get(unit):
                    continue
                mapped = read[shape.mapping.table]
                parameters = {"rows": mapped.rows, "held": refused}
                if mapped.keys:
                    asked.append((shape, "upsert", destination.execute(writes.upsert, parameters)))
                    if writes.orphans is not None:
                        asked.append((shape, "orphans", destination.execute(writes.orphans, parameters)))
                gone = sorted(keys[unit].keys() - set(mapped.keys))
                if gone:
                    for child in writes.children:
                        destination.execute(child, {"gone": gone})
                    asked.append((shape, "gone", destination.execute(writes.delete, {"gone": gone})))
            for unit, written in keys.items():
                done.held_back += keep_quarantine(destination, self._tables_of(unit), written, held_back)
            seen_last = once_more(destination)
        done.seen_last = seen_last()
        orphans: list[_Held] = []
        for shape, what, cursor in asked:
            if what == "upsert":
                new = [is_new for (is_new,) in cursor]
                done.inserted += sum(new)
                done.updated += len(new) - sum(new)
            elif what == "gone":
                done.deleted += cursor.rowcount
            else:
                for key, root, is_refused in cursor:
                    if is_refused:
                        reason = "its parent was refused by the database"
                        orphans.append((shape.mapping.table, key, PARENT_REFUSED, True, reason))
                    else:
                        done.waiting.setdefault(shape.mapping.base_table, {})[key] = root
        if orphans:
            tables, rows = {row[0] for row in orphans}, {row[1] for row in orphans}
            done.held_back += keep_quarantine(destination, tables, rows, orphans)
        return done

    def _tables_of(self, unit: str) -> set[str]:
        return {shape.mapping.table for shape in of_unit(self.flow.shapes, unit)}

    def _carefully(self, keys: Keys, held_back: list[_Held]) -> Done:
        """Table by table, halving what is refused until the row stands alone."""
        done = Done()
        for shape in self.flow.shapes:
            unit, table = shape.mapping.base_table, shape.mapping.table
            another = [row for row in held_back if row[0] == table and row[2] == OWNER_CHANGED]
            if another:
                done.held_back += keep_quarantine(self.flow.destination, {table}, [row[1] for row in another], another)
            wanted = KeySet.of(keys.get(unit, {}).keys() - {row[1] for row in another})
            if not wanted.keys:
                continue
            one = converge(self.flow, shape, wanted)
            done.inserted += one.inserted
            done.updated += one.updated
            done.deleted += one.deleted
            done.held_back += one.held_back
            if one.waiting:
                done.waiting.setdefault(unit, {}).update(self._roots(shape, one))
        return done

    def _roots(self, shape: Shape, one: Convergence) -> dict[int, int]:
        mapping = shape.mapping
        return change_log.roots_of(
            self.flow.origin, mapping.base_table, mapping.base_column, mapping.root_column, one.waiting
        )


class _Writes:
    """The statements on the Task Service for one table, put together once, so that the server prepares them once."""

    def __init__(self, flow: Flow, shape: Shape) -> None:
        mapping, connection = shape.mapping, flow.destination

        def ready(file: str, name: str, **names: sql.Composable) -> bytes:
            base: dict[str, sql.Composable] = {"table": shape.table, "key": shape.key, "columns": shape.names}
            return sql_files.statement(file, name, **{**base, **names}).as_bytes(connection)

        owner = sql.Identifier(mapping.owner) if mapping.owner else sql.SQL("NULL::text")
        self.lock = ready(FILE, "lock rows", owner=owner)
        names: dict[str, sql.Composable] = {"table": shape.table, "root": shape.key}
        if mapping.parent is not None:
            parent_key = next(one.mapping.key for one in flow.shapes if one.mapping.table == mapping.parent.table)
            names |= {
                "root": sql.Identifier(mapping.parent.column),
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
            known=shape.names_of("known"),
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


def keep_quarantine(
    connection: database.Connection, tables: Collection[str], keys: Collection[int], found: Sequence[tuple[Any, ...]]
) -> int:
    """Makes the quarantine of these rows what was found now: (table, key, kind, held back, reason). Gives how many are
    held back."""
    wanted = set(keys)
    own = [row for row in found if row[0] in tables and row[1] in wanted]
    _forget(connection, tables, keys, own)
    if own:
        columns = [list(column) for column in zip(*own, strict=True)]
        names = ("tables", "found_keys", "kinds", "held_backs", "reasons")
        connection.execute(sql_files.statement(FILE, "keep quarantine"), dict(zip(names, columns, strict=True)))
    return len({(table, key) for table, key, _, held, _ in own if held})


def _forget(
    connection: database.Connection, tables: Collection[str], keys: Collection[int], own: Sequence[tuple[Any, ...]]
) -> None:
    parameters = {
        "of_tables": list(tables),
        "keys": list(keys),
        "tables": [row[0] for row in own],
        "found_keys": [row[1] for row in own],
        "kinds": [row[2] for row in own],
    }
    connection.execute(sql_files.statement(FILE, "forget quarantine"), parameters)


def _of_tasks(shape: Shape, read: Read, tasks: Collection[int]) -> list[int]:
    """The rows that belong to these tasks."""
    root = shape.mapping.parent.column if shape.mapping.parent else shape.mapping.key
    return [row[shape.mapping.key] for row in json.loads(read.rows) if row[root] in tasks]


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


def _union(flow: Flow, part: Callable[[Shape], sql.Composed]) -> bytes:
    return sql.SQL(" UNION ALL ").join(part(shape) for shape in flow.shapes).as_bytes(flow.origin)
