"""Converge: makes the destination's selected rows equal to the mapped rows. Copy, sync and reconcile all use it.

It reads the origin as it is now. So the order in which changes are synced does not matter, repeating it does no harm,
and a repair is the same operation as the first copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from task_migration import sql_files
from task_migration.mapping.selector import KeyRange, KeySet, Selector
from task_migration.mapping.table_mapping import children_of, mappings
from task_migration.postgres import database
from task_migration.postgres.copy_stream import copy_stream
from task_migration.postgres.row_errors import may_be_of_a_row
from task_migration.sync.table_shape import Shape, shape_of

_FILE = "sync/converge.sql"
REFUSED_BY_DATABASE = "refused_by_database"
PARENT_REFUSED = "parent_refused"
OWNER_CHANGED = "owner_changed"
REFUSED_BY_API = "refused_by_api"
REFUSED = (REFUSED_BY_DATABASE, PARENT_REFUSED, OWNER_CHANGED, REFUSED_BY_API)
"""Kinds of quarantine that the Task Service's side causes."""
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class Flow:
    """The direction of the rows: two open connections, and the shapes of the tables, parents before children."""

    origin: database.Connection
    destination: database.Connection
    shapes: tuple[Shape, ...]

    @property
    def laravel(self) -> database.Connection:
        """Laravel's connection."""
        return self.origin if self.origin.side.name == "laravel" else self.destination

    @property
    def task_service(self) -> database.Connection:
        """The Task Service's connection."""
        return self.destination if self.origin.side.name == "laravel" else self.origin


def forward_flow(laravel: database.Connection, task_service: database.Connection) -> Flow:
    """Returns the flow Laravel -> Task Service. Raises Refused if a table of the Task Service does not match its
    mapping."""
    return Flow(laravel, task_service, tuple(shape_of(mapping, laravel, task_service) for mapping in mappings()))


def backward_flow(laravel: database.Connection, task_service: database.Connection) -> Flow:
    """Returns the flow Task Service -> Laravel, with the same shapes: a row that is synced back must map to itself."""
    return Flow(task_service, laravel, forward_flow(laravel, task_service).shapes)


