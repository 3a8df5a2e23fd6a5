"""A stage's states and the changes between them: exactly the operations that AWS takes, and no detour of traffic."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from task_migration.errors import Failed, Refused
from task_migration.external.retry import Backoff
from task_migration.parameters import parameters
from task_migration.progress import no_listener
from task_migration.traffic import promotion, stage_change, weight
from task_migration.traffic.stage import Gateway, Stage, StageCanary, read, refuse_cache, refuse_foreign, refuse_invalid
from task_migration.traffic.weight import WEIGHTS

INVENTORY = {
    "gateway_rest_api_id": "a1b2c3",
    "gateway_stage": "production",
    "gateway_variable": "tasksUpstream",
    "laravel_upstream": "laravel.example.com",
    "task_service_upstream": "tasks.example.com:8443",
}
WHERE = Gateway(*INVENTORY.values())
LARAVEL, TASKS = WHERE.laravel_upstream, WHERE.task_service_upstream


def stage(value=LARAVEL, percent=None, **more):
    canary = None if percent is None else StageCanary(float(percent), "d1", {"tasksUpstream": TASKS}, False)
    return Stage(WHERE, "d1", {"tasksUpstream": value, "other": "1"}, canary, False, None, **more)


CUT_OFF = replace(stage(), canary=StageCanary(0.0, "d1", {}, False))
STATES = [stage(value, percent) for value, percent in product((LARAVEL, TASKS), (None, *WEIGHTS, 12.5))] + [
    CUT_OFF,
    replace(CUT_OFF, variables={"tasksUpstream": TASKS}),
]


class Client:
    """API Gateway with one stage. ``answers`` are taken one for each UpdateStage: an error that is raised before it is
    carried out, or, in a list, after; None for a good one. ``stale`` reads tell of the stage as it was at first."""

    def __init__(self, at=None, answers=(), stale=0):
        self.stage = self.first = at or stage()
        self.answers, self.stale = list(answers), stale
        self.asked, self.reads = [], 0
        self.exceptions = type("exceptions", (), {"ConflictException": Conflict})

    def get_stage(self, **_):
        self.reads += 1
        shown = self.first if self.asked and self.reads <= self.stale else self.stage
        told = {"deploymentId": shown.deployment_id, "variables": shown.variables}
        if shown.canary:
            told["canarySettings"] = {
                "percentTraffic": shown.canary.percent,
                "deploymentId": shown.canary.deployment_id,
                "stageVariableOverrides": shown.canary.overrides,
            }
        return told

    def update_stage(self, *, restApiId, stageName, patchOperations):
        assert (restApiId, stageName) == ("a1b2c3", "production")
        self.asked.append(patchOperations)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        for operation in patchOperations:
            self._apply(operation["op"], operation["path"], operation.get("value"))
        if answer:
            raise answer[0]

    def _apply(self, op, path, value):
        canary = self.stage.canary or StageCanary(0.0, self.stage.deployment_id, {}, False)
        variables, name = self.stage.variables, path.rpartition("/")[2]
        match (op, path.rpartition("/")[0]):
            case ("remove", ""):
                canary = None
            case ("copy", ""):
                variables = {**variables, **(canary.overrides if name == "variables" else {})}
            case ("replace", "/variables"):
                variables = {**variables, name: value}
                canary = self.stage.canary
            case ("replace", "/canarySettings"):
                canary = replace(canary, percent=float(value)) if name == "percentTraffic" else canary
            case ("replace", "/canarySettings/stageVariableOverrides"):
                canary = replace(canary, overrides={**canary.overrides, name: value})
            case _:
                raise AssertionError((op, path))
        self.stage = replace(self.stage, variables=variables, canary=canary)


class Conflict(ClientError):
    def __init__(self):
        message = "Unable to complete operation due to concurrent modification. Please try again later."
        super().__init__({"Error": {"Code": "ConflictException", "Message": message}}, "UpdateStage")


def denied():
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateStage")


def bad():
    return ClientError({"Error": {"Code": "BadRequestException", "Message": "no canary"}}, "UpdateStage")


LOST = ReadTimeoutError(endpoint_url="https://apigateway")


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    monkeypatch.setattr(stage_change, "CONFLICT_BACKOFF", Backoff(0.001, 0.008))
    monkeypatch.setattr(stage_change, "READ_BACK_BACKOFF", Backoff(0.001, 2.0))
    monkeypatch.setattr(stage_change, "READ_BACK_SECONDS", 0.05)


def to(client, goal):
    at = read(client, WHERE)
    changes = stage_change.plan(at, partial(weight.next_change, weight=goal))
    return stage_change.apply(client, at, changes, no_listener)


# The inventory


def test_what_the_inventory_says_is_taken_as_it_is():
    refuse_invalid(WHERE)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gateway_rest_api_id": ""}, "cannot move traffic: gateway_rest_api_id is empty in the inventory; next:"),
        ({"gateway_stage": "", "laravel_upstream": ""}, "gateway_stage, laravel_upstream are empty"),
        ({"gateway_variable": "tasks-upstream"}, "measured: tasks-upstream; allowed: up to 64 letters, digits and _"),
        (
            {"laravel_upstream": "a host"},
            "laravel_upstream in the inventory is not a valid value of a stage variable; measured: a host",
        ),
        (
            {"task_service_upstream": "${stageVariables.x}"},
            "task_service_upstream in the inventory is not a valid value of a stage variable",
        ),
        (
            {"task_service_upstream": LARAVEL},
            "laravel_upstream and task_service_upstream in the inventory are the same",
        ),
    ],
)
def test_an_inventory_that_can_not_be_meant_is_refused(wrong, said):
    with pytest.raises(Refused, match=said):
        refuse_invalid(Gateway(**{**INVENTORY, **wrong}))


def test_the_weights_are_those_that_can_be_typed():
    assert parameters()["weight"].choices == WEIGHTS


# States


@pytest.mark.parametrize(
    ("value", "percent", "share", "promoted"),
    [
        (LARAVEL, None, 0, False),
        (LARAVEL, 0, 0, False),
        (LARAVEL, 25, 25, False),
        (TASKS, None, 100, True),
        (TASKS, 0, 100, True),
        (TASKS, 5, 100, True),
    ],
)
def test_the_variable_and_the_canary_together_say_the_share(value, percent, share, promoted):
    one = stage(value, percent)
    assert (one.share, one.promoted) == (share, promoted)
    refuse_foreign(one)


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        (StageCanary(5.0, "d2", {"tasksUpstream": TASKS}, False), "it serves the deployment d2, the stage d1"),
        (StageCanary(5.0, "d1", {"tasksUpstream": LARAVEL}, False), f"it overrides tasksUpstream={LARAVEL}"),
        (StageCanary(5.0, "d1", {"tasksUpstream": TASKS, "key": "hunter2"}, False), "it overrides key;"),
        (StageCanary(5.0, "d1", {}, False), "it does not override tasksUpstream, at 5 %"),
        (StageCanary(0.0, "d1", {"key": "hunter2"}, False), "it overrides key;"),
    ],
)
def test_a_canary_of_somebody_else_is_refused_and_none_of_its_values_is_told(canary, said):
    with pytest.raises(Refused, match=said) as refused:
        refuse_foreign(replace(stage(), canary=canary))
    assert refused.value.next_step.endswith(
        "aws apigateway update-stage --rest-api-id a1b2c3 --stage-name production "
        "--patch-operations op=remove,path=/canarySettings"
    )
    assert "hunter2" not in str(refused.value)


def test_a_canary_whose_making_was_cut_off_is_ours():
    refuse_foreign(CUT_OFF)
    assert not CUT_OFF.has_canary


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"other": "1"}, "has no variable tasksUpstream; measured: its variables: other; allowed"),
        ({}, "its variables: none"),
        (
            {"tasksUpstream": "old.example.com"},
            "sends the task routes to a host that is neither side's; measured: tasksUpstream=old",
        ),
    ],
)
def test_a_variable_that_is_not_there_or_names_neither_side_is_refused(variables, said):
    with pytest.raises(Refused, match=said):
        refuse_foreign(replace(stage(), variables=variables))


def test_a_cache_that_both_sides_would_share_is_refused():
    refuse_cache(stage(percent=5))
    with pytest.raises(Refused, match=r"cacheClusterEnabled=true.*value=false; then run the same command again"):
        refuse_cache(replace(stage(), cache_enabled=True))
    with pytest.raises(Refused, match=r"useStageCache=true.*path=/canarySettings/useStageCache,value=false"):
        refuse_cache(replace(stage(), canary=StageCanary(5.0, "d1", {"tasksUpstream": TASKS}, True)))


def test_the_journal_gets_the_names_of_other_variables_and_not_their_values():
    details = replace(stage(percent=5), variables={"tasksUpstream": LARAVEL, "key": "hunter2"}).details
    assert details["other_variables"] == ["key"]
    assert details["canary"] == {"percent": 5.0, "deployment_id": "d1", "value": TASKS, "uses_cache": False}
    assert "hunter2" not in str(details)


# Changes


def test_the_operations_are_those_that_aws_is_recorded_to_take():
    c = "/canarySettings"
    assert [
        list(change.operations) for change in stage_change.plan(stage(), partial(weight.next_change, weight=5))
    ] == [
        [
            {"op": "replace", "path": f"{c}/percentTraffic", "value": "0.0"},
            {"op": "replace", "path": f"{c}/stageVariableOverrides/tasksUpstream", "value": TASKS},
            {"op": "replace", "path": f"{c}/useStageCache", "value": "false"},
        ],
        [{"op": "replace", "path": f"{c}/percentTraffic", "value": "5.0"}],
    ]
    assert [list(change.operations) for change in stage_change.plan(stage(percent=100), promotion.next_change)] == [
        [
            {"op": "replace", "path": f"{c}/percentTraffic", "value": "100.0"},
            {"op": "copy", "from": f"{c}/stageVariableOverrides", "path": "/variables"},
            {"op": "copy", "from": f"{c}/deploymentId", "path": "/deploymentId"},
        ],
        [{"op": "replace", "path": f"{c}/percentTraffic", "value": "0.0"}],
        [{"op": "remove", "path": c}],
    ]
    back = stage_change.plan(stage(TASKS, 100), partial(weight.next_change, weight=0))
    assert [list(change.operations) for change in back] == [
        [{"op": "replace", "path": "/variables/tasksUpstream", "value": LARAVEL}],
        [{"op": "replace", "path": f"{c}/percentTraffic", "value": "0.0"}],
        [{"op": "remove", "path": c}],
    ]


@pytest.mark.parametrize("goal", WEIGHTS)
@pytest.mark.parametrize("start", STATES, ids=lambda one: one.summary)
def test_from_every_state_the_weight_is_reached_and_the_share_takes_no_detour(start, goal):
    client = Client(start)
    changes = stage_change.plan(start, partial(weight.next_change, weight=goal))
    shares = [start.share, *(change.after.share for change in changes)]
    ascending = start.share <= goal
    assert all(one <= other if ascending else one >= other for one, other in pairwise(shares))
    assert shares[-1] == goal
    if goal == 0:
        assert (changes[-1].after if changes else start).canary is None
    end = to(client, goal)
    assert end.divides_as(client.stage)
    assert len(client.asked) == len(changes)
    to(client, goal)
    assert len(client.asked) == len(changes)


@pytest.mark.parametrize("start", [one for one in STATES if one.share == 100], ids=lambda one: one.summary)
def test_a_promotion_moves_nobody_and_leaves_no_canary(start):
    changes = stage_change.plan(start, promotion.next_change)
    assert {change.after.share for change in changes} <= {100}
    end = changes[-1].after if changes else start
    assert end.promoted
    assert end.canary is None


def test_every_change_is_read_back_before_the_next():
    client = Client(stale=4)
    assert to(client, 5).share == 5
    assert client.reads > 4


def test_a_stage_that_never_becomes_as_it_was_written_is_a_failure_that_says_how_it_is():
    with pytest.raises(Failed, match="0 % goes to the Task Service") as failed:
        to(Client(stage(percent=0), stale=10**6), 25)
    assert "a canary at 0 %" in failed.value.measured
    assert "a canary at 25 %" in failed.value.allowed


def test_a_conflict_is_tried_again():
    client = Client(stage(percent=5), [Conflict(), Conflict()])
    assert to(client, 25).share == 25
    assert len(client.asked) == 3


def test_conflicts_without_end_are_refused_and_after_the_first_change_have_failed():
    for answers, kind in (([Conflict()] * 20, Refused), ([None, *[Conflict()] * 20], Failed)):
        client = Client(answers=answers)
        with pytest.raises(kind, match="another process is changing the stage production of a1b2c3") as raised:
            to(client, 5)
        assert type(raised.value) is kind
        assert len(client.asked) == stage_change.CONFLICT_ATTEMPTS + (kind is Failed)


def test_an_answer_that_was_lost_is_no_failure_if_the_stage_is_as_it_shall_be():
    assert to(Client(stage(percent=5), [[LOST]]), 25).share == 25
    # botocore asks again, and the canary is gone already
    assert to(Client(stage(percent=0), [[bad()]]), 0).canary is None


def test_a_call_that_may_or_may_not_have_been_carried_out_is_a_failure():
    with pytest.raises(Failed, match="it may have been done"):
        to(Client(stage(percent=5), [LOST]), 25)


def test_what_is_refused_at_first_changed_nothing_and_later_says_how_the_stage_is():
    with pytest.raises(Refused, match="this AWS role may not change the stage production of a1b2c3"):
        to(Client(answers=[denied()]), 5)
    with pytest.raises(Failed, match=r"the stage production of a1b2c3 has tasksUpstream=.*, a canary at 0 %"):
        to(Client(answers=[None, denied()]), 5)
