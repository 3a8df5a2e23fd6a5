"""The gate of the canary: what was measured at one weight, judged against bounds. Pass, fail or inconclusive.

Pure: nothing is asked here. A share passes when it is proven to be below its bound, and fails when it is proven to be
above; what lies between, and what nobody could measure, is inconclusive and never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from task_migration import proportion
from task_migration.consistency_history import Check
from task_migration.journal import duration
from task_migration.metric_source import Traffic
from task_migration.probe import Probed

Verdict = Literal["pass", "fail", "inconclusive"]

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
SUSTAINED_SECONDS = 20.0
"""A latency or a CPU that stays above its bound for so long is no hiccup."""
STANDSTILL_SECONDS = 60.0
"""A sync that starts anew is back by then."""
USUAL_CONFIDENCE_PERCENT = 95.0
"""Whoever asks for less is told so with every verdict."""

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


@dataclass(frozen=True)
class Bounds:
    """What is allowed: the inventory's values. Shares and confidence in percent."""

    error_rate_percent: float
    p95_ms: float
    p95_samples: int
    cpu_percent: float
    sync_latency_ms: float
    confidence_percent: float
    verdict_max_age_hours: float
    consistency_every_seconds: int

    @property
    def confidence(self) -> float:
        return self.confidence_percent / 100

    @property
    def caveat(self) -> str:
        """What every verdict says when less is asked for than usual; "" otherwise."""
        if self.confidence_percent >= USUAL_CONFIDENCE_PERCENT:
            return ""
        return f" at {self.confidence_percent:g} % confidence"


@dataclass(frozen=True)
class Window:
    """The Task Service's traffic of so many seconds."""

    seconds: float
    traffic: Traffic

    @property
    def per_second(self) -> float:
        return self.traffic.requests / self.seconds


@dataclass(frozen=True)
class Direction:
    """One direction of the sync. ``health`` is what GET /health says, None if nobody answers on ``port``;
    ``above_seconds`` is for how long its latency has been above the bound, ``unwell_seconds`` for how long it has not
    been running."""

    port: int
    health: Mapping[str, Any] | None
    above_seconds: float = 0.0
    unwell_seconds: float = 0.0

    @property
    def state(self) -> str:
        return str(self.health["state"]) if self.health else "not reached"

    @property
    def pending(self) -> int:
        return int((self.health or {}).get("pending") or 0)

    @property
    def oldest_seconds(self) -> float:
        return float((self.health or {}).get("oldest_seconds") or 0.0)

    @property
    def latency_ms(self) -> float | None:
        """The p95 of ten seconds; if nothing was carried, how long the oldest entry has waited; None if none waits."""
        p95 = ((self.health or {}).get("lag_ms_10_s") or {}).get("p95")
        if p95 is not None:
            return float(p95)
        return self.oldest_seconds * 1000 if self.pending else None


@dataclass(frozen=True)
class Sample:
    """All that was measured at one time, while ``weight`` percent of the traffic went to the Task Service.

    ``whole`` is the traffic since the weight was set, ``recent`` the end of it, ``before`` the traffic at the weight
    before, None if nobody knows, and ``shifted_seconds`` how long ago the weight was set. At weight 0 ``whole`` is as
    far back as a window reaches, and the API is asked directly too (``api``, None without an address).
    ``traffic_trouble`` says why there is no ``whole``, or why it ends before what is newest. ``cpu_above_seconds`` is
    for how long the CPU is known to have been above its bound. ``backward`` is None at weight 0 as long as that sync is
    off. ``stale`` says why the last verdict may not be leaned on, "" if it may; ``altered`` that the only reason is a
    table that is another one now. ``dead_letters`` are rows that could not cross, by kind, without those that are
    signed off. What is None otherwise nobody could ask, and the troubles say why.
    """

    weight: float
    whole: Window | None
    recent: Window | None
    traffic_trouble: str
    cpu_percent: float | None
    cpu_trouble: str
    cpu_above_seconds: float
    forward: Direction
    backward: Direction | None
    api: Probed | None
    check: Check | None
    stale: str | None
    dead_letters: Mapping[str, int] | None
    conflicts: int | None
    laravel_trouble: str = ""
    task_service_trouble: str = ""
    before: Traffic | None = None
    shifted_seconds: float = 0.0
    altered: bool = False

    @property
    def trouble(self) -> str:
        return self.laravel_trouble or self.task_service_trouble

    @property
    def windows(self) -> Iterator[Window]:
        return (one for one in (self.whole, self.recent) if one is not None)

    def when(self, window: Window) -> str:
        return "" if window is self.whole else f" in the last {window.seconds:.0f} s"


