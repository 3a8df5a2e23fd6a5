"""The interface of a metric source, from which the canary's metrics are read.

A source counts and never judges. If it cannot count something it raises Unmeasured, which makes the gate inconclusive;
a missing value is never taken for 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from task_migration.errors import MigrationError
from task_migration.external.inventory_mapping import Setting, is_a, seconds


@dataclass(frozen=True)
class TrafficCounts:
    """The requests to the Task Service in a window.

    ``errors`` are answers of 500 and above, and requests without an answer; ``slow`` are the requests that took longer
    than the bound, and those without a response time. ``p95_ms`` is the worst period's value, for display only; None
    without response times. ``all_requests`` are those to the task routes of both sides, and ``all_errors`` the answers
    of 500 and above that the gateway gave to them, whatever their origin; None if they are not counted.
    """

    requests: int
    errors: int
    slow: int
    p95_ms: float | None
    all_requests: int | None
    all_errors: int | None = None


class Unmeasured(MigrationError):
    """A value could not be measured: a gate that needs it is inconclusive."""

    prefix = "Not measured: "


class MetricSource(Protocol):
    """Reads counts of whole periods. ``delay_seconds`` is how long after its end a period may still change."""

    name: str
    period_seconds: int
    delay_seconds: float

    def window(self, since: datetime, now: datetime) -> tuple[datetime, datetime] | None:
        """Returns start and end of the whole periods after ``since`` that are final; None if there is none yet."""
        period = self.period_seconds
        start = math.ceil(since.timestamp() / period) * period
        end = math.floor((now.timestamp() - self.delay_seconds) / period) * period
        return (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)) if start < end else None

    def traffic(self, start: datetime, end: datetime, slow_ms: float) -> TrafficCounts:
        """Returns the Task Service's traffic from ``start`` to ``end``, exclusive. Raises Unmeasured."""

    def cpu_percent(self, start: datetime, end: datetime) -> float:
        """Returns the CPU of the Task Service's database in its worst period. Raises Unmeasured."""


PERIOD = Setting(
    "1, 5, 10, 30 or a multiple of 60, up to 3,600",
    lambda value: is_a(int, value) and (value in (1, 5, 10, 30) or (value in range(60, 3601) and value % 60 == 0)),
)
DELAY = seconds(0, 3600)
