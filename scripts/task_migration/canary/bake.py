"""A new weight of the canary, judged again and again until it is proven, fails, or has had all the time there is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count

from task_migration import progress
from task_migration.canary import canary_judgement, canary_metrics, traffic_findings
from task_migration.canary.canary_gate import details, lines
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.metric_sources import source
from task_migration.canary.synthetic_reads import SyntheticReads
from task_migration.errors import Failed
from task_migration.external.aws import Aws
from task_migration.external.cloudwatch_publisher import CloudWatchPublisher
from task_migration.outcome import Outcome
from task_migration.times import duration

LONGEST_HOLD = 86_400
"""Who would have to wait for longer than this is not told to."""
_LEAST_SECONDS = 1.0
"""In a log, progress below a second is left out."""


def bake(
    *,
    endpoints: CanaryEndpoints,
    aws: Aws,
    canary: CanarySettings,
    weight: int,
    canary_bake_seconds: float = 1800,
    canary_hold_seconds: float = 7200,
    canary_probe_rate: float = 0.0,
    gateway_url: str = "",
    gateway_probe_path: str = "/api/tasks",
    gateway_probe_headers_file: str = "",
    migration_environment: str = "",
    metrics_namespace: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Waits until the weight is in force everywhere, then judges every ``canary_interval_seconds``.

    It ends well at the first look that passes after ``canary_bake_seconds``. While it bakes, ``canary_probe_rate``
    reads a second are sent through the gateway, and each look's figures are published in ``metrics_namespace`` ("":
    nowhere). Details: as the gate's, and ``seconds``, ``looks``, ``probes`` and ``probes_failed``. In check mode it
    says what it would do; nothing is sent. Raises Refused before it begins if the inventory's values won't do; Failed
    as soon as a finding fails, or when ``canary_hold_seconds`` more have proven nothing.
    """
    bounds, interval = canary.bounds, canary.canary_interval_seconds
    gauge = CanarySampler(canary, endpoints, source(canary.metric_source, aws), recent_seconds=interval)
    probe = None
    if canary_probe_rate > 0:
        probe = SyntheticReads(
            gateway_url=gateway_url,
            path=gateway_probe_path,
            headers_file=gateway_probe_headers_file,
            per_second=canary_probe_rate,
        )
    if check:
        reads = f", sending {canary_probe_rate:g} reads a second through the gateway" if probe else ""
        return Outcome(
            False,
            f"would judge {weight} % every {interval:g} s for {_length(canary_bake_seconds)}{reads}, "
            f"and hold it for {_length(canary_hold_seconds)} more while the figures prove nothing",
            {"verdict": "", "findings": [], "figures": {}, "confidence_percent": bounds.confidence_percent},
        )
    metrics = CloudWatchPublisher(
        metrics_namespace=metrics_namespace, migration_environment=migration_environment, aws=aws
    )
    began = time.monotonic()
    with metrics, gauge, probe.sending() if probe else nullcontext():
        now, settle = datetime.now(UTC), timedelta(seconds=canary.canary_settle_seconds)
        shifts = gauge.shifts(weight)
        since = (shifts[-1] if shifts else now) + settle
        settled = began + max(0.0, (since - now).total_seconds())
        if settled > began:
            note = f"until the weight is in force everywhere, {settled - began:.0f} s"
            listener(progress.Progress(f"waiting at {weight} %", 0, 0, "", _LEAST_SECONDS, note))
        for number in count(1):
            time.sleep(max(0.0, settled + number * interval - time.monotonic()))
            sample = gauge.sample(weight, since, shifts)
            baked = max(number * interval, time.monotonic() - settled)
            findings = canary_judgement.judge(sample, bounds)
            verdict = canary_judgement.verdict_of(findings)
            metrics.put(canary_metrics.of_canary(sample, findings))
            note = _line(number, sample, findings, bounds, probe)
            listener(progress.Progress(f"baking at {weight} %", 0, 0, "", max(baked, _LEAST_SECONDS), note))
            if verdict == "fail":
                raise _failed(f"the canary failed at {weight} % after {_length(baked)}", findings, bounds, "")
            if verdict == "pass" and baked >= canary_bake_seconds:
                break
            if baked >= canary_bake_seconds + canary_hold_seconds:
                step = _more(sample, canary_judgement.not_passed(findings)[0], canary_hold_seconds)
                raise _failed(f"the canary proves nothing at {weight} % after {_length(baked)}", findings, bounds, step)
    sent = probe.sent() if probe else None
    return Outcome(
        False,
        f"bake: pass at {weight} %{bounds.caveat} after {_length(baked)}: {canary_judgement.in_one_line(sample)}"
        + (f"; {sent}" if sent else ""),
        {
            **details(sample, findings, bounds),
            "seconds": round(time.monotonic() - began, 1),
            "looks": number,
            "probes": sent.requests if sent else 0,
            "probes_failed": sent.failed if sent else 0,
        },
        (*lines(sample, findings), *metrics.lines),
    )


def _line(
    number: int,
    sample: CanarySample,
    findings: Sequence[CanaryFinding],
    bounds: CanaryBounds,
    probe: SyntheticReads | None,
) -> str:
    """One look in one line; what is not a pass comes first, in full if it fails."""
    bad = canary_judgement.not_passed(findings)
    failed = [f"FAIL {one}" for one in bad if one.verdict == "fail"]
    unproven = [one.name for one in bad if one.verdict == "inconclusive"]
    parts = [
        *failed,
        f"not proven yet: {', '.join(unproven)}" if unproven else "",
        canary_judgement.in_one_line(sample),
    ]
    sent = str(probe.sent()) if probe else ""
    return f"look {number}{bounds.caveat}: " + "; ".join(filter(None, [*parts, sent]))


def _failed(what: str, findings: Sequence[CanaryFinding], bounds: CanaryBounds, step: str) -> Failed:
    """What follows is the playbook's to say; where figures were too few, what gives more of them."""
    bad = canary_judgement.not_passed(findings)
    return Failed(f"{what}{bounds.caveat}", measured="; ".join(map(str, bad)), next_step=step)


def _more(sample: CanarySample, unproven: CanaryFinding, hold_seconds: float) -> str:
    """What to type for a proof: traffic goes back now, and the next bake begins to count anew."""
    if not unproven.missing:
        return unproven.next_step
    sent = traffic_findings.probes(sample.weight, unproven.missing)
    if sample.whole is None or not sample.whole.traffic.requests:
        return sent
    longer = math.ceil(hold_seconds + unproven.missing / sample.whole.per_second)
    return (
        f"{sent}; or -e canary_hold_seconds={longer} waits for users to send them" if longer <= LONGEST_HOLD else sent
    )


def _length(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))
