"""The canary gate's findings on traffic: error rate, p95, hits, and errors at the gateway. Pure functions.

A share passes if it is proven to be below its bound, and fails if it is proven to be above; anything between, and what
could not be measured, is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

from task_migration import binomial
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample, Verdict
from task_migration.canary.metric_source import TrafficCounts
from task_migration.times import duration

FAIL_CONFIDENCE = 0.99
"""The confidence of a failure. It is checked often, so with less it would be found by chance."""
RECENT_CONFIDENCE = 0.99999
"""The same for the last interval, of which there are a thousand each day."""
FEWEST_FAILURES = 2
"""A single failed request proves nothing."""
SLOW_SHARE = 0.05
"""A p95 is below its bound if fewer requests than this share are slower."""
RECENT_SLOW_SHARE = 0.1
"""More in the last interval: a pause of five seconds is a twelfth of a minute."""
LEAST_EXPECTED_HITS = 200
HITS_CONFIDENCE = 0.999
LOST_SHARE = 0.8
"""Fewer of the expected hits than this: requests are lost between the gateway and the Task Service."""
HITS_TOLERANCE = 0.05
"""The share of requests that the gateway may answer itself: without a valid login, or with an immediate error."""
COMPARED_SECONDS = 10_800
"""Later than this after a shift, errors at the gateway may as well be Laravel's at another time of day."""
ASIDE_PER_SECOND = 1.0
"""Requests to the Task Service that bypass the gateway: from the watch, from monitoring."""
PROOF_SECONDS = 1800
"""A proof that takes longer than this needs synthetic probes."""
_BETWEEN = "name resolution, certificate, security group and VPC link, which the gateway's execution log shows"
_TO_COUNT = (
    "enable API Gateway's detailed metrics for the task routes (op=replace,path=/*/*/metrics/enabled,value=true on "
    "the stage), or add the queries all_requests and all_errors to metric_source"
)
_TO_FIND = (
    "find in the gateway's access log which requests got 500 or above, and whether their integration answered; if it "
    f"did not, check {_BETWEEN}"
)


