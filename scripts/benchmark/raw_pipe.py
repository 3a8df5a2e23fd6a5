"""psql COPY | psql COPY of the mapped SELECTs: the minimum cost of moving these rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

from lab.servers import laravel_tables
from psycopg import sql
from task_migration.mapping.selector import KeyRange
from task_migration.mapping.table_mapping import mappings
from task_migration.sync.table_shape import Shape

from benchmark.programs import at_once, pipe, postgres_program, run
from benchmark.servers import S3_BUCKET, BenchmarkServers
from benchmark.statements import statement

STREAMS = 2
TABLES = [mapping.table for mapping in mappings()]
# The settings of the runbook's sessions, except that the planner may use parallel workers.
_SESSION = "-c TimeZone=UTC -c jit=off"
_GIVING = {
    "PGOPTIONS": f"{_SESSION} -c task_migration.laravel_timezone={laravel_tables.TIMEZONE}"
    f" -c task_migration.s3_bucket={S3_BUCKET}"
}
_TAKING = {"PGOPTIONS": _SESSION}


@dataclass(frozen=True)
class _TableRange:
    """One range of one table, with a statement for each psql."""

    table: str
    out: str
    into: str


@dataclass(frozen=True)
class RawPipe:
    """Two streams of psql | psql, each table in ``parts``. ``deferred``: indexes and foreign keys follow after the
    rows."""

    format: Literal["text", "binary"]
    parts: int
    deferred: bool

    def prepare(self, bench: BenchmarkServers) -> tuple[list[_TableRange], list[list[str]]]:
        """Returns the work. Drops the secondary indexes and foreign keys if they are deferred."""
        bench.fresh()
        with bench.flow() as flow:
            parts = [
                part
                for shape in flow.shapes
                for part in self._parts(shape, self._bounds(shape, flow.origin), flow.origin)
            ]
            after: list[list[str]] = []
            if self.deferred:
                indexes = flow.destination.execute(statement("secondary indexes"), {"tables": TABLES}).fetchall()
                keys = flow.destination.execute(statement("foreign keys"), {"tables": TABLES}).fetchall()
                for drop in [drop for _, drop in indexes] + [drop for _, _, drop in keys]:
                    flow.destination.execute(drop.encode())
                after = [[make for make, _ in indexes], [add for add, _, _ in keys], [check for _, check, _ in keys]]
        return parts, after

    def copy(self, bench: BenchmarkServers, prepared: tuple[list[_TableRange], list[list[str]]]) -> dict[str, float]:
        parts, after = prepared
        dsn = bench.task_service_dsn()
        if self.deferred:
            at_once(STREAMS, [partial(_pipe_range, bench, part) for part in parts])
        else:  # parents before children, because the foreign keys exist
            at_once(STREAMS, [partial(_pipe_range, bench, part) for part in parts if part.table == TABLES[0]])
            at_once(STREAMS, [partial(_pipe_range, bench, part) for part in parts if part.table != TABLES[0]])
        for number, statements in enumerate(after):
            # Adding a constraint needs an exclusive lock, but takes no time.
            at_once(1 if number == 1 else STREAMS, [partial(_ddl, dsn, text) for text in statements])
        return {}

    def _bounds(self, shape: Shape, origin: object) -> list[int]:
        mapping = shape.mapping
        row = origin.execute(  # type: ignore[attr-defined]
            statement(
                "highest key",
                column=sql.Identifier(mapping.base_column),
                table=sql.Identifier("public", mapping.base_table),
            )
        ).fetchone()
        return [-(2**62), *(row[0] * part // self.parts for part in range(1, self.parts)), 2**62]

    def _parts(self, shape: Shape, bounds: list[int], origin: object) -> list[_TableRange]:
        form = sql.SQL(self.format)
        into = statement("copy in", table=shape.table, columns=shape.names, format=form)
        return [
            _TableRange(
                shape.mapping.table,
                statement("copy out", rows=_rows_out(shape, KeyRange(low + 1, high)), format=form).as_string(origin),  # type: ignore[arg-type]
                into.as_string(origin),  # type: ignore[arg-type]
            )
            for low, high in pairwise(bounds)
        ]


def _psql(dsn: str, command: str) -> list[str]:
    return [postgres_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", command]


def _pipe_range(bench: BenchmarkServers, part: _TableRange) -> None:
    pipe(_psql(bench.laravel_dsn, part.out), _psql(bench.task_service_dsn(), part.into), _GIVING, _TAKING)


def _ddl(dsn: str, command: str) -> None:
    run(_psql(dsn, command))


def _rows_out(shape: Shape, selector: KeyRange) -> sql.Composed:
    """Returns the mapped rows in the table's types, as the copy sends them."""
    return sql.SQL("SELECT {} FROM ({}) mapped").format(shape.converted("mapped"), shape.mapping.rows(selector))
