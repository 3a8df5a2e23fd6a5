"""Measures the copy and the other tools in rounds. Each runs once per round, so a slow moment affects all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.locations import TASK_SERVICE_DATABASE

from benchmark import other_tools, programs
from benchmark.measurement import Measurement, Measurements, measure_run
from benchmark.raw_pipe import TABLES, RawPipe
from benchmark.servers import EMPTY, BenchmarkServers
from benchmark.statements import statement

OURS = "copy (the whole phase)"
RAW_ALL_INDEXES = "psql \\| psql, all indexes present"
RAW_BEST = "psql \\| psql, indexes and foreign keys after"
PGCOPYDB = "pgcopydb, Laravel's tables untransformed"
PLAN = "the plan's script, row by row"
RANGE = 100_000
"""The keys in one range of the raw pipe: as many as in the copy's default."""


@dataclass(frozen=True)
class Contender:
    """One way to copy. ``prepare`` is not measured; ``act`` gets its result. ``moves_all``: it writes every
    mapped row."""

    name: str
    prepare: Callable[[], Any]
    act: Callable[[Any], dict[str, float]]
    moves_all: bool = True


@dataclass(frozen=True)
class CopyResults:
    """The measurements; ``rows`` are the mapped rows of each table."""

    runs: dict[str, Measurements]
    rows: dict[str, int]

    @property
    def best_raw(self) -> Measurements | None:
        """Returns the fastest raw pipe."""
        raw = [runs for name, runs in self.runs.items() if name.startswith("psql") and runs.runs]
        return min(raw, key=lambda runs: runs.median, default=None)


def contenders(bench: BenchmarkServers, directory: Path, others_too: bool) -> list[Contender]:
    """Returns each way to copy: the raw pipe in both formats, by halves of the tables and by ranges as the copy does.

    Without ``others_too`` only those that need no installation.
    """
    fresh, ranges = bench.fresh, max(2, bench.tasks // RANGE)
    raw = [
        (f"{RAW_ALL_INDEXES}: binary, halves", RawPipe("binary", 2, deferred=False)),
        (f"{RAW_BEST}: binary, halves", RawPipe("binary", 2, deferred=True)),
        (f"{RAW_BEST}: text, halves", RawPipe("text", 2, deferred=True)),
        (f"{RAW_BEST}: binary, {ranges} ranges", RawPipe("binary", ranges, deferred=True)),
    ]
    own = [
        Contender(OURS, fresh, lambda _: _ours(bench)),
        *(Contender(name, partial(way.prepare, bench), partial(way.copy, bench)) for name, way in raw),
    ]
    if not others_too:
        return own
    plan = plan_command(directory / "plan")
    return [
        *own,
        Contender(
            PGCOPYDB,
            partial(other_tools.fresh_clone, bench),
            lambda _: other_tools.pgcopydb(bench, directory / "pgcopydb"),
            moves_all=False,
        ),
        Contender(PLAN, fresh, lambda _: other_tools.plan_script(bench, plan()), moves_all=False),
    ]


def plan_command(directory: Path) -> Callable[[], list[str]]:
    """Returns a function that returns the command of the plan's script, or raises the error of its installation."""
    try:
        command = other_tools.install_plan_script(directory)
    except programs.NotMeasured as error:
        problem = error

        def fail() -> list[str]:
            raise problem

        return fail
    return lambda: command


def measure(
    bench: BenchmarkServers, directory: Path, repetitions: int, others_too: bool, log: Callable[[str], None]
) -> CopyResults:
    """Runs every contender ``repetitions`` times. Compares the copied rows with the mapping."""
    asked = contenders(bench, directory, others_too)
    runs = {contender.name: Measurements(contender.name) for contender in asked}
    rows, sums = _mapped(bench)
    goal = _definitions(bench, EMPTY)
    for number in range(repetitions):
        for contender in asked:
            results = runs[contender.name]
            if results.problem:
                continue
            try:
                prepared = contender.prepare()
                run = measure_run(bench, partial(contender.act, prepared))
                if contender.moves_all:
                    _require_equal(bench, sums if number == 0 else {}, rows, goal)
            except programs.NotMeasured as error:
                results.problem = str(error)
                log(f"{contender.name}: {error}")
                continue
            results.runs.append(run)
            log(f"{contender.name}: {summary(run)}")
    return CopyResults(runs, rows)


def summary(run: Measurement) -> str:
    """Returns one run in one line."""
    steps = "".join(f"; {step} {seconds:.2f}" for step, seconds in run.steps.items())
    return (
        f"{run.wall:.2f} s; CPU s: own {run.client_cpu:.1f}, Laravel's server {run.laravel_cpu:.1f}, "
        f"Task Service's {run.task_service_cpu:.1f}; {run.client_memory:.0f} MB{steps}"
    )


def _ours(bench: BenchmarkServers) -> dict[str, float]:
    answer = programs.run_verb("prepare.bulk_copy", bench.both())
    if answer["failed"]:
        raise programs.NotMeasured(answer["failed"])
    return {**answer["steps"], "memory": answer["memory"]}


def _mapped(bench: BenchmarkServers) -> tuple[dict[str, int], dict[str, Any]]:
    """Returns the count and the hash of the rows that each table must have, computed on Laravel's side."""
    bench.fresh()
    rows, sums = {}, {}
    with bench.flow() as flow:
        for shape in flow.shapes:
            found = flow.origin.execute(
                statement("single pass", key=shape.key, rows=shape.mapped_rows(None))
            ).fetchone()
            assert found is not None
            rows[shape.mapping.table], sums[shape.mapping.table] = found
    return rows, sums


def _require_equal(bench: BenchmarkServers, sums: dict[str, Any], rows: dict[str, int], definitions: list[str]) -> None:
    """Raises NotMeasured if rows or indexes differ. Compares the rows' hashes where ``sums`` are given."""
    with bench.flow() as flow:
        for shape in flow.shapes:
            table = shape.mapping.table
            counted = flow.destination.execute(statement("rows of table", table=shape.table)).fetchone()
            if counted != (rows[table],):
                raise programs.NotMeasured(f"left {counted} rows in {table}, not {rows[table]}")
            if table in sums:
                hashed = flow.destination.execute(
                    statement("single pass", key=shape.key, rows=shape.stored_rows(None))
                ).fetchone()
                if hashed != (rows[table], sums[table]):
                    raise programs.NotMeasured(f"left other rows in {table} than the mapping returns")
    if (there := _definitions(bench)) != definitions:
        raise programs.NotMeasured(f"left other indexes: {sorted(set(there) ^ set(definitions))}")


def _definitions(bench: BenchmarkServers, name: str = TASK_SERVICE_DATABASE) -> list[str]:
    with bench.task_service_server.connect(name) as session:
        return [row for (row,) in session.execute(statement("indexes and constraints"), {"tables": TABLES})]