@dataclass(frozen=True)
class Convergence:
    """What one converge did, in rows of the destination's table.

    ``mapped``     selected rows that the mapping returns and the destination now has;
    ``held_back``  candidates that cannot be migrated, each with its reason in quarantine;
    ``waiting``    keys of children whose parent does not exist yet: they must be converged again.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    mapped: int = 0
    held_back: int = 0
    waiting: tuple[int, ...] = field(default=())

    @property
    def changed(self) -> int:
        return self.inserted + self.updated + self.deleted

    def __add__(self, other: Convergence) -> Convergence:
        return Convergence(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.mapped + other.mapped,
            self.held_back + other.held_back,
            self.waiting + other.waiting,
        )


def converge(flow: Flow, shape: Shape, selector: Selector, *, bulk: bool = False) -> Convergence:
    """Converges the selected rows of one table, inside the caller's transaction on the destination.

    With ``bulk`` an empty range is filled without recording its quarantine: the caller must call ``quarantine`` for the
    whole table, which reads Laravel's table once and not once for each range.

    A row that the destination's database refuses is quarantined with the name of the error, and the others are written:
    the selection is halved until only that row is left. Raises psycopg's error if no single row caused it.
    """
    if isinstance(selector, KeyRange) and not _holds_rows(flow, shape, selector):
        try:
            with flow.origin.transaction(), flow.destination.transaction():
                filled = _fill(flow, shape, selector, bulk)
                check_deferred(flow.destination)
                return filled
        except psycopg.Error as error:
            if not may_be_of_a_row(error):
                raise
            # A row is refused, or a parent is missing: _merge finds out which.
    try:
        with flow.origin.transaction(), flow.destination.transaction():
            merged = _merge(flow, shape, selector)
            check_deferred(flow.destination)
            return merged
    except psycopg.Error as error:
        if not may_be_of_a_row(error):
            raise
        if not selector.is_single:
            first, second = selector.halves()
            return converge(flow, shape, first, bulk=bulk) + converge(flow, shape, second, bulk=bulk)
        if isinstance(error, pg.ForeignKeyViolation) and isinstance(selector, KeySet):
            return Convergence(waiting=selector.keys)  # its parent was deleted meanwhile, and that is on the log
        return _hold_back_refused(flow, shape, selector, error)


def check_deferred(destination: database.Connection) -> None:
    """Checks now what the destination would check at the commit, where the row that it refuses is no longer known."""
    destination.execute(sql_files.statement(_FILE, "check deferred constraints"))


def _holds_rows(flow: Flow, shape: Shape, selector: Selector) -> bool:
    row = flow.destination.execute(
        sql_files.statement(_FILE, "holds rows", table=shape.table, selected=selector.condition(shape.key))
    ).fetchone()
    return bool(row and row[0])


def _fill(flow: Flow, shape: Shape, selector: Selector, bulk: bool) -> Convergence:
    """Copies straight into the table, which has no selected row."""
    inserted = _copy_rows(flow, shape, selector, shape.table)
    held_back = 0 if bulk else quarantine(flow, shape, selector)
    return Convergence(inserted=inserted, mapped=inserted, held_back=held_back)


def _copy_rows(flow: Flow, shape: Shape, selector: Selector, into: sql.Identifier) -> int:
    return copy_stream(
        flow.origin,
        sql_files.statement(
            _FILE, "copy rows out", columns=shape.converted("mapped"), rows=shape.mapping.rows(selector)
        ),
        flow.destination,
        sql_files.statement(_FILE, "copy rows in", table=into, columns=shape.names),
    )


def _merge(flow: Flow, shape: Shape, selector: Selector) -> Convergence:
    """Copies into a temporary table, then inserts what is missing, updates what differs, and deletes what no longer
    maps."""
    mapping = shape.mapping
    names: dict[str, sql.Composable] = {
        "table": shape.table,
        "key": shape.key,
        "stage": sql.Identifier(f"task_migration_stage_{mapping.table}"),
        "columns": shape.names,
        "known": shape.known,
        "updated": shape.updated,
        "merged": shape.merged,
        "destination_only": sql_files.as_sql(mapping.destination_only),
        "selected": selector.condition(shape.key),
    }

    def run(name: str, **more: sql.Composable) -> psycopg.Cursor[_Row]:
        return flow.destination.execute(sql_files.statement(_FILE, name, **names, **more))

    run("create stage")
    run("empty stage")
    mapped = _copy_rows(flow, shape, selector, sql.Identifier(f"task_migration_stage_{mapping.table}"))
    run("lock rows")
    orphans: list[_Row] = []
    if mapping.parent is not None:
        orphans = run(
            "remove children without a parent from the stage",
            parent=sql.Identifier("public", mapping.parent.table),
            parent_name=sql.Literal(mapping.parent.table),
            parent_key=sql.Identifier(_key_of(flow, mapping.parent.table)),
            parent_column=sql.Identifier(mapping.parent.column),
        ).fetchall()
    written = [is_new for (is_new,) in run("upsert")]
    for child in children_of(mapping.table):
        assert child.parent is not None
        run(
            "delete children of what no longer maps",
            child=sql.Identifier("public", child.table),
            child_column=sql.Identifier(child.parent.column),
        )
    deleted = run("delete what no longer maps").rowcount
    return Convergence(
        inserted=sum(written),
        updated=len(written) - sum(written),
        deleted=deleted,
        mapped=mapped - len(orphans),
        held_back=quarantine(flow, shape, selector, orphans=[key for key, is_refused in orphans if is_refused]),
        waiting=tuple(key for key, is_refused in orphans if not is_refused),
    )


def _key_of(flow: Flow, table: str) -> str:
    return next(shape.mapping.key for shape in flow.shapes if shape.mapping.table == table)


def quarantine(
    flow: Flow,
    shape: Shape,
    selector: Selector,
    *,
    orphans: Sequence[int] = (),
    refused: Mapping[int, str] | None = None,
    spared: Sequence[str] = (),
) -> int:
    """Updates the quarantine records of the selected keys to what the mapping returns now. Returns how many rows are
    held back.

    ``orphans`` are children whose parent the database refused; ``refused`` are rows that it refused themselves, with
    the reason. Records of the ``spared`` kinds remain. The records are copied between the databases by COPY, so their
    number does not matter.
    """

    def run(name: str, parameters: dict[str, Any] | None = None, **names: sql.Composable) -> psycopg.Cursor[_Row]:
        return flow.destination.execute(sql_files.statement(_FILE, name, **names), parameters)

    with flow.destination.transaction():
        run("create quarantine stage")
        run("empty quarantine stage")
        if refused is None:
            copy_stream(
                flow.origin,
                sql_files.statement(_FILE, "copy quarantine out", quarantine=shape.mapping.quarantine(selector)),
                flow.destination,
                sql_files.statement(_FILE, "copy quarantine in"),
            )
        if orphans:
            reason = "its parent was refused by the database"
            run("stage refused", {"keys": list(orphans), "kind": PARENT_REFUSED, "reason": reason})
        for key, reason in (refused or {}).items():
            run("stage refused", {"keys": [key], "kind": REFUSED_BY_DATABASE, "reason": reason})
        names: dict[str, Any] = {
            "table_name": sql.Literal(shape.mapping.table),
            "selected": selector.condition(sql.Identifier("known", "key")),
            "spared": sql.Literal(list(spared)),
        }
        run("remove quarantine", **names)
        run("store quarantine", **names)
        row = run("staged rows held back").fetchone()
    return int(row[0]) if row else 0


def _hold_back_refused(flow: Flow, shape: Shape, selector: Selector, error: psycopg.Error) -> Convergence:
    """Quarantines the one selected row. The reason names the error and never the row's content."""
    (key,) = selector.keys if isinstance(selector, KeySet) else (selector.low,)
    reason = f"{error.sqlstate} {type(error).__name__}"
    if error.diag.column_name:
        reason += f" in column {error.diag.column_name}"
    quarantine(flow, shape, selector, refused={key: reason})
    return Convergence(held_back=1)
