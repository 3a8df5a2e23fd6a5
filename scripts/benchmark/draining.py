"""Measures how fast the sync drains a long change log, written while the sync was off."""

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
from benchmark.syncing import commit_times, new_stamp, wait_until_synced
from benchmark.workers import working

WORKERS = (1, 2)
LAST_HOSTILE_TASK = 40


@dataclass
class DrainRounds:
    """``keys`` were on the log; ``seconds`` is the time from the switch to the last commit, one value per round."""

    workers: int
    keys: int = 0
    seconds: list[float] = field(default_factory=list)
    problem: str = ""


def measure(
    bench: BenchmarkServers, directory: Path, tasks: int, rounds: int, log: Callable[[str], None]
) -> dict[int, DrainRounds]:
    """Drains ``tasks`` keys, written by one statement, with one worker and with two, once per round."""
    drains = {workers: DrainRounds(workers) for workers in WORKERS}
    for _ in range(rounds):
        for workers, result in drains.items():
            try:
                drain_once(bench, directory, result, tasks)
            except NotMeasured as error:
                result.problem = str(error)
                log(f"drain, {workers} workers: {error}")
                continue
            log(f"drain, {workers} workers: {result.keys:,} keys in {result.seconds[-1]:.2f} s")
    return drains


def drain_once(bench: BenchmarkServers, directory: Path, result: DrainRounds, tasks: int) -> None:
    stamp = new_stamp()
    bench.vacuum(TASK_SERVICE_DATABASE)
    sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="off")
    try:
        with bench.laravel_server.connect(laravel_tables.APPLICATION, laravel_tables.APPLICATION) as session:
            session.execute(statement("vacuum analyze"))
            session.execute(statement("write many tasks"), {"stamp": stamp, "tasks": tasks})
        bench.checkpoint()
        with working(bench, directory, ["forward"] * result.workers, "paused"):
            began = time.time()
            sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="on")
            wait_until_synced(bench, ("forward",))
    finally:
        sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="on")
    written, synced = commit_times(bench, stamp)
    # Some of the lab's fixed rows are held back. Their ids are low.
    if missing := {key for key in written.keys() - synced.keys() if key > LAST_HOSTILE_TASK}:
        raise NotMeasured(f"{len(missing):,} of {len(written):,} tasks were not synced")
    result.keys = len(written)
    result.seconds.append(max(synced.values()) - began)
