"""The gate of the canary: what was measured at one weight, judged against bounds. Pass, fail or inconclusive.

Pure: nothing is asked here. A share passes when it is proven to be below its bound, and fails when it is proven to be
above; what lies between, and what nobody could measure, is inconclusive and never passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from task_migration.canary import traffic_findings
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample, SyncDirection, Verdict
from task_migration.canary.traffic_findings import counted, error_rate, gateway, hits, p95
from task_migration.runtime import health_endpoint as of_sync
from task_migration.times import duration

SUSTAINED_SECONDS = 20.0
"""A latency or a CPU that stays above its bound for so long is no hiccup."""
STANDSTILL_SECONDS = 60.0
"""A sync that starts anew is back by then."""


def judge(sample: CanarySample, bounds: CanaryBounds) -> list[CanaryFinding]:
    """Every finding. At weight 0 there is no traffic to judge, so the API's own answers stand for it, and it has to be
    known that the gateway's figures will be there when there is."""
    judges: Iterable[Callable[[CanarySample, CanaryBounds], CanaryFinding | None]] = (
        *((error_rate, p95, hits, gateway) if sample.weight else (_api, counted)),
        _cpu,
        _forward,
        _backward,
        _divergence,
        _verdict,
        _dead_letters,
    )
    return [found for judge in judges if (found := judge(sample, bounds)) is not None]


def verdict_of(findings: Iterable[CanaryFinding]) -> Verdict:
    """Fail if any fails, else inconclusive if any is, else pass."""
    verdicts = {one.verdict for one in findings}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


def not_passed(findings: Iterable[CanaryFinding]) -> list[CanaryFinding]:
    """Those that fail, then those that are inconclusive."""
    bad = [one for one in findings if one.verdict != "pass"]
    return sorted(bad, key=lambda one: one.verdict != "fail")


def left_out(sample: CanarySample) -> str:
    """What was not judged, and why; "" if everything was."""
    if sample.weight:
        return ""
    parts = ["error rate, p95 and hits, for there is no traffic yet"]
    if sample.api is None:
        parts.append("the API, for the inventory's task_service_url is empty")
    if sample.backward is None:
        parts.append("the sync backward, which is not on yet")
    return "not judged: " + "; ".join(parts)


def figures(sample: CanarySample) -> dict[str, Any]:
    """The measured values, for machines; None for what nobody could measure."""
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


def in_one_line(sample: CanarySample) -> str:
    """The measured values, for the eye."""
    parts = list(_traffic_told(sample)) if sample.weight else ["no traffic yet"]
    if sample.api is not None:
        parts.append(f"the API answered {sample.api.answered} of {sample.api.requests}")
    parts.append("CPU unknown" if sample.cpu_percent is None else f"CPU {sample.cpu_percent:.0f} %")
    parts.append("sync " + "/".join(_latency_told(one) for one in (sample.forward, sample.backward) if one) + " ms")
    if sample.dead_letters:
        parts.append(f"{sum(sample.dead_letters.values())} dead letters")
    if sample.conflicts:
        parts.append(f"{sample.conflicts:,} conflicts")
    return ", ".join(parts)


def _traffic_told(sample: CanarySample) -> Iterator[str]:
    if sample.whole is None:
        yield "traffic unknown"
        return
    traffic = sample.whole.traffic
    yield f"{traffic.errors:,} of {traffic.requests:,} failed"
    yield f"p95 {traffic_findings.p95_told(traffic)}"
    yield traffic_findings.hits_told(traffic) if traffic.all_requests is not None else "hits unknown"


def _latency_told(direction: SyncDirection) -> str:
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
    verdict = _lasting(sample.cpu_percent, bounds.cpu_percent, sample.cpu_above_seconds)
    seconds = sample.cpu_above_seconds
    since = f", so for {seconds:.0f} s" if verdict != "pass" and seconds else ""
    return CanaryFinding("database CPU", verdict, f"{sample.cpu_percent:.0f} %{since}", allowed)


