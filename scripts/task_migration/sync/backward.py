"""Task Service -> Laravel: writes the Task Service's rows of some tasks to Laravel's tables, by the reverse mappings.

Laravel stores less than the Task Service, so a row may differ when it is mapped again: tags in another order, an
approval that Laravel derives by its own rule. Such rows are put on Laravel's log without the time of a write, and the
forward sync resolves them; they lose against any write that was made meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from task_migration import sql_files
from task_migration.mapping.reverse_mapping import Reverse, reverses
from task_migration.mapping.selector import KeyParameter
from task_migration.postgres import database
from task_migration.postgres.row_errors import may_be_of_a_row
from task_migration.sync import change_log
from task_migration.sync.batch import FILE, BatchWrites, PipelinedQuery
from task_migration.sync.changed_rows import ChangedRows, shapes_of
from task_migration.sync.converge import PARENT_REFUSED, REFUSED_BY_DATABASE, Flow, check_deferred
from task_migration.sync.forward import store_quarantine
from task_migration.sync.table_shape import Shape

REASONS = {
    "owner_unmapped": "no Laravel user has the owner's Cognito sub; the row is synced automatically once one has",
    "owner_changed": "the row belongs to another user on the other side",
    "approver_unmapped": "no Laravel user has the approver's Cognito sub",
    "difficulty_out_of_range": "its difficulty is outside 1 to 5",
    "status_unknown": "its status is a value that the mapping does not have",
    "tags_are_no_names": "its tags are not an array of names",
    PARENT_REFUSED: "its task is held back",
}
_QuarantineRow = tuple[str, int, str, bool, str]


@dataclass(frozen=True)
class _TaskServiceRows:
    """The Task Service's rows of one row group: mapped to Laravel, as JSON text, and their keys; as they are stored, by
    table; and which of them the forward sync held back, as (table, key, kind)."""

    rows: str
    keys: frozenset[int]
    stored: dict[str, str]
    quarantine: set[tuple[str, int, str]]


class Backward:
    """Writes batches to Laravel, over a flow whose destination is Laravel's database."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._statements = [_BackwardStatements(flow, reverse) for reverse in reverses()]

    def derive(self, rows: ChangedRows) -> ChangedRows:
        """Returns nothing and adds nothing: a changed task of the Task Service touches no other row, and a row that
        Laravel's mapping holds back is not in the Task Service, so nothing overwrites it."""
        return {}

    def lock(self, rows: ChangedRows) -> Callable[[], dict[int, str]]:
        """Locks the rows in Laravel. Their owners are checked when they are written."""
        for statements in self._statements:
            if rows.get(statements.reverse.unit):
                self.flow.destination.execute(statements.lock, {"keys": sorted(rows[statements.reverse.unit])})
        return dict

    def write(self, rows: ChangedRows, owners: dict[int, str], once_more: PipelinedQuery) -> BatchWrites:
        """Updates Laravel's rows of these keys to what the Task Service's are now."""
        done = BatchWrites()
        for statements in self._statements:
            changed = rows.get(statements.reverse.unit)
            if changed:
                task_ids = {key: row.task_id for key, row in changed.items()}
                self._write(statements, sorted(changed), task_ids, done, once_more)
        return done

    def _write(
        self,
        statements: _BackwardStatements,
        keys: list[int],
        task_ids: dict[int, int],
        done: BatchWrites,
        once_more: PipelinedQuery,
    ) -> None:
        """Writes rows of one row group, and halves what is refused until only the refused row is left."""
        read = statements.read(keys)
        existing = self._existing_tasks(statements, keys, read, task_ids)
        try:
            self._write_together(statements, keys, read, existing, task_ids, done, once_more)
        except psycopg.Error as error:
            if not may_be_of_a_row(error):
                raise
            # Prepared: after a plain ROLLBACK psycopg forgets its prepared statements, and the next pipeline fails.
            self.flow.destination.execute(sql_files.statement(FILE, "back to savepoint"), prepare=True)
            if len(keys) > 1:
                middle = len(keys) // 2
                self._write(statements, keys[:middle], task_ids, done, once_more)
                self._write(statements, keys[middle:], task_ids, done, once_more)
                return
            reason = f"{error.sqlstate} {type(error).__name__}"
            held = [(statements.reverse.unit, keys[0], REFUSED_BY_DATABASE, True, reason)]
            done.held_back += store_quarantine(self.flow.destination, {statements.reverse.unit}, keys, held)

    def _existing_tasks(
        self, statements: _BackwardStatements, keys: list[int], read: _TaskServiceRows, task_ids: dict[int, int]
    ) -> list[int]:
        """Returns the tasks of deleted rows that still exist in the Task Service."""
        wanted = sorted({task_ids[key] for key in keys if key not in read.keys})
        if statements.reverse.parent is None or not wanted:
            return []
        found = self.flow.origin.execute(sql_files.statement(FILE, "existing tasks"), {"keys": wanted})
        return [key for (key,) in found]

    def _write_together(
        self,
        statements: _BackwardStatements,
        keys: list[int],
        read: _TaskServiceRows,
        existing: list[int],
        task_ids: dict[int, int],
        done: BatchWrites,
        once_more: PipelinedQuery,
    ) -> None:
        laravel, row_group = self.flow.destination, statements.reverse.unit
        with database.pipelined(laravel):
            laravel.execute(sql_files.statement(FILE, "savepoint"))
            query = laravel.execute(statements.held_back, {"rows": read.rows})
        found = query.fetchall()
        held: list[_QuarantineRow] = [
            (row_group, key, kind, True, REASONS[kind]) for key, kind, _ in found if kind is not None
        ]
        refused = sorted({row[1] for row in held})
        gone = [key for key in keys if key not in read.keys]
        retagged = [key for key, kind, is_retagged in found if is_retagged and kind is None]
        parameters = {"rows": read.rows, "held": refused, "retagged": retagged, "gone": gone, "living": existing}
        with database.pipelined(laravel):
            seen_again = laravel.execute(statements.seen_again, parameters) if statements.seen_again else None
            placed = laravel.execute(statements.upsert, parameters)
            waits = laravel.execute(statements.waiting, parameters) if statements.waiting else None
            if retagged:
                for statement in statements.after:
                    laravel.execute(statement, parameters)
            deleted = laravel.execute(statements.gone, parameters) if gone else None
            compared = [
                laravel.execute(statement, {"keys": [k for k in keys if k not in refused], "rows": rows})
                for statement, rows in zip(statements.comparisons, read.stored.values(), strict=True)
            ]
            quarantine = laravel.execute(statements.quarantine, {"keys": keys})
            held_back = store_quarantine(laravel, {row_group}, keys, held)
            check_deferred(laravel)
            seen_last = once_more(laravel)
        new = [is_new for (is_new,) in placed]
        done.inserted += sum(new)
        done.updated += len(new) - sum(new)
        done.deleted += deleted.rowcount if deleted is not None else 0
        done.held_back += held_back
        done.seen_last += seen_last()
        waiting = dict(waits.fetchall()) if waits is not None else {}
        if waiting:
            done.waiting.setdefault(row_group, {}).update(waiting)
        now_held = {(table, key, kind) for table, key, kind, *_ in quarantine}
        again = {key for _, key, _ in now_held ^ read.quarantine}
        again |= {key for cursor in compared for (key,) in cursor}
        again -= set(refused) | waiting.keys()
        change_log.put(laravel, row_group, {key: task_ids[key] for key in again & task_ids.keys()})
        for child, key, task_id in seen_again or ():
            change_log.put(laravel, child, {key: task_id})


