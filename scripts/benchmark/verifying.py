"""Measures the comparison of both sides, beside a single read of the rows, and beside reladiff."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab.locations import TASK_SERVICE_DATABASE
from task_migration.postgres.database import Connection

from benchmark import other_tools, programs
from benchmark.copying import OURS, summary
from benchmark.measurement import Measurements, measure_run
from benchmark.servers import PLANTED, BenchmarkServers
from benchmark.statements import names, statement

EQUAL, TEN = "verify, both sides equal", "verify, ten rows differ"
PASS_LARAVEL, PASS_TASK_SERVICE = "one pass over Laravel's mapped rows", "one pass over the Task Service's tables"
RELADIFF = f"reladiff, {' and '.join(other_tools.COMPARED)} untransformed, equal"


@dataclass(frozen=True)
class VerifyResults:
    """The measurements, and which planted differences were found."""

    runs: dict[str, Measurements]
    planted: set[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=set)
    unnamed: set[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=set)

    @property
    def slower_pass(self) -> Measurements | None:
        """Returns the single pass of the slower side."""
        passes = [self.runs[name] for name in (PASS_LARAVEL, PASS_TASK_SERVICE) if self.runs[name].runs]
        return max(passes, key=lambda runs: runs.median, default=None)


def measure(
    bench: BenchmarkServers, directory: Path, repetitions: int, others_too: bool, log: Callable[[str], None]
) -> VerifyResults:
    """Compares the rows of a new copy, and a database in which ten rows differ."""
    bench.fresh()
    copied = programs.run_verb("prepare.bulk_copy", bench.both())
    if copied["failed"]:
        raise programs.NotMeasured(f"{OURS}: {copied['failed']}")
    bench.vacuum(TASK_SERVICE_DATABASE)
    bench.fresh(PLANTED, TASK_SERVICE_DATABASE)
    planted = plant(bench)
    signed_off = _quarantine_kinds(bench)
    answers: list[dict[str, Any]] = []

    def verify(name: str) -> dict[str, float]:
        reports = directory / f"reports-{name}"
        answer = programs.run_verb(
            "compare.verify",
            {**bench.both(name), "report_directory": str(reports), "quarantine_signed_off": signed_off},
        )
        answers.append({**answer, "reports": reports})
        return {**answer["steps"], "memory": answer["memory"]}

    acts: dict[str, Callable[[], dict[str, float]]] = {
        PASS_LARAVEL: partial(single_pass, bench, "laravel"),
        PASS_TASK_SERVICE: partial(single_pass, bench, "task_service"),
        EQUAL: partial(verify, TASK_SERVICE_DATABASE),
        TEN: partial(verify, PLANTED),
    }
    if others_too:
        program = _reladiff(bench, directory, log)
        acts[RELADIFF] = lambda: other_tools.reladiff(bench, program(), directory)
    runs = {name: Measurements(name) for name in acts}
    unnamed: set[tuple[str, int, str, tuple[str, ...]]] = set()
    for _ in range(repetitions):
        for name, act in acts.items():
            results = runs[name]
            if results.problem:
                continue
            try:
                run = measure_run(bench, act)
                if name == EQUAL and answers[-1]["failed"]:
                    raise programs.NotMeasured(answers[-1]["failed"])
                if name == TEN:
                    unnamed |= planted ^ named(answers[-1]["reports"])
            except programs.NotMeasured as error:
                results.problem = str(error)
                log(f"{name}: {error}")
                continue
            results.runs.append(run)
            log(f"{name}: {summary(run)}")
    return VerifyResults(runs, planted, unnamed)


def plant(bench: BenchmarkServers) -> set[tuple[str, int, str, tuple[str, ...]]]:
    """Changes ten rows of the database ``planted``, spread over its keys. Returns what a comparison must name."""
    done = set()
    with bench.task_service_server.connect(PLANTED) as session:
        blocks = names("planted: ")
        for number, name in enumerate(blocks):
            table, kind, *columns = name.removeprefix("planted: ").split()
            after = 50 + number * (bench.tasks - 200) // len(blocks)
            row = session.execute(statement(name), {"after": after}).fetchone()
            assert row is not None, name
            done.add((table, int(row[0]), kind, tuple(columns)))
    return done


def named(reports: Path) -> set[tuple[str, int, str, tuple[str, ...]]]:
    """Returns the differences in the newest consistency report."""
    newest = max(reports.rglob("*.json"), key=lambda path: path.stat().st_mtime)
    return {
        (one["table"], one["key"], one["kind"], tuple(one["columns"]))
        for one in json.loads(newest.read_text(encoding="utf-8"))["differences"]
    }


def single_pass(bench: BenchmarkServers, side: str) -> dict[str, float]:
    """Counts and hashes every mapped row of one side, table after table, and nothing else."""
    with bench.flow() as flow:
        for shape in flow.shapes:
            connection: Connection = flow.origin if side == "laravel" else flow.destination
            rows = shape.mapped_rows(None) if side == "laravel" else shape.stored_rows(None)
            connection.execute(statement("single pass", key=shape.key, rows=rows)).fetchone()
    return {}


def _quarantine_kinds(bench: BenchmarkServers) -> dict[str, str]:
    with bench.task_service_server.connect(TASK_SERVICE_DATABASE) as session:
        return {kind: "the lab's hostile rows" for (kind,) in session.execute(statement("quarantine kinds"))}


def _reladiff(bench: BenchmarkServers, directory: Path, log: Callable[[str], None]) -> Callable[[], str]:
    """Returns a function that returns reladiff's path, or raises the error of its installation. Also creates equal
    tables."""
    try:
        program = other_tools.install_reladiff(directory / "reladiff")
        other_tools.clone_untransformed(bench)
    except programs.NotMeasured as error:
        problem = error
        log(f"{RELADIFF}: {error}")

        def fail() -> str:
            raise problem

        return fail
    return lambda: program
