"""The gate of the canary: each finding by its own figures, proof both ways, and what nobody measured never passes."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from task_migration import judgement
from task_migration.consistency_history import Check
from task_migration.judgement import Bounds, Direction, Sample, Window, judged, verdict_of
from task_migration.metric_source import Traffic
from task_migration.probe import Probed

BOUNDS = Bounds(0.1, 200, 200, 70, 100, 95, 24, 3600)


def traffic(requests: int = 5000, errors: int = 0, slow: int = 10, share: float = 0.25, **more: Any) -> Traffic:
    figures = {"p95_ms": 41.0, "all_requests": round(requests / share), **more}
    return Traffic(requests=requests, errors=errors, slow=slow, **figures)


def window(seconds: float = 600, **more: Any) -> Window:
    return Window(seconds, traffic(**more))


def looked(passed: bool | None, age_seconds: float = 60) -> Check:
    return Check(datetime(2026, 1, 12, tzinfo=UTC), passed, 0.2, 1, 0, {"reasons": ["tasks: 1 missing"]}, age_seconds)


def health(state: str = "running", p95: float | None = 8, **more: Any) -> dict[str, Any]:
    return {"state": state, "lag_ms_10_s": {"p95": p95}, "pending": 0, "oldest_seconds": None, "last_error": "", **more}


def sync(*more: Any, above: float = 0, **told: Any) -> Direction:
    return Direction(9801, health(*more, **told), above)


WELL = Sample(
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
NO_TRAFFIC = replace(WELL, weight=0, whole=None, recent=None, backward=None, api=Probed(20, 0, 9.0))


def found(bounds: Bounds = BOUNDS, sample: Sample = WELL, **changes: Any) -> dict[str, str]:
    """The findings that are no pass."""
    return {one.name: one.verdict for one in judged(replace(sample, **changes), bounds) if one.verdict != "pass"}


def finding(name: str, bounds: Bounds = BOUNDS, sample: Sample = WELL, **changes: Any) -> judgement.Finding:
    (one,) = (one for one in judged(replace(sample, **changes), bounds) if one.name == name)
    return one


def test_when_all_is_well_every_finding_passes() -> None:
    findings = judged(WELL, BOUNDS)
    assert [one.name for one in findings] == [
        "error rate",
        "p95",
        "hits",
        "database CPU",
        "sync forward",
        "sync backward",
        "divergence",
        "verdict",
        "dead letters",
    ]
    assert verdict_of(findings) == "pass"
    assert judgement.in_one_line(WELL) == (
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
        ({"stale": "the verdict of yesterday is red"}, {"verdict": "fail"}),
        ({"dead_letters": {"refused_by_database": 1}}, {"dead letters": "fail"}),
        ({"conflicts": 7}, {}),
    ],
)
def test_each_finding_has_its_bound(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert found(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"whole": None, "recent": None, "traffic_trouble": "CloudWatch is away"}, ["error rate", "p95", "hits"]),
        ({"whole": window(requests=0, slow=0)}, ["error rate", "p95", "hits"]),
        ({"whole": window(all_requests=None)}, ["hits"]),
        ({"cpu_percent": None, "cpu_trouble": "CloudWatch is away"}, ["database CPU"]),
        ({"forward": Direction(9801, None)}, ["sync forward"]),
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
    assert verdict_of(judged(replace(WELL, **changes), BOUNDS)) == "inconclusive"


def test_a_sample_that_measured_nothing_passes_nothing() -> None:
    nothing: dict[str, Any] = {one.name: None for one in fields(Sample)}
    away = {"weight": 25, "forward": Direction(1, None), "backward": Direction(2, None)}
    troubles = dict.fromkeys(("traffic_trouble", "cpu_trouble", "laravel_trouble", "task_service_trouble"), "away")
    findings = judged(Sample(**{**nothing, **away, **troubles}), BOUNDS)
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
    one = finding("error rate", whole=before, recent=window(seconds=60, requests=100, errors=5))
    assert (one.verdict, one.measured) == ("fail", "5 of 100 requests failed (5 %) in the last 60 s")
    slow = finding("p95", whole=before, recent=window(seconds=60, requests=100, slow=40))
    assert slow.verdict == "fail"


def test_with_too_few_requests_it_says_how_many_it_takes_and_how_long_that_is() -> None:
    one = finding("error rate", whole=window(seconds=300, requests=1500), recent=None)
    assert one.measured == "0 of 1,500 requests failed, a proof takes 2,995: 4 min more at 5 a second"
    assert one.next_step == "wait for 4 min, then run the same command again"


def test_where_traffic_is_thin_it_offers_probes_at_a_rate_that_proves_it_in_half_an_hour() -> None:
    one = finding("error rate", whole=window(seconds=3600, requests=36), recent=None)
    assert one.measured == "0 of 36 requests failed, a proof takes 2,995: 3 d 10 h more at 0.01 a second"
    assert one.next_step.startswith("ansible-playbook phase-2.4-canary.yml -e weight=25 -e canary_probe_rate=7 ")
    none = finding("error rate", whole=window(seconds=60, requests=0, slow=0), recent=None)
    assert none.measured == "no request in 60 s, a proof takes 2,995"
    assert "canary_probe_rate=7" in none.next_step


def test_requests_that_never_arrive_fail_though_nothing_reports_an_error() -> None:
    assert found(whole=window(requests=3000, all_requests=20_000), recent=None) == {"hits": "fail"}
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
    one = finding("hits", whole=window(all_requests=None))
    assert "nobody counts" in one.measured
    assert "detailed metrics" in one.next_step


def test_at_weight_0_the_api_is_asked_and_what_was_left_out_is_said() -> None:
    assert found(sample=NO_TRAFFIC) == {}
    assert found(sample=NO_TRAFFIC, api=Probed(20, 1, 9.0, "HTTP 500")) == {"API": "fail"}
    assert [one.name for one in judged(NO_TRAFFIC, BOUNDS)][:2] == ["API", "database CPU"]
    assert judgement.left_out(replace(NO_TRAFFIC, api=None)) == (
        "not judged: error rate, p95 and hits, for there is no traffic yet; the API, for the inventory's "
        "task_service_url is empty; the sync backward, which is not on yet"
    )
    assert judgement.left_out(WELL) == ""
    assert found(sample=NO_TRAFFIC, backward=sync("blocked")) == {"sync backward": "fail"}


def test_fail_comes_before_inconclusive() -> None:
    findings = judged(replace(WELL, cpu_percent=None, check=looked(False)), BOUNDS)
    assert verdict_of(findings) == "fail"
    assert [one.name for one in judgement.not_passed(findings)] == ["divergence", "database CPU"]


def test_less_confidence_takes_fewer_requests_and_is_said() -> None:
    lab = replace(BOUNDS, confidence_percent=5, p95_samples=40)
    few = window(seconds=6, requests=60, slow=0)
    assert found(lab, whole=few, recent=None) == {}
    assert lab.caveat == " at 5 % confidence"
    assert BOUNDS.caveat == ""
    assert "at 5 % confidence" in finding("error rate", lab, whole=few).allowed


def test_a_finding_says_what_was_measured_and_what_is_allowed() -> None:
    one = finding("database CPU", cpu_percent=91.4, cpu_above_seconds=31)
    assert str(one) == "database CPU: 91 %, so for 31 s (allowed: below 70 %)"
    blocked = finding("sync backward", backward=sync("blocked", last_error="capture is off"))
    assert str(blocked) == "sync backward: blocked: capture is off (allowed: p95 below 100 ms)"


def test_figures_are_json_and_unknown_ones_are_null() -> None:
    assert judgement.figures(WELL)["requests"] == 5000
    assert judgement.figures(replace(WELL, whole=None, dead_letters=None))["errors"] is None
    assert judgement.figures(replace(WELL, whole=None, dead_letters=None))["dead_letters"] is None