class _BackwardStatements:
    """The statements of one reverse mapping, built once, so that the servers prepare them once."""

    def __init__(self, flow: Flow, reverse: Reverse) -> None:
        laravel, self._origin, self.reverse = flow.destination, flow.origin, reverse
        key, table = sql.Identifier(reverse.key), sql.Identifier("public", reverse.writes)

        def ready(statement: sql.Composed, connection: database.Connection = laravel) -> bytes:
            return statement.as_bytes(connection)

        self.lock = ready(sql_files.statement(FILE, "lock rows", table=table, key=key, owner=sql.SQL("NULL::text")))
        self.held_back = ready(reverse.over_staged("held back"))
        placed = reverse.over_staged("placed")
        nothing = {"rows": "[]", "held": []}
        empty = laravel.execute(sql_files.statement(FILE, "columns of rows", rows=placed), nothing)
        names = [column.name for column in empty.description or ()]
        updated = [name for name in names if name != reverse.key]

        def listed(names: list[str], *alias: str) -> sql.Composed:
            return sql.SQL(", ").join(sql.Identifier(*alias, name) for name in names)

        upsert = sql_files.statement(
            FILE,
            "upsert placed",
            placed=placed,
            table=table,
            key=key,
            columns=listed(names),
            updated=listed(updated),
            known=listed(updated, "known"),
            excluded=listed(updated, "excluded"),
        )
        self.upsert = ready(upsert)
        self.after = [ready(reverse.over_staged(name)) for name in reverse.after]
        self.waiting = ready(reverse.over_staged("waiting")) if "waiting" in reverse.blocks else None
        self.seen_again = ready(reverse.over_staged("seen again")) if "seen again" in reverse.blocks else None
        self.gone = ready(reverse.plain("gone"))
        shapes = shapes_of(flow.shapes, reverse.unit)
        self.comparisons = [ready(_comparison(shape)) for shape in shapes]
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

    def read(self, keys: list[int]) -> _TaskServiceRows:
        """Returns the Task Service's rows of these keys, as they are now."""
        with database.pipelined(self._origin):
            mapped = self._origin.execute(self._rows, {"keys": keys})
            stored = {table: self._origin.execute(query, {"keys": keys}) for table, query in self._stored.items()}
            known = self._origin.execute(
                sql_files.statement(FILE, "known quarantine"), {"tables": self._tables, "keys": keys}
            )
        row = mapped.fetchone()
        assert row is not None
        texts = {table: _text(cursor) for table, cursor in stored.items()}
        return _TaskServiceRows(row[1], frozenset(row[2]), texts, set(known))


def _text(cursor: psycopg.Cursor[tuple[Any, ...]]) -> str:
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def _comparison(shape: Shape) -> sql.Composed:
    """Returns the SELECT of the synced keys whose rows differ between Laravel's mapping and the Task Service."""
    return sql_files.statement(
        FILE,
        "maps to another row",
        key=shape.key,
        rows=shape.mapped_rows(KeyParameter()),
        types=shape.compared_types,
        mapped=shape.names_of("mapped"),
        stored=shape.names_of("stored"),
    )
