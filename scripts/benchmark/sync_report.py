"""The results of the sync as one section of the page, and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from benchmark.capture_cost import CLIENTS, KINDS, CaptureCost
from benchmark.draining import DrainRounds
from benchmark.latency import Latency
from benchmark.report import Goal, machine
from benchmark.servers import BenchmarkServers, described
from benchmark.syncing import Load, LoadRounds
from benchmark.writers import CLIENTS as WRITERS

TITLE = "## Sync"
_LATENCY = """\
Milliseconds from commit on one side to commit on the other, as both servers recorded it themselves
(`track_commit_timestamp`; the subscriber's log for native replication; one machine, so one clock), read when the run is
over: the engine does not measure itself, and the measurement does not disturb it. Four writers of a side hold the
rate, one task per transaction, four updates to one insert. Every row of the window counts, and each must have arrived.
Values are the medians of the rounds. Native replication replicates Laravel's tasks table unchanged, between the same
servers. Without writes on the Task Service's side only the forward sync runs, as before the canary; else both run."""
_DRAIN = """\
The switch was off while one statement wrote {keys:,} tasks. Seconds from turning it on to the last commit
on the other side."""
_COST = """\
Transactions per second of {clients} pgbench clients at full speed as Laravel's application, alternating capture on and
off (its triggers dropped, not disabled); no sync runs. The mix is {mix} of updates, inserts and updates of
100 tasks. The cost is the median of the rounds' ratios. These clients do nothing but write, and a commit waits for the
disk, as in production; with fsync off the cost of a trigger would count several times as much."""


@dataclass(frozen=True)
class SyncResults:
    """Everything that one run measured. ``native`` is by writes per second; ``busy`` is the load average before the
    run."""

    synced: Mapping[Load, LoadRounds]
    native: Mapping[int, list[Latency]]
    rounds: int
    seconds: int
    busy: float
    drains: Mapping[int, DrainRounds] = field(default_factory=dict)
    costs: Mapping[str, CaptureCost] = field(default_factory=dict)


def goals(results: SyncResults) -> list[Goal]:
    """Returns the goals, each with this run's medians."""
    found = []
    for load, synced in results.synced.items():
        slower = max((way.p95 for way in _directions(synced) if way is not None), default=None)
        if load in (Load(1000, 0), Load(0, 1000)):
            found.append(Goal(f"{load.name} per second: p95", 15, " ms", slower))
        elif load.forward and load.backward:
            found.append(Goal(f"{load.name} per second: the slower direction's p95", 25, " ms", slower))
    lost = sum(way.lost for synced in results.synced.values() for way in _directions(synced) if way is not None)
    found.append(Goal("rows that never reached the other side", 0, "", lost))
    for workers, drain in results.drains.items():
        title = f"keys per second that {workers} worker{'s' if workers > 1 else ''} drain{'' if workers > 1 else 's'}"
        found.append(Goal(title, 5000, "", _per_second(drain), at_most=False))
    found += [
        Goal(f"throughput that capture costs, {kind}", 10, " %", cost.percent) for kind, cost in results.costs.items()
    ]
    return found


def section(bench: BenchmarkServers, results: SyncResults) -> str:
    """Returns the section with its title."""
    parts = [
        TITLE,
        "`./scripts/bench sync --write` wrote this section in a run of its own; `./scripts/bench sync --load 1000+0 "
        "--repetitions 1` is a quick look.",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; both servers, the engine and the writers share it. Laravel holds "
        f"{bench.tasks:,} tasks. {results.rounds} rounds of {results.seconds} s, each figure once in each. "
        f"The machine's load average before it began: {results.busy:.1f}.",
        f"Both servers: {described(bench)}.",
        "\n".join(["| | goal | measured | met |", "|---|---|---|---|", *(goal.row() for goal in goals(results))]),
        "### Latency\n\n" + _LATENCY,
        _latencies(results),
    ]
    if results.drains:
        keys = max(drain.keys for drain in results.drains.values())
        parts += ["### Drain\n\n" + _DRAIN.format(keys=keys), _drains(results)]
    if results.costs:
        mix = " : ".join(str(weight) for weight in KINDS["an application's mix"].values())
        parts += ["### What capture costs\n\n" + _COST.format(clients=CLIENTS, mix=mix), _costs(results)]
    return "\n\n".join(parts) + "\n"


def as_json(bench: BenchmarkServers, results: SyncResults) -> str:
    """Returns the values of every round as JSON."""
    figures = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": bench.settings(),
        "tasks": bench.tasks,
        "seconds": results.seconds,
        "load_average_before": results.busy,
        "writers": WRITERS,
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(results)],
        "sync": [asdict(synced) for synced in results.synced.values()],
        "native_replication": [
            {"writes_per_second": rate, "rounds": [asdict(one) for one in rounds]}
            for rate, rounds in results.native.items()
        ],
        "drain": [asdict(drain) for drain in results.drains.values()],
        "capture": [{**asdict(cost), "percent": cost.percent} for cost in results.costs.values()],
    }
    return json.dumps(figures, indent=2) + "\n"


