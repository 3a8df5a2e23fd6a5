"""The gate between two weights of the canary: what was measured at the one in force, judged once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from task_migration.canary import canary_judgement
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.metric_sources import source
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome

PATIENCE_SECONDS = 20.0
"""For so long it looks again at what proves nothing: a latency above its bound for a moment, figures that are late."""


def canary_gate(
    *,
    endpoints: CanaryEndpoints,
    aws: Aws,
    canary: CanarySettings,
    weight: int,
    check: bool = False,
) -> Outcome:
    """Measures and judges, a few times if that proves nothing; in check mode it does the same, for it only ever looks.

    ``weight`` is the share that is in force now, in percent. Traffic counts since the journal's last shift and
    ``canary_settle_seconds`` more. Details: ``verdict``, ``findings``, ``figures`` and ``confidence_percent``. Raises
    Refused unless every finding is a pass; the message names those that are not.
    """
    bounds, interval = canary.bounds, canary.canary_interval_seconds
    gauge = CanarySampler(canary, endpoints, source(canary.metric_source, aws), recent_seconds=interval)
    began = time.monotonic()
    with gauge:
        shifts, settle = gauge.shifts(weight), timedelta(seconds=canary.canary_settle_seconds)
        while True:
            sample = gauge.sample(weight, shifts[-1] + settle if shifts else None, shifts)
            findings = canary_judgement.judge(sample, bounds)
            patience = PATIENCE_SECONDS - (time.monotonic() - began)
            if canary_judgement.verdict_of(findings) != "inconclusive" or patience < interval:
                break
            time.sleep(interval)
    if bad := canary_judgement.not_passed(findings):
        raise _closed(weight, bad, bounds)
    return Outcome(
        False,
        f"gate: pass at {weight} %{bounds.caveat}: {canary_judgement.in_one_line(sample)}",
        details(sample, findings, bounds),
        lines(sample, findings),
    )


def details(sample: CanarySample, findings: Sequence[CanaryFinding], bounds: CanaryBounds) -> dict[str, Any]:
    """One judgement for machines, as gate and bake give it."""
    return {
        "verdict": canary_judgement.verdict_of(findings),
        "findings": [one.as_dict() for one in findings],
        "figures": canary_judgement.figures(sample),
        "confidence_percent": bounds.confidence_percent,
    }


def lines(sample: CanarySample, findings: Sequence[CanaryFinding]) -> tuple[str, ...]:
    """One judgement for the operator: a line for each finding, and one for what was not judged."""
    return (*(f"{one.verdict}: {one}" for one in findings), *filter(None, [canary_judgement.left_out(sample)]))


def _closed(weight: int, bad: Sequence[CanaryFinding], bounds: CanaryBounds) -> Refused:
    red = bad[0].verdict == "fail"
    back = "; or ansible-playbook phase-2.4-canary.yml -e weight=0 brings every user back to Laravel"
    step = bad[0].next_step or "set that right, then run the same command again"
    return Refused(
        f"the gate {'is red' if red else 'proves nothing yet'} at {weight} %{bounds.caveat}",
        measured="; ".join(map(str, bad)),
        next_step=step + (back if red and weight else ""),
    )
