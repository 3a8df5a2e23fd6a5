"""The promotion: nobody's requests move, no canary is left, and a killed one is taken up where it stopped."""

from __future__ import annotations

from functools import partial

import pytest
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from stages import LARAVEL, TASKS, EmulatedStage, Killed, killed_after
from task_migration.errors import Refused
from task_migration.external.retry import Backoff
from task_migration.traffic import stage_change
from task_migration.traffic.promotion import promotion
from task_migration.traffic.weight import weight


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def stage(emulator, monkeypatch):
    monkeypatch.setattr(stage_change, "CONFLICT_BACKOFF", Backoff(0.001, 0.008))
    monkeypatch.setattr(stage_change, "READ_BACK_BACKOFF", Backoff(0.001, 2.0))
    return EmulatedStage(emulator)


@pytest.fixture
def promote(stage):
    return partial(call, promotion, **stage.arguments)


def test_forward_back_forward(stage, promote):
    for _ in range(2):
        for goal in (5, 25, 50, 100):
            call(weight, **stage.arguments, weight=goal)
        done = promote()
        assert done.changed
        assert done.message == "promotion: all requests go to the Task Service without a canary, read back"
        assert len(done.lines) == 3
        assert (done.details["promoted_before"], done.details["stage"]["canary"]) == (False, None)
        assert stage.told()["variables"] == {"tasksUpstream": TASKS, "other": "hunter2"}
        assert stage.told()["deploymentId"] == stage.deployment
        assert stage.state == (TASKS, None)
        again = promote()
        assert not again.changed
        assert again.details["promoted_before"]
        assert not call(weight, **stage.arguments, weight=100).changed
        back = call(weight, **stage.arguments, weight=0)
        assert (back.changed, back.details["before"], back.details["promoted_before"]) == (True, 100, True)
        assert stage.state == (LARAVEL, None)


def test_check_mode_predicts_and_touches_nothing(stage, promote):
    stage.set(LARAVEL, 100)
    before = stage.told()
    predicted = promote(check=True)
    assert predicted.changed
    assert predicted.message == "promotion: all requests would go to the Task Service without a canary"
    assert stage.told() == before
    assert promote().lines == predicted.lines
    assert not promote(check=True).changed


@pytest.mark.parametrize("percent", [None, 0, 50])
def test_below_100_it_is_refused(stage, promote, percent):
    stage.set(LARAVEL, percent)
    before = stage.told()
    with pytest.raises(Refused, match=rf"measured: {percent or 0} % goes to the Task Service; allowed: 100 %"):
        promote()
    assert stage.told() == before


@pytest.mark.parametrize("percent", [None, 0, 5, 100])
def test_what_an_earlier_promotion_left_is_ended(stage, promote, percent):
    stage.set(TASKS, percent)
    assert promote().changed is (percent is not None)
    assert stage.state == (TASKS, None)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_killed_after_any_call_the_same_command_ends_right_and_so_does_the_way_back(stage, promote, monkeypatch, calls):
    for way, end in ((promote, (TASKS, None)), (partial(call, weight, **stage.arguments, weight=0), (LARAVEL, None))):
        stage.set(LARAVEL, 100)
        with killed_after(monkeypatch, calls), pytest.raises(Killed):
            promote()
        way()
        assert stage.state == end
        assert not way().changed


def test_a_canary_of_somebody_else_is_not_promoted(stage, promote):
    stage.deploy_canary(percentTraffic=100.0, stageVariableOverrides={"tasksUpstream": TASKS})
    before = stage.told()
    with pytest.raises(Refused, match="a canary that is not the runbook's"):
        promote()
    assert stage.told() == before


def test_at_the_end_the_stage_says_that_there_is_no_way_back_and_nobody_is_sent_to_laravel(stage, promote):
    stage.set(LARAVEL, 100)
    assert promote(one_way=True, check=True).changed
    done = promote(one_way=True)
    assert "tasksUpstreamOneWay marks the point of no return" in done.lines
    assert stage.told()["variables"] == {"tasksUpstream": TASKS, "tasksUpstreamOneWay": "true", "other": "hunter2"}
    assert not promote(one_way=True).changed
    before = stage.told()
    with pytest.raises(Refused, match="Laravel refuses every write"):
        call(weight, **stage.arguments, weight=0)
    assert stage.told() == before
