"""Where the figures of the canary's gate come from: one small interface, and the inventory's ``metric_source``.

A source counts and never judges. What it can't count is Unmeasured, which makes a gate inconclusive; what is missing is
never taken for none.
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
    """What the Task Service was asked in a window.

    ``errors`` are answers of 500 and above, and requests that nothing answered; ``slow`` are the requests that took
    longer than the bound, and those whose time nobody took. ``p95_ms`` is that of the worst period, for the eye alone;
    None if no time was taken. ``all_requests`` are those to the task routes of both sides, and ``all_errors`` the
    answers of 500 and above that the gateway gave to them, whoever made these; None if nobody counts them.
    """

    requests: int
    errors: int
    slow: int
    p95_ms: float | None
    all_requests: int | None
    all_errors: int | None = None


class Unmeasured(MigrationError):
    """What could not be measured, and why: a gate that needs it is inconclusive."""

    prefix = "Not measured: "


class MetricSource(Protocol):
    """Counts of whole periods. ``delay_seconds`` is how long a period that is over may still change."""

    name: str
    period_seconds: int
    delay_seconds: float

    def window(self, since: datetime, now: datetime) -> tuple[datetime, datetime] | None:
        """The start and the end of the whole periods after ``since`` that change no more; None if there is none yet."""
        period = self.period_seconds
        start = math.ceil(since.timestamp() / period) * period
        end = math.floor((now.timestamp() - self.delay_seconds) / period) * period
        return (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)) if start < end else None

    def traffic(self, start: datetime, end: datetime, slow_ms: float) -> TrafficCounts:
        """The Task Service's traffic from ``start`` until before ``end``. Raises Unmeasured."""

    def cpu_percent(self, start: datetime, end: datetime) -> float:
        """The CPU of the Task Service's database in its worst period. Raises Unmeasured."""


PERIOD = Setting(
    "1, 5, 10, 30 or a multiple of 60, up to 3,600",
    lambda value: is_a(int, value) and (value in (1, 5, 10, 30) or (value in range(60, 3601) and value % 60 == 0)),
)
DELAY = seconds(0, 3600)
