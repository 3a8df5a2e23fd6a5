"""The results of copy and verify as one Markdown page, beside the goals."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmark.copying import OURS, PGCOPYDB, PLAN, CopyResults
from benchmark.measurement import Measurement, Measurements
from benchmark.servers import BenchmarkServers, described
from benchmark.verifying import EQUAL, TEN, VerifyResults

_HEAD = (
    "| | best s | median s | ours / it, best | ours / it, median | CPU s: own | Laravel's server | "
    "Task Service's server | memory MB |\n|---|---|---|---|---|---|---|---|---|"
)
_COPY = """\
Wall time from the start of a contender's programs to their end. The target has tables and no rows before, and the same
rows, indexes and foreign keys after (checked after each run; the rows by their hashes in the first round). CPU is the
median run's. The raw pipe runs two streams, each table in halves or in ranges; its best is the fastest row of both.
pgcopydb moves the five tables that the mapping reads, untransformed."""
_VERIFY = """\
Every table and column on both sides, with the account of every row, the plan's comparisons and the report. A single
pass counts and hashes the same rows of one side alone and does nothing else. reladiff compares untransformed tables."""
_PLAN = """\
The plan's script was run with Node on {sample:,} tasks, after fixing what prevents it from running (`tg.tag_id`, the
ports, an approver without a Cognito sub): {rate:,.0f} tasks/s, so {seconds:,.0f} s for {tasks:,}; its ratios use
that. It moves no approvals; that it would hold every task in memory at once is not counted against it."""


@dataclass(frozen=True)
class Goal:
    """A goal. ``measured`` is None without a measurement. It should be ``at_most`` (else at least) ``allowed``."""

    what: str
    allowed: float
    unit: str
    measured: float | None
    at_most: bool = True

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.allowed if self.at_most else self.measured >= self.allowed

    def row(self) -> str:
        measured = "not measured"
        if self.measured is not None:
            measured = f"{self.measured:{',.0f' if self.measured >= 1000 else '.3g'}}{self.unit}"
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        return (
            f"| {self.what} | {'<=' if self.at_most else '>='} {self.allowed:g}{self.unit} | {measured} | {verdict} |"
        )


def goals(bench: BenchmarkServers, copying: CopyResults, verifying: VerifyResults | None) -> list[Goal]:
    """Returns the goals, each with the ratio of this run's medians."""
    ours = copying.runs[OURS]
    to_plan = ratio(ours, copying.runs.get(PLAN), scale(PLAN, bench))
    found = [
        Goal("copy / best raw pipe", 1.05, " x", ratio(ours, copying.best_raw)),
        Goal("copy / pgcopydb", 1.15, " x", ratio(ours, copying.runs.get(PGCOPYDB))),
        Goal("the plan's script / copy", 60, " x", 1 / to_plan if to_plan else None, at_most=False),
        Goal("copy: memory of our process", 150, " MB", ours.memory if ours.runs else None),
    ]
    if verifying is None:
        return found
    equal, ten = verifying.runs[EQUAL], verifying.runs[TEN]
    more = ten.median - equal.median if ten.runs and equal.runs else None
    return [
        *found,
        Goal("verify of equal data / the slower side's single pass", 1.15, " x", ratio(equal, verifying.slower_pass)),
        Goal("verify with ten differing rows: longer by", 1, " s", more),
        Goal("of these ten, not named with table, key and column", 0, "", len(verifying.unnamed) if ten.runs else None),
        Goal("verify: memory of our process", 150, " MB", equal.memory if equal.runs else None),
    ]


def ratio(one: Measurements, other: Measurements | None, scale: float = 1.0) -> float | None:
    """Returns the ratio of the median wall times, the other's multiplied by ``scale``; None without measurements."""
    if other is None or not one.runs or not other.runs:
        return None
    return one.median / (other.median * scale)


