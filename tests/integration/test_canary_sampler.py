"""The gauge: from when on traffic counts at one weight, by a real journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sides import SIGNED_OFF
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.metric_sources import source
from task_migration.control import journal
from task_migration.external.aws import Aws

FIGURES = {
    "kind": "prometheus",
    "url": "http://127.0.0.1:1",
    "period_seconds": 1,
    "delay_seconds": 0,
    "queries": dict.fromkeys(("requests", "errors", "p95_ms", "cpu_percent"), "x {seconds}")
    | {"slow": "x {seconds} {slow_seconds}"},
}


@pytest.fixture
def gauge(sides):
    with CanarySampler(
        CanarySettings(FIGURES, canary_window_seconds=600, quarantine_signed_off=SIGNED_OFF),
        CanaryEndpoints(sides.laravel_dsn, sides.task_service_dsn, {"forward": 1, "backward": 1}),
        source(FIGURES, Aws("")),
        recent_seconds=60,
    ) as made:
        yield made


@pytest.fixture
def write_down(sides):
    def write(phase, item, result, **evidence):
        journal.journal(laravel_dsn=sides.laravel_dsn, phase=phase, item=item, result=result, evidence=evidence)

    return write


def test_traffic_counts_since_the_newest_shift_if_it_led_to_this_weight(gauge, write_down):
    assert gauge.shifts(5) == []
    write_down("2.4", "shift", "done", to=5)
    before = datetime.now(UTC)
    (first,) = gauge.shifts(5)
    assert before - timedelta(seconds=30) < first <= datetime.now(UTC)
    assert gauge.shifts(25) == []
    write_down("2.4", "shift", "done", to=25)
    _, second = gauge.shifts(25)
    assert second >= before - timedelta(seconds=1)
    assert gauge.shifts(5) == []


def test_a_shift_that_was_taken_back_counts_no_more(gauge, write_down):
    write_down("2.4", "shift", "done", to=5)
    write_down("rollback-2.4", "phase", "started")
    assert gauge.shifts(5) == []
    write_down("2.4", "shift", "done", to=5)
    assert len(gauge.shifts(5)) == 1
