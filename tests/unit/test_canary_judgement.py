"""The gate of the canary: each finding by its own figures, proof both ways, and what nobody measured never passes."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from task_migration import binomial
from task_migration.canary import canary_judgement, traffic_findings
from task_migration.canary.api_probe import ApiProbeResult
from task_migration.canary.canary_judgement import judge, verdict_of
from task_migration.canary.canary_sample import CanaryBounds, CanaryFinding, CanarySample, SyncDirection, TrafficWindow
from task_migration.canary.metric_source import TrafficCounts
from task_migration.control.consistency_history import Check

BOUNDS = CanaryBounds(0.1, 200, 200, 70, 100, 95, 24, 3600)


def traffic(requests: int = 5000, errors: int = 0, slow: int = 10, share: float = 0.25, **more: Any) -> TrafficCounts:
    figures = {"p95_ms": 41.0, "all_requests": round(requests / share), "all_errors": errors, **more}
    return TrafficCounts(requests=requests, errors=errors, slow=slow, **figures)


def window(seconds: float = 600, **more: Any) -> TrafficWindow:
    return TrafficWindow(seconds, traffic(**more))


def looked(passed: bool | None, age_seconds: float = 60) -> Check:
    return Check(datetime(2026, 1, 12, tzinfo=UTC), passed, 0.2, 1, 0, {"reasons": ["tasks: 1 missing"]}, age_seconds)


def health(state: str = "running", p95: float | None = 8, **more: Any) -> dict[str, Any]:
    return {"state": state, "lag_ms_10_s": {"p95": p95}, "pending": 0, "oldest_seconds": None, "last_error": "", **more}


def sync(*more: Any, above: float = 0, unwell: float = 0, **told: Any) -> SyncDirection:
    return SyncDirection(9801, health(*more, **told), above, unwell)


WELL = CanarySample(
    weight=25,
    whole=window(),
    recent=window(seconds=60, requests=500),
    traffic_trouble="",
    cpu_percent=12,
    cpu_trouble="",
    cpu_above_seconds=0,
    forward=sync(),
    backward=sync(),
    api=None,
    check=looked(True),
    stale="",
    dead_letters={},
    conflicts=0,
)
BEFORE_ANY = TrafficWindow(86_400, TrafficCounts(0, 0, 0, None, 90_000, 120))
NO_TRAFFIC = replace(WELL, weight=0, whole=BEFORE_ANY, recent=None, backward=None, api=ApiProbeResult(20, 0, 9.0))


def found(bounds: CanaryBounds = BOUNDS, sample: CanarySample = WELL, **changes: Any) -> dict[str, str]:
    """The findings that are no pass."""
    return {one.name: one.verdict for one in judge(replace(sample, **changes), bounds) if one.verdict != "pass"}


def finding(name: str, bounds: CanaryBounds = BOUNDS, sample: CanarySample = WELL, **changes: Any) -> CanaryFinding:
    (one,) = (one for one in judge(replace(sample, **changes), bounds) if one.name == name)
    return one


def test_when_all_is_well_every_finding_passes() -> None:
    findings = judge(WELL, BOUNDS)
    assert [one.name for one in findings] == [
        "error rate",
        "p95",
        "hits",
        "gateway",
        "database CPU",
        "sync forward",
        "sync backward",
        "divergence",
        "verdict",
        "dead letters",
    ]
    assert verdict_of(findings) == "pass"
    assert canary_judgement.summary(WELL) == (
        "0 of 5,000 failed, p95 41 ms at worst, 5,000 of 20,000 hits (25.0 %), CPU 12 %, sync 8/8 ms"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"whole": window(errors=1)}, {}),
        ({"whole": window(errors=3)}, {"error rate": "inconclusive"}),
        ({"whole": window(errors=15)}, {"error rate": "fail"}),
        ({"whole": window(slow=220)}, {}),
        ({"whole": window(slow=250)}, {"p95": "inconclusive"}),
        ({"whole": window(slow=300)}, {"p95": "fail"}),
        ({"cpu_percent": 70.0}, {"database CPU": "inconclusive"}),
        ({"cpu_percent": 70.0, "cpu_above_seconds": 20.0}, {"database CPU": "fail"}),
        ({"forward": sync(p95=100)}, {"sync forward": "inconclusive"}),
        ({"forward": sync(p95=100, above=20)}, {"sync forward": "fail"}),
        ({"backward": sync(p95=500, above=21)}, {"sync backward": "fail"}),
        ({"backward": sync(p95=None)}, {}),
        ({"backward": sync(p95=None, pending=3, oldest_seconds=0.02)}, {}),
        ({"backward": sync(p95=None, pending=3, oldest_seconds=2.0)}, {"sync backward": "inconclusive"}),
        ({"backward": sync(p95=9, pending=3, oldest_seconds=21.0)}, {"sync backward": "fail"}),
        ({"backward": sync("blocked")}, {"sync backward": "fail"}),
        ({"check": looked(False)}, {"divergence": "fail"}),
        ({"forward": sync("reconnecting", unwell=60)}, {"sync forward": "inconclusive"}),
        ({"forward": sync("reconnecting", unwell=61)}, {"sync forward": "fail"}),
        ({"backward": sync("paused", unwell=61)}, {"sync backward": "fail"}),
        ({"backward": SyncDirection(9802, None, 0, 61)}, {"sync backward": "fail"}),
        ({"stale": "the verdict of yesterday is red"}, {"verdict": "fail"}),
        ({"stale": "a table was altered", "altered": True}, {"verdict": "inconclusive"}),
        ({"dead_letters": {"refused_by_database": 1}}, {"dead letters": "fail"}),
        ({"conflicts": 7}, {}),
    ],
)
def test_each_finding_has_its_bound(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert found(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"whole": None, "recent": None, "traffic_trouble": "away"}, ["error rate", "p95", "hits", "gateway"]),
        ({"whole": window(requests=0, slow=0)}, ["error rate", "p95", "hits", "gateway"]),
        ({"whole": window(all_requests=None, all_errors=None)}, ["hits", "gateway"]),
        ({"whole": window(all_errors=None)}, ["gateway"]),
        ({"recent": None, "traffic_trouble": "no figures in the last 60 s"}, ["hits"]),
        ({"cpu_percent": None, "cpu_trouble": "CloudWatch is away"}, ["database CPU"]),
        ({"forward": SyncDirection(9801, None)}, ["sync forward"]),
        ({"forward": sync("reconnecting"), "backward": sync("paused")}, ["sync forward", "sync backward"]),
        ({"check": None}, ["divergence"]),
        ({"check": looked(None)}, ["divergence"]),
        ({"check": looked(True, age_seconds=7201)}, ["divergence"]),
        ({"stale": None, "laravel_trouble": "away"}, ["verdict"]),
        ({"dead_letters": None, "task_service_trouble": "away"}, ["dead letters"]),
    ],
)
def test_what_was_not_measured_never_passes(changes: dict[str, Any], expected: list[str]) -> None:
    assert found(**changes) == dict.fromkeys(expected, "inconclusive")
    assert verdict_of(judge(replace(WELL, **changes), BOUNDS)) == "inconclusive"


def test_a_sample_that_measured_nothing_passes_nothing() -> None:
    nothing: dict[str, Any] = {one.name: None for one in fields(CanarySample)}
    away = {"weight": 25, "forward": SyncDirection(1, None), "backward": SyncDirection(2, None)}
    troubles = dict.fromkeys(("traffic_trouble", "cpu_trouble", "laravel_trouble", "task_service_trouble"), "away")
    findings = judge(CanarySample(**{**nothing, **away, **troubles}), BOUNDS)
    assert {one.verdict for one in findings} == {"inconclusive"}
    assert all(one.measured for one in findings)


def test_a_clean_claim_takes_2995_requests_and_a_p95_200() -> None:
    assert found(whole=window(requests=2994), recent=None) == {"error rate": "inconclusive"}
    assert found(whole=window(requests=2995), recent=None) == {}
    assert "p95" in found(whole=window(requests=199, slow=0), recent=None)
    assert "p95" not in found(whole=window(requests=200, slow=0), recent=None)


def test_one_failed_request_fails_nothing_and_two_of_a_few_do() -> None:
    assert found(whole=window(requests=10, errors=1, slow=0), recent=None)["error rate"] == "inconclusive"
    assert found(whole=window(requests=10, errors=2, slow=0), recent=None)["error rate"] == "fail"


def test_what_fails_now_fails_however_well_the_hours_before_were() -> None:
    before = window(seconds=86_000, requests=1_000_000, errors=10)
    one = finding("error rate", whole=before, recent=window(seconds=60, requests=120, errors=6))
    assert (one.verdict, one.measured) == ("fail", "6 of 120 requests failed (5 %) in the last 60 s")
    slow = finding("p95", whole=before, recent=window(seconds=60, requests=120, slow=48))
    assert slow.verdict == "fail"


def test_a_minute_of_a_thousand_may_be_a_bad_one_by_chance_and_a_pause_of_five_seconds_is_no_trend() -> None:
    for errors, verdict in ((2, "pass"), (3, "pass"), (4, "fail")):
        recent = window(seconds=60, requests=120, errors=errors)
        assert finding("error rate", recent=recent).verdict == verdict
    pause = window(seconds=60, requests=1200, slow=100, p95_ms=4000.0)
    assert found(recent=pause) == {}
    # At half the bound, with 120 requests a minute and a look at each: a false alarm in some months.
    a_day = 1440 * binomial._at_least(4, 120, 0.0005)
    assert a_day < 1 / 100


def test_with_too_few_requests_it_says_how_many_it_takes_and_how_long_that_is() -> None:
    one = finding("error rate", whole=window(seconds=300, requests=1500), recent=None)
    assert (
        one.measured == "0 of 1,500 requests failed, a proof needs 2,995 requests: 4 min more at 5 requests per second"
    )
    assert one.next_step == "wait for 4 min, then run the same command again"


def test_where_traffic_is_thin_it_offers_probes_at_a_rate_that_proves_it_in_half_an_hour() -> None:
    one = finding("error rate", whole=window(seconds=3600, requests=36), recent=None)
    assert (
        one.measured
        == "0 of 36 requests failed, a proof needs 2,995 requests: 3 d 10 h more at 0.01 requests per second"
    )
    assert one.next_step.startswith("ansible-playbook phase-2.4-canary.yml -e weight=25 -e canary_probe_rate=7 ")
    none = finding("error rate", whole=window(seconds=60, requests=0, slow=0), recent=None)
    assert none.measured == "no request in 60 s, a proof needs 2,995 requests"
    assert "canary_probe_rate=7" in none.next_step


def test_requests_that_never_arrive_fail_though_nothing_reports_an_error() -> None:
    assert found(whole=window(requests=3000, all_requests=20_000), recent=None) == {"hits": "fail"}
    assert "security group" in finding("hits", whole=window(requests=3000, all_requests=20_000)).next_step
    none = window(requests=0, slow=0, all_requests=20_000)
    assert found(whole=none, recent=None)["hits"] == "fail"
    assert "in the last 60 s" in finding("hits", recent=window(60, requests=10, slow=0, all_requests=2000)).measured


def test_a_few_requests_prove_nothing_about_hits() -> None:
    assert found(whole=window(requests=0, slow=0, all_requests=100), recent=None)["hits"] == "inconclusive"
    assert found(whole=window(requests=2, slow=0, all_requests=8), recent=None)["hits"] == "inconclusive"


def test_hits_may_differ_by_chance_and_by_what_the_gateway_answers_itself_and_no_more() -> None:
    assert found(whole=window(requests=4900, all_requests=20_000)) == {}
    assert found(whole=window(requests=48_000, all_requests=200_000)) == {}
    assert found(whole=window(requests=44_000, all_requests=200_000)) == {"hits": "inconclusive"}


def test_more_hits_than_the_weight_gives_are_no_pass_but_for_the_watch_of_the_runbook() -> None:
    assert found(whole=window(seconds=600, requests=5500, all_requests=20_000)) == {}
    assert found(whole=window(seconds=600, requests=10_000, all_requests=20_000)) == {"hits": "inconclusive"}


def test_at_100_percent_all_of_them_arrive() -> None:
    whole = window(requests=5000, all_requests=5000)
    assert found(weight=100, whole=whole, recent=None) == {}
    assert found(weight=100, whole=window(requests=5003, all_requests=5000), recent=None) == {}
    assert found(weight=100, whole=window(requests=3500, all_requests=5000), recent=None) == {"hits": "fail"}


def test_where_the_requests_to_both_sides_are_not_counted_it_says_how_they_are() -> None:
    for name in ("hits", "gateway"):
        one = finding(name, whole=window(all_requests=None, all_errors=None))
        assert "are not counted" in one.measured
        assert "detailed metrics" in one.next_step


@pytest.mark.parametrize(
    "changes",
    [
        {"whole": window(requests=2, slow=0, all_requests=8)},
        {"whole": window(requests=44_000, all_requests=200_000)},
        {"whole": window(requests=10_000, all_requests=20_000)},
        {"recent": None, "traffic_trouble": "no figures in the last 60 s"},
    ],
)
def test_hits_that_are_not_proven_say_what_to_do(changes: dict[str, Any]) -> None:
    one = finding("hits", **changes)
    assert one.verdict == "inconclusive"
    assert one.next_step


# The gateway


def lost(share: float, requests: int = 20_000, usual: float = 0) -> TrafficWindow:
    """At 25 %, this share of the requests to the Task Service fails before it gets there, and this of all fails in
    Laravel."""
    there = requests // 4
    errors = round(there * share) + round((requests - there) * usual)
    return window(requests=round(there * (1 - share)), slow=0, all_requests=requests, all_errors=errors)


def test_what_never_reaches_the_load_balancer_is_no_error_there_and_still_fails() -> None:
    before = traffic(requests=1000, all_requests=20_000, all_errors=2)
    one = finding("gateway", whole=lost(0.04), recent=None, before=before)
    assert (one.verdict, one.measured) == (
        "fail",
        "200 of 20,000 requests failed at the gateway and not in the Task Service (1 %)",
    )
    assert "access log" in one.next_step
    assert found(whole=lost(0.04), recent=None, before=before) == {"gateway": "fail"}


def test_without_figures_of_before_it_passes_below_the_bound_and_never_fails() -> None:
    assert found(whole=lost(0.001), recent=None) == {}
    assert found(whole=lost(0.04), recent=None) == {"gateway": "inconclusive"}


def test_a_laravel_that_fails_above_the_bound_in_normal_life_stops_no_canary_and_hides_no_failure_of_one() -> None:
    before = traffic(requests=3000, share=0.05, all_errors=180)
    usual = 0.003
    one = finding("gateway", whole=lost(0, usual=usual), recent=None, before=before)
    assert one.verdict == "pass"
    assert "in addition to the 180 of 60,000 before" in one.allowed
    assert finding("gateway", whole=lost(0, usual=usual), recent=None).verdict == "inconclusive"
    assert finding("gateway", whole=lost(0.04, usual=usual), recent=None, before=before).verdict == "fail"
    assert finding("gateway", whole=lost(0.01, usual=usual), recent=None, before=before).verdict == "inconclusive"


def test_few_requests_before_excuse_nothing_and_accuse_of_nothing() -> None:
    few = traffic(requests=5, all_requests=100, all_errors=2, slow=0)
    assert finding("gateway", whole=lost(0.04), recent=None, before=few).verdict == "inconclusive"


def test_a_bad_minute_of_laravels_or_another_hour_takes_nothing_back() -> None:
    before = traffic(requests=3000, share=0.05, all_errors=6)
    bad = window(seconds=60, requests=160, slow=0, all_errors=30)
    assert found(recent=bad, before=before) == {}
    worse = {"whole": lost(0, usual=0.01), "recent": None, "before": before}
    assert found(**worse, shifted_seconds=1800) == {"gateway": "fail"}
    assert found(**worse, shifted_seconds=40_000) == {"gateway": "inconclusive"}


def test_errors_of_the_task_service_are_its_error_rates_and_not_counted_twice() -> None:
    whole = window(requests=5000, errors=50, all_errors=52)
    assert found(whole=whole, recent=None, before=traffic(share=0.05)) == {"error rate": "fail"}


def test_at_100_percent_an_error_at_the_gateway_is_one_like_the_others() -> None:
    def at_100(recent: TrafficWindow | None = None, **more: Any) -> dict[str, str]:
        before = traffic(requests=10_000, share=0.5, all_errors=500)
        return found(weight=100, whole=window(share=1, **more), recent=recent, before=before)

    assert at_100() == {}
    assert at_100(errors=3) == {"error rate": "inconclusive", "gateway": "inconclusive"}
    assert at_100(requests=4980, all_requests=5000, all_errors=20) == {"gateway": "fail"}
    recent = window(seconds=60, requests=1000, share=1, all_errors=20)
    assert at_100(recent) == {"gateway": "fail"}
    assert at_100(requests=10, slow=0)["gateway"] == "inconclusive"


def test_too_few_requests_at_the_gateway_say_how_many_it_takes() -> None:
    one = finding("gateway", whole=window(requests=100, all_requests=400, slow=0), recent=None)
    assert one.measured == (
        "0 of 400 requests failed at the gateway and not in the Task Service, a proof needs 2,995 requests"
    )
    assert (one.missing, "canary_probe_rate=2" in one.next_step) == (649, True)


# Before any traffic


def test_at_weight_0_the_api_is_asked_and_what_was_left_out_is_said() -> None:
    assert found(sample=NO_TRAFFIC) == {}
    assert found(sample=NO_TRAFFIC, api=ApiProbeResult(20, 1, 9.0, "HTTP 500")) == {"API": "fail"}
    assert [one.name for one in judge(NO_TRAFFIC, BOUNDS)][:3] == ["API", "gateway", "database CPU"]
    assert canary_judgement.not_judged(replace(NO_TRAFFIC, api=None)) == (
        "not judged: error rate, p95 and hits: there is no traffic yet; the API: task_service_url is empty in the "
        "inventory; the sync backward: it is not on yet"
    )
    assert canary_judgement.not_judged(WELL) == ""
    assert found(sample=NO_TRAFFIC, backward=sync("blocked")) == {"sync backward": "fail"}


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (
            TrafficCounts(0, 0, 0, None, None),
            "send a request to a task route .* enable API Gateway's detailed metrics for the task routes",
        ),
        (TrafficCounts(9, 0, 0, 9.0, None), "send a request to a task route"),
        (TrafficCounts(0, 0, 0, None, 0, 0), "send a request to a task route"),
        (TrafficCounts(0, 0, 0, None, 20, None), "the queries all_requests and all_errors"),
    ],
)
def test_no_user_moves_before_it_is_known_that_the_gateway_counts(counted: TrafficCounts, said: str) -> None:
    one = finding("gateway", sample=NO_TRAFFIC, whole=TrafficWindow(600, counted))
    assert one.verdict == "inconclusive"
    assert re.search(said, one.next_step)
    told = finding("gateway", sample=NO_TRAFFIC)
    assert (told.verdict, told.measured) == ("pass", "120 of 90,000 requests failed in 1 d 0 h")
    away = finding("gateway", sample=NO_TRAFFIC, whole=None, traffic_trouble="AWS is away")
    assert (away.verdict, away.measured) == ("inconclusive", "AWS is away")


def test_what_is_heard_of_nobody_is_silence_unless_chance_gives_it() -> None:
    assert traffic_findings.is_silent(TrafficCounts(0, 0, 0, None, 1300, 0), 25)
    assert traffic_findings.is_silent(TrafficCounts(320, 0, 320, None, 1300, 0), 25)
    assert not traffic_findings.is_silent(TrafficCounts(320, 320, 0, None, 1300, 320), 25)
    assert not traffic_findings.is_silent(TrafficCounts(10, 0, 0, 41.0, 1300, 0), 25)
    assert not traffic_findings.is_silent(TrafficCounts(0, 0, 0, None, 20, 0), 5)
    assert not traffic_findings.is_silent(TrafficCounts(0, 0, 0, None, None), 25)
    assert traffic_findings.is_silent(TrafficCounts(0, 0, 0, None, 5, 0), 100)


def test_a_sync_that_can_not_reach_its_database_is_waited_for() -> None:
    away = {"stale": None, "laravel_trouble": "Laravel's database cannot be reached"}
    assert found(forward=sync("reconnecting", unwell=100), **away)["sync forward"] == "inconclusive"


def test_fail_comes_before_inconclusive() -> None:
    findings = judge(replace(WELL, cpu_percent=None, check=looked(False)), BOUNDS)
    assert verdict_of(findings) == "fail"
    assert [one.name for one in canary_judgement.not_passed(findings)] == ["divergence", "database CPU"]


def test_less_confidence_takes_fewer_requests_and_is_said() -> None:
    lab = replace(BOUNDS, confidence_percent=5, p95_samples=40)
    few = window(seconds=6, requests=60, slow=0)
    assert found(lab, whole=few, recent=None) == {}
    assert lab.confidence_note == " at 5 % confidence"
    assert BOUNDS.confidence_note == ""
    assert "at 5 % confidence" in finding("error rate", lab, whole=few).allowed


def test_a_finding_says_what_was_measured_and_what_is_allowed() -> None:
    one = finding("database CPU", cpu_percent=91.4, cpu_above_seconds=31)
    assert str(one) == "database CPU: 91 % for 31 s (allowed: below 70 %)"
    blocked = finding("sync backward", backward=sync("blocked", last_error="capture is off"))
    assert str(blocked) == "sync backward: blocked: capture is off (allowed: p95 below 100 ms)"


def test_figures_are_json_and_unknown_ones_are_null() -> None:
    assert canary_judgement.measured_values(WELL)["requests"] == 5000
    assert canary_judgement.measured_values(replace(WELL, whole=None, dead_letters=None))["errors"] is None
    assert canary_judgement.measured_values(replace(WELL, whole=None, dead_letters=None))["dead_letters"] is None
