"""The conditions under which the dual write and the canary are rolled back (the plan's 5.1 and 5.2), judged by one
sample.

Pure functions. What could not be measured is unknown, and never fine.
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
"""``unproven``: measured, but too few requests; ``red``: a gate stays closed and an alert is sent; ``breached``: the
canary or the dual write is rolled back."""

UnreachableDatabase = Literal["laravel", "task_service"] | None
"""The database that cannot be reached; Laravel's if neither can."""

LEAST_REQUESTS = 5
STANDSTILL_SECONDS = 60.0
"""A restart of the sync takes less."""
FAILOVER_SECONDS = 180.0
"""A restart of a database takes less: a failover of RDS usually takes 60 to 120 s, and DNS caches its name a little
longer."""
SLOW_SECONDS = 20.0
"""A p95 over ten seconds that is above its bound for less than this is a short peak."""

_CLOSES_THE_GATE: Mapping[str, Grade] = {"verdict": "warns", "dead letters": "red"}
"""Findings whose failure rolls back nothing: a verdict expires with time, and a rollback does not help a row that
cannot be migrated."""
_OWN_CONDITIONS = {"divergence", "sync forward", "sync backward"}
"""Findings for which there are conditions, with the bounds of a rollback; those of the gate are tighter."""
_OF_TRAFFIC = {"error rate", "p95", "hits", "gateway"}


@dataclass(frozen=True)
class DualWriteBounds:
    """The inventory's bounds. The first two are the plan's."""

    trigger_error_rate_percent: float = 5
    trigger_latency_ms: float = 500
    change_log_warn_entries: int = 100_000
    change_log_max_entries: int = 1_000_000
    consistency_every_seconds: int = 3600


@dataclass(frozen=True)
class SyncSample:
    """One direction of the sync, and its change log.

    ``health`` is the answer of GET /health, None without one; ``unwell_seconds`` is for how long it has been neither
    running nor paused, ``slow_seconds`` for how long above the latency bound; ``pending`` and ``oldest_seconds``
    describe the log, None with ``trouble``. ``unreachable`` is determined only if the sync is unwell; a change of it
    restarts ``unwell_seconds``. ``state_seconds`` is for how long the sync has been in its state.
    """

    health: Mapping[str, Any] | None
    unwell_seconds: float
    slow_seconds: float
    pending: int | None
    oldest_seconds: float | None
    trouble: str = ""
    unreachable: UnreachableDatabase = None
    state_seconds: float = math.inf

    @property
    def state(self) -> str:
        return str(self.health["state"]) if self.health else "not reached"

    @property
    def latency_ms(self) -> float | None:
        """The p95 over the last ten seconds; None if nothing was synced."""
        return health_endpoint.p95_ms(self.health)


@dataclass(frozen=True)
class DualWriteSample:
    """What was measured at one time. ``api`` is None if the inventory has no address; ``check`` if there was none, or
    with ``forward.trouble``. The last three are for metrics only: whether phase 2.2's last verdict passed and how old
    it is, and for how long the Task Service has served alone; None if not applicable, or with ``forward.trouble``."""

    api: ApiProbeResult | None
    forward: SyncSample
    check: Check | None
    verdict_passed: bool | None = None
    verdict_age_seconds: float | None = None
    soak_seconds: float | None = None


@dataclass(frozen=True)
class Condition:
    """One condition, judged."""

    name: str
    grade: Grade
    measured: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name}: {self.measured} (allowed: {self.allowed})"

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "grade": self.grade, "measured": self.measured, "allowed": self.allowed}


def judge(sample: DualWriteSample, bounds: DualWriteBounds, share: float = 0) -> list[Condition]:
    """Returns every condition of the dual write, in the plan's order; ``share`` percent of the traffic goes to the Task
    Service."""
    return [
        _error_rate(sample, bounds),
        _consistency(sample, bounds, share),
        _api_latency(sample, bounds),
        *of_sync("sync", sample.forward, bounds),
        _change_log(sample.forward, bounds),
    ]


def of_sync(name: str, sync: SyncSample, bounds: DualWriteBounds) -> tuple[Condition, Condition]:
    """Returns the conditions of one direction: its latency, and whether it runs."""
    return _sync_latency(f"latency of the {name}", sync, bounds), _sync(name, sync)


def of_canary(
    sample: canary_sample.CanarySample, findings: Iterable[CanaryFinding], *, late: bool
) -> Iterator[Condition]:
    """Yields the findings of the canary gate as conditions: a failure rolls traffic back, an inconclusive finding does
    not. ``late`` means that there should be metrics of the traffic by now.
    """
    if sample.whole:
        yield Condition("canary: metrics", "fine", f"of {sample.whole.seconds:.0f} s", "all metrics available")
    else:
        grade: Grade = "unknown" if late else "unproven"
        yield Condition("canary: metrics", grade, sample.traffic_trouble, "all metrics available")
    for one in findings:
        if one.name not in _OWN_CONDITIONS and (sample.whole or one.name not in _OF_TRAFFIC):
            yield Condition(f"canary: {one.name}", _grade(one), one.measured, one.allowed)


def _grade(finding: CanaryFinding) -> Grade:
    if finding.verdict == "pass":
        return "fine"
    return _CLOSES_THE_GATE.get(finding.name, "breached") if finding.verdict == "fail" else "unproven"


def breached(conditions: Iterable[Condition]) -> list[Condition]:
    """Returns the conditions for which the canary or the dual write is rolled back."""
    return [one for one in conditions if one.grade == "breached"]


