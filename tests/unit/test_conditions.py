"""The conditions of the dual write: each grade by its own figures, and what nobody measured is never fine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from task_migration.conditions import Bounds, Sample, breached, judged
from task_migration.consistency_history import Check
from task_migration.probe import Probed

BOUNDS = Bounds(5, 500, 100_000, 1_000_000, 3600)
NAMES = ["error rate", "consistency", "api latency", "sync latency", "sync", "change log"]


def looked(passed: bool | None, age_seconds: float = 60) -> Check:
    return Check(datetime(2026, 1, 12, tzinfo=UTC), passed, 0.2, 1, 0, {"reasons": ["tasks: 1 missing"]}, age_seconds)


def health(state: str = "running", p95: float | None = 8, last_error: str = "") -> dict[str, Any]:
    return {"state": state, "lag_ms_10_s": {"p95": p95}, "last_error": last_error}


WELL = Sample(Probed(20, 0, 12.0), health(), 0, 0, 3, 0.1, looked(True))


def grades(**changes: Any) -> dict[str, str]:
    """The conditions that are not fine."""
    found = judged(replace(WELL, **changes), BOUNDS)
    return {name: one.grade for name, one in zip(NAMES, found, strict=True) if one.grade != "fine"}


def test_when_all_is_well_all_is_fine() -> None:
    assert grades() == {}
    assert breached(judged(WELL, BOUNDS)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"api": Probed(20, 1, 12.0)}, {}),
        ({"api": Probed(20, 2, 12.0, "HTTP 500")}, {"error rate": "breached"}),
        ({"api": Probed(10, 1, 12.0, "HTTP 500")}, {"error rate": "warns"}),
        ({"api": Probed(20, 20, None, "ConnectError")}, {"error rate": "breached", "api latency": "unknown"}),
        ({"api": Probed(20, 0, 501.0)}, {"api latency": "breached"}),
        ({"api": Probed(20, 0, 500.0)}, {}),
        ({"sync": health("reconnecting"), "unwell_seconds": 3}, {"sync": "warns"}),
        ({"sync": health("reconnecting"), "unwell_seconds": 61}, {"sync": "breached"}),
        ({"sync": health("blocked")}, {"sync": "breached"}),
        ({"sync": None, "unwell_seconds": 61}, {"sync": "breached"}),
        ({"sync": health(p95=900), "slow_seconds": 5}, {"sync latency": "warns"}),
        ({"sync": health(p95=900), "slow_seconds": 20}, {"sync latency": "breached"}),
        ({"oldest_seconds": 61.0}, {"sync latency": "breached"}),
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
        ({"api": Probed(4, 0, 12.0)}, ["error rate", "api latency"]),
        ({"check": None}, ["consistency"]),
        ({"check": looked(None)}, ["consistency"]),
        ({"check": looked(True, age_seconds=7201)}, ["consistency"]),
        ({"pending": None, "laravel_trouble": "not reached"}, ["sync latency", "change log"]),
    ],
)
def test_what_nobody_measured_is_unknown_and_takes_nothing_back(changes: dict[str, Any], expected: list[str]) -> None:
    assert grades(**changes) == dict.fromkeys(expected, "unknown")
    assert breached(judged(replace(WELL, **changes), BOUNDS)) == []


def test_a_condition_says_what_was_measured_and_what_is_allowed() -> None:
    (found,) = breached(judged(replace(WELL, api=Probed(20, 9, 5.0, "HTTP 500")), BOUNDS))
    assert str(found) == ("error rate of the Task Service's API: 45.0 %, 9 of 20 requests, HTTP 500 (allowed: 5 %)")


def test_a_sync_that_is_blocked_says_why() -> None:
    (found,) = breached(judged(replace(WELL, sync=health("blocked", last_error="capture is off")), BOUNDS))
    assert "capture is off" in str(found)