def _lasting(value: float, bound: float, above_seconds: float) -> Verdict:
    if value < bound:
        return "pass"
    return "fail" if above_seconds >= SUSTAINED_SECONDS else "inconclusive"


def _forward(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    return _sync("sync forward", sample.forward, bounds, sample.trouble)


def _backward(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding | None:
    return _sync("sync backward", sample.backward, bounds, sample.trouble) if sample.backward else None


def _sync(name: str, direction: SyncDirection, bounds: CanaryBounds, trouble: str) -> CanaryFinding:
    """``trouble`` is that of a database, without which no sync can run: it is to be waited for."""

    def says(verdict: Verdict, measured: str, next_step: str = "ansible-playbook status.yml") -> CanaryFinding:
        return CanaryFinding(name, verdict, measured, f"p95 below {bounds.sync_latency_ms:g} ms", next_step)

    health, latency = direction.health, direction.latency_ms
    standstill = direction.unwell_seconds > STANDSTILL_SECONDS and not trouble
    unwell: Verdict = "fail" if standstill or direction.state == "blocked" else "inconclusive"
    since = f", so for {direction.unwell_seconds:.0f} s" if standstill else ""
    if health is None:
        return says(unwell, f"nobody answers on 127.0.0.1:{direction.port}{since}")
    error = f": {health['last_error']}" if health.get("last_error") else ""
    if direction.state != "running":
        return says(unwell, f"{direction.state}{since}{error}")
    if direction.oldest_seconds > SUSTAINED_SECONDS:
        return says("fail", f"{direction.pending:,} writes wait, the oldest for {direction.oldest_seconds:.0f} s")
    if latency is None:
        return says("pass", "nothing to carry")
    measured = f"p95 {latency:.0f} ms"
    if of_sync.p95_ms(health) is None:
        measured = f"nothing carried in 10 s, and {direction.pending:,} writes wait for {latency:.0f} ms"
    verdict = _lasting(latency, bounds.sync_latency_ms, direction.above_seconds)
    return says(verdict, measured if verdict == "pass" else f"{measured}, so for {abs(direction.above_seconds):.0f} s")


# What both databases know


def _divergence(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    longest = 2 * bounds.consistency_every_seconds

    def says(
        verdict: Verdict, measured: str, next_step: str = "ansible-playbook phase-2.2-verify.yml"
    ) -> CanaryFinding:
        return CanaryFinding("divergence", verdict, measured, f"none, looked for within {longest} s", next_step)

    check = sample.check
    if check is None:
        return says("inconclusive", sample.laravel_trouble or "no check so far")
    if check.passed is False:
        return says("fail", f"found {check.age_seconds:.0f} s ago: {check.reasons}")
    if check.passed is None:
        return says("inconclusive", f"could not look: {check.reasons}")
    if check.age_seconds > longest:
        return says("inconclusive", f"the last check is {duration(timedelta(seconds=check.age_seconds))} old")
    return says("pass", f"none, {check.age_seconds:.0f} s ago")


def _verdict(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    allowed = f"green, of these tables, at most {bounds.verdict_max_age_hours:g} h old"
    next_step = "ansible-playbook phase-2.2-verify.yml"
    if sample.stale is None:
        return CanaryFinding("verdict", "inconclusive", sample.trouble, allowed, next_step)
    verdict: Verdict = "inconclusive" if sample.altered else "fail" if sample.stale else "pass"
    return CanaryFinding("verdict", verdict, sample.stale or "green and fresh", allowed, next_step)


def _dead_letters(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    next_step = "ansible-playbook sync-report.yml names them"
    letters = sample.dead_letters
    if letters is None:
        return CanaryFinding("dead letters", "inconclusive", sample.trouble, "none", next_step)
    told = ", ".join(f"{count:,} {kind}" for kind, count in letters.items())
    return CanaryFinding("dead letters", "fail" if letters else "pass", told or "none", "none", next_step)
