"""How long a write takes to the other side, at several rates and both ways, beside native logical replication."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.locations import TASK_SERVICE_DATABASE
from lab.servers import laravel_tables
from task_migration.control.sync_switch import sync_switch
from task_migration.postgres import database
from task_migration.prepare import id_ranges
from task_migration.sync import capture, change_log
from task_migration.sync.batch import Direction

from benchmark import programs
from benchmark.latency import Latency
from benchmark.native_replication import Replication
from benchmark.programs import NotMeasured
from benchmark.servers import SETTINGS, BenchmarkServers
from benchmark.statements import statement
from benchmark.workers import working
from benchmark.writers import Writer, keys_of, writing

# As in production, where the copy is over: what grows is cleaned, and a commit waits for the disk. Both servers write
# down the time of each commit.
SYNC_SETTINGS = {
    **SETTINGS,
    "autovacuum": "on",
    "fsync": "on",
    "track_commit_timestamp": "on",
    "wal_level": "logical",
}
OFFSET = 1_000_000_000
WARM_SECONDS = 2
CATCH_UP_SECONDS = 120

_stamps = itertools.count(1)


def new_stamp() -> int:
    """Marks one measurement's writes."""
    return next(_stamps)


@dataclass(frozen=True)
class Load:
    """Writes per second on Laravel's side, which go forward, and on the Task Service's, which go backward."""

    forward: int
    backward: int

    @property
    def name(self) -> str:
        ways = ((self.forward, "forward"), (self.backward, "backward"))
        return " + ".join(f"{rate:,} {way}" for rate, way in ways if rate)


LOADS = (
    Load(100, 0),
    Load(500, 0),
    Load(1000, 0),
    Load(0, 1000),
    Load(500, 500),
    Load(1000, 50),
    Load(1000, 500),
    Load(1000, 1000),
)


@dataclass
class LoadResult:
    """One load's rounds. ``cpu`` is what the workers used, in cores, one figure per round."""

    load: Load
    forward: list[Latency] = field(default_factory=list)
    backward: list[Latency] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    problem: str = ""


def prepare(bench: BenchmarkServers) -> None:
    """Copied, the ids apart, the switches on: where phase 2.3 begins."""
    bench.fresh()
    copied = programs.run_verb("prepare.bulk_copy", bench.both())
    if copied["failed"]:
        raise NotMeasured(f"the copy: {copied['failed']}")
    id_ranges.id_ranges(
        laravel_dsn=bench.laravel_dsn, task_service_dsn=bench.task_service_dsn(), task_service_id_offset=OFFSET
    )
    sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_forward", state="on")
    sync_switch(laravel_dsn=bench.laravel_dsn, name="sync_backward", state="on")
    bench.vacuum(TASK_SERVICE_DATABASE)


def measure(
    bench: BenchmarkServers,
    directory: Path,
    loads: Sequence[Load],
    native: Replication | None,
    rounds: int,
    seconds: int,
    log: Callable[[str], None],
) -> tuple[dict[Load, LoadResult], dict[int, list[Latency]]]:
    """Every load once per round, native replication's beside ours: a slow moment of the machine hits both."""
    ours = {load: LoadResult(load) for load in loads}
    theirs: dict[int, list[Latency]] = {load.forward: [] for load in loads if native and not load.backward}
    for _ in range(rounds):
        for load in loads:
            kept = ours[load]
            try:
                carry(bench, directory, kept, seconds)
            except NotMeasured as error:
                kept.problem = str(error)
                log(f"{load.name}: {error}")
                continue
            log(f"{load.name}: {summary(kept)}")
            if native is not None and load.forward in theirs and not load.backward:
                bench.checkpoint()
                found = native.latency(load.forward, new_stamp(), seconds, WARM_SECONDS)
                theirs[load.forward].append(found)
                log(f"{load.name}, native: {_figures(found)}")
    return ours, theirs


