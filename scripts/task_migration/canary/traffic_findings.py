"""The gate's findings on traffic: error rate, p95, hits, and what the gateway itself fails. Pure.

A share passes when it is proven to be below its bound, and fails when it is proven to be above; what lies between, and
what nobody could measure, is inconclusive.
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
"""How sure a failure has to be; one that is looked for again and again is found by chance at less."""
RECENT_CONFIDENCE = 0.99999
"""The same of the last interval, which is another one a thousand times a day."""
FEWEST_FAILURES = 2
"""One request may fail for any reason."""
SLOW_SHARE = 0.05
"""A p95 is below its bound when fewer requests than these are slower."""
RECENT_SLOW_SHARE = 0.1
"""In the last interval more of them may be: a pause of five seconds is a twelfth of a minute."""
LEAST_EXPECTED_HITS = 200
HITS_CONFIDENCE = 0.999
LOST_SHARE = 0.8
"""Fewer of the expected hits than this means that requests vanish between the gateway and the Task Service."""
HITS_TOLERANCE = 0.05
"""So many requests the gateway may answer itself: without a valid login, or at once with an error."""
COMPARED_SECONDS = 10_800
"""What goes wrong at the gateway later than that after a shift is as likely another hour of Laravel's."""
ASIDE_PER_SECOND = 1.0
"""So often others than the gateway ask the Task Service: the watch, a monitor."""
PROOF_SECONDS = 1800
"""A proof that takes longer than this is worth synthetic probes."""
_BETWEEN = "name resolution, certificate, security group and VPC link, on which the gateway's execution log tells"
_TO_COUNT = (
    "switch API Gateway's detailed metrics on for the task routes (op=replace,path=/*/*/metrics/enabled,value=true on "
    "the stage), or give metric_source the queries all_requests and all_errors"
)
_TO_LOOK = (
    "look in the gateway's access log which requests got 500 and above, and whether their integration answered; where "
    f"it did not, {_BETWEEN}"
)


def error_rate(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    def told(traffic: TrafficCounts) -> str:
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
        told=told,
    )


