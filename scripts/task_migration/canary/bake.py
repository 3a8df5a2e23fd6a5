"""Judges a new weight of the canary repeatedly until it is proven, fails, or its time is over."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count

from task_migration import progress
from task_migration.canary import canary_judgement, canary_metrics, traffic_findings
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
"""A longer wait is not suggested. Seconds."""
_LEAST_SECONDS = 1.0
"""Progress of less than a second is not shown in a log."""


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
    """Waits until the weight is active everywhere, then judges every ``canary_interval_seconds``.

    It succeeds with the first check that passes after ``canary_bake_seconds``. Meanwhile ``canary_probe_rate`` reads
    per second are sent through the gateway, and each check's metrics are published in ``metrics_namespace`` ("":
    nowhere).
    Details: as the gate's, and ``seconds``, ``looks`` (the number of checks), ``probes`` and ``probes_failed``. In
    check mode it predicts, and sends nothing. Raises Refused before it starts if the inventory's values are not valid;
    Failed as soon as a finding fails, or if the checks are still inconclusive after ``canary_hold_seconds`` more.
    """
    bounds, interval = canary.bounds, canary.canary_interval_seconds
    sampler = CanarySampler(canary, endpoints, source(canary.metric_source, aws), recent_seconds=interval)
    probe = None
    if canary_probe_rate > 0:
        probe = SyntheticReads(
            gateway_url=gateway_url,
            path=gateway_probe_path,
            headers_file=gateway_probe_headers_file,
            per_second=canary_probe_rate,
        )
    if check:
        reads = f", with {canary_probe_rate:g} reads per second through the gateway" if probe else ""
        return Outcome(
            False,
            f"would judge {weight} % every {interval:g} s for {_length(canary_bake_seconds)}{reads}, "
            f"and hold it for {_length(canary_hold_seconds)} more while that is inconclusive",
            {"verdict": "", "findings": [], "figures": {}, "confidence_percent": bounds.confidence_percent},
        )
    metrics = CloudWatchPublisher(
        metrics_namespace=metrics_namespace, migration_environment=migration_environment, aws=aws
    )
    started = time.monotonic()
    with metrics, sampler, probe.running() if probe else nullcontext():
        now, settle = datetime.now(UTC), timedelta(seconds=canary.canary_settle_seconds)
        shifts = sampler.shifts(weight)
        since = (shifts[-1] if shifts else now) + settle
        settled = started + max(0.0, (since - now).total_seconds())
        if settled > started:
            note = f"until the weight is active everywhere, {settled - started:.0f} s"
            listener(progress.Progress(f"waiting at {weight} %", 0, 0, "", _LEAST_SECONDS, note))
        for number in count(1):
            time.sleep(max(0.0, settled + number * interval - time.monotonic()))
            sample = sampler.sample(weight, since, shifts)
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
                step = _more_requests(sample, canary_judgement.not_passed(findings)[0], canary_hold_seconds)
                raise _failed(
                    f"the canary is inconclusive at {weight} % after {_length(baked)}", findings, bounds, step
                )
    sent = probe.sent() if probe else None
    return Outcome(
        False,
        f"bake: pass at {weight} %{bounds.confidence_note} after {_length(baked)}: {canary_judgement.summary(sample)}"
        + (f"; {sent}" if sent else ""),
        {
            **canary_judgement.details(sample, findings, bounds),
            "seconds": round(time.monotonic() - started, 1),
            "looks": number,
            "probes": sent.requests if sent else 0,
            "probes_failed": sent.failed if sent else 0,
        },
        (*canary_judgement.lines(sample, findings), *metrics.lines),
    )


def _line(
    number: int,
    sample: CanarySample,
    findings: Sequence[CanaryFinding],
    bounds: CanaryBounds,
    probe: SyntheticReads | None,
) -> str:
    """Returns one check in one line; what did not pass comes first, in full if it failed."""
    bad = canary_judgement.not_passed(findings)
    failed = [f"FAIL {one}" for one in bad if one.verdict == "fail"]
    unproven = [one.name for one in bad if one.verdict == "inconclusive"]
    parts = [
        *failed,
        f"not proven yet: {', '.join(unproven)}" if unproven else "",
        canary_judgement.summary(sample),
    ]
    sent = str(probe.sent()) if probe else ""
    return f"check {number}{bounds.confidence_note}: " + "; ".join(filter(None, [*parts, sent]))


def _failed(what: str, findings: Sequence[CanaryFinding], bounds: CanaryBounds, step: str) -> Failed:
    """Returns the failure. ``step`` is what brings more requests, if there were too few; the rest is the playbook's."""
    bad = canary_judgement.not_passed(findings)
    return Failed(f"{what}{bounds.confidence_note}", measured="; ".join(map(str, bad)), next_step=step)


def _more_requests(sample: CanarySample, unproven: CanaryFinding, hold_seconds: float) -> str:
    """Returns what to type for a proof: traffic is rolled back now, and the next bake counts from the start."""
    if not unproven.missing:
        return unproven.next_step
    sent = traffic_findings.probes(sample.weight, unproven.missing)
    if sample.whole is None or not sample.whole.traffic.requests:
        return sent
    longer = math.ceil(hold_seconds + unproven.missing / sample.whole.per_second)
    return (
        f"{sent}; or -e canary_hold_seconds={longer} waits for that many from users" if longer <= LONGEST_HOLD else sent
    )


def _length(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))
