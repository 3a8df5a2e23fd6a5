"""Judges one sample of the canary against its bounds: pass, fail or inconclusive. Pure functions.

A share passes if it is proven to be below its bound, and fails if it is proven to be above; anything between, and what
could not be measured, is inconclusive and never passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from task_migration.canary import traffic_findings
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample, SyncDirection, Verdict
from task_migration.canary.traffic_findings import error_rate, gateway, gateway_counts, hits, p95
from task_migration.runtime import health_endpoint
from task_migration.times import duration

SUSTAINED_SECONDS = 20.0
"""A latency or a CPU above its bound for less than this is a short peak."""
STANDSTILL_SECONDS = 60.0
"""A sync that restarts is running again by then."""


def judge(sample: CanarySample, bounds: CanaryBounds) -> list[CanaryFinding]:
    """Returns every finding. At weight 0 there is no traffic to judge: direct requests to the API are judged in its
    place, and whether the gateway's metrics exist."""
    judges: Iterable[Callable[[CanarySample, CanaryBounds], CanaryFinding | None]] = (
        *((error_rate, p95, hits, gateway) if sample.weight else (_api, gateway_counts)),
        _cpu,
        _forward,
        _backward,
        _divergence,
        _verdict,
        _dead_letters,
    )
    return [finding for judge in judges if (finding := judge(sample, bounds)) is not None]


def verdict_of(findings: Iterable[CanaryFinding]) -> Verdict:
    """Returns fail if any finding fails, else inconclusive if any is, else pass."""
    verdicts = {one.verdict for one in findings}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


def not_passed(findings: Iterable[CanaryFinding]) -> list[CanaryFinding]:
    """Returns the findings that fail, then those that are inconclusive."""
    bad = [one for one in findings if one.verdict != "pass"]
    return sorted(bad, key=lambda one: one.verdict != "fail")


def details(sample: CanarySample, findings: Sequence[CanaryFinding], bounds: CanaryBounds) -> dict[str, Any]:
    """Returns one judgement as the details of the gate and of the bake."""
    return {
        "verdict": verdict_of(findings),
        "findings": [one.as_dict() for one in findings],
        "figures": measured_values(sample),
        "confidence_percent": bounds.confidence_percent,
    }


def lines(sample: CanarySample, findings: Sequence[CanaryFinding]) -> tuple[str, ...]:
    """Returns one judgement for the operator: a line for each finding, and one for what was not judged."""
    return (*(f"{one.verdict}: {one}" for one in findings), *filter(None, [not_judged(sample)]))


def not_judged(sample: CanarySample) -> str:
    """Returns what was not judged, and why; "" if everything was."""
    if sample.weight:
        return ""
    parts = ["error rate, p95 and hits: there is no traffic yet"]
    if sample.api is None:
        parts.append("the API: task_service_url is empty in the inventory")
    if sample.backward is None:
        parts.append("the sync backward: it is not on yet")
    return "not judged: " + "; ".join(parts)


def measured_values(sample: CanarySample) -> dict[str, Any]:
    """Returns the measured values by name; None for one that could not be measured."""
    traffic = sample.whole.traffic if sample.whole else None
    return {
        "weight": sample.weight,
        "window_seconds": sample.whole.seconds if sample.whole else None,
        "requests": traffic and traffic.requests,
        "errors": traffic and traffic.errors,
        "slow": traffic and traffic.slow,
        "p95_ms": traffic and traffic.p95_ms,
        "all_requests": traffic and traffic.all_requests,
        "all_errors": traffic and traffic.all_errors,
        "cpu_percent": sample.cpu_percent,
        "sync_forward_ms": sample.forward.latency_ms,
        "sync_backward_ms": sample.backward.latency_ms if sample.backward else None,
        "dead_letters": None if sample.dead_letters is None else sum(sample.dead_letters.values()),
        "conflicts": sample.conflicts,
    }


def summary(sample: CanarySample) -> str:
    """Returns the measured values in one line."""
    parts = list(_traffic_text(sample)) if sample.weight else ["no traffic yet"]
    if sample.api is not None:
        parts.append(f"the API answered {sample.api.answered} of {sample.api.requests}")
    parts.append("CPU unknown" if sample.cpu_percent is None else f"CPU {sample.cpu_percent:.0f} %")
    parts.append("sync " + "/".join(_latency_text(one) for one in (sample.forward, sample.backward) if one) + " ms")
    if sample.dead_letters:
        parts.append(f"{sum(sample.dead_letters.values())} dead letters")
    if sample.conflicts:
        parts.append(f"{sample.conflicts:,} conflicts")
    return ", ".join(parts)


def _traffic_text(sample: CanarySample) -> Iterator[str]:
    if sample.whole is None:
        yield "traffic unknown"
        return
    traffic = sample.whole.traffic
    yield f"{traffic.errors:,} of {traffic.requests:,} failed"
    yield f"p95 {traffic_findings.p95_text(traffic)}"
    yield traffic_findings.hits_text(traffic) if traffic.all_requests is not None else "hits unknown"