def carry(bench: BenchmarkServers, directory: Path, kept: LoadResult, seconds: int) -> None:
    """One load, once. Without writes on the Task Service's side it is not captured: that is so until the canary."""
    load = kept.load
    capture.capture(
        laravel_dsn=bench.laravel_dsn,
        task_service_dsn=bench.task_service_dsn(),
        side="task_service",
        state="present" if load.backward else "absent",
        check=False,
    )
    directions: tuple[Direction, ...] = ("forward", "backward") if load.backward else ("forward",)
    rates: dict[Direction, int] = {"forward": load.forward, "backward": load.backward}
    asked = [
        (direction, _writer(bench, direction, rate, seconds + WARM_SECONDS))
        for direction, rate in rates.items()
        if rate
    ]
    bench.checkpoint()
    with working(bench, directory, directions) as workers:
        began, used = time.time(), sum(worker.seconds() for worker in workers)
        with writing(*(writer for _, writer in asked)) as reached:
            pass
        kept.cpu.append((sum(worker.seconds() for worker in workers) - used) / (time.time() - began))
        wait_until_carried(bench, directions)
    window = (began + WARM_SECONDS, began + WARM_SECONDS + seconds)
    for (direction, writer), rate in zip(asked, reached, strict=True):
        laravels, task_services = commit_times(bench, writer.stamp)
        here, there = (laravels, task_services) if direction == "forward" else (task_services, laravels)
        getattr(kept, direction).append(Latency.between(here, there, window, rate))


def commit_times(bench: BenchmarkServers, stamp: int) -> tuple[dict[int, float], dict[int, float]]:
    """When each row of a measurement was committed, by key: in Laravel's database and in the Task Service's."""
    parameters = {"stamp": f"bench {stamp}%"}
    found = []
    for server, name in (
        (bench.laravel_server, laravel_tables.APPLICATION),
        (bench.task_service_server, TASK_SERVICE_DATABASE),
    ):
        with server.connect(name) as session:
            found.append(dict(session.execute(statement("commit times"), parameters).fetchall()))
    return found[0], found[1]


def wait_until_carried(bench: BenchmarkServers, directions: Sequence[Direction]) -> None:
    """Until the logs of these directions' origins are empty, twice over: what comes back is carried too."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    empty = 0
    with _looking(bench) as sides:
        while empty < 2:
            left = sum(change_log.length(side) for side in sides[: len(directions)])
            empty = 0 if left else empty + 1
            if time.monotonic() > deadline:
                raise NotMeasured(f"{left} entries were still on the change log {CATCH_UP_SECONDS} s later")
            time.sleep(0.05)


@contextmanager
def _looking(bench: BenchmarkServers) -> Iterator[tuple[database.Connection, database.Connection]]:
    laravel_side, task_service_side = (
        database.laravel(bench.laravel_dsn),
        database.task_service(bench.task_service_dsn()),
    )
    with database.connect(laravel_side, "benchmark") as one, database.connect(task_service_side, "benchmark") as other:
        yield one, other


def _writer(bench: BenchmarkServers, direction: Direction, rate: int, seconds: int) -> Writer:
    if direction == "forward":
        side, dsn = "laravel", bench.laravel_server.dsn(laravel_tables.APPLICATION, laravel_tables.APPLICATION)
    else:
        side, dsn = "task_service", bench.task_service_dsn()
    return Writer(dsn, {f"{side}_update": 4, f"{side}_insert": 1}, new_stamp(), keys_of(bench), seconds, rate)


def summary(kept: LoadResult) -> str:
    """The last round in one line."""
    parts = [f"{way} {_figures(rounds[-1])}" for way, rounds in (("->", kept.forward), ("<-", kept.backward)) if rounds]
    return "; ".join([*parts, f"workers {kept.cpu[-1]:.2f} cores"])


def _figures(found: Latency) -> str:
    lost = f", LOST {found.lost}" if found.lost else ""
    return (
        f"p50 {found.p50:.1f} p95 {found.p95:.1f} p99 {found.p99:.1f} max {found.longest:.0f} ms "
        f"({found.rows} rows, {found.rate:.0f}/s{lost})"
    )
