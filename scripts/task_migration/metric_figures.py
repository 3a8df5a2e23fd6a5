"""What is published in CloudWatch, made of what was measured: for each publisher a pure function, by the names of
metric_data.yml. None is what nobody knows, and is left out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from task_migration import finding, judgement
from task_migration.conditions import LEAST_REQUESTS, Sample
from task_migration.finding import Finding
from task_migration.vitals import HEALTHY

FEWEST_FOR_P95 = 20
"""Of fewer requests the p95 is the slowest one."""

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Carried:
    """What one sync did since it was started: entries carried, rows held back, conflicts met."""

    entries: int = 0
    held_back: int = 0
    conflicts: int = 0


def of_sync(told: Mapping[str, Any], now: Carried, before: Carried) -> Figures:
    """``told`` is what GET /health says. One that is about to stop says nothing of its health: it is no fault."""
    is_known = told["pending"] is not None
    return {
        "SyncHealthy": None if told["state"] == "stopping" else float(told["state"] in HEALTHY),
        "SyncLatencyP95": told["lag_ms"]["p95"],
        "SyncOldestWrite": (told["oldest_seconds"] or 0.0) if is_known else None,
        "SyncQueueDepth": told["pending"],
        "SyncApplied": now.entries - before.entries,
        "SyncFailed": now.held_back - before.held_back,
        "SyncConflicts": now.conflicts - before.conflicts,
    }


def of_consistency(
    *, passed: bool | None, seconds: float, rows: int, differences: int, dead_letters: int | None
) -> Figures:
    """One check; of one that could not look, its counts are not known."""
    looked = passed is not None
    return {
        "ConsistencyVerdict": {True: 1.0, False: -1.0, None: 0.0}[passed],
        "ConsistencyDuration": seconds,
        "ConsistencyRows": rows if looked else None,
        "ConsistencyDifferences": differences if looked else None,
        "DeadLetters": dead_letters if looked else None,
    }


def of_watch(sample: Sample, share: float | None) -> Figures:
    """One look at the dual write while ``share`` percent of the traffic is known to go to the Task Service.

    A verdict of phase 2.2 is what the next weight leans on: its age is told while there is one to come.
    """
    api, check, verdict = sample.api, sample.check, sample.verdict_passed
    enough = api is not None and api.requests >= LEAST_REQUESTS
    figures: Figures = {
        "ConsistencyAge": check.age_seconds if check and check.passed is not None else None,
        "ApiErrorRate": 100 * api.errors / api.requests if api and enough else None,
        "ApiLatencyP95": api.p95_ms if api and enough else None,
        "SoakDuration": sample.soak_seconds,
        "CanaryWeight": share,
    }
    if share and share < 100 and not sample.forward.trouble:
        figures |= {
            "VerifyVerdict": {True: 1.0, False: -1.0, None: 0.0}[verdict],
            "VerifyVerdictAge": sample.verdict_age_seconds,
        }
    return figures


def of_canary(sample: finding.Sample, findings: Iterable[Finding]) -> Figures:
    """One look of the canary's gate while traffic is moved."""
    whole = sample.whole.traffic if sample.whole else None
    newest = sample.recent.traffic if sample.recent else whole
    return {
        "CanaryWeight": sample.weight,
        "CanaryVerdict": {"pass": 1.0, "inconclusive": 0.0, "fail": -1.0}[judgement.verdict_of(findings)],
        "CanaryErrorRate": 100 * whole.errors / whole.requests if whole and whole.requests else None,
        "CanaryLatencyP95": newest.p95_ms if newest and newest.requests >= FEWEST_FOR_P95 else None,
        "DeadLetters": None if sample.dead_letters is None else sum(sample.dead_letters.values()),
    }
