"""The comparison of both sides, beside the least that it costs to read them, and beside reladiff."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab.locations import TASK_SERVICE_DATABASE
from task_migration.postgres.database import Connection

from benchmark import others, programs
from benchmark.copying import OURS, said
from benchmark.measured import Runs, measured
from benchmark.statements import names, statement
from benchmark.world import PLANTED, World

EQUAL, TEN = "verify, both sides equal", "verify, ten rows differ"
PASS_LARAVEL, PASS_TASK_SERVICE = "one pass over Laravel's mapped rows", "one pass over the Task Service's tables"
RELADIFF = f"reladiff, {' and '.join(others.COMPARED)} untransformed, equal"


@dataclass(frozen=True)
class Verifying:
    """What was measured, and how the planted differences fared."""

    runs: dict[str, Runs]
    planted: set[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=set)
    unnamed: set[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=set)

    @property
    def slower_pass(self) -> Runs | None:
        """The single pass of the side that needs longer."""
        passes = [self.runs[name] for name in (PASS_LARAVEL, PASS_TASK_SERVICE) if self.runs[name].runs]
        return max(passes, key=lambda runs: runs.median, default=None)


def measure(
    world: World, directory: Path, repetitions: int, others_too: bool, tell: Callable[[str], None]
) -> Verifying:
    """Compares the rows that one more copy of ours leaves, and a copy of them in which ten rows differ."""
    world.fresh()
    copied = programs.run_verb("prepare.bulk_copy", world.both())
    if copied["failed"]:
        raise programs.NotHere(f"{OURS}: {copied['failed']}")
    world.vacuum(TASK_SERVICE_DATABASE)
    world.fresh(PLANTED, TASK_SERVICE_DATABASE)
    planted = plant(world)
    signed_off = _quarantine_kinds(world)
    answers: list[dict[str, Any]] = []

    def verify(name: str) -> dict[str, float]:
        reports = directory / f"reports-{name}"
        answer = programs.run_verb(
            "compare.verify",
            {**world.both(name), "report_directory": str(reports), "quarantine_signed_off": signed_off},
        )
        answers.append({**answer, "reports": reports})
        return {**answer["steps"], "memory": answer["memory"]}

    acts: dict[str, Callable[[], dict[str, float]]] = {
        PASS_LARAVEL: partial(single_pass, world, "laravel"),
        PASS_TASK_SERVICE: partial(single_pass, world, "task_service"),
        EQUAL: partial(verify, TASK_SERVICE_DATABASE),
        TEN: partial(verify, PLANTED),
    }
    if others_too:
        program = _reladiff(world, directory, tell)
        acts[RELADIFF] = lambda: others.reladiff(world, program(), directory)
    runs = {name: Runs(name) for name in acts}
    unnamed: set[tuple[str, int, str, tuple[str, ...]]] = set()
    for _ in range(repetitions):
        for name, act in acts.items():
            kept = runs[name]
            if kept.problem:
                continue
            try:
                run = measured(world, act)
                if name == EQUAL and answers[-1]["failed"]:
                    raise programs.NotHere(answers[-1]["failed"])
                if name == TEN:
                    unnamed |= planted ^ named(answers[-1]["reports"])
            except programs.NotHere as error:
                kept.problem = str(error)
                tell(f"{name}: {error}")
                continue
            kept.runs.append(run)
            tell(f"{name}: {said(run)}")
    return Verifying(runs, planted, unnamed)


def plant(world: World) -> set[tuple[str, int, str, tuple[str, ...]]]:
    """Makes ten rows of the database ``planted`` differ, spread over its keys; gives what a comparison must name."""
    done = set()
    with world.task_service_server.connect(PLANTED) as session:
        blocks = names("planted: ")
        for number, name in enumerate(blocks):
            table, kind, *columns = name.removeprefix("planted: ").split()
            after = 50 + number * (world.tasks - 200) // len(blocks)
            row = session.execute(statement(name), {"after": after}).fetchone()
            assert row is not None, name
            done.add((table, int(row[0]), kind, tuple(columns)))
    return done


def named(reports: Path) -> set[tuple[str, int, str, tuple[str, ...]]]:
    """The differences of the newest consistency report."""
    newest = max(reports.rglob("*.json"), key=lambda path: path.stat().st_mtime)
    return {
        (one["table"], one["key"], one["kind"], tuple(one["columns"]))
        for one in json.loads(newest.read_text(encoding="utf-8"))["differences"]
    }


def single_pass(world: World, side: str) -> dict[str, float]:
    """Counts and hashes every mapped row of one side, table after table, and nothing else."""
    with world.flow() as flow:
        for shape in flow.shapes:
            connection: Connection = flow.origin if side == "laravel" else flow.destination
            rows = shape.mapped_rows(None) if side == "laravel" else shape.stored_rows(None)
            connection.execute(statement("single pass", key=shape.key, rows=rows)).fetchone()
    return {}


def _quarantine_kinds(world: World) -> dict[str, str]:
    with world.task_service_server.connect(TASK_SERVICE_DATABASE) as session:
        return {kind: "the lab's hostile rows" for (kind,) in session.execute(statement("quarantine kinds"))}


def _reladiff(world: World, directory: Path, tell: Callable[[str], None]) -> Callable[[], str]:
    """reladiff and equal tables for it; what was wrong is raised when it is asked for."""
    try:
        program = others.install_reladiff(directory / "reladiff")
        others.clone_untransformed(world)
    except programs.NotHere as error:
        problem = error
        tell(f"{RELADIFF}: {error}")

        def fail() -> str:
            raise problem

        return fail
    return lambda: program
