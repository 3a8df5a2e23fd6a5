"""The copy and its contenders, in rounds: each is run once per round, so that a slow moment of the machine hits all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.locations import TASK_SERVICE_DATABASE

from benchmark import others, programs
from benchmark.measured import Run, Runs, measured
from benchmark.raw_pipe import TABLES, RawPipe
from benchmark.statements import statement
from benchmark.world import EMPTY, World

OURS = "copy (the whole phase)"
RAW_ALL_INDEXES = "psql \\| psql, all indexes present"
RAW_BEST = "psql \\| psql, indexes and foreign keys after"
PGCOPYDB = "pgcopydb, Laravel's tables untransformed"
PLAN = "the plan's script, row by row"
RANGE = 100_000
"""Keys of one range of the raw pipe, as many as the copy's own have by default."""


@dataclass(frozen=True)
class Contender:
    """``prepare`` is not measured, ``act`` is given what it made; ``moves_all``: it leaves every mapped row."""

    name: str
    prepare: Callable[[], Any]
    act: Callable[[Any], dict[str, float]]
    moves_all: bool = True


@dataclass(frozen=True)
class Copying:
    """What was measured; ``rows`` are the mapped rows of each table."""

    runs: dict[str, Runs]
    rows: dict[str, int]

    @property
    def best_raw(self) -> Runs | None:
        """The quickest of the raw pipes."""
        raw = [runs for name, runs in self.runs.items() if name.startswith("psql") and runs.runs]
        return min(raw, key=lambda runs: runs.median, default=None)


def contenders(world: World, directory: Path, others_too: bool) -> list[Contender]:
    """Each way to copy; the raw pipe in both formats, by halves of the tables and by ranges as ours.

    Without ``others_too`` only what needs nothing to be installed.
    """
    fresh, ranges = world.fresh, max(2, world.tasks // RANGE)
    raw = [
        (f"{RAW_ALL_INDEXES}: binary, halves", RawPipe("binary", 2, deferred=False)),
        (f"{RAW_BEST}: binary, halves", RawPipe("binary", 2, deferred=True)),
        (f"{RAW_BEST}: text, halves", RawPipe("text", 2, deferred=True)),
        (f"{RAW_BEST}: binary, {ranges} ranges", RawPipe("binary", ranges, deferred=True)),
    ]
    own = [
        Contender(OURS, fresh, lambda _: _ours(world)),
        *(Contender(name, partial(way.prepare, world), partial(way.copy, world)) for name, way in raw),
    ]
    if not others_too:
        return own
    plan = plan_command(directory / "plan")
    return [
        *own,
        Contender(
            PGCOPYDB,
            partial(others.fresh_clone, world),
            lambda _: others.pgcopydb(world, directory / "pgcopydb"),
            moves_all=False,
        ),
        Contender(PLAN, fresh, lambda _: others.plan_script(world, plan()), moves_all=False),
    ]


def plan_command(directory: Path) -> Callable[[], list[str]]:
    """How to start the plan's script; what was wrong is raised when it is asked for."""
    try:
        command = others.install_plan_script(directory)
    except programs.NotHere as error:
        problem = error

        def fail() -> list[str]:
            raise problem

        return fail
    return lambda: command


def measure(world: World, directory: Path, repetitions: int, others_too: bool, tell: Callable[[str], None]) -> Copying:
    """Every contender ``repetitions`` times. What a copy leaves is held against what the mapping says it must."""
    asked = contenders(world, directory, others_too)
    runs = {contender.name: Runs(contender.name) for contender in asked}
    rows, sums = _mapped(world)
    goal = _definitions(world, EMPTY)
    for number in range(repetitions):
        for contender in asked:
            kept = runs[contender.name]
            if kept.problem:
                continue
            try:
                prepared = contender.prepare()
                run = measured(world, partial(contender.act, prepared))
                if contender.moves_all:
                    _require_equal(world, sums if number == 0 else {}, rows, goal)
            except programs.NotHere as error:
                kept.problem = str(error)
                tell(f"{contender.name}: {error}")
                continue
            kept.runs.append(run)
            tell(f"{contender.name}: {said(run)}")
    return Copying(runs, rows)


def said(run: Run) -> str:
    """One run in one line."""
    steps = "".join(f"; {step} {seconds:.2f}" for step, seconds in run.steps.items())
    return (
        f"{run.wall:.2f} s; CPU s: own {run.client_cpu:.1f}, Laravel's server {run.laravel_cpu:.1f}, "
        f"Task Service's {run.task_service_cpu:.1f}; {run.client_memory:.0f} MB{steps}"
    )


def _ours(world: World) -> dict[str, float]:
    answer = programs.run_verb("prepare.bulk_copy", world.both())
    if answer["failed"]:
        raise programs.NotHere(answer["failed"])
    return {**answer["steps"], "memory": answer["memory"]}


def _mapped(world: World) -> tuple[dict[str, int], dict[str, Any]]:
    """Count and hash of what each table must hold, by Laravel's own computation."""
    world.fresh()
    rows, sums = {}, {}
    with world.flow() as flow:
        for shape in flow.shapes:
            found = flow.origin.execute(
                statement("single pass", key=shape.key, rows=shape.mapped_rows(None))
            ).fetchone()
            assert found is not None
            rows[shape.mapping.table], sums[shape.mapping.table] = found
    return rows, sums


def _require_equal(world: World, sums: dict[str, Any], rows: dict[str, int], definitions: list[str]) -> None:
    """Raises NotHere unless the rows and indexes are as they must be; rows by their hash where ``sums`` are given."""
    with world.flow() as flow:
        for shape in flow.shapes:
            table = shape.mapping.table
            counted = flow.destination.execute(statement("rows of table", table=shape.table)).fetchone()
            if counted != (rows[table],):
                raise programs.NotHere(f"left {counted} rows in {table}, not {rows[table]}")
            if table in sums:
                hashed = flow.destination.execute(
                    statement("single pass", key=shape.key, rows=shape.stored_rows(None))
                ).fetchone()
                if hashed != (rows[table], sums[table]):
                    raise programs.NotHere(f"left other rows in {table} than the mapping says")
    if (there := _definitions(world)) != definitions:
        raise programs.NotHere(f"left other indexes: {sorted(set(there) ^ set(definitions))}")


def _definitions(world: World, name: str = TASK_SERVICE_DATABASE) -> list[str]:
    with world.task_service_server.connect(name) as session:
        return [row for (row,) in session.execute(statement("indexes and constraints"), {"tables": TABLES})]
