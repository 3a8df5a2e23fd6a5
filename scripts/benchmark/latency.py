"""The time from the commit on one side to the commit on the other, as both servers recorded it.

Nothing is asked during the measurement, so it is not disturbed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Milliseconds, over the rows committed within the window. ``lost`` counts rows that never reached the
    other side."""

    rows: int
    p50: float
    p95: float
    p99: float
    longest: float
    rate: float
    lost: int = 0

    @classmethod
    def between(
        cls, here: Mapping[int, float], there: Mapping[int, float], window: tuple[float, float], rate: float
    ) -> Latency:
        """Computes the latency from the commit times on both sides, in seconds, by key."""
        since, until = window
        written = {key: at for key, at in here.items() if since <= at < until}
        taken = sorted(1000 * (there[key] - at) for key, at in written.items() if key in there)
        if not taken:
            return cls(0, 0, 0, 0, 0, rate, len(written))
        p50, p95, p99 = (taken[min(len(taken) - 1, int(len(taken) * share))] for share in (0.50, 0.95, 0.99))
        return cls(len(taken), p50, p95, p99, taken[-1], rate, len(written) - len(taken))

    @classmethod
    def median(cls, rounds: Iterable[Latency]) -> Latency:
        """Returns each value's median over the rounds; rows and losses are summed."""
        each = list(rounds)
        return cls(
            rows=sum(one.rows for one in each),
            p50=statistics.median(one.p50 for one in each),
            p95=statistics.median(one.p95 for one in each),
            p99=statistics.median(one.p99 for one in each),
            longest=statistics.median(one.longest for one in each),
            rate=statistics.median(one.rate for one in each),
            lost=sum(one.lost for one in each),
        )
