"""The conditions under which the dual write and the canary are taken back (the plan's 5.1 and 5.2), judged over samples
that were measured.

Pure: nothing is asked here. What nobody could measure is unknown, and never fine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from task_migration.canary import canary_sample
from task_migration.canary.api_probe import ApiProbeResult
from task_migration.canary.canary_sample import CanaryFinding
from task_migration.control.consistency_history import Check
from task_migration.runtime import health_endpoint
from task_migration.runtime.sync_status import HEALTHY

Grade = Literal["fine", "unproven", "unknown", "warns", "red", "breached"]
"""``unproven``: measured, and too little of it; ``red``: a gate stays closed and somebody is told; ``breached``: the
canary is taken back, or the dual write."""

Away = Literal["laravel", "task_service"] | None
"""The database that can't be reached; Laravel's if neither can."""

LEAST_REQUESTS = 5
STANDSTILL_SECONDS = 60.0
"""A restart of the sync is over by then."""
FAILOVER_SECONDS = 180.0
"""So is one of a database: a failover of RDS usually takes 60 to 120 s, and its name is cached for a little longer."""
SLOW_SECONDS = 20.0
"""A p95 over ten seconds that stays above its bound for so long is no hiccup."""

_CLOSES_THE_GATE: Mapping[str, Grade] = {"verdict": "warns", "dead letters": "red"}
"""Findings whose failure moves no user: a verdict gets old by itself, and one row that can't cross is as stuck after a
way back as before."""
_SAID_ALREADY = {"divergence", "sync forward", "sync backward"}
"""Findings of what has conditions of its own, with the bounds at which it is taken back; a gate's are tighter."""
_OF_TRAFFIC = {"error rate", "p95", "hits", "gateway"}


@dataclass(frozen=True)
class DualWriteBounds:
    """What is allowed: the inventory's values. The first two are the plan's."""

    trigger_error_rate_percent: float = 5
    trigger_latency_ms: float = 500
    change_log_warn_entries: int = 100_000
    change_log_max_entries: int = 1_000_000
    consistency_every_seconds: int = 3600


@dataclass(frozen=True)
class Sync:
    """One direction of the sync, and the change log that it carries.

    ``health`` is what GET /health says, None if nobody answers; ``unwell_seconds`` and ``slow_seconds`` are for how
    long it has been neither running nor paused, and above the bound of latency; ``pending`` and ``oldest_seconds`` are
    the log, None with ``trouble``. ``away`` is asked only of a sync that is unwell, whose seconds count anew when it
    changes; ``state_seconds`` is for how long the sync has been in its state.
    """

    health: Mapping[str, Any] | None
    unwell_seconds: float
    slow_seconds: float
    pending: int | None
    oldest_seconds: float | None
    trouble: str = ""
    away: Away = None
    state_seconds: float = math.inf

    @property
    def state(self) -> str:
        return str(self.health["state"]) if self.health else "not reached"

    @property
    def lag_ms(self) -> float | None:
        """The p95 over the last ten seconds; None if it carried nothing."""
        return health_endpoint.p95_ms(self.health)


@dataclass(frozen=True)
class DualWriteSample:
    """What was measured at one time. ``api`` is None if the inventory names no address; ``check`` if there was none, or
    with ``forward.trouble``. The last three are of no condition: how phase 2.2's last verdict came out and how old it
    is, and for how long the Task Service has served alone; None if not at all, or with ``forward.trouble``."""

    api: ApiProbeResult | None
    forward: Sync
    check: Check | None
    verdict_passed: bool | None = None
    verdict_age_seconds: float | None = None
    soak_seconds: float | None = None


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


def judge(sample: DualWriteSample, bounds: DualWriteBounds, share: float = 0) -> list[Condition]:
    """Every condition of the dual write, in the plan's order, while ``share`` percent of the traffic goes to the Task
    Service."""
    return [
        _error_rate(sample, bounds),
        _consistency(sample, bounds, share),
        _api_latency(sample, bounds),
        *of_sync("sync", sample.forward, bounds),
        _change_log(sample.forward, bounds),
    ]


def of_sync(name: str, sync: Sync, bounds: DualWriteBounds) -> tuple[Condition, Condition]:
    """The conditions of one direction: its latency, and whether it runs."""
    return _sync_latency(f"latency of the {name}", sync, bounds), _sync(name, sync)


def of_canary(
    sample: canary_sample.CanarySample, findings: Iterable[CanaryFinding], *, late: bool
) -> Iterator[Condition]:
    """The findings of the canary's gate, whose failure takes traffic back; what they don't prove takes nothing back.

    ``late`` says that there should be figures of the traffic by now.
    """
    if sample.whole:
        yield Condition("canary: figures", "fine", f"of {sample.whole.seconds:.0f} s", "all of them")
    else:
        yield Condition("canary: figures", "unknown" if late else "unproven", sample.traffic_trouble, "all of them")
    for one in findings:
        if one.name not in _SAID_ALREADY and (sample.whole or one.name not in _OF_TRAFFIC):
            yield Condition(f"canary: {one.name}", _grade(one), one.measured, one.allowed)


def _grade(finding: CanaryFinding) -> Grade:
    if finding.verdict == "pass":
        return "fine"
    return _CLOSES_THE_GATE.get(finding.name, "breached") if finding.verdict == "fail" else "unproven"


def breached(conditions: Iterable[Condition]) -> list[Condition]:
    """Those for which the canary is taken back, or the dual write."""
    return [one for one in conditions if one.grade == "breached"]


