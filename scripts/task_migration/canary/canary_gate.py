"""The gate between two weights of the canary: what was measured at the one in force, judged once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from task_migration.canary import canary_judgement
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.metric_sources import source
from task_migration.errors import Refused
from task_migration.outcome import Outcome

PATIENCE_SECONDS = 20.0
"""For so long it looks again at what proves nothing: a latency above its bound for a moment, figures that are late."""


def canary_gate(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    sync_health_ports: Mapping[str, int],
    task_service_url: str = "",
    task_service_ca_file: str = "",
    aws_region: str,
    aws_endpoint_url: str = "",
    quarantine_signed_off: Mapping[str, str] | None = None,
    weight: int,
    metric_source: Mapping[str, Any],
    canary_error_rate_percent: float = 0.1,
    canary_p95_ms: float = 200,
    canary_p95_samples: int = 200,
    canary_cpu_percent: float = 70,
    canary_sync_latency_ms: float = 100,
    canary_confidence_percent: float = 95,
    canary_settle_seconds: float = 60,
    canary_interval_seconds: float = 60,
    canary_window_seconds: float = 86_400,
    verdict_max_age_hours: float = 24,
    consistency_every_seconds: int = 3600,
    check: bool = False,
) -> Outcome:
    """Measures and judges, a few times if that proves nothing; in check mode it does the same, for it only ever looks.

    ``weight`` is the share that is in force now, in percent. Traffic counts since the journal's last shift and
    ``canary_settle_seconds`` more. Details: ``verdict``, ``findings``, ``figures`` and ``confidence_percent``. Raises
    Refused unless every finding is a pass; the message names those that are not.
    """
    bounds = CanaryBounds(
        canary_error_rate_percent,
        canary_p95_ms,
        canary_p95_samples,
        canary_cpu_percent,
        canary_sync_latency_ms,
        canary_confidence_percent,
        verdict_max_age_hours,
        consistency_every_seconds,
    )
    gauge = CanarySampler(
        laravel_dsn=laravel_dsn,
        task_service_dsn=task_service_dsn,
        sync_health_ports=sync_health_ports,
        task_service_url=task_service_url,
        task_service_ca_file=task_service_ca_file,
        quarantine_signed_off=quarantine_signed_off or {},
        source=source(metric_source, aws_region=aws_region, aws_endpoint_url=aws_endpoint_url),
        bounds=bounds,
        recent_seconds=canary_interval_seconds,
        window_seconds=canary_window_seconds,
    )
    began = time.monotonic()
    with gauge:
        shifts, settle = gauge.shifts(weight), timedelta(seconds=canary_settle_seconds)
        while True:
            sample = gauge.sample(weight, shifts[-1] + settle if shifts else None, shifts)
            findings = canary_judgement.judge(sample, bounds)
            patience = PATIENCE_SECONDS - (time.monotonic() - began)
            if canary_judgement.verdict_of(findings) != "inconclusive" or patience < canary_interval_seconds:
                break
            time.sleep(canary_interval_seconds)
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
