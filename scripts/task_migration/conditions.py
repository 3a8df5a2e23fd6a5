"""The conditions under which the dual write is taken back (the plan's 5.1), judged over a sample that was measured.

Pure: nothing is asked here. What nobody could measure is unknown, and never fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from task_migration.consistency_history import Check
from task_migration.probe import Probed

Grade = Literal["fine", "unknown", "warns", "red", "breached"]
"""``red``: a gate stays closed and somebody is told; ``breached``: the dual write is taken back."""

LEAST_REQUESTS = 5
STANDSTILL_SECONDS = 60.0
"""A restart of a database, or of the sync, is over by then."""
SLOW_SECONDS = 20.0
"""A p95 over ten seconds that stays above its bound for so long is no hiccup."""


@dataclass(frozen=True)
class Bounds:
    """What is allowed. The first two are the plan's."""

    error_rate_percent: float
    latency_ms: float
    log_warn_entries: int
    log_max_entries: int
    consistency_every_seconds: int


@dataclass(frozen=True)
class Sample:
    """What was measured at one time.

    ``api`` is None if the inventory names no address; ``sync`` is what GET /health says, None if nobody answers;
    ``unwell_seconds`` and ``slow_seconds`` are for how long it has been neither running nor paused, and above the bound
    of latency; ``pending`` and ``oldest_seconds`` are Laravel's change log, None with ``laravel_trouble``.
    """

    api: Probed | None
    sync: Mapping[str, Any] | None
    unwell_seconds: float
    slow_seconds: float
    pending: int | None
    oldest_seconds: float | None
    check: Check | None
    laravel_trouble: str = ""

    @property
    def state(self) -> str:
        return str(self.sync["state"]) if self.sync else "not reached"

    @property
    def lag_ms(self) -> float | None:
        """The sync's p95 over the last ten seconds; None if it carried nothing."""
        found = (self.sync or {}).get("lag_ms_10_s") or {}
        return found.get("p95")


@dataclass(frozen=True)
class Condition:
    """One condition, as it stands."""

    name: str
    grade: Grade
    measured: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name}: {self.measured} (allowed: {self.allowed})"

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "grade": self.grade, "measured": self.measured, "allowed": self.allowed}


def judged(sample: Sample, bounds: Bounds) -> list[Condition]:
    """Every condition, in the plan's order."""
    judges: Iterable[Callable[[Sample, Bounds], Condition]] = (
        _error_rate,
        _consistency,
        _api_latency,
        _sync_latency,
        _sync,
        _change_log,
    )
    return [judge(sample, bounds) for judge in judges]


def breached(conditions: Iterable[Condition]) -> list[Condition]:
    """Those for which the dual write is taken back."""
    return [one for one in conditions if one.grade == "breached"]


def _error_rate(sample: Sample, bounds: Bounds) -> Condition:
    allowed = f"{bounds.error_rate_percent:g} %"

    def says(grade: Grade, measured: str) -> Condition:
        return Condition("error rate of the Task Service's API", grade, measured, allowed)

    api = sample.api
    if api is None:
        return says("unknown", "the inventory's task_service_url is empty")
    if api.requests < LEAST_REQUESTS:
        return says("unknown", f"only {api.requests} requests")
    rate = 100 * api.errors / api.requests
    measured = f"{rate:.1f} %, {api.errors} of {api.requests} requests" + (f", {api.error}" if api.error else "")
    if rate <= bounds.error_rate_percent:
        return says("fine", measured)
    return says("breached" if api.errors > 1 else "warns", measured)


def _consistency(sample: Sample, bounds: Bounds) -> Condition:
    longest = 2 * bounds.consistency_every_seconds

    def says(grade: Grade, measured: str) -> Condition:
        return Condition("consistency", grade, measured, f"passed, within {longest} s")

    check = sample.check
    if check is None:
        return says("unknown", sample.laravel_trouble or "no check so far")
    if check.passed is False:
        return says("breached", f"failed {check.age_seconds:.0f} s ago: {check.reasons}")
    if check.passed is None:
        return says("unknown", f"could not look: {check.reasons}")
    if check.age_seconds > longest:
        return says("unknown", f"the last check is {check.age_seconds:.0f} s old")
    return says("fine", f"passed {check.age_seconds:.0f} s ago")


def _api_latency(sample: Sample, bounds: Bounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        return Condition("latency of the Task Service's API", grade, measured, f"p95 {bounds.latency_ms:g} ms")

    api = sample.api
    if api is None:
        return says("unknown", "the inventory's task_service_url is empty")
    if api.p95_ms is None or api.answered < LEAST_REQUESTS:
        return says("unknown", f"only {api.answered} answers")
    return says("breached" if api.p95_ms > bounds.latency_ms else "fine", f"p95 {api.p95_ms:.0f} ms")


def _sync_latency(sample: Sample, bounds: Bounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        allowed = f"p95 {bounds.latency_ms:g} ms, no write waiting for {STANDSTILL_SECONDS:g} s"
        return Condition("latency of the sync", grade, measured, allowed)

    if sample.pending is None:
        return says("unknown", sample.laravel_trouble)
    oldest, lag = sample.oldest_seconds or 0.0, sample.lag_ms
    parts = [f"p95 {lag:.0f} ms" if lag is not None else "nothing carried in 10 s"]
    parts.append(
        f"{sample.pending:,} writes wait, the oldest for {oldest:.1f} s" if sample.pending else "nothing waits"
    )
    slow = lag is not None and lag > bounds.latency_ms
    if slow and sample.slow_seconds >= SLOW_SECONDS:
        parts.append(f"so for {sample.slow_seconds:.0f} s")
    if oldest > STANDSTILL_SECONDS or (slow and sample.slow_seconds >= SLOW_SECONDS):
        return says("breached", ", ".join(parts))
    return says("warns" if slow else "fine", ", ".join(parts))


def _sync(sample: Sample, bounds: Bounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        return Condition("sync", grade, measured, f"running, else back within {STANDSTILL_SECONDS:g} s")

    error = f": {sample.sync['last_error']}" if sample.sync and sample.sync.get("last_error") else ""
    if sample.state == "blocked":
        return says("breached", f"blocked{error}")
    if sample.state in ("running", "paused"):
        return says("fine" if sample.state == "running" else "warns", sample.state)
    grade: Grade = "breached" if sample.unwell_seconds > STANDSTILL_SECONDS else "warns"
    return says(grade, f"{sample.state} for {sample.unwell_seconds:.0f} s{error}")


def _change_log(sample: Sample, bounds: Bounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        allowed = f"{bounds.log_max_entries:,} entries, warns from {bounds.log_warn_entries:,}"
        return Condition("change log", grade, measured, allowed)

    if sample.pending is None:
        return says("unknown", sample.laravel_trouble)
    measured = f"{sample.pending:,} entries"
    # To stop the sync would only make it longer, so this takes nothing back.
    if sample.pending > bounds.log_max_entries:
        return says("red", measured)
    return says("warns" if sample.pending > bounds.log_warn_entries else "fine", measured)
