"""What is published of what was measured: what nobody knows is left out, and is never 0."""

from __future__ import annotations

from dataclasses import replace

import pytest
from task_migration.canary import canary_metrics
from task_migration.canary.api_probe import ApiProbeResult
from task_migration.canary.canary_sample import CanaryFinding, TrafficWindow
from task_migration.canary.rollback_conditions import DualWriteSample, SyncSample
from task_migration.compare import consistency_metrics
from task_migration.control.consistency_history import Check
from task_migration.external import cloudwatch_publisher
from task_migration.runtime import sync_metrics
from task_migration.runtime.sync_metrics import SyncTotals
from test_canary_judgement import WELL

HEALTH = {"state": "running", "lag_ms": {"p95": 12.5}, "oldest_seconds": None, "pending": 0}
SYNC = SyncSample(HEALTH, 0.0, 0.0, 0, None)


def check(passed, seconds=30.0):
    return Check(None, passed, 1.0, 0, 0, {}, seconds)


def of_sync(**more):
    return sync_metrics.of_sync({**HEALTH, **more}, SyncTotals(10, 3, 1), SyncTotals(4, 3, 0))


def test_a_sync_tells_what_it_did_since_the_last_time():
    assert of_sync() == {
        "SyncHealthy": 1.0,
        "SyncLatencyP95": 12.5,
        "SyncOldestWrite": 0.0,
        "SyncQueueDepth": 0,
        "SyncApplied": 6,
        "SyncFailed": 0,
        "SyncConflicts": 1,
    }


def test_a_sync_that_knows_no_change_log_yet_does_not_say_that_nothing_waits():
    told = of_sync(pending=None, lag_ms={"p95": None}, state="reconnecting")
    assert (told["SyncHealthy"], told["SyncQueueDepth"], told["SyncOldestWrite"]) == (0.0, None, None)
    assert told["SyncLatencyP95"] is None


@pytest.mark.parametrize(
    ("state", "healthy"), [("paused", 1.0), ("blocked", 0.0), ("reconnecting", 0.0), ("stopping", None)]
)
def test_a_sync_is_healthy_as_its_health_says_and_one_that_stops_is_no_fault(state, healthy):
    assert of_sync(state=state)["SyncHealthy"] == healthy


def test_a_check_that_could_not_look_counted_nothing():
    told = consistency_metrics.of_consistency(passed=None, seconds=2.0, rows=0, differences=0, dead_letters=0)
    assert {name: value for name, value in told.items() if value is not None} == {
        "ConsistencyVerdict": 0.0,
        "ConsistencyDuration": 2.0,
    }
    red = consistency_metrics.of_consistency(passed=False, seconds=2.0, rows=300, differences=0, dead_letters=2)
    assert (red["ConsistencyVerdict"], red["ConsistencyDifferences"], red["DeadLetters"]) == (-1.0, 0, 2)


def test_a_check_that_could_not_look_has_no_age_so_that_its_alarm_rings():
    def age(check):
        return canary_metrics.of_watch(DualWriteSample(None, SYNC, check), 0)["ConsistencyAge"]

    assert (age(check(True)), age(check(False)), age(check(None)), age(None)) == (30.0, 30.0, None, None)


def test_the_api_s_share_of_failures_takes_a_few_requests():
    told = canary_metrics.of_watch(DualWriteSample(ApiProbeResult(20, 1, 7.0), SYNC, None), None)
    assert (told["ApiErrorRate"], told["ApiLatencyP95"], told["CanaryWeight"]) == (5.0, 7.0, None)
    assert (
        canary_metrics.of_watch(DualWriteSample(ApiProbeResult(4, 4, None), SYNC, None), None)["ApiErrorRate"] is None
    )


@pytest.mark.parametrize(
    ("share", "trouble", "told"),
    [(None, "", False), (0, "", False), (25, "", True), (25, "Laravel is away", False), (100, "", False)],
)
def test_a_verdict_s_age_matters_while_there_is_a_weight_to_come(share, trouble, told):
    sample = DualWriteSample(None, replace(SYNC, trouble=trouble), None, verdict_passed=False, verdict_age_seconds=60.0)
    figures = canary_metrics.of_watch(sample, share)
    assert ("VerifyVerdictAge" in figures) is told
    if told:
        assert (figures["VerifyVerdict"], figures["VerifyVerdictAge"]) == (-1.0, 60.0)
        assert canary_metrics.of_watch(DualWriteSample(None, SYNC, None), share)["VerifyVerdict"] == 0.0


def test_the_canary_s_rate_is_of_all_its_requests_and_its_p95_of_the_newest():
    traffic = WELL.whole.traffic
    old, new = replace(traffic, requests=1000, errors=2, p95_ms=900.0), replace(traffic, requests=20, p95_ms=30.0)
    sample = replace(
        WELL, whole=TrafficWindow(600.0, old), recent=TrafficWindow(60.0, new), dead_letters={"refused_by_api": 2}
    )
    told = canary_metrics.of_canary(sample, [CanaryFinding("p95", "inconclusive", "", "")])
    assert told == {
        "CanaryWeight": sample.weight,
        "CanaryVerdict": 0.0,
        "CanaryErrorRate": pytest.approx(0.2),
        "CanaryLatencyP95": 30.0,
        "DeadLetters": 2,
    }
    few = replace(sample, recent=TrafficWindow(60.0, replace(new, requests=19)), dead_letters=None)
    told = canary_metrics.of_canary(few, [CanaryFinding("p95", "pass", "", ""), CanaryFinding("hits", "fail", "", "")])
    assert (told["CanaryVerdict"], told["CanaryLatencyP95"], told["DeadLetters"]) == (-1.0, None, None)
    none = replace(sample, whole=None, recent=None)
    assert canary_metrics.of_canary(none, [])["CanaryErrorRate"] is None


def test_what_is_published_is_what_the_catalogue_names():
    published = {
        *of_sync(),
        *consistency_metrics.of_consistency(passed=True, seconds=1, rows=1, differences=0, dead_letters=0),
        *canary_metrics.of_watch(DualWriteSample(None, SYNC, None), 5),
        *canary_metrics.of_canary(WELL, []),
    }
    assert published == cloudwatch_publisher.catalogue().keys()
    assert {name for name, one in cloudwatch_publisher.catalogue().items() if one["directed"]} == set(of_sync())