def scale(name: str, bench: BenchmarkServers) -> float:
    """Returns how many times more tasks there are than this contender was measured with."""
    return bench.tasks / bench.sample_tasks if name == PLAN else 1.0


def page(bench: BenchmarkServers, copying: CopyResults, verifying: VerifyResults | None, repetitions: int) -> str:
    """Returns the whole page."""
    tables = ", ".join(f"{table} {rows:,}" for table, rows in copying.rows.items())
    again = "" if bench.tasks == 1_000_000 else f" --tasks {bench.tasks}"
    measured = [goal.row() for goal in goals(bench, copying, verifying)]
    parts = [
        "# Benchmarks",
        f"`./scripts/bench --write{again}` wrote this page except its sections on the sync and the canary; every value "
        "is of one run. `./scripts/bench --tasks 100000` is faster, and without `--write` the page does not change.",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. Laravel holds {bench.tasks:,} tasks; "
        f"{sum(copying.rows.values()):,} rows are to be moved ({tables}). Servers and contenders share the machine. "
        f"{repetitions} rounds, each contender once in each.",
        f"Both servers: {described(bench)}.",
        "## Goals\n\nRatios are of the medians.",
        "\n".join(["| | goal | measured | met |", "|---|---|---|---|", *measured]),
        "## Copy\n\n" + _COPY,
        _table(copying.runs, copying.runs[OURS], bench),
        _plan_note(copying.runs.get(PLAN), bench),
        _steps(copying.runs[OURS].typical) if copying.runs[OURS].runs else "",
    ]
    if verifying is not None:
        parts += [
            "## Verify\n\n" + _VERIFY,
            _table(verifying.runs, verifying.runs[EQUAL], bench),
            _ten_note(verifying) if verifying.runs[TEN].runs else "",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(runs: dict[str, Measurements], ours: Measurements, bench: BenchmarkServers) -> str:
    return "\n".join([_HEAD, *(_row(entry, ours, bench) for entry in runs.values())])


def _row(entry: Measurements, ours: Measurements, bench: BenchmarkServers) -> str:
    if not entry.runs:
        return f"| {entry.name} | not measured: {entry.problem.replace('|', ';')} | | | | | | | |"
    more = scale(entry.name, bench)
    title = f"{entry.name}, {bench.sample_tasks:,} tasks" if entry.name == PLAN else entry.name
    best = f"{ours.best / (entry.best * more):.3f}" if ours.runs else ""
    median = f"{ours.median / (entry.median * more):.3f}" if ours.runs else ""
    run = entry.typical
    cpu = f"{run.client_cpu:.1f} | {run.laravel_cpu:.1f} | {run.task_service_cpu:.1f}"
    return f"| {title} | {entry.best:.2f} | {entry.median:.2f} | {best} | {median} | {cpu} | {entry.memory:.0f} |"


def _steps(run: Measurement) -> str:
    steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run.steps.items())
    return f"Where our {run.wall:.2f} s go (median run): {steps}; the rest is Python's start and end."


def _plan_note(plan: Measurements | None, bench: BenchmarkServers) -> str:
    if plan is None or not plan.runs:
        return ""
    rate = bench.sample_tasks / plan.median
    return _PLAN.format(sample=bench.sample_tasks, rate=rate, seconds=bench.tasks / rate, tasks=bench.tasks)


def _ten_note(verifying: VerifyResults) -> str:
    named = "; ".join(
        f"{table} {key} {kind} {' '.join(columns)}".rstrip() for table, key, kind, columns in sorted(verifying.planted)
    )
    count = len(verifying.planted - verifying.unnamed)
    return f"Of the {len(verifying.planted)} planted differences every run named {count}: {named}."


def machine() -> str:
    """Returns a short description of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    cores = f"{os.cpu_count()} cores" + (f" ({models[0]})" if models else "")
    return f"{platform.system()} {platform.machine()}, {cores}, {memory:.0f} GiB, Python {platform.python_version()}"