def _latency_text(direction: SyncDirection) -> str:
    if direction.state != "running":
        return direction.state
    return "idle" if direction.latency_ms is None else f"{direction.latency_ms:.0f}"


def _api(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding | None:
    api = sample.api
    if api is None:
        return None
    verdict: Verdict = "fail" if api.errors else "pass" if api.requests else "inconclusive"
    error = f", {api.error}" if api.error else ""
    return CanaryFinding("API", verdict, f"{api.errors} of {api.requests} requests failed{error}", "none")


# Values that may be above their bound for a moment


def _cpu(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    allowed = f"below {bounds.cpu_percent:g} %"
    if sample.cpu_percent is None:
        return CanaryFinding("database CPU", "inconclusive", sample.cpu_trouble, allowed)
    verdict = _sustained(sample.cpu_percent, bounds.cpu_percent, sample.cpu_above_seconds)
    seconds = sample.cpu_above_seconds
    since = f" for {seconds:.0f} s" if verdict != "pass" and seconds else ""
    return CanaryFinding("database CPU", verdict, f"{sample.cpu_percent:.0f} %{since}", allowed)


def _sustained(value: float, bound: float, above_seconds: float) -> Verdict:
    if value < bound:
        return "pass"
    return "fail" if above_seconds >= SUSTAINED_SECONDS else "inconclusive"


def _forward(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    return _sync("sync forward", sample.forward, bounds, sample.trouble)


def _backward(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding | None:
    return _sync("sync backward", sample.backward, bounds, sample.trouble) if sample.backward else None


def _sync(name: str, direction: SyncDirection, bounds: CanaryBounds, trouble: str) -> CanaryFinding:
    """Judges one direction. ``trouble`` is that of a database: no sync can run without it, so that is waited for."""

    def finding(verdict: Verdict, measured: str, next_step: str = "ansible-playbook status.yml") -> CanaryFinding:
        return CanaryFinding(name, verdict, measured, f"p95 below {bounds.sync_latency_ms:g} ms", next_step)

    health, latency = direction.health, direction.latency_ms
    standstill = direction.unwell_seconds > STANDSTILL_SECONDS and not trouble
    unwell: Verdict = "fail" if standstill or direction.state == "blocked" else "inconclusive"
    since = f" for {direction.unwell_seconds:.0f} s" if standstill else ""
    if health is None:
        return finding(unwell, f"no answer on 127.0.0.1:{direction.port}{since}")
    error = f": {health['last_error']}" if health.get("last_error") else ""
    if direction.state != "running":
        return finding(unwell, f"{direction.state}{since}{error}")
    if direction.oldest_seconds > SUSTAINED_SECONDS:
        return finding("fail", f"{direction.pending:,} writes wait, the oldest for {direction.oldest_seconds:.0f} s")
    if latency is None:
        return finding("pass", "nothing to sync")
    measured = f"p95 {latency:.0f} ms"
    if health_endpoint.p95_ms(health) is None:
        measured = f"nothing synced in 10 s, and {direction.pending:,} writes wait for {latency:.0f} ms"
    verdict = _sustained(latency, bounds.sync_latency_ms, direction.above_seconds)
    return finding(verdict, measured if verdict == "pass" else f"{measured}, for {abs(direction.above_seconds):.0f} s")


# What both databases hold


def _divergence(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    longest = 2 * bounds.consistency_every_seconds

    def finding(
        verdict: Verdict, measured: str, next_step: str = "ansible-playbook phase-2.2-verify.yml"
    ) -> CanaryFinding:
        return CanaryFinding("divergence", verdict, measured, f"none, checked within {longest} s", next_step)

    check = sample.check
    if check is None:
        return finding("inconclusive", sample.laravel_trouble or "no check so far")
    if check.passed is False:
        return finding("fail", f"found {check.age_seconds:.0f} s ago: {check.reasons}")
    if check.passed is None:
        return finding("inconclusive", f"the check could not run: {check.reasons}")
    if check.age_seconds > longest:
        return finding("inconclusive", f"the last check is {duration(timedelta(seconds=check.age_seconds))} old")
    return finding("pass", f"none, {check.age_seconds:.0f} s ago")


def _verdict(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    allowed = f"green, of the present tables, at most {bounds.verdict_max_age_hours:g} h old"
    next_step = "ansible-playbook phase-2.2-verify.yml"
    if sample.stale is None:
        return CanaryFinding("verdict", "inconclusive", sample.trouble, allowed, next_step)
    verdict: Verdict = "inconclusive" if sample.altered else "fail" if sample.stale else "pass"
    return CanaryFinding("verdict", verdict, sample.stale or "green and fresh", allowed, next_step)


def _dead_letters(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    next_step = "ansible-playbook sync-report.yml lists them"
    letters = sample.dead_letters
    if letters is None:
        return CanaryFinding("dead letters", "inconclusive", sample.trouble, "none", next_step)
    text = ", ".join(f"{count:,} {kind}" for kind, count in letters.items())
    return CanaryFinding("dead letters", "fail" if letters else "pass", text or "none", "none", next_step)