def _error_rate(sample: DualWriteSample, bounds: DualWriteBounds) -> Condition:
    allowed = f"{bounds.trigger_error_rate_percent:g} %"

    def condition(grade: Grade, measured: str) -> Condition:
        return Condition("error rate of the Task Service's API", grade, measured, allowed)

    api = sample.api
    if api is None:
        return condition("unknown", "task_service_url is empty in the inventory")
    if api.requests < LEAST_REQUESTS:
        return condition("unknown", f"only {api.requests} requests")
    rate = 100 * api.errors / api.requests
    measured = f"{rate:.1f} %, {api.errors} of {api.requests} requests" + (f", {api.error}" if api.error else "")
    if rate <= bounds.trigger_error_rate_percent:
        return condition("fine", measured)
    return condition("breached" if api.errors > 1 else "warns", measured)


def _consistency(sample: DualWriteSample, bounds: DualWriteBounds, share: float) -> Condition:
    longest = 2 * bounds.consistency_every_seconds

    def condition(grade: Grade, measured: str) -> Condition:
        return Condition("consistency", grade, measured, f"passed, within {longest} s")

    check = sample.check
    if check is None:
        return condition("unknown", sample.forward.trouble or "no check so far")
    if check.passed is False:
        grade: Grade = "red" if share and _is_whole(check) else "breached"
        return condition(grade, f"failed {check.age_seconds:.0f} s ago: {check.reasons}")
    if check.passed is None:
        return condition("unknown", f"the check could not run: {check.reasons}")
    if check.age_seconds > longest:
        return condition("unknown", f"the last check is {check.age_seconds:.0f} s old")
    return condition("fine", f"passed {check.age_seconds:.0f} s ago")


def _is_whole(check: Check) -> bool:
    """Returns whether a check that failed found every row where it belongs, so that it failed for dead letters only."""
    tables: Mapping[str, Mapping[str, int]] = check.details.get("tables", {})
    return check.differences == 0 and bool(tables) and not any(one["unaccounted"] for one in tables.values())


def _api_latency(sample: DualWriteSample, bounds: DualWriteBounds) -> Condition:
    def condition(grade: Grade, measured: str) -> Condition:
        return Condition("latency of the Task Service's API", grade, measured, f"p95 {bounds.trigger_latency_ms:g} ms")

    api = sample.api
    if api is None:
        return condition("unknown", "task_service_url is empty in the inventory")
    if api.p95_ms is None or api.answered < LEAST_REQUESTS:
        return condition("unknown", f"only {api.answered} answers")
    return condition("breached" if api.p95_ms > bounds.trigger_latency_ms else "fine", f"p95 {api.p95_ms:.0f} ms")


def _sync_latency(name: str, sync: SyncSample, bounds: DualWriteBounds) -> Condition:
    is_steady = sync.state in HEALTHY and sync.state_seconds > STANDSTILL_SECONDS
    longest = STANDSTILL_SECONDS if is_steady else FAILOVER_SECONDS

    def condition(grade: Grade, measured: str) -> Condition:
        return Condition(
            name, grade, measured, f"p95 {bounds.trigger_latency_ms:g} ms, no write waiting for {longest:g} s"
        )

    if sync.pending is None:
        return condition("unknown", sync.trouble)
    oldest, latency = sync.oldest_seconds or 0.0, sync.latency_ms
    parts = [f"p95 {latency:.0f} ms" if latency is not None else "nothing synced in 10 s"]
    parts.append(f"{sync.pending:,} writes wait, the oldest for {oldest:.1f} s" if sync.pending else "nothing waits")
    slow = latency is not None and latency > bounds.trigger_latency_ms
    if slow and sync.slow_seconds >= SLOW_SECONDS:
        parts.append(f"for {sync.slow_seconds:.0f} s")
    if (oldest > longest and sync.unreachable != "laravel") or (slow and sync.slow_seconds >= SLOW_SECONDS):
        return condition("breached", ", ".join(parts))
    return condition("warns" if slow or oldest > STANDSTILL_SECONDS else "fine", ", ".join(parts))


def _sync(name: str, sync: SyncSample) -> Condition:
    longest = FAILOVER_SECONDS if sync.state == "reconnecting" and sync.unreachable else STANDSTILL_SECONDS

    def condition(grade: Grade, measured: str) -> Condition:
        return Condition(name, grade, measured, f"running again within {longest:g} s")

    error = f": {sync.health['last_error']}" if sync.health and sync.health.get("last_error") else ""
    if sync.state == "blocked":
        return condition("breached", f"blocked{error}")
    if sync.state in HEALTHY:
        return condition("fine" if sync.state == "running" else "warns", sync.state)
    # A rollback needs Laravel's database, so without it nothing can be rolled back.
    grade: Grade = "breached" if sync.unwell_seconds > longest and sync.unreachable != "laravel" else "warns"
    return condition(grade, f"{sync.state} for {sync.unwell_seconds:.0f} s{error}")


def _change_log(forward: SyncSample, bounds: DualWriteBounds) -> Condition:
    def condition(grade: Grade, measured: str) -> Condition:
        allowed = f"{bounds.change_log_max_entries:,} entries, warns from {bounds.change_log_warn_entries:,}"
        return Condition("change log", grade, measured, allowed)

    if forward.pending is None:
        return condition("unknown", forward.trouble)
    measured = f"{forward.pending:,} entries"
    # Stopping the sync would only make it longer, so this rolls back nothing.
    if forward.pending > bounds.change_log_max_entries:
        return condition("red", measured)
    return condition("warns" if forward.pending > bounds.change_log_warn_entries else "fine", measured)