def p95(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    def told(traffic: TrafficCounts) -> str:
        slower = f"{traffic.slow:,} of {traffic.requests:,} requests took longer than {bounds.p95_ms:g} ms"
        return f"{p95_told(traffic)}, {slower}"

    return _share(
        sample,
        bounds,
        name="p95",
        limit=f"below {bounds.p95_ms:g} ms",
        count=lambda traffic: traffic.slow,
        bound=SLOW_SHARE,
        recent_bound=RECENT_SLOW_SHARE,
        least=bounds.p95_samples,
        told=told,
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
    told: Callable[[TrafficCounts], str],
) -> CanaryFinding:
    """A share of the requests: failed when the whole window or its end proves it, passed when the whole one does."""
    allowed = f"{limit}, at {bounds.confidence_percent:g} % confidence"
    for window in sample.windows:
        events, requests = count(window.traffic), window.traffic.requests
        too_many = (bound, FAIL_CONFIDENCE) if window is sample.whole else (recent_bound, RECENT_CONFIDENCE)
        if events >= FEWEST_FAILURES and binomial.proven_above(events, requests, *too_many):
            return CanaryFinding(name, "fail", told(window.traffic) + sample.when(window), allowed)
    if sample.whole is None:
        return CanaryFinding(name, "inconclusive", sample.traffic_trouble, allowed)
    events, requests = count(sample.whole.traffic), sample.whole.traffic.requests
    if requests >= least and binomial.proven_below(events, requests, bound, bounds.confidence):
        return CanaryFinding(name, "pass", told(sample.whole.traffic), allowed)
    proof = max(least, binomial.needed(events, bound, bounds.confidence))
    missing = proof - requests
    takes = f"a proof takes {proof:,}" + (" with no more of them" if events else "")
    if not requests:
        measured = f"no request in {sample.whole.seconds:.0f} s, {takes}"
        return CanaryFinding(name, "inconclusive", measured, allowed, probes(sample.weight, missing), missing)
    seconds = missing / sample.whole.per_second
    length = duration(timedelta(seconds=math.ceil(seconds)))
    rate = sample.whole.per_second
    pace = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    measured = f"{told(sample.whole.traffic)}, {takes}: {length} more at {pace} a second"
    wait = f"wait for {length}, then run the same command again"
    next_step = wait if seconds <= PROOF_SECONDS else probes(sample.weight, missing)
    return CanaryFinding(name, "inconclusive", measured, allowed, next_step, missing)


def probes(weight: float, missing: float) -> str:
    """What to type where so many requests to the Task Service are missing: they are there in half an hour then."""
    rate = math.ceil(missing / (weight / 100) / PROOF_SECONDS)
    return (
        f"ansible-playbook phase-2.4-canary.yml -e weight={weight:g} -e canary_probe_rate={rate} sends as many reads a "
        "second through the gateway"
    )


def hits(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """Whether the Task Service gets its share. The gateway counts what it takes, the load balancer what arrives: what
    never arrives is no error to anybody."""

    def says(verdict: Verdict, measured: str, next_step: str = "") -> CanaryFinding:
        return CanaryFinding(
            "hits", verdict, measured, f"{sample.weight:g} % of the requests to the task routes", next_step
        )

    share = sample.weight / 100
    for window in sample.windows:
        every, hits = window.traffic.all_requests or 0, window.traffic.requests
        enough = every * share >= LEAST_EXPECTED_HITS
        if enough and binomial.proven_below(min(hits, every), every, LOST_SHARE * share, HITS_CONFIDENCE):
            measured = f"{hits_told(window.traffic)}{sample.when(window)}: the others do not arrive"
            return says("fail", measured, f"look at what lies between: {_BETWEEN}")
    if sample.whole is None or sample.traffic_trouble:
        return says("inconclusive", sample.traffic_trouble, "look again when there are figures of one period more")
    hits, told = sample.whole.traffic.requests, hits_told(sample.whole.traffic)
    if sample.whole.traffic.all_requests is None:
        return says(
            "inconclusive",
            f"{hits:,} requests came to the Task Service, but nobody counts those to both sides",
            _TO_COUNT,
        )
    every = sample.whole.traffic.all_requests
    if not binomial.proven_above(min(hits, every), every, share / 2, bounds.confidence):
        return says("inconclusive", f"{told}, too few to tell", probes(sample.weight, LEAST_EXPECTED_HITS))
    aside = ASIDE_PER_SECOND * sample.whole.seconds
    if hits < every * share * (1 - HITS_TOLERANCE) and not _as_expected(hits, every, share):
        answered_itself = "count in the gateway's access log what it answers itself: 401, 403 and 429 reach nobody"
        return says("inconclusive", f"{told}, fewer than chance gives", f"{answered_itself}; and look at {_BETWEEN}")
    if hits - aside > every * share * (1 + HITS_TOLERANCE) and not _as_expected(hits - aside, every, share):
        measured = f"{told}, more than chance gives: others ask the Task Service, too"
        return says(
            "inconclusive", measured, "lead monitors, and task_service_url, past the load balancer that is counted"
        )
    return says("pass", told)


def _as_expected(hits: float, every: int, share: float) -> bool:
    return binomial.as_expected(min(round(hits), every), every, share, HITS_CONFIDENCE)


def silent(traffic: TrafficCounts, weight: float) -> bool:
    """Whether nothing is heard of requests of which some must have arrived: late figures, or nothing arrives."""
    every = traffic.all_requests or 0
    if binomial.as_expected(0, every, weight / 100, HITS_CONFIDENCE):
        return False
    return not traffic.requests or (traffic.requests > traffic.errors and traffic.p95_ms is None)


def gateway(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """What the gateway answered with an error, and no load balancer knows of: a certificate that is not trusted, a
    security group, an answer that it did not wait for.

    At 100 every answer is the Task Service's or the gateway's own, so what users get is judged as a whole. Below it the
    errors are Laravel's too, and its own may be above the bound at any time: so as many as there were before the weight
    was set are allowed beside it, and it takes proof of more than that and the bound to fail.
    """
    alone, bound = sample.weight == 100, bounds.error_rate_percent / 100
    count = _all_errors if alone else _errors_of_others
    before = None if alone else sample.before
    then, of_then = (count(before), before.all_requests or 0) if before else (0, 0)
    beside = f", and no more beside the {then:,} of {of_then:,} before" if then else ""
    share = f"below {bounds.error_rate_percent:g} % of the requests to the task routes{beside}"
    allowed = f"{share}, at {bounds.confidence_percent:g} % confidence"

    def told(traffic: TrafficCounts) -> str:
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
            return CanaryFinding("gateway", "fail", told(window.traffic) + sample.when(window), allowed, _TO_LOOK)
    if sample.whole is None:
        return CanaryFinding("gateway", "inconclusive", sample.traffic_trouble, allowed)
    traffic = sample.whole.traffic
    if traffic.all_requests is None or traffic.all_errors is None:
        return CanaryFinding("gateway", "inconclusive", "nobody counts the errors at the gateway", allowed, _TO_COUNT)
    errors, least = count(traffic), min(1.0, bound + binomial.lower_bound(then, of_then, bounds.confidence))
    if binomial.proven_below(errors, traffic.all_requests, least, bounds.confidence):
        return CanaryFinding("gateway", "pass", told(traffic), allowed)
    proof = binomial.needed(errors, least, bounds.confidence)
    measured = f"{told(traffic)}, a proof takes {proof:,}" + (" with no more of them" if errors else "")
    if errors:
        return CanaryFinding("gateway", "inconclusive", measured, allowed, _TO_LOOK)
    missing = math.ceil((proof - traffic.all_requests) * sample.weight / 100)
    return CanaryFinding("gateway", "inconclusive", measured, allowed, probes(sample.weight, missing), missing)


def _all_errors(traffic: TrafficCounts) -> int:
    return traffic.all_errors or 0


def _errors_of_others(traffic: TrafficCounts) -> int:
    return max(0, _all_errors(traffic) - traffic.errors)


def counted(sample: CanarySample, bounds: CanaryBounds) -> CanaryFinding:
    """Before the first user moves: that the requests to both sides and their errors will be told."""

    def says(verdict: Verdict, measured: str, next_step: str = "") -> CanaryFinding:
        return CanaryFinding(
            "gateway", verdict, measured, "the requests to the task routes and their errors counted", next_step
        )

    if sample.whole is None:
        return says("inconclusive", sample.traffic_trouble)
    traffic, length = sample.whole.traffic, duration(timedelta(seconds=sample.whole.seconds))
    if not traffic.all_requests:
        first = "send one request to a task route through the gateway, then run the same command again when its figures"
        measured = f"no request at the gateway is counted in {length}"
        return says("inconclusive", measured, f"{first} are there; if it stays so, {_TO_COUNT}")
    if traffic.all_errors is None:
        return says("inconclusive", "nobody counts the errors at the gateway", _TO_COUNT)
    return says("pass", f"{traffic.all_errors:,} of {traffic.all_requests:,} requests failed in {length}")


def hits_told(traffic: TrafficCounts) -> str:
    every = traffic.all_requests or 0
    share = f" ({100 * traffic.requests / every:.1f} %)" if every else ""
    return f"{traffic.requests:,} of {every:,} hits{share}"


def p95_told(traffic: TrafficCounts) -> str:
    return "unknown" if traffic.p95_ms is None else f"{traffic.p95_ms:.0f} ms at worst"
