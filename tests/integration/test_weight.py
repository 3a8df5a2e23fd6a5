"""The weight: brought about from any state that a killed run may leave, in order unless forced, and always back."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from stages import CANARY, LARAVEL, TASKS, EmulatedStage, Killed, killed_after
from task_migration.errors import Failed, Refused
from task_migration.external import aws
from task_migration.external.retry import Backoff
from task_migration.traffic import stage_change
from task_migration.traffic.weight import WEIGHTS, weight

MEANT = {"force": True, "reason": "the test asks"}
OURS = [(LARAVEL, None), *((LARAVEL, percent) for percent in WEIGHTS)]
PROMOTED = [(TASKS, None), *((TASKS, percent) for percent in WEIGHTS)]


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
def to(stage):
    return partial(call, weight, **stage.arguments)


def test_each_step_is_in_force_when_the_verb_ends_and_again_changes_nothing(stage, to):
    before = 0
    for goal, state in ((5, 5.0), (25, 25.0), (50, 50.0), (100, 100.0), (0, None), (5, 5.0)):
        heard = []
        done = to(weight=goal, listener=heard.append)
        assert done.changed
        assert done.message == f"traffic: {before} % -> {goal} % to the Task Service, read back"
        assert (done.details["before"], done.details["weight"]) == (before, goal)
        assert stage.state == (LARAVEL, state)
        assert heard[-1].done == heard[-1].total == len(done.lines)
        again = to(weight=goal)
        assert not again.changed
        assert again.details["before"] == goal
        assert again.message == f"traffic: {goal} % already goes to the Task Service"
        before = goal


def test_the_details_tell_of_the_stage_as_it_was_last_read_and_of_no_value_that_is_not_ours(stage, to):
    done = to(weight=5)
    assert done.details["stage"] == {
        "deployment_id": stage.deployment,
        "variable": "tasksUpstream",
        "value": LARAVEL,
        "canary": {"percent": 5.0, "deployment_id": stage.deployment, "value": TASKS, "uses_cache": False},
        "other_variables": ["other"],
        "cache": False,
    }
    assert done.details["last_updated"].startswith("20")
    assert done.details["promoted_before"] is False
    assert stage.told()["variables"] == {"tasksUpstream": LARAVEL, "other": "hunter2"}


@pytest.mark.parametrize(("start", "goal"), [((LARAVEL, None), 5), ((LARAVEL, 50.0), 0), ((TASKS, 100.0), 0)])
def test_check_mode_predicts_and_touches_nothing(stage, to, start, goal):
    stage.set(*start)
    before = stage.told()
    predicted = to(weight=goal, check=True)
    assert predicted.changed
    assert "traffic: would change " in predicted.message
    assert stage.told() == before
    done = to(weight=goal)
    assert done.lines == predicted.lines
    assert not to(weight=goal, check=True).changed


def test_a_canary_that_was_left_at_zero_is_removed_and_that_is_said(stage, to):
    stage.set(LARAVEL, 0)
    done = to(weight=0)
    assert (done.changed, done.details["before"]) == (True, 0)
    assert done.message == "traffic: 0 % already goes to the Task Service; the canary was removed"


@pytest.mark.parametrize("start", OURS + PROMOTED)
def test_every_request_goes_back_to_laravel_from_every_state(stage, to, start):
    stage.set(*start)
    done = to(weight=0)
    assert done.changed is (start != (LARAVEL, None))
    assert done.details["promoted_before"] is (start[0] == TASKS)
    assert stage.state == (LARAVEL, None)
    assert not to(weight=0).changed


@pytest.mark.parametrize("goal", WEIGHTS)
@pytest.mark.parametrize("start", [(LARAVEL, None), (LARAVEL, 25.0), (TASKS, None), (TASKS, 100.0)])
def test_killed_after_any_call_the_same_command_ends_right_and_so_does_the_way_back(
    stage, to, monkeypatch, start, goal
):
    stage.set(*start)
    calls = len(to(weight=goal, check=True, **MEANT).lines)
    for number, way in product(range(1, calls + 1), {goal, 0}):
        stage.set(*start)
        with killed_after(monkeypatch, number), pytest.raises(Killed):
            to(weight=goal, **MEANT)
        to(weight=way, **MEANT)
        assert stage.state == (LARAVEL, way or None)
        assert not to(weight=way, **MEANT).changed


# In order


@pytest.mark.parametrize("at", WEIGHTS)
def test_without_force_only_the_same_the_next_and_zero_are_in_order(stage, to, at):
    stage.set(LARAVEL, at)
    following = WEIGHTS[min(WEIGHTS.index(at) + 1, len(WEIGHTS) - 1)]
    before = stage.told()
    for goal in WEIGHTS:
        if goal in (0, at, following):
            to(weight=goal, check=True)
            continue
        with pytest.raises(Refused, match=rf"the weight {goal} is out of order; measured: {at} % goes to") as refused:
            to(weight=goal)
        assert "\n" not in str(refused.value)
        with pytest.raises(Refused, match="forced without a reason"):
            to(weight=goal, force=True, reason=" ")
    assert stage.told() == before


def test_a_refusal_names_the_next_weight_and_the_command(stage, to):
    with pytest.raises(Refused, match=r"allowed: 0 or 5; next: ansible-playbook phase-2.4-canary.yml -e weight=5; to"):
        to(weight=50)


def test_out_of_order_with_force_and_a_reason_is_done(stage, to):
    assert to(weight=50, **MEANT).changed
    assert to(weight=25, **MEANT).changed
    assert stage.state == (LARAVEL, 25.0)


@pytest.mark.parametrize("percent", [None, 100.0, 0.0])
def test_from_a_promoted_stage_the_only_way_is_back(stage, to, percent):
    stage.set(TASKS, percent)
    assert not to(weight=100).changed
    for goal in (5, 25, 50):
        with pytest.raises(Refused, match=r"allowed: 0; next: ansible-playbook rollback-2\.4\.yml rolls it back"):
            to(weight=goal)
    assert to(weight=50, **MEANT).details["before"] == 100
    assert stage.state == (LARAVEL, 50.0)


def test_a_share_that_the_runbook_did_not_set_goes_back_to_zero_alone(stage, to):
    stage.set(LARAVEL, 12.5)
    with pytest.raises(Refused, match=r"did not set; measured: 12\.5 % .*allowed: from there, only 0"):
        to(weight=25, **MEANT)
    assert to(weight=0).details["before"] == 12.5
    assert stage.state == (LARAVEL, None)


def test_a_mistyped_weight_touches_nothing(stage, to):
    before = stage.told()
    with pytest.raises(Refused, match="55 is not a weight; allowed: 0, 5, 25, 50, 100"):
        to(weight=55, **MEANT)
    assert stage.told() == before


# What is in the way


@pytest.mark.parametrize("goal", [0, 5])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"percentTraffic": 10.0}, "it serves the deployment "),
        ({"percentTraffic": 0.0, "stageVariableOverrides": {"tasksUpstream": TASKS}}, "it serves the deployment "),
    ],
)
def test_a_canary_of_somebody_else_is_refused_and_left_as_it_is(stage, to, settings, said, goal):
    stage.deploy_canary(**settings)
    before = stage.told()
    with pytest.raises(Refused, match=f"a canary that is not the runbook's; measured: {said}"):
        to(weight=goal)
    assert stage.told() == before


def test_on_the_way_home_a_canary_of_somebody_else_that_sends_users_is_put_to_0_and_left_to_its_owner(stage, to):
    stage.deploy_canary(percentTraffic=10.0, stageVariableOverrides={"tasksUpstream": TASKS})
    before = stage.told()
    with pytest.raises(Refused, match="a canary that is not the runbook's"):
        to(weight=0, check=True)
    with pytest.raises(Refused, match="a canary that is not the runbook's"):
        to(weight=25, **MEANT)
    assert stage.told() == before
    with pytest.raises(Failed, match=r"goes to Laravel, and a canary remains at 0 %: .*not the runbook's"):
        to(weight=0)
    before["canarySettings"]["percentTraffic"] = 0.0
    assert stage.told() == before


def test_a_variable_that_is_missing_or_names_neither_side_is_refused(stage, to):
    for operation, said in (
        (
            ("replace", "/variables/tasksUpstream", "old.example.com"),
            "sends the task routes to a host that is neither side's",
        ),
        (("remove", "/variables/tasksUpstream"), "has no variable tasksUpstream; measured: its variables: other"),
    ):
        stage.patch(operation)
        with pytest.raises(Refused, match=said):
            to(weight=5)


def test_a_cache_is_in_the_way_up_and_never_in_the_way_back(stage, to):
    to(weight=5)
    stage.patch(("replace", "/cacheClusterEnabled", "true"), ("replace", f"{CANARY}/useStageCache", "true"))
    with pytest.raises(
        Refused, match=r"the cache of the stage lab of .* would return one side's answers for the other side"
    ):
        to(weight=25)
    assert stage.state == (LARAVEL, 5.0)
    assert to(weight=0).changed
    assert stage.state == (LARAVEL, None)


def test_a_stage_or_an_api_that_is_not_there_is_refused(stage, to):
    for wrong in ({"gateway_stage": "none"}, {"gateway_rest_api_id": "none"}):
        with pytest.raises(aws.NotThere, match="next: correct the name in the inventory"):
            to(weight=5, **wrong)
    with pytest.raises(Refused, match="cannot move traffic: gateway_rest_api_id is empty in the inventory"):
        to(weight=0, gateway_rest_api_id="")


@pytest.mark.parametrize("trouble", ["conflict 3", "throttle 1"])
def test_conflicts_and_throttling_are_waited_out(stage, to, trouble):
    stage.trouble(trouble)
    assert to(weight=5).changed
    assert stage.state == (LARAVEL, 5.0)


def test_conflicts_without_end_touch_nothing_and_say_what_to_wait_for(stage, to):
    stage.trouble("conflict 100")
    before = stage.told()
    with pytest.raises(Refused, match=r"another process is changing .*concurrent modification.*next: wait for"):
        to(weight=5)
    assert stage.told() == before


def test_a_stage_that_is_not_read_as_it_was_written_is_a_failure(stage, to, monkeypatch):
    monkeypatch.setattr(stage_change, "READ_BACK_SECONDS", 0.05)
    made = aws.Aws.client

    def client(self, *names, **values):
        true = made(self, *names, **values)
        true.update_stage = lambda **_: {}
        return true

    monkeypatch.setattr(aws.Aws, "client", client)
    with pytest.raises(
        Failed, match=r"does not have what was written; 0 % goes to the Task Service; .*allowed: .*a canary at 0 %"
    ):
        to(weight=5)
