"""The gate between two weights of the canary: measures the active weight, and judges it once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from task_migration.canary import canary_judgement
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.metric_sources import source
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome

PATIENCE_SECONDS = 20.0
"""How long to repeat the check while it is inconclusive, such as for a short peak of latency, or late metrics."""


def canary_gate(
    *,
    endpoints: CanaryEndpoints,
    aws: Aws,
    canary: CanarySettings,
    weight: int,
    check: bool = False,
) -> Outcome:
    """Measures and judges, repeatedly while that is inconclusive; changes nothing, so check mode does the same.

    ``weight`` is the active share in percent. Traffic counts from ``canary_settle_seconds`` after the journal's last
    shift on. Details: ``verdict``, ``findings``, ``figures`` (the measured values) and ``confidence_percent``. Raises
    Refused unless every finding passes, with those that did not.
    """
    bounds, interval = canary.bounds, canary.canary_interval_seconds
    sampler = CanarySampler(canary, endpoints, source(canary.metric_source, aws), recent_seconds=interval)
    started = time.monotonic()
    with sampler:
        shifts, settle = sampler.shifts(weight), timedelta(seconds=canary.canary_settle_seconds)
        while True:
            sample = sampler.sample(weight, shifts[-1] + settle if shifts else None, shifts)
            findings = canary_judgement.judge(sample, bounds)
            patience = PATIENCE_SECONDS - (time.monotonic() - started)
            if canary_judgement.verdict_of(findings) != "inconclusive" or patience < interval:
                break
            time.sleep(interval)
    if bad := canary_judgement.not_passed(findings):
        raise _refusal(weight, bad, bounds)
    return Outcome(
        False,
        f"gate: pass at {weight} %{bounds.confidence_note}: {canary_judgement.summary(sample)}",
        canary_judgement.details(sample, findings, bounds),
        canary_judgement.lines(sample, findings),
    )


def _refusal(weight: int, bad: Sequence[CanaryFinding], bounds: CanaryBounds) -> Refused:
    failed = bad[0].verdict == "fail"
    rollback = "; or ansible-playbook phase-2.4-canary.yml -e weight=0 sends all traffic to Laravel"
    step = bad[0].next_step or "fix that, then run the same command again"
    return Refused(
        f"the canary gate {'failed' if failed else 'is inconclusive'} at {weight} %{bounds.confidence_note}",
        measured="; ".join(map(str, bad)),
        next_step=step + (rollback if failed and weight else ""),
    )