@dataclass(frozen=True)
class Finding:
    """One bound, held against what was measured. ``next_step`` is what to type about it, if it is not a pass;
    ``missing`` is how many requests more to the Task Service would prove it, 0 if no number does."""

    name: str
    verdict: Verdict
    measured: str
    allowed: str
    next_step: str = ""
    missing: int = 0

    def __str__(self) -> str:
        return f"{self.name}: {self.measured} (allowed: {self.allowed})"

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "verdict": self.verdict, "measured": self.measured, "allowed": self.allowed}


def judged(sample: Sample, bounds: Bounds) -> list[Finding]:
    """Every finding. At weight 0 there is no traffic to judge, so the API's own answers stand for it, and it has to be
    known that the gateway's figures will be there when there is."""
    judges: Iterable[Callable[[Sample, Bounds], Finding | None]] = (
        *((_error_rate, _p95, _hits, _gateway) if sample.weight else (_api, _counted)),
        _cpu,
        _forward,
        _backward,
        _divergence,
        _verdict,
        _dead_letters,
    )
    return [found for judge in judges if (found := judge(sample, bounds)) is not None]


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Fail if any fails, else inconclusive if any is, else pass."""
    verdicts = {one.verdict for one in findings}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


def not_passed(findings: Iterable[Finding]) -> list[Finding]:
    """Those that fail, then those that are inconclusive."""
    bad = [one for one in findings if one.verdict != "pass"]
    return sorted(bad, key=lambda one: one.verdict != "fail")


def left_out(sample: Sample) -> str:
    """What was not judged, and why; "" if everything was."""
    if sample.weight:
        return ""
    parts = ["error rate, p95 and hits, for there is no traffic yet"]
    if sample.api is None:
        parts.append("the API, for the inventory's task_service_url is empty")
    if sample.backward is None:
        parts.append("the sync backward, which is not on yet")
    return "not judged: " + "; ".join(parts)


def figures(sample: Sample) -> dict[str, Any]:
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


def in_one_line(sample: Sample) -> str:
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


def _traffic_told(sample: Sample) -> Iterator[str]:
    if sample.whole is None:
        yield "traffic unknown"
        return
    traffic = sample.whole.traffic
    yield f"{traffic.errors:,} of {traffic.requests:,} failed"
    yield f"p95 {_p95_told(traffic)}"
    yield _hits_told(traffic) if traffic.all_requests is not None else "hits unknown"


def _hits_told(traffic: Traffic) -> str:
    every = traffic.all_requests or 0
    share = f" ({100 * traffic.requests / every:.1f} %)" if every else ""
    return f"{traffic.requests:,} of {every:,} hits{share}"


def _latency_told(direction: Direction) -> str:
    if direction.state != "running":
        return direction.state
    return "idle" if direction.latency_ms is None else f"{direction.latency_ms:.0f}"


def _p95_told(traffic: Traffic) -> str:
    return "unknown" if traffic.p95_ms is None else f"{traffic.p95_ms:.0f} ms at worst"


# Shares of requests


def _error_rate(sample: Sample, bounds: Bounds) -> Finding:
    def told(traffic: Traffic) -> str:
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


def _p95(sample: Sample, bounds: Bounds) -> Finding:
    def told(traffic: Traffic) -> str:
        slower = f"{traffic.slow:,} of {traffic.requests:,} requests took longer than {bounds.p95_ms:g} ms"
        return f"{_p95_told(traffic)}, {slower}"

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
    sample: Sample,
    bounds: Bounds,
    *,
    name: str,
    limit: str,
    count: Callable[[Traffic], int],
    bound: float,
    recent_bound: float,
    least: int,
    told: Callable[[Traffic], str],
) -> Finding:
    """A share of the requests: failed when the whole window or its end proves it, passed when the whole one does."""
    allowed = f"{limit}, at {bounds.confidence_percent:g} % confidence"
    for window in sample.windows:
        events, requests = count(window.traffic), window.traffic.requests
        too_many = (bound, FAIL_CONFIDENCE) if window is sample.whole else (recent_bound, RECENT_CONFIDENCE)
        if events >= FEWEST_FAILURES and proportion.above(events, requests, *too_many):
            return Finding(name, "fail", told(window.traffic) + sample.when(window), allowed)
    if sample.whole is None:
        return Finding(name, "inconclusive", sample.traffic_trouble, allowed)
    events, requests = count(sample.whole.traffic), sample.whole.traffic.requests
    if requests >= least and proportion.below(events, requests, bound, bounds.confidence):
        return Finding(name, "pass", told(sample.whole.traffic), allowed)
    proof = max(least, proportion.needed(events, bound, bounds.confidence))
    missing = proof - requests
    takes = f"a proof takes {proof:,}" + (" with no more of them" if events else "")
    if not requests:
        measured = f"no request in {sample.whole.seconds:.0f} s, {takes}"
        return Finding(name, "inconclusive", measured, allowed, probes(sample.weight, missing), missing)
    seconds = missing / sample.whole.per_second
    length = duration(timedelta(seconds=math.ceil(seconds)))
    rate = sample.whole.per_second
    pace = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    measured = f"{told(sample.whole.traffic)}, {takes}: {length} more at {pace} a second"
    wait = f"wait for {length}, then run the same command again"
    next_step = wait if seconds <= PROOF_SECONDS else probes(sample.weight, missing)
    return Finding(name, "inconclusive", measured, allowed, next_step, missing)


def probes(weight: float, missing: float) -> str:
    """What to type where so many requests to the Task Service are missing: they are there in half an hour then."""
    rate = math.ceil(missing / (weight / 100) / PROOF_SECONDS)
    return (
        f"ansible-playbook phase-2.4-canary.yml -e weight={weight:g} -e canary_probe_rate={rate} sends as many reads a "
        "second through the gateway"
    )


def _hits(sample: Sample, bounds: Bounds) -> Finding:
    """Whether the Task Service gets its share. The gateway counts what it takes, the load balancer what arrives: what
    never arrives is no error to anybody."""

    def says(verdict: Verdict, measured: str, next_step: str = "") -> Finding:
        return Finding("hits", verdict, measured, f"{sample.weight:g} % of the requests to the task routes", next_step)

    share = sample.weight / 100
    for window in sample.windows:
        every, hits = window.traffic.all_requests or 0, window.traffic.requests
        enough = every * share >= LEAST_EXPECTED_HITS
        if enough and proportion.below(min(hits, every), every, LOST_SHARE * share, HITS_CONFIDENCE):
            measured = f"{_hits_told(window.traffic)}{sample.when(window)}: the others do not arrive"
            return says("fail", measured, f"look at what lies between: {_BETWEEN}")
    if sample.whole is None or sample.traffic_trouble:
        return says("inconclusive", sample.traffic_trouble, "look again when there are figures of one period more")
    hits, told = sample.whole.traffic.requests, _hits_told(sample.whole.traffic)
    if sample.whole.traffic.all_requests is None:
        return says(
            "inconclusive",
            f"{hits:,} requests came to the Task Service, but nobody counts those to both sides",
            _TO_COUNT,
        )
    every = sample.whole.traffic.all_requests
    if not proportion.above(min(hits, every), every, share / 2, bounds.confidence):
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
    return proportion.as_expected(min(round(hits), every), every, share, HITS_CONFIDENCE)


def silent(traffic: Traffic, weight: float) -> bool:
    """Whether nothing is heard of requests of which some must have arrived: late figures, or nothing arrives."""
    every = traffic.all_requests or 0
    if proportion.as_expected(0, every, weight / 100, HITS_CONFIDENCE):
        return False
    return not traffic.requests or (traffic.requests > traffic.errors and traffic.p95_ms is None)


def _gateway(sample: Sample, bounds: Bounds) -> Finding:
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

    def told(traffic: Traffic) -> str:
        errors, every = count(traffic), traffic.all_requests or 0
        rate = f" ({100 * errors / every:.2g} %)" if errors and every else ""
        where = "" if alone else " and not in the Task Service"
        return f"{errors:,} of {every:,} requests failed at the gateway{where}{rate}"

    most = bound if alone else bound + proportion.most(then, of_then, RECENT_CONFIDENCE)
    for window in sample.windows:
        if not alone and (window is not sample.whole or sample.shifted_seconds > COMPARED_SECONDS):
            continue
        errors, every = count(window.traffic), window.traffic.all_requests or 0
        sure = FAIL_CONFIDENCE if alone and window is sample.whole else RECENT_CONFIDENCE
        if errors >= FEWEST_FAILURES and proportion.above(errors, every, min(1.0, most), sure):
            return Finding("gateway", "fail", told(window.traffic) + sample.when(window), allowed, _TO_LOOK)
    if sample.whole is None:
        return Finding("gateway", "inconclusive", sample.traffic_trouble, allowed)
    traffic = sample.whole.traffic
    if traffic.all_requests is None or traffic.all_errors is None:
        return Finding("gateway", "inconclusive", "nobody counts the errors at the gateway", allowed, _TO_COUNT)
    errors, least = count(traffic), min(1.0, bound + proportion.least(then, of_then, bounds.confidence))
    if proportion.below(errors, traffic.all_requests, least, bounds.confidence):
        return Finding("gateway", "pass", told(traffic), allowed)
    proof = proportion.needed(errors, least, bounds.confidence)
    measured = f"{told(traffic)}, a proof takes {proof:,}" + (" with no more of them" if errors else "")
    if errors:
        return Finding("gateway", "inconclusive", measured, allowed, _TO_LOOK)
    missing = math.ceil((proof - traffic.all_requests) * sample.weight / 100)
    return Finding("gateway", "inconclusive", measured, allowed, probes(sample.weight, missing), missing)


def _all_errors(traffic: Traffic) -> int:
    return traffic.all_errors or 0


def _errors_of_others(traffic: Traffic) -> int:
    return max(0, _all_errors(traffic) - traffic.errors)


def _counted(sample: Sample, bounds: Bounds) -> Finding:
    """Before the first user moves: that the requests to both sides and their errors will be told."""

    def says(verdict: Verdict, measured: str, next_step: str = "") -> Finding:
        return Finding(
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


def _api(sample: Sample, bounds: Bounds) -> Finding | None:
    api = sample.api
    if api is None:
        return None
    verdict: Verdict = "fail" if api.errors else "pass" if api.requests else "inconclusive"
    error = f", {api.error}" if api.error else ""
    return Finding("API", verdict, f"{api.errors} of {api.requests} requests failed{error}", "none")


# Values that may be above their bound for a moment


def _cpu(sample: Sample, bounds: Bounds) -> Finding:
    allowed = f"below {bounds.cpu_percent:g} %"
    if sample.cpu_percent is None:
        return Finding("database CPU", "inconclusive", sample.cpu_trouble, allowed)
    verdict = _lasting(sample.cpu_percent, bounds.cpu_percent, sample.cpu_above_seconds)
    seconds = sample.cpu_above_seconds
    since = f", so for {seconds:.0f} s" if verdict != "pass" and seconds else ""
    return Finding("database CPU", verdict, f"{sample.cpu_percent:.0f} %{since}", allowed)


def _lasting(value: float, bound: float, above_seconds: float) -> Verdict:
    if value < bound:
        return "pass"
    return "fail" if above_seconds >= SUSTAINED_SECONDS else "inconclusive"


def _forward(sample: Sample, bounds: Bounds) -> Finding:
    return _sync("sync forward", sample.forward, bounds, sample.trouble)


def _backward(sample: Sample, bounds: Bounds) -> Finding | None:
    return _sync("sync backward", sample.backward, bounds, sample.trouble) if sample.backward else None


def _sync(name: str, direction: Direction, bounds: Bounds, trouble: str) -> Finding:
    """``trouble`` is that of a database, without which no sync can run: it is to be waited for."""

    def says(verdict: Verdict, measured: str, next_step: str = "ansible-playbook status.yml") -> Finding:
        return Finding(name, verdict, measured, f"p95 below {bounds.sync_latency_ms:g} ms", next_step)

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
    if ((health.get("lag_ms_10_s") or {}).get("p95")) is None:
        measured = f"nothing carried in 10 s, and {direction.pending:,} writes wait for {latency:.0f} ms"
    verdict = _lasting(latency, bounds.sync_latency_ms, direction.above_seconds)
    return says(verdict, measured if verdict == "pass" else f"{measured}, so for {abs(direction.above_seconds):.0f} s")


# What both databases know


def _divergence(sample: Sample, bounds: Bounds) -> Finding:
    longest = 2 * bounds.consistency_every_seconds

    def says(verdict: Verdict, measured: str, next_step: str = "ansible-playbook phase-2.2-verify.yml") -> Finding:
        return Finding("divergence", verdict, measured, f"none, looked for within {longest} s", next_step)

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


def _verdict(sample: Sample, bounds: Bounds) -> Finding:
    allowed = f"green, of these tables, at most {bounds.verdict_max_age_hours:g} h old"
    next_step = "ansible-playbook phase-2.2-verify.yml"
    if sample.stale is None:
        return Finding("verdict", "inconclusive", sample.trouble, allowed, next_step)
    verdict: Verdict = "inconclusive" if sample.altered else "fail" if sample.stale else "pass"
    return Finding("verdict", verdict, sample.stale or "green and fresh", allowed, next_step)


def _dead_letters(sample: Sample, bounds: Bounds) -> Finding:
    next_step = "ansible-playbook sync-report.yml names them"
    letters = sample.dead_letters
    if letters is None:
        return Finding("dead letters", "inconclusive", sample.trouble, "none", next_step)
    told = ", ".join(f"{count:,} {kind}" for kind, count in letters.items())
    return Finding("dead letters", "fail" if letters else "pass", told or "none", "none", next_step)
