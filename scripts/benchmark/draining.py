"""How fast a long change log is carried: the sync was off while many tasks were written, and is turned on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.locations import TASK_SERVICE_DATABASE
from lab.servers import laravel_tables
from task_migration.control.sync_switch import sync_switch

from benchmark.programs import NotHere
from benchmark.statements import statement
from benchmark.syncing import commit_times, new_stamp, wait_until_carried
from benchmark.workers import working
from benchmark.world import World

WORKERS = (1, 2)
LAST_HOSTILE_TASK = 40


@dataclass
class Drain:
    """``keys`` were on the log; ``seconds`` from the switch to the last commit, one figure per round."""

    workers: int
    keys: int = 0
    seconds: list[float] = field(default_factory=list)
    problem: str = ""


def measure(world: World, directory: Path, tasks: int, rounds: int, tell: Callable[[str], None]) -> dict[int, Drain]:
    """``tasks`` keys by one statement, carried by one worker and by two, once per round."""
    drains = {workers: Drain(workers) for workers in WORKERS}
    for _ in range(rounds):
        for workers, kept in drains.items():
            try:
                once(world, directory, kept, tasks)
            except NotHere as error:
                kept.problem = str(error)
                tell(f"drain, {workers} workers: {error}")
                continue
            tell(f"drain, {workers} workers: {kept.keys:,} keys in {kept.seconds[-1]:.2f} s")
    return drains


def once(world: World, directory: Path, kept: Drain, tasks: int) -> None:
    stamp = new_stamp()
    world.vacuum(TASK_SERVICE_DATABASE)
    sync_switch(laravel_dsn=world.laravel_dsn, name="sync_forward", state="off")
    try:
        with world.laravel_server.connect(laravel_tables.APPLICATION, laravel_tables.APPLICATION) as session:
            session.execute(statement("settle"))
            session.execute(statement("write many tasks"), {"stamp": stamp, "tasks": tasks})
        world.settle()
        with working(world, directory, ["forward"] * kept.workers, "paused"):
            began = time.time()
            sync_switch(laravel_dsn=world.laravel_dsn, name="sync_forward", state="on")
            wait_until_carried(world, ("forward",))
    finally:
        sync_switch(laravel_dsn=world.laravel_dsn, name="sync_forward", state="on")
    written, carried = commit_times(world, stamp)
    # Some of the lab's hostile tasks may not cross; their ids are low.
    if lacking := {key for key in written.keys() - carried.keys() if key > LAST_HOSTILE_TASK}:
        raise NotHere(f"{len(lacking):,} of {len(written):,} tasks were not carried")
    kept.keys = len(written)
    kept.seconds.append(max(carried.values()) - began)
