"""Task Service -> Laravel: the Task Service's rows of some tasks, made so in Laravel's tables by sql/reverse/.

Laravel has fewer words than the Task Service, so a row may not come out the same when it is mapped again: tags in
another order, an approval that Laravel derives by its own rule. Such rows are put on Laravel's log without a claim, and
the way forward ends the matter; they give way to any write that was made meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from task_migration import sql_files
from task_migration.mapping.reverse_mapping import Reverse, reverses
from task_migration.mapping.selector import KeyParameter
from task_migration.postgres import database
from task_migration.sync import change_log
from task_migration.sync.batch import FILE, Asks, Done
from task_migration.sync.changed_rows import Keys, of_unit
from task_migration.sync.converge import PARENT_REFUSED, REFUSED_BY_DATABASE, Flow
from task_migration.sync.forward import keep_quarantine
from task_migration.sync.table_shape import Shape

REASONS = {
    "owner_unmapped": "its owner is nobody whom Laravel knows by this Cognito sub; it crosses by itself when she is",
    "owner_changed": "the row belongs to another user on the other side",
    "approver_unmapped": "its approver is nobody whom Laravel knows by this Cognito sub",
    "difficulty_out_of_range": "its difficulty is outside 1 to 5",
    "tags_are_no_names": "its tags are not an array of names",
    PARENT_REFUSED: "its task is held back",
}
_Held = tuple[str, int, str, bool, str]


@dataclass(frozen=True)
class _Read:
    """What the Task Service has of one unit: rows as JSON text and their keys; the same as it is stored, by table; and
    what of them was held back on the way forward, as (table, key, kind)."""

    rows: str
    keys: frozenset[int]
    stored: dict[str, str]
    quarantine: set[tuple[str, int, str]]


class Backward:
    """The way to Laravel, over a flow whose destination is Laravel's database."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._ways = [_Statements(flow, reverse) for reverse in reverses()]

    def derive(self, keys: Keys) -> Keys:
        """Nothing: a written task of the Task Service's touches no row but its own, and what Laravel's mapping holds
        back is not in the Task Service, so nothing is written over it."""
        return {}

    def lock(self, keys: Keys) -> Callable[[], dict[int, str]]:
        """Locks the rows in Laravel; whose they are is asked when they are placed."""
        for way in self._ways:
            if keys.get(way.reverse.unit):
                self.flow.destination.execute(way.lock, {"keys": sorted(keys[way.reverse.unit])})
        return dict

    def write(self, keys: Keys, owners: dict[int, str], once_more: Asks) -> Done:
        """Makes Laravel's rows of these keys what the Task Service's are now."""
        done = Done()
        for way in self._ways:
            rows = keys.get(way.reverse.unit)
            if rows:
                roots = {key: written.root for key, written in rows.items()}
                self._place(way, sorted(rows), roots, done, once_more)
        return done

    def _place(self, way: _Statements, keys: list[int], roots: dict[int, int], done: Done, once_more: Asks) -> None:
        read = way.read(keys)
        living = self._living(way, keys, read, roots)
        try:
            self._quickly(way, keys, read, living, roots, done, once_more)
        except (pg.DataError, pg.IntegrityError) as error:
            # Not prepared, psycopg would take it for the end of all it has prepared, and mix up the next pipeline.
            self.flow.destination.execute(sql_files.statement(FILE, "back to savepoint"), prepare=True)
            if len(keys) > 1:
                middle = len(keys) // 2
                self._place(way, keys[:middle], roots, done, once_more)
                self._place(way, keys[middle:], roots, done, once_more)
                return
            reason = f"{error.sqlstate} {type(error).__name__}"
            held = [(way.reverse.unit, keys[0], REFUSED_BY_DATABASE, True, reason)]
            done.held_back += keep_quarantine(self.flow.destination, {way.reverse.unit}, keys, held)

    def _living(self, way: _Statements, keys: list[int], read: _Read, roots: dict[int, int]) -> list[int]:
        """Tasks of rows that are gone, as far as the tasks themselves are still in the Task Service."""
        asked = sorted({roots[key] for key in keys if key not in read.keys})
        if way.reverse.parent is None or not asked:
            return []
        found = self.flow.origin.execute(sql_files.statement(FILE, "living"), {"keys": asked})
        return [key for (key,) in found]

    def _quickly(
        self,
        way: _Statements,
        keys: list[int],
        read: _Read,
        living: list[int],
        roots: dict[int, int],
        done: Done,
        once_more: Asks,
    ) -> None:
        laravel, unit = self.flow.destination, way.reverse.unit
        with database.pipelined(laravel):
            laravel.execute(sql_files.statement(FILE, "savepoint"))
            asked = laravel.execute(way.held_back, {"rows": read.rows})
        found = asked.fetchall()
        held: list[_Held] = [(unit, key, kind, True, REASONS[kind]) for key, kind, _ in found if kind is not None]
        refused = sorted({row[1] for row in held})
        gone = [key for key in keys if key not in read.keys]
        retagged = [key for key, kind, is_retagged in found if is_retagged and kind is None]
        parameters = {"rows": read.rows, "held": refused, "retagged": retagged, "gone": gone, "living": living}
        with database.pipelined(laravel):
            seen_again = laravel.execute(way.seen_again, parameters) if way.seen_again else None
            placed = laravel.execute(way.upsert, parameters)
            waits = laravel.execute(way.waiting, parameters) if way.waiting else None
            if retagged:
                for statement in way.after:
                    laravel.execute(statement, parameters)
            deleted = laravel.execute(way.gone, parameters) if gone else None
            compared = [
                laravel.execute(statement, {"keys": [k for k in keys if k not in refused], "rows": rows})
                for statement, rows in zip(way.echoes, read.stored.values(), strict=True)
            ]
            quarantine = laravel.execute(way.quarantine, {"keys": keys})
            held_back = keep_quarantine(laravel, {unit}, keys, held)
            seen_last = once_more(laravel)
        new = [is_new for (is_new,) in placed]
        done.inserted += sum(new)
        done.updated += len(new) - sum(new)
        done.deleted += deleted.rowcount if deleted is not None else 0
        done.held_back += held_back
        done.seen_last += seen_last()
        waiting = dict(waits.fetchall()) if waits is not None else {}
        if waiting:
            done.waiting.setdefault(unit, {}).update(waiting)
        now_held = {(table, key, kind) for table, key, kind, *_ in quarantine}
        again = {key for _, key, _ in now_held ^ read.quarantine}
        again |= {key for cursor in compared for (key,) in cursor}
        again -= set(refused) | waiting.keys()
        change_log.put(laravel, unit, {key: roots[key] for key in again & roots.keys()})
        for child, key, root in seen_again or ():
            change_log.put(laravel, child, {key: root})


