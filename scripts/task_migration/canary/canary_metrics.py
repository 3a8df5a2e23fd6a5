"""The CloudWatch metrics of the watch and of the canary, with the names in metric_data.yml. Pure functions.

None is an unknown value, which is not published.
"""

from __future__ import annotations

from collections.abc import Iterable

from task_migration.canary import canary_judgement, canary_sample
from task_migration.canary.canary_sample import CanaryFinding
from task_migration.canary.rollback_conditions import LEAST_REQUESTS, DualWriteSample

FEWEST_FOR_P95 = 20
"""With fewer requests the p95 is the slowest one."""

Metrics = dict[str, float | None]


def of_watch(sample: DualWriteSample, share: float | None) -> Metrics:
    """Returns the metrics of one sample of the dual write; ``share`` percent of the traffic goes to the Task Service,
    None if not known.

    The next weight needs a fresh verdict of phase 2.2, so its age is published while there is a next one.
    """
    api, check, verdict = sample.api, sample.check, sample.verdict_passed
    enough = api is not None and api.requests >= LEAST_REQUESTS
    metrics: Metrics = {
        "ConsistencyAge": check.age_seconds if check and check.passed is not None else None,
        "ApiErrorRate": 100 * api.errors / api.requests if api and enough else None,
        "ApiLatencyP95": api.p95_ms if api and enough else None,
        "SoakDuration": sample.soak_seconds,
        "CanaryWeight": share,
    }
    if share and share < 100 and not sample.forward.trouble:
        metrics |= {
            "VerifyVerdict": {True: 1.0, False: -1.0, None: 0.0}[verdict],
            "VerifyVerdictAge": sample.verdict_age_seconds,
        }
    return metrics


def of_canary(sample: canary_sample.CanarySample, findings: Iterable[CanaryFinding]) -> Metrics:
    """Returns the metrics of one sample of the canary while traffic goes to the Task Service."""
    whole = sample.whole.traffic if sample.whole else None
    newest = sample.recent.traffic if sample.recent else whole
    return {
        "CanaryWeight": sample.weight,
        "CanaryVerdict": {"pass": 1.0, "inconclusive": 0.0, "fail": -1.0}[canary_judgement.verdict_of(findings)],
        "CanaryErrorRate": 100 * whole.errors / whole.requests if whole and whole.requests else None,
        "CanaryLatencyP95": newest.p95_ms if newest and newest.requests >= FEWEST_FOR_P95 else None,
        "DeadLetters": None if sample.dead_letters is None else sum(sample.dead_letters.values()),
    }
