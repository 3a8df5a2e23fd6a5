"""Measures the latency of the sync at several rates in both directions, beside native logical replication."""

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

# As in production after the copy: autovacuum runs, and a commit waits for the disk. Both servers record the time of
# each commit.
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
    """Returns a number that marks the writes of one measurement."""
    return next(_stamps)


@dataclass(frozen=True)
class Load:
    """Writes per second on Laravel's side, which are synced forward, and on the Task Service's, synced backward."""

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
class LoadRounds:
    """The rounds of one load. ``cpu`` is what the workers used, in cores, one value per round."""

    load: Load
    forward: list[Latency] = field(default_factory=list)
    backward: list[Latency] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    problem: str = ""


def prepare(bench: BenchmarkServers) -> None:
    """Copies, sets the id ranges and turns the switches on, as at the start of phase 2.3."""
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
) -> tuple[dict[Load, LoadRounds], dict[int, list[Latency]]]:
    """Measures every load once per round, native replication directly after it, so a slow moment affects both."""
    ours = {load: LoadRounds(load) for load in loads}
    native_results: dict[int, list[Latency]] = {load.forward: [] for load in loads if native and not load.backward}
    for _ in range(rounds):
        for load in loads:
            result = ours[load]
            try:
                measure_load(bench, directory, result, seconds)
            except NotMeasured as error:
                result.problem = str(error)
                log(f"{load.name}: {error}")
                continue
            log(f"{load.name}: {summary(result)}")
            if native is not None and load.forward in native_results and not load.backward:
                bench.checkpoint()
                found = native.latency(load.forward, new_stamp(), seconds, WARM_SECONDS)
                native_results[load.forward].append(found)
                log(f"{load.name}, native: {_figures(found)}")
    return ours, native_results


def measure_load(bench: BenchmarkServers, directory: Path, result: LoadRounds, seconds: int) -> None:
    """Measures one load once. Capture is on at the Task Service's side only if there are writes, as from
    the canary on."""
    load = result.load
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
        result.cpu.append((sum(worker.seconds() for worker in workers) - used) / (time.time() - began))
        wait_until_synced(bench, directions)
    window = (began + WARM_SECONDS, began + WARM_SECONDS + seconds)
    for (direction, writer), rate in zip(asked, reached, strict=True):
        laravels, task_services = commit_times(bench, writer.stamp)
        here, there = (laravels, task_services) if direction == "forward" else (task_services, laravels)
        getattr(result, direction).append(Latency.between(here, there, window, rate))


def commit_times(bench: BenchmarkServers, stamp: int) -> tuple[dict[int, float], dict[int, float]]:
    """Returns the commit times of a measurement's rows, by key: in Laravel's database and in the Task Service's."""
    parameters = {"stamp": f"bench {stamp}%"}
    found = []
    for server, name in (
        (bench.laravel_server, laravel_tables.APPLICATION),
        (bench.task_service_server, TASK_SERVICE_DATABASE),
    ):
        with server.connect(name) as session:
            found.append(dict(session.execute(statement("commit times"), parameters).fetchall()))
    return found[0], found[1]


def wait_until_synced(bench: BenchmarkServers, directions: Sequence[Direction]) -> None:
    """Waits until the change logs of these directions are empty twice in a row, because synced rows may return."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    empty = 0
    with _sessions(bench) as sides:
        while empty < 2:
            left = sum(change_log.length(side) for side in sides[: len(directions)])
            empty = 0 if left else empty + 1
            if time.monotonic() > deadline:
                raise NotMeasured(f"{left} entries were still on the change log {CATCH_UP_SECONDS} s later")
            time.sleep(0.05)


@contextmanager
def _sessions(bench: BenchmarkServers) -> Iterator[tuple[database.Connection, database.Connection]]:
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


def summary(result: LoadRounds) -> str:
    """Returns the last round in one line."""
    directions = (("->", result.forward), ("<-", result.backward))
    parts = [f"{arrow} {_figures(rounds[-1])}" for arrow, rounds in directions if rounds]
    return "; ".join([*parts, f"workers {result.cpu[-1]:.2f} cores"])


def _figures(found: Latency) -> str:
    lost = f", LOST {found.lost}" if found.lost else ""
    return (
        f"p50 {found.p50:.1f} p95 {found.p95:.1f} p99 {found.p99:.1f} max {found.longest:.0f} ms "
        f"({found.rows} rows, {found.rate:.0f}/s{lost})"
    )