class _Statements:
    """The statements of one way back, put together once, so that the servers prepare them once."""

    def __init__(self, flow: Flow, reverse: Reverse) -> None:
        laravel, self._origin, self.reverse = flow.destination, flow.origin, reverse
        key, table = sql.Identifier(reverse.key), sql.Identifier("public", reverse.writes)

        def ready(statement: sql.Composed, connection: database.Connection = laravel) -> bytes:
            return statement.as_bytes(connection)

        self.lock = ready(sql_files.statement(FILE, "lock rows", table=table, key=key, owner=sql.SQL("NULL::text")))
        self.held_back = ready(reverse.over_staged("held back"))
        placed = reverse.over_staged("placed")
        nothing = {"rows": "[]", "held": []}
        looked = laravel.execute(sql_files.statement(FILE, "columns of rows", rows=placed), nothing)
        names = [column.name for column in looked.description or ()]

        def listed(*alias: str) -> sql.Composed:
            return sql.SQL(", ").join(sql.Identifier(*alias, name) for name in names)

        upsert = sql_files.statement(
            FILE,
            "upsert placed",
            placed=placed,
            table=table,
            key=key,
            columns=listed(),
            known=listed("known"),
            excluded=listed("excluded"),
        )
        self.upsert = ready(upsert)
        self.after = [ready(reverse.over_staged(name)) for name in reverse.after]
        self.waiting = ready(reverse.over_staged("waiting")) if "waiting" in reverse.blocks else None
        self.seen_again = ready(reverse.over_staged("seen again")) if "seen again" in reverse.blocks else None
        self.gone = ready(reverse.plain("gone"))
        shapes = of_unit(flow.shapes, reverse.unit)
        self.echoes = [ready(_echo(shape)) for shape in shapes]
        held = [
            sql_files.statement(
                FILE,
                "quarantine",
                table_name=sql.Literal(shape.mapping.table),
                quarantine=shape.mapping.quarantine(KeyParameter()),
            )
            for shape in shapes
        ]
        self.quarantine = ready(sql.SQL(" UNION ALL ").join(held))
        self._tables = [shape.mapping.table for shape in shapes]
        rows = sql_files.statement(
            FILE,
            "mapped rows",
            table_name=sql.Literal(reverse.unit),
            key=key,
            owner=sql.SQL("NULL::text"),
            rows=reverse.rows(),
        )
        self._rows = ready(rows, flow.origin)
        self._stored = {
            shape.mapping.table: ready(
                sql_files.statement(FILE, "stored rows", rows=shape.stored_rows(KeyParameter())), flow.origin
            )
            for shape in shapes
        }

    def read(self, keys: list[int]) -> _Read:
        """The Task Service's rows of these keys, as they are now."""
        with database.pipelined(self._origin):
            mapped = self._origin.execute(self._rows, {"keys": keys})
            stored = {table: self._origin.execute(asked, {"keys": keys}) for table, asked in self._stored.items()}
            known = self._origin.execute(
                sql_files.statement(FILE, "known quarantine"), {"tables": self._tables, "keys": keys}
            )
        row = mapped.fetchone()
        assert row is not None
        texts = {table: _text(cursor) for table, cursor in stored.items()}
        return _Read(row[1], frozenset(row[2]), texts, set(known))


def _text(cursor: psycopg.Cursor[tuple[Any, ...]]) -> str:
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def _echo(shape: Shape) -> sql.Composed:
    """Which rows are not the same in Laravel's mapping and in the Task Service, of the keys that were carried back."""
    return sql_files.statement(
        FILE,
        "does not come back the same",
        key=shape.key,
        rows=shape.mapped_rows(KeyParameter()),
        types=shape.compared_types,
        mapped=shape.names_of("mapped"),
        stored=shape.names_of("stored"),
    )