def error_rate(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    def text(traffic: TrafficCounts) -> str:
        rate = f" ({100 * traffic.errors / traffic.requests:.2g} %)" if traffic.errors else ""
        return f"{traffic.errors:,} of {traffic.requests:,} requests failed{rate}"

    return _share(
        sample,
        bounds,
        name="error rate",
        limit=f"below {bounds.error_rate_percent:g} %",
        count=lambda traffic: traffic.errors,
        bound=bounds.error_rate_percent / 100,
        recent_bound=bounds.error_rate_percent / 100,
        least=1,
        text=text,
    )


def p95(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    def text(traffic: TrafficCounts) -> str:
        slower = f"{traffic.slow:,} of {traffic.requests:,} requests took longer than {bounds.p95_ms:g} ms"
        return f"{p95_text(traffic)}, {slower}"

    return _share(
        sample,
        bounds,
        name="p95",
        limit=f"below {bounds.p95_ms:g} ms",
        count=lambda traffic: traffic.slow,
        bound=SLOW_SHARE,
        recent_bound=RECENT_SLOW_SHARE,
        least=bounds.p95_samples,
        text=text,
    )


def _share(
    sample: CanarySample,
    bounds: CanaryBounds,
    *,
    name: str,
    limit: str,
    count: Callable[[TrafficCounts], int],
    bound: float,
    recent_bound: float,
    least: int,
    text: Callable[[TrafficCounts], str],
) -> CanaryFinding:
    """Judges a share of the requests: it fails if the whole window or its end proves it, and passes if the whole window
    does."""
    allowed = f"{limit}, at {bounds.confidence_percent:g} % confidence"
    for window in sample.windows:
        events, requests = count(window.traffic), window.traffic.requests
        too_many = (bound, FAIL_CONFIDENCE) if window is sample.whole else (recent_bound, RECENT_CONFIDENCE)
        if events >= FEWEST_FAILURES and binomial.proven_above(events, requests, *too_many):
            return CanaryFinding(name, "fail", text(window.traffic) + sample.when(window), allowed)
    if sample.whole is None:
        return CanaryFinding(name, "inconclusive", sample.traffic_trouble, allowed)
    events, requests = count(sample.whole.traffic), sample.whole.traffic.requests
    if requests >= least and binomial.proven_below(events, requests, bound, bounds.confidence):
        return CanaryFinding(name, "pass", text(sample.whole.traffic), allowed)
    proof = max(least, binomial.needed(events, bound, bounds.confidence))
    missing = proof - requests
    needs = f"a proof needs {proof:,} requests" + (", and no more such" if events else "")
    if not requests:
        measured = f"no request in {sample.whole.seconds:.0f} s, {needs}"
        return CanaryFinding(name, "inconclusive", measured, allowed, probes(sample.weight, missing), missing)
    seconds = missing / sample.whole.per_second
    length = duration(timedelta(seconds=math.ceil(seconds)))
    rate = sample.whole.per_second
    pace = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    measured = f"{text(sample.whole.traffic)}, {needs}: {length} more at {pace} requests per second"
    wait = f"wait for {length}, then run the same command again"
    next_step = wait if seconds <= PROOF_SECONDS else probes(sample.weight, missing)
    return CanaryFinding(name, "inconclusive", measured, allowed, next_step, missing)


def probes(weight: float, missing: float) -> str:
    """Returns the command that sends so many requests to the Task Service in half an hour."""
    rate = math.ceil(missing / (weight / 100) / PROOF_SECONDS)
    return (
        f"ansible-playbook phase-2.4-canary.yml -e weight={weight:g} -e canary_probe_rate={rate} sends that many reads "
        "per second through the gateway"
    )


def hits(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """Judges whether the Task Service gets its share. The gateway counts what it receives, the load balancer what
    arrives; a request that never arrives is counted as an error by neither."""

    def finding(verdict: Verdict, measured: str, next_step: str = "") -> CanaryFinding:
        return CanaryFinding(
            "hits", verdict, measured, f"{sample.weight:g} % of the requests to the task routes", next_step
        )

    share = sample.weight / 100
    for window in sample.windows:
        every, hits = window.traffic.all_requests or 0, window.traffic.requests
        enough = every * share >= LEAST_EXPECTED_HITS
        if enough and binomial.proven_below(min(hits, every), every, LOST_SHARE * share, HITS_CONFIDENCE):
            measured = f"{hits_text(window.traffic)}{sample.when(window)}: the others do not arrive"
            return finding("fail", measured, f"check what is between the gateway and the Task Service: {_BETWEEN}")
    if sample.whole is None or sample.traffic_trouble:
        return finding("inconclusive", sample.traffic_trouble, "run the same command again after one more period")
    hits, text = sample.whole.traffic.requests, hits_text(sample.whole.traffic)
    if sample.whole.traffic.all_requests is None:
        return finding(
            "inconclusive",
            f"{hits:,} requests reached the Task Service, but those to both sides are not counted",
            _TO_COUNT,
        )
    every = sample.whole.traffic.all_requests
    if not binomial.proven_above(min(hits, every), every, share / 2, bounds.confidence):
        return finding("inconclusive", f"{text}, too few to judge", probes(sample.weight, LEAST_EXPECTED_HITS))
    aside = ASIDE_PER_SECOND * sample.whole.seconds
    if hits < every * share * (1 - HITS_TOLERANCE) and not _as_expected(hits, every, share):
        answered_itself = (
            "count in the gateway's access log what it answers itself: 401, 403 and 429 reach neither side"
        )
        return finding("inconclusive", f"{text}, fewer than expected", f"{answered_itself}; and check {_BETWEEN}")
    if hits - aside > every * share * (1 + HITS_TOLERANCE) and not _as_expected(hits - aside, every, share):
        measured = f"{text}, more than expected: the Task Service also gets requests that bypass the gateway"
        return finding(
            "inconclusive", measured, "let monitoring, and task_service_url, not use the load balancer that is counted"
        )
    return finding("pass", text)


def _as_expected(hits: float, every: int, share: float) -> bool:
    return binomial.as_expected(min(round(hits), every), every, share, HITS_CONFIDENCE)


def is_silent(traffic: TrafficCounts, weight: float) -> bool:
    """Returns whether there are no metrics of requests of which some must have arrived: they are late, or nothing
    arrives."""
    every = traffic.all_requests or 0
    if binomial.as_expected(0, every, weight / 100, HITS_CONFIDENCE):
        return False
    return not traffic.requests or (traffic.requests > traffic.errors and traffic.p95_ms is None)


def gateway(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """Judges the errors that the gateway returned and the load balancer did not see: an untrusted certificate, a
    security group, a timeout.

    At 100 % every answer is the Task Service's or the gateway's own, so all answers to users are judged. Below that
    some errors are Laravel's, which may be above the bound at any time: the rate before the weight was set is allowed
    in addition, and only proof of more than both fails.
    """
    alone, bound = sample.weight == 100, bounds.error_rate_percent / 100
    count = _all_errors if alone else _errors_of_others
    before = None if alone else sample.before
    then, of_then = (count(before), before.all_requests or 0) if before else (0, 0)
    earlier = f", in addition to the {then:,} of {of_then:,} before" if then else ""
    share = f"below {bounds.error_rate_percent:g} % of the requests to the task routes{earlier}"
    allowed = f"{share}, at {bounds.confidence_percent:g} % confidence"

    def text(traffic: TrafficCounts) -> str:
        errors, every = count(traffic), traffic.all_requests or 0
        rate = f" ({100 * errors / every:.2g} %)" if errors and every else ""
        where = "" if alone else " and not in the Task Service"
        return f"{errors:,} of {every:,} requests failed at the gateway{where}{rate}"

    most = bound if alone else bound + binomial.upper_bound(then, of_then, RECENT_CONFIDENCE)
    for window in sample.windows:
        if not alone and (window is not sample.whole or sample.shifted_seconds > COMPARED_SECONDS):
            continue
        errors, every = count(window.traffic), window.traffic.all_requests or 0
        sure = FAIL_CONFIDENCE if alone and window is sample.whole else RECENT_CONFIDENCE
        if errors >= FEWEST_FAILURES and binomial.proven_above(errors, every, min(1.0, most), sure):
            return CanaryFinding("gateway", "fail", text(window.traffic) + sample.when(window), allowed, _TO_FIND)
    if sample.whole is None:
        return CanaryFinding("gateway", "inconclusive", sample.traffic_trouble, allowed)
    traffic = sample.whole.traffic
    if traffic.all_requests is None or traffic.all_errors is None:
        return CanaryFinding("gateway", "inconclusive", "the errors at the gateway are not counted", allowed, _TO_COUNT)
    errors, least = count(traffic), min(1.0, bound + binomial.lower_bound(then, of_then, bounds.confidence))
    if binomial.proven_below(errors, traffic.all_requests, least, bounds.confidence):
        return CanaryFinding("gateway", "pass", text(traffic), allowed)
    proof = binomial.needed(errors, least, bounds.confidence)
    measured = f"{text(traffic)}, a proof needs {proof:,} requests" + (", and no more such" if errors else "")
    if errors:
        return CanaryFinding("gateway", "inconclusive", measured, allowed, _TO_FIND)
    missing = math.ceil((proof - traffic.all_requests) * sample.weight / 100)
    return CanaryFinding("gateway", "inconclusive", measured, allowed, probes(sample.weight, missing), missing)


def _all_errors(traffic: TrafficCounts) -> int:
    return traffic.all_errors or 0


def _errors_of_others(traffic: TrafficCounts) -> int:
    return max(0, _all_errors(traffic) - traffic.errors)


def gateway_counts(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """Judges, before the first traffic moves, whether the requests to both sides and their errors are counted."""

    def finding(verdict: Verdict, measured: str, next_step: str = "") -> CanaryFinding:
        return CanaryFinding(
            "gateway", verdict, measured, "a count of the requests to the task routes and of their errors", next_step
        )

    if sample.whole is None:
        return finding("inconclusive", sample.traffic_trouble)
    traffic, length = sample.whole.traffic, duration(timedelta(seconds=sample.whole.seconds))
    if not traffic.all_requests:
        first = (
            "send a request to a task route through the gateway, wait for its metrics, then run the same command again"
        )
        measured = f"no request at the gateway was counted in {length}"
        return finding("inconclusive", measured, f"{first}; if that does not help, {_TO_COUNT}")
    if traffic.all_errors is None:
        return finding("inconclusive", "the errors at the gateway are not counted", _TO_COUNT)
    return finding("pass", f"{traffic.all_errors:,} of {traffic.all_requests:,} requests failed in {length}")


def hits_text(traffic: TrafficCounts) -> str:
    every = traffic.all_requests or 0
    share = f" ({100 * traffic.requests / every:.1f} %)" if every else ""
    return f"{traffic.requests:,} of {every:,} hits{share}"


def p95_text(traffic: TrafficCounts) -> str:
    return "unknown" if traffic.p95_ms is None else f"{traffic.p95_ms:.0f} ms at worst"
