"""The conditions of the dual write and of the canary: each grade by its own figures, and what nobody measured is never
fine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from task_migration.canary import canary_judgement, canary_sample
from task_migration.canary.api_probe import ApiProbeResult
from task_migration.canary.canary_sample import SyncDirection, TrafficWindow
from task_migration.canary.metric_source import TrafficCounts
from task_migration.canary.rollback_conditions import (
    Condition,
    DualWriteBounds,
    DualWriteSample,
    SyncSample,
    breached,
    judge,
    of_canary,
    of_sync,
)
from task_migration.control.consistency_history import Check

BOUNDS = DualWriteBounds(5, 500, 100_000, 1_000_000, 3600)
NAMES = ["error rate", "consistency", "api latency", "sync latency", "sync", "change log"]


def looked(passed: bool | None, age_seconds: float = 60, differences: int = 1, **details: Any) -> Check:
    told = {"reasons": ["tasks: 1 missing"], **details}
    return Check(datetime(2026, 1, 12, tzinfo=UTC), passed, 0.2, differences, 0, told, age_seconds)


def health(state: str = "running", p95: float | None = 8, last_error: str = "") -> dict[str, Any]:
    return {"state": state, "lag_ms_10_s": {"p95": p95}, "last_error": last_error}


WELL = DualWriteSample(ApiProbeResult(20, 0, 12.0), SyncSample(health(), 0, 0, 3, 0.1), looked(True))


def sample(api: Any = WELL.api, check: Any = WELL.check, **sync: Any) -> DualWriteSample:
    """One in which all is well, but for this."""
    return DualWriteSample(api, replace(WELL.forward, **sync), check)


def grades(**changes: Any) -> dict[str, str]:
    """The conditions that are not fine."""
    found = judge(sample(**changes), BOUNDS)
    return {name: one.grade for name, one in zip(NAMES, found, strict=True) if one.grade != "fine"}


def test_when_all_is_well_all_is_fine() -> None:
    assert grades() == {}
    assert breached(judge(WELL, BOUNDS)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"api": ApiProbeResult(20, 1, 12.0)}, {}),
        ({"api": ApiProbeResult(20, 2, 12.0, "HTTP 500")}, {"error rate": "breached"}),
        ({"api": ApiProbeResult(10, 1, 12.0, "HTTP 500")}, {"error rate": "warns"}),
        ({"api": ApiProbeResult(20, 20, None, "ConnectError")}, {"error rate": "breached", "api latency": "unknown"}),
        ({"api": ApiProbeResult(20, 0, 501.0)}, {"api latency": "breached"}),
        ({"api": ApiProbeResult(20, 0, 500.0)}, {}),
        ({"health": health("reconnecting"), "unwell_seconds": 3}, {"sync": "warns"}),
        ({"health": health("reconnecting"), "unwell_seconds": 61}, {"sync": "breached"}),
        ({"health": health("reconnecting"), "unwell_seconds": 61, "unreachable": "task_service"}, {"sync": "warns"}),
        (
            {"health": health("reconnecting"), "unwell_seconds": 181, "unreachable": "task_service"},
            {"sync": "breached"},
        ),
        ({"health": health("reconnecting"), "unwell_seconds": 999, "unreachable": "laravel"}, {"sync": "warns"}),
        ({"health": None, "unwell_seconds": 999, "unreachable": "laravel"}, {"sync": "warns"}),
        ({"health": None, "unwell_seconds": 61, "unreachable": "task_service"}, {"sync": "breached"}),
        ({"health": health("blocked")}, {"sync": "breached"}),
        ({"health": None, "unwell_seconds": 61}, {"sync": "breached"}),
        ({"health": health(p95=900), "slow_seconds": 5}, {"sync latency": "warns"}),
        ({"health": health(p95=900), "slow_seconds": 20}, {"sync latency": "breached"}),
        ({"oldest_seconds": 61.0}, {"sync latency": "breached"}),
        ({"oldest_seconds": 61.0, "state_seconds": 5.0}, {"sync latency": "warns"}),
        ({"oldest_seconds": 181.0, "state_seconds": 5.0}, {"sync latency": "breached"}),
        ({"check": looked(False)}, {"consistency": "breached"}),
        ({"pending": 100_001}, {"change log": "warns"}),
        ({"pending": 1_000_001}, {"change log": "red"}),
    ],
)
def test_each_condition_has_its_bound(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert grades(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"api": None}, ["error rate", "api latency"]),
        ({"api": ApiProbeResult(4, 0, 12.0)}, ["error rate", "api latency"]),
        ({"check": None}, ["consistency"]),
        ({"check": looked(None)}, ["consistency"]),
        ({"check": looked(True, age_seconds=7201)}, ["consistency"]),
        ({"pending": None, "trouble": "not reached"}, ["sync latency", "change log"]),
    ],
)
def test_what_nobody_measured_is_unknown_and_takes_nothing_back(changes: dict[str, Any], expected: list[str]) -> None:
    assert grades(**changes) == dict.fromkeys(expected, "unknown")
    assert breached(judge(sample(**changes), BOUNDS)) == []


def test_a_condition_says_what_was_measured_and_what_is_allowed() -> None:
    (found,) = breached(judge(sample(api=ApiProbeResult(20, 9, 5.0, "HTTP 500")), BOUNDS))
    assert str(found) == ("error rate of the Task Service's API: 45.0 %, 9 of 20 requests, HTTP 500 (allowed: 5 %)")


def test_a_sync_that_is_blocked_says_why() -> None:
    (found,) = breached(judge(sample(health=health("blocked", last_error="capture is off")), BOUNDS))
    assert "capture is off" in str(found)


# The canary


CANARY_BOUNDS = canary_sample.CanaryBounds(0.1, 200, 200, 70, 100, 95, 24, 3600)
RUNNING = SyncDirection(9801, {"state": "running", "pending": 0, "lag_ms_10_s": {"p95": 30.0}})
MOVED = canary_sample.CanarySample(
    weight=25,
    whole=TrafficWindow(1800, TrafficCounts(5000, 0, 10, 41.0, 20_000, 0)),
    recent=TrafficWindow(60, TrafficCounts(160, 0, 0, 41.0, 640, 0)),
    traffic_trouble="",
    cpu_percent=12,
    cpu_trouble="",
    cpu_above_seconds=0,
    forward=RUNNING,
    backward=RUNNING,
    api=None,
    check=looked(True),
    stale="",
    dead_letters={},
    conflicts=0,
)


def moved(*, late: bool = True, **changes: Any) -> dict[str, str]:
    """The canary's conditions that are not fine, by the finding's name."""
    found = of(late=late, **changes)
    return {one.name.removeprefix("canary: "): one.grade for one in found if one.grade != "fine"}


def of(*, late: bool = True, **changes: Any) -> list[Condition]:
    sampled = replace(MOVED, **changes)
    return list(of_canary(sampled, canary_judgement.judge(sampled, CANARY_BOUNDS), late=late))


def test_a_canary_that_is_well_is_fine_and_every_finding_without_a_condition_of_its_own_is_one() -> None:
    assert moved() == {}
    assert [one.name for one in of()] == [
        f"canary: {name}"
        for name in (
            "metrics",
            "error rate",
            "p95",
            "hits",
            "gateway",
            "database CPU",
            "verdict",
            "dead letters",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recent": TrafficWindow(60, TrafficCounts(160, 8, 0, 41.0, 640, 0))}, {"error rate": "breached"}),
        ({"whole": TrafficWindow(1800, TrafficCounts(5000, 50, 10, 41.0, 20_000, 0))}, {"error rate": "breached"}),
        ({"recent": TrafficWindow(60, TrafficCounts(160, 0, 40, 900.0, 640, 0))}, {"p95": "breached"}),
        ({"recent": TrafficWindow(60, TrafficCounts(0, 0, 0, None, 2000, 0))}, {"hits": "breached"}),
        ({"cpu_percent": 90, "cpu_above_seconds": 60}, {"database CPU": "breached"}),
        ({"stale": "the verdict is 25 h old"}, {"verdict": "warns"}),
        ({"dead_letters": {"refused_by_database": 1}}, {"dead letters": "red"}),
        # These have conditions of their own, and a gate's bound of a sync is tighter than what takes traffic back.
        ({"check": looked(False)}, {}),
        ({"backward": SyncDirection(9802, {"state": "blocked"})}, {}),
        ({"forward": SyncDirection(9801, health(p95=150), above_seconds=60)}, {}),
    ],
)
def test_a_finding_that_fails_takes_traffic_back_unless_it_only_closes_the_gate(
    changes: dict[str, Any], expected: dict[str, str]
) -> None:
    assert moved(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"whole": TrafficWindow(60, TrafficCounts(40, 1, 0, 41.0, 160, 1)), "recent": None},
            ["error rate", "p95", "gateway"],
        ),
        (
            {"whole": TrafficWindow(60, TrafficCounts(0, 0, 0, None, 0, 0)), "recent": None},
            ["error rate", "p95", "hits", "gateway"],
        ),
        ({"cpu_percent": None, "cpu_trouble": "no figures yet"}, ["database CPU"]),
        ({"cpu_percent": 90, "cpu_above_seconds": 3}, ["database CPU"]),
        ({"stale": None, "dead_letters": None, "laravel_trouble": "away"}, ["verdict", "dead letters"]),
    ],
)
def test_what_proves_nothing_takes_nothing_back(changes: dict[str, Any], expected: list[str]) -> None:
    assert moved(**changes) == dict.fromkeys(expected, "unproven")


def test_figures_that_should_be_there_and_are_not_are_unknown_and_said_once() -> None:
    away = {"whole": None, "recent": None, "traffic_trouble": "AWS cannot be reached"}
    assert moved(**away) == {"metrics": "unknown"}
    assert moved(**away, late=False) == {"metrics": "unproven"}


def test_a_sync_is_judged_alike_in_both_directions() -> None:
    latency, state = of_sync("sync backward", SyncSample(None, 61, 0, 5, 181.0), BOUNDS)
    assert (latency.name, latency.grade) == ("latency of the sync backward", "breached")
    assert str(state) == "sync backward: not reached for 61 s (allowed: running again within 60 s)"


def test_a_check_that_found_nothing_but_rows_that_can_not_cross_moves_no_user() -> None:
    whole = looked(False, differences=0, tables={"tasks": {"unaccounted": 0}})
    lost = looked(False, differences=0, tables={"tasks": {"unaccounted": 1}})

    def grade(check: Check, share: float) -> str:
        return judge(sample(check=check), BOUNDS, share)[1].grade

    assert (grade(whole, 25), grade(whole, 0)) == ("red", "breached")
    assert (grade(lost, 25), grade(looked(False), 25)) == ("breached", "breached")
