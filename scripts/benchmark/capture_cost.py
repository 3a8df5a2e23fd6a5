"""The cost of capture for Laravel's writers: pgbench at full speed with and without the triggers, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from lab.servers import laravel_tables
from task_migration.sync import capture

from benchmark.servers import BenchmarkServers
from benchmark.statements import statement
from benchmark.syncing import new_stamp
from benchmark.writers import Writer, keys_of, writing

CLIENTS = 2
MIX = {"laravel_update": 75, "laravel_insert": 20, "laravel_bulk": 5}
KINDS = {
    "an application's mix": MIX,
    "update of one task by its id": {"laravel_update": 1},
    "insert of one task": {"laravel_insert": 1},
    "update of 100 tasks": {"laravel_bulk": 1},
}
_STATES: tuple[Literal["present", "absent"], ...] = ("present", "absent")


@dataclass
class CaptureCost:
    """Transactions per second of one kind of write, one value per round."""

    kind: str
    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """Returns the share of the throughput that capture costs: the median of the rounds' ratios."""
        return 100 * (1 - statistics.median(on / off for on, off in zip(self.present, self.absent, strict=True)))


def measure(bench: BenchmarkServers, rounds: int, seconds: int, log: Callable[[str], None]) -> dict[str, CaptureCost]:
    """Measures every kind with and without capture, once per round. No sync runs. Capture is on afterwards."""
    costs = {kind: CaptureCost(kind) for kind in KINDS}
    for number in range(rounds):
        # The order changes from round to round, because the tables grow during the measurement.
        for state in _STATES if number % 2 else reversed(_STATES):
            _capture(bench, state)
            for kind, scripts in KINDS.items():
                getattr(costs[kind], state).append(_speed(bench, scripts, seconds))
        log("; ".join(f"{kind} {cost.present[-1]:.0f}/{cost.absent[-1]:.0f}" for kind, cost in costs.items()))
    _capture(bench, "present")
    return costs


def _speed(bench: BenchmarkServers, scripts: dict[str, int], seconds: int) -> float:
    dsn = bench.laravel_server.dsn(laravel_tables.APPLICATION, laravel_tables.APPLICATION)
    writer = Writer(dsn, scripts, new_stamp(), keys_of(bench), seconds, clients=CLIENTS)
    with writing(writer) as reached:
        pass
    return reached[0]


def _capture(bench: BenchmarkServers, state: Literal["present", "absent"]) -> None:
    capture.capture(laravel_dsn=bench.laravel_dsn, state=state, check=False)
    with bench.laravel_server.connect(laravel_tables.APPLICATION) as session:
        session.execute(statement("vacuum analyze"))
    bench.checkpoint()
