"""How fast a long change log is carried: the sync was off while many tasks were written, and is turned on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.locations import TASK_SERVICE_DATABASE
from lab.servers import laravel_tables
from task_migration.control.sync_switch import sync_switch

from benchmark.programs import NotMeasured
from benchmark.servers import BenchmarkServers
from benchmark.statements import statement
from benchmark.syncing import commit_times, new_stamp, wait_until_carried
from benchmark.workers import working

WORKERS = (1, 2)
LAST_HOSTILE_TASK = 40


@dataclass
class DrainResult:
    """``keys`` were on the log; ``seconds`` from the switch to the last commit, one figure per round."""

    workers: int
    keys: int = 0
    seconds: list[float] = field(default_factory=list)
    problem: str = ""


def measure(
    bench: BenchmarkServers, directory: Path, tasks: int, rounds: int, log: Callable[[str], None]
) -> dict[int, DrainResult]:
    """``tasks`` keys by one statement, carried by one worker and by two, once per round."""
    drains = {workers: DrainResult(workers) for workers in WORKERS}
    for _ in range(rounds):
        for workers, kept in drains.items():
            try:
                once(bench, directory, kept, tasks)
            except NotMeasured as error:
                kept.problem = str(error)
                log(f"drain, {workers} workers: {error}")
                continue
            log(f"drain, {workers} workers: {kept.keys:,} keys in {kept.seconds[-1]:.2f} s")
    return drains


def once(bench: BenchmarkServers, directory: Path, kept: DrainResult, tasks: int) -> None:
    stamp = new_stamp()
    bench.vacuum(TASK_SERVICE_DATABASE)
    sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="off")
    try:
        with bench.laravel_server.connect(laravel_tables.APPLICATION, laravel_tables.APPLICATION) as session:
            session.execute(statement("vacuum analyze"))
            session.execute(statement("write many tasks"), {"stamp": stamp, "tasks": tasks})
        bench.checkpoint()
        with working(bench, directory, ["forward"] * kept.workers, "paused"):
            began = time.time()
            sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="on")
            wait_until_carried(bench, ("forward",))
    finally:
        sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="on")
    written, carried = commit_times(bench, stamp)
    # Some of the lab's hostile tasks may not cross; their ids are low.
    if lacking := {key for key in written.keys() - carried.keys() if key > LAST_HOSTILE_TASK}:
        raise NotMeasured(f"{len(lacking):,} of {len(written):,} tasks were not carried")
    kept.keys = len(written)
    kept.seconds.append(max(carried.values()) - began)