def with_section(page: str, new: str) -> str:
    """Returns the page with this section of the sync. The parts above and below it do not change."""
    above, _, rest = page.partition(f"\n{TITLE}\n")
    _, section, below = rest.partition("\n## ")
    parts = (above, new, section + below)
    return "\n\n".join(part.strip("\n") for part in parts if part.strip("\n")) + "\n"


def sync_section(page: str) -> str:
    """Returns the section of the sync in a page; "" if there is none."""
    _, title, rest = page.partition(f"\n{TITLE}\n")
    return (title + rest).lstrip("\n")


def _directions(synced: LoadRounds) -> tuple[Latency | None, Latency | None]:
    return tuple(Latency.median(rounds) if rounds else None for rounds in (synced.forward, synced.backward))  # type: ignore[return-value]


def _latencies(results: SyncResults) -> str:
    lines = [
        "| writes per second | forward: p50 | p95 | p99 | longest | backward: p50 | p95 | p99 | longest | rows | "
        "workers' CPU, cores |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for load, synced in results.synced.items():
        if synced.problem:
            lines.append(f"| {load.name} | not measured: {synced.problem.replace('|', ';')} | | | | | | | | | |")
            continue
        forward, backward = _directions(synced)
        rows = sum(one.rows for one in (forward, backward) if one is not None)
        cpu = statistics.median(synced.cpu)
        lines.append(f"| {load.name} | {_cells(forward)} | {_cells(backward)} | {rows:,} | {cpu:.2f} |")
        if native := results.native.get(load.forward if not load.backward else 0):
            one = Latency.median(native)
            lines.append(f"| {load.name}: native replication | {_cells(one)} | {_cells(None)} | {one.rows:,} | |")
    return "\n".join(lines)


def _cells(found: Latency | None) -> str:
    if found is None:
        return " | ".join([""] * 4)
    return " | ".join(f"{value:.1f}" for value in (found.p50, found.p95, found.p99, found.longest))


def _per_second(drain: DrainRounds) -> float | None:
    return drain.keys / statistics.median(drain.seconds) if drain.seconds else None


def _drains(results: SyncResults) -> str:
    lines = ["| workers | median s | keys per second | best s |", "|---|---|---|---|"]
    for workers, drain in results.drains.items():
        rate = _per_second(drain)
        if rate is None:
            lines.append(f"| {workers} | not measured: {drain.problem.replace('|', ';')} | | |")
        else:
            median = statistics.median(drain.seconds)
            lines.append(f"| {workers} | {median:.1f} | {rate:,.0f} | {min(drain.seconds):.1f} |")
    return "\n".join(lines)


def _costs(results: SyncResults) -> str:
    lines = ["| | without capture | with capture | cost |", "|---|---|---|---|"]
    for kind, cost in results.costs.items():
        absent, present = statistics.median(cost.absent), statistics.median(cost.present)
        lines.append(f"| {kind} | {absent:,.0f}/s | {present:,.0f}/s | {cost.percent:.1f} % |")
    return "\n".join(lines)