def _error_rate(sample: DualWriteSample, bounds: DualWriteBounds) -> Condition:
    allowed = f"{bounds.trigger_error_rate_percent:g} %"

    def says(grade: Grade, measured: str) -> Condition:
        return Condition("error rate of the Task Service's API", grade, measured, allowed)

    api = sample.api
    if api is None:
        return says("unknown", "the inventory's task_service_url is empty")
    if api.requests < LEAST_REQUESTS:
        return says("unknown", f"only {api.requests} requests")
    rate = 100 * api.errors / api.requests
    measured = f"{rate:.1f} %, {api.errors} of {api.requests} requests" + (f", {api.error}" if api.error else "")
    if rate <= bounds.trigger_error_rate_percent:
        return says("fine", measured)
    return says("breached" if api.errors > 1 else "warns", measured)


def _consistency(sample: DualWriteSample, bounds: DualWriteBounds, share: float) -> Condition:
    longest = 2 * bounds.consistency_every_seconds

    def says(grade: Grade, measured: str) -> Condition:
        return Condition("consistency", grade, measured, f"passed, within {longest} s")

    check = sample.check
    if check is None:
        return says("unknown", sample.forward.trouble or "no check so far")
    if check.passed is False:
        grade: Grade = "red" if share and _is_whole(check) else "breached"
        return says(grade, f"failed {check.age_seconds:.0f} s ago: {check.reasons}")
    if check.passed is None:
        return says("unknown", f"could not look: {check.reasons}")
    if check.age_seconds > longest:
        return says("unknown", f"the last check is {check.age_seconds:.0f} s old")
    return says("fine", f"passed {check.age_seconds:.0f} s ago")


def _is_whole(check: Check) -> bool:
    """Whether a check that failed found every row where it belongs, and nothing but rows that can't cross."""
    tables: Mapping[str, Mapping[str, int]] = check.details.get("tables", {})
    return check.differences == 0 and bool(tables) and not any(one["unaccounted"] for one in tables.values())


def _api_latency(sample: DualWriteSample, bounds: DualWriteBounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        return Condition("latency of the Task Service's API", grade, measured, f"p95 {bounds.trigger_latency_ms:g} ms")

    api = sample.api
    if api is None:
        return says("unknown", "the inventory's task_service_url is empty")
    if api.p95_ms is None or api.answered < LEAST_REQUESTS:
        return says("unknown", f"only {api.answered} answers")
    return says("breached" if api.p95_ms > bounds.trigger_latency_ms else "fine", f"p95 {api.p95_ms:.0f} ms")


def _sync_latency(name: str, sync: Sync, bounds: DualWriteBounds) -> Condition:
    is_steady = sync.state in HEALTHY and sync.state_seconds > STANDSTILL_SECONDS
    longest = STANDSTILL_SECONDS if is_steady else FAILOVER_SECONDS

    def says(grade: Grade, measured: str) -> Condition:
        return Condition(
            name, grade, measured, f"p95 {bounds.trigger_latency_ms:g} ms, no write waiting for {longest:g} s"
        )

    if sync.pending is None:
        return says("unknown", sync.trouble)
    oldest, lag = sync.oldest_seconds or 0.0, sync.lag_ms
    parts = [f"p95 {lag:.0f} ms" if lag is not None else "nothing carried in 10 s"]
    parts.append(f"{sync.pending:,} writes wait, the oldest for {oldest:.1f} s" if sync.pending else "nothing waits")
    slow = lag is not None and lag > bounds.trigger_latency_ms
    if slow and sync.slow_seconds >= SLOW_SECONDS:
        parts.append(f"so for {sync.slow_seconds:.0f} s")
    if (oldest > longest and sync.away != "laravel") or (slow and sync.slow_seconds >= SLOW_SECONDS):
        return says("breached", ", ".join(parts))
    return says("warns" if slow or oldest > STANDSTILL_SECONDS else "fine", ", ".join(parts))


def _sync(name: str, sync: Sync) -> Condition:
    longest = FAILOVER_SECONDS if sync.state == "reconnecting" and sync.away else STANDSTILL_SECONDS

    def says(grade: Grade, measured: str) -> Condition:
        return Condition(name, grade, measured, f"running, else back within {longest:g} s")

    error = f": {sync.health['last_error']}" if sync.health and sync.health.get("last_error") else ""
    if sync.state == "blocked":
        return says("breached", f"blocked{error}")
    if sync.state in HEALTHY:
        return says("fine" if sync.state == "running" else "warns", sync.state)
    # Everything is taken back to Laravel, so as long as it is away nothing can be.
    grade: Grade = "breached" if sync.unwell_seconds > longest and sync.away != "laravel" else "warns"
    return says(grade, f"{sync.state} for {sync.unwell_seconds:.0f} s{error}")


def _change_log(forward: Sync, bounds: DualWriteBounds) -> Condition:
    def says(grade: Grade, measured: str) -> Condition:
        allowed = f"{bounds.change_log_max_entries:,} entries, warns from {bounds.change_log_warn_entries:,}"
        return Condition("change log", grade, measured, allowed)

    if forward.pending is None:
        return says("unknown", forward.trouble)
    measured = f"{forward.pending:,} entries"
    # To stop the sync would only make it longer, so this takes nothing back.
    if forward.pending > bounds.change_log_max_entries:
        return says("red", measured)
    return says("warns" if forward.pending > bounds.change_log_warn_entries else "fine", measured)
