"""The values that the canary gate works with: bounds, one sample of measurements, and findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from task_migration.canary.api_probe import ApiProbeResult
from task_migration.canary.metric_source import TrafficCounts
from task_migration.control.consistency_history import Check
from task_migration.runtime import health_endpoint

Verdict = Literal["pass", "fail", "inconclusive"]

USUAL_CONFIDENCE_PERCENT = 95.0
"""Below this confidence, every verdict mentions it."""


@dataclass(frozen=True)
class CanaryBounds:
    """The inventory's bounds. Shares and confidence in percent."""

    error_rate_percent: float
    p95_ms: float
    p95_samples: int
    cpu_percent: float
    sync_latency_ms: float
    confidence_percent: float
    verdict_max_age_hours: float
    consistency_every_seconds: int

    @property
    def confidence(self) -> float:
        return self.confidence_percent / 100

    @property
    def confidence_note(self) -> str:
        """The confidence, for every verdict, if it is lower than usual; "" otherwise."""
        if self.confidence_percent >= USUAL_CONFIDENCE_PERCENT:
            return ""
        return f" at {self.confidence_percent:g} % confidence"


@dataclass(frozen=True)
class TrafficWindow:
    """The Task Service's traffic in a window of ``seconds``."""

    seconds: float
    traffic: TrafficCounts

    @property
    def per_second(self) -> float:
        return self.traffic.requests / self.seconds


@dataclass(frozen=True)
class SyncDirection:
    """One direction of the sync. ``health`` is the answer of GET /health, None without an answer on ``port``;
    ``above_seconds`` is for how long its latency has been above the bound, ``unwell_seconds`` for how long it has not
    been running."""

    port: int
    health: Mapping[str, Any] | None
    above_seconds: float = 0.0
    unwell_seconds: float = 0.0

    @property
    def state(self) -> str:
        return str(self.health["state"]) if self.health else "not reached"

    @property
    def pending(self) -> int:
        return int((self.health or {}).get("pending") or 0)

    @property
    def oldest_seconds(self) -> float:
        return float((self.health or {}).get("oldest_seconds") or 0.0)

    @property
    def latency_ms(self) -> float | None:
        """The p95 of ten seconds; if nothing was synced, how long the oldest entry has waited; None if none waits."""
        p95 = health_endpoint.p95_ms(self.health)
        if p95 is not None:
            return p95
        return self.oldest_seconds * 1000 if self.pending else None


@dataclass(frozen=True)
class CanarySample:
    """All that was measured at one time, while ``weight`` percent of the traffic went to the Task Service.

    ``whole`` is the traffic since the weight was set, ``recent`` its end, ``before`` the traffic at the previous
    weight, None if not known, and ``shifted_seconds`` how long ago the weight was set. At weight 0 ``whole`` is the
    longest window, and ``api`` are direct requests to the API, None without an address. ``traffic_trouble`` is why
    there is no ``whole``, or why it lacks the newest period. ``cpu_above_seconds`` is for how long the CPU is known to
    have been above its bound. ``backward`` is None at weight 0 while that sync is off. ``stale`` is why the last
    verdict cannot be used, "" if it can; ``altered`` means that an altered table is the only reason. ``dead_letters``
    are rows that could not be synced, by kind, without those that are signed off. Any other None could not be measured,
    and the troubles say why.
    """

    weight: float
    whole: TrafficWindow | None
    recent: TrafficWindow | None
    traffic_trouble: str
    cpu_percent: float | None
    cpu_trouble: str
    cpu_above_seconds: float
    forward: SyncDirection
    backward: SyncDirection | None
    api: ApiProbeResult | None
    check: Check | None
    stale: str | None
    dead_letters: Mapping[str, int] | None
    conflicts: int | None
    laravel_trouble: str = ""
    task_service_trouble: str = ""
    before: TrafficCounts | None = None
    shifted_seconds: float = 0.0
    altered: bool = False

    @property
    def trouble(self) -> str:
        return self.laravel_trouble or self.task_service_trouble

    @property
    def windows(self) -> Iterator[TrafficWindow]:
        return (one for one in (self.whole, self.recent) if one is not None)

    def when(self, window: TrafficWindow) -> str:
        return "" if window is self.whole else f" in the last {window.seconds:.0f} s"


@dataclass(frozen=True)
class CanaryFinding:
    """One bound, compared with what was measured. ``next_step`` is what to do about it, if it did not pass; ``missing``
    is how many more requests to the Task Service would prove it, 0 if no number does."""

    name: str
    verdict: Verdict
    measured: str
    allowed: str
    next_step: str = ""
    missing: int = 0

    def __str__(self) -> str:
        return f"{self.name}: {self.measured} (allowed: {self.allowed})"

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "verdict": self.verdict, "measured": self.measured, "allowed": self.allowed}
