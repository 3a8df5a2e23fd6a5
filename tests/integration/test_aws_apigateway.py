"""The emulator's stages: what AWS accepts is done, what AWS refuses is refused in its words, and the rest stays."""

from __future__ import annotations

from functools import partial

import pytest
from botocore.exceptions import ClientError
from lab.gateway.aws.apigateway import FAILURE_TAG
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
CANARY = "/canarySettings"
OVERRIDES = f"{CANARY}/stageVariableOverrides"
UPSTREAM = "tasksUpstream"
LARAVEL, TASK_SERVICE = "127.0.0.1:8001", "127.0.0.1:8002"
URI = f"http://${{stageVariables.{UPSTREAM}}}/api/tasks"
VARIABLES = {UPSTREAM: LARAVEL, "other": "kept"}
CANARY_IS_MADE = [{"op": "replace", "path": f"{CANARY}/percentTraffic", "value": "5.0"}]
PROMOTED = [
    {"op": "replace", "path": f"{CANARY}/percentTraffic", "value": "0.0"},
    {"op": "copy", "from": OVERRIDES, "path": "/variables"},
    {"op": "copy", "from": f"{CANARY}/deploymentId", "path": "/deploymentId"},
]


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def override(value, name=UPSTREAM):
    return replace(f"{OVERRIDES}/{name}", value)


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


class Api:
    """A REST API with two deployments, ``base`` and ``next``; its stage `lab` is at the first, and has no canary."""

    def __init__(self, client):
        self.client = client
        made = client.create_rest_api(name="tasks-lab")
        self.id = made["id"]
        resource = client.create_resource(restApiId=self.id, parentId=made["rootResourceId"], pathPart="tasks")["id"]
        method = {"restApiId": self.id, "resourceId": resource, "httpMethod": "ANY"}
        client.put_method(**method, authorizationType="NONE")
        client.put_integration(**method, type="HTTP_PROXY", integrationHttpMethod="ANY", uri=URI)
        self.deployments = {name: client.create_deployment(restApiId=self.id)["id"] for name in ("base", "next")}
        self.create_stage("lab", variables=VARIABLES, description="of the lab")

    def create_stage(self, name, deployment="base", **settings):
        return self.client.create_stage(
            restApiId=self.id, stageName=name, deploymentId=self.deployments[deployment], **settings
        )

    def update(self, operations, stage="lab"):
        """Values in angle brackets, "<next>", are the ids of deployments."""
        operations = [
            {key: self.deployments.get(value[1:-1], value) for key, value in one.items()} for one in operations
        ]
        return self.client.update_stage(restApiId=self.id, stageName=stage, patchOperations=operations)

    def stage(self, name="lab"):
        return self.client.get_stage(restApiId=self.id, stageName=name)

    def seen(self, name="lab"):
        """What a stage is now, with the deployments by their names."""
        names = {id: name for name, id in self.deployments.items()}
        stage = self.stage(name)
        canary = stage.get("canarySettings")
        if canary:
            canary = {**canary, "deploymentId": names[canary["deploymentId"]]}
        return names[stage["deploymentId"]], stage.get("variables"), canary


@pytest.fixture(scope="module")
def client(emulator):
    return Aws(REGION, emulator.url).client("apigateway")


@pytest.fixture
def api(client):
    made = Api(client)
    yield made
    client.delete_rest_api(restApiId=made.id)


def refusal(call):
    """The status, the code and the words of what AWS answers."""
    with pytest.raises(ClientError) as refused:
        call()
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def canary(deployment="base", percent=0.0, **more):
    return {"deploymentId": deployment, "percentTraffic": percent, "useStageCache": False, **more}


def overridden(value=TASK_SERVICE, **more):
    return {"stageVariableOverrides": {UPSTREAM: value, **more}}


@pytest.mark.parametrize(
    ("operations", "stage"),
    [
        # The first replacement makes the canary, and the rest of it is the default.
        ([replace(f"{CANARY}/percentTraffic", "50")], ("base", VARIABLES, canary(percent=50.0))),
        ([replace(f"{CANARY}/percentTraffic", "0.0")], ("base", VARIABLES, canary())),
        ([replace(f"{CANARY}/deploymentId", "<next>")], ("base", VARIABLES, canary("next"))),
        ([override(TASK_SERVICE)], ("base", VARIABLES, canary(**overridden()))),
        ([replace(f"{CANARY}/useStageCache", "true")], ("base", VARIABLES, {**canary(), "useStageCache": True})),
        (
            [replace(f"{CANARY}/percentTraffic", "10.5"), override(TASK_SERVICE), override("new", "added")],
            ("base", VARIABLES, canary(percent=10.5, **overridden(added="new"))),
        ),
        ([*CANARY_IS_MADE, replace(f"{CANARY}/percentTraffic", "100.0")], ("base", VARIABLES, canary(percent=100.0))),
        ([override("1"), override("2")], ("base", VARIABLES, canary(**overridden("2")))),
        ([override("1"), {"op": "remove", "path": f"{OVERRIDES}/{UPSTREAM}"}], ("base", VARIABLES, canary())),
        # Removing it leaves the base as it was.
        ([*CANARY_IS_MADE, override(TASK_SERVICE), {"op": "remove", "path": CANARY}], ("base", VARIABLES, None)),
        # Promoting it adds to the variables, and does not end it.
        (
            [override(TASK_SERVICE), replace(f"{CANARY}/deploymentId", "<next>"), *PROMOTED],
            ("next", {**VARIABLES, UPSTREAM: TASK_SERVICE}, canary("next", **overridden())),
        ),
        (PROMOTED, ("base", VARIABLES, canary())),
        # The base.
        ([replace(f"/variables/{UPSTREAM}", TASK_SERVICE)], ("base", {**VARIABLES, UPSTREAM: TASK_SERVICE}, None)),
        ([replace("/variables/added", "a.b-c_d~e:f/g?h#i&j=k,l")],
         ("base", {**VARIABLES, "added": "a.b-c_d~e:f/g?h#i&j=k,l"}, None)),
        ([{"op": "remove", "path": "/variables/other"}], ("base", {UPSTREAM: LARAVEL}, None)),
        ([replace("/deploymentId", "<next>")], ("next", VARIABLES, None)),
    ],
)  # fmt: skip
def test_what_aws_accepts_is_done_and_read_back(api, operations, stage):
    answer = api.update(operations)
    assert api.seen() == stage
    assert {**answer, "ResponseMetadata": None} == {**api.stage(), "ResponseMetadata": None}


SETTINGS = (
    "Must be one of: [/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, "
    "/accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, "
    "/{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, "
    "/{resourcePath}/{httpMethod}/logging/loglevel, /{resourcePath}/{httpMethod}/throttling/burstLimit"
    "/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}/{httpMethod}/caching/ttlInSeconds, "
    "/{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, "
    "/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, "
    "/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, "
    "/*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit "
    "/*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, "
    "/*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, "
    "/variables/{variable_name}, /tracingEnabled]"
)
NOT_REMOVED = "Cannot remove method setting {} because there is no method setting for this method "
NOT_COPIED = (
    "Invalid copy operation with path: {} and from {}. Valid copy:path are [/deploymentId, /variables] and valid "
    "copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]"
)
NO_CANARY = "Promotion not available. Canary does not exist."
NO_VALUE = (
    "Invalid stage variable value: {}.  Please use values with alphanumeric characters and the symbols ' ', -', '.', "
    "'_', ':', '/', '?', '&', '=', and ','."
)
NO_PERCENT = "Invalid percent traffic value {}. Must be between 0.0 and 100.0"
HAS_A_CANARY = "Stage lab has a canary and accepts no other deployment until it is disabled"


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (
            {"op": "add", "path": f"{CANARY}/deploymentId", "value": "<next>"},
            "Invalid add operation with path: /canarySettings/deploymentId",
        ),
        (replace(CANARY, "test"), f"Invalid method setting path: /canarySettings. {SETTINGS}"),
        (replace(f"{CANARY}/badPath", "x"), f"Invalid method setting path: /canarySettings/badPath. {SETTINGS}"),
        (replace("/canary/percentTraffic", "0.0"), f"Invalid method setting path: /canary/percentTraffic. {SETTINGS}"),
        (replace(OVERRIDES, "x"), f"Invalid method setting path: {OVERRIDES}. {SETTINGS}"),
        (replace("/variables", "x"), f"Invalid method setting path: /variables. {SETTINGS}"),
        (replace(f"{CANARY}/deploymentId", "deploy"), "Deployment id does not exist"),
        (replace("/deploymentId", "deploy"), "Deployment id does not exist"),
        ({"op": "remove", "path": OVERRIDES}, NOT_REMOVED.format("canarySettings/stageVariableOverrides")),
        ({"op": "remove", "path": f"{CANARY}/badPath"}, NOT_REMOVED.format("canarySettings/badPath")),
        ({"op": "remove", "path": CANARY}, NOT_REMOVED.format("canarySettings")),
        ({"op": "copy", "from": "/variables", "path": OVERRIDES}, NOT_COPIED.format(OVERRIDES, "/variables")),
        (
            {"op": "copy", "from": OVERRIDES, "path": "/deploymentId"},
            NOT_COPIED.format("/deploymentId", OVERRIDES),
        ),
        ({"op": "copy", "from": OVERRIDES, "path": "/variables"}, NO_CANARY),
        ({"op": "copy", "from": f"{CANARY}/deploymentId", "path": "/deploymentId"}, NO_CANARY),
        (replace(f"{CANARY}/percentTraffic", "100.1"), NO_PERCENT.format("100.1")),
        (replace(f"{CANARY}/percentTraffic", "-0.1"), NO_PERCENT.format("-0.1")),
        (replace(f"{CANARY}/percentTraffic", "nan"), NO_PERCENT.format("nan")),
        (replace(f"{CANARY}/percentTraffic", "five"), NO_PERCENT.format("five")),
        (override("with space"), NO_VALUE.format("with space")),
        (override(""), NO_VALUE.format("")),
        (override("a@b"), NO_VALUE.format("a@b")),
        (replace("/variables/tasksUpstream", "${x}"), NO_VALUE.format("${x}")),
        (override("x", "tasks-upstream"), "Invalid stage variable name: tasks-upstream. Only a-zA-Z0-9_ are allowed"),
    ],
)
def test_what_aws_refuses_is_refused_in_its_words_and_changes_nothing(api, operation, said):
    before = api.stage()
    assert refusal(lambda: api.update([operation])) == (400, "BadRequestException", said)
    assert {**api.stage(), "ResponseMetadata": None} == {**before, "ResponseMetadata": None}


def test_a_canary_whose_settings_are_refused_stays_as_it_is(api):
    api.update([*CANARY_IS_MADE, override(TASK_SERVICE)])
    before = api.seen()
    for operation in (
        replace("/deploymentId", "<next>"),
        replace(f"{CANARY}/percentTraffic", "150"),
        {"op": "remove", "path": OVERRIDES},
        {"op": "remove", "path": f"{OVERRIDES}/other"},
    ):
        assert refusal(partial(api.update, [operation]))[0] == 400
        assert api.seen() == before


def test_of_a_list_that_fails_half_way_the_first_half_is_done(api):
    assert refusal(lambda: api.update([*CANARY_IS_MADE, replace(f"{CANARY}/badPath", "x"), override(TASK_SERVICE)]))
    assert api.seen() == ("base", VARIABLES, canary(percent=5.0))


def test_a_stage_or_an_api_that_is_not_there_is_not_found(api):
    unknown = 404, "NotFoundException", "Invalid stage identifier specified"
    assert refusal(lambda: api.update(CANARY_IS_MADE, stage="other")) == unknown
    assert refusal(lambda: api.stage("other")) == unknown
    assert refusal(lambda: api.client.get_stage(restApiId="none", stageName="lab"))[:2] == (404, "NotFoundException")


def test_a_stage_is_told_as_aws_tells_it(api):
    stage = api.stage()
    dates = stage.pop("createdDate"), stage.pop("lastUpdatedDate")
    assert dates[0] <= dates[1]
    del stage["ResponseMetadata"]
    assert stage == {
        "stageName": "lab",
        "deploymentId": api.deployments["base"],
        "description": "of the lab",
        "variables": VARIABLES,
        "methodSettings": {},
        "cacheClusterEnabled": False,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "tracingEnabled": False,
    }


def test_the_settings_that_are_not_of_the_canary_are_moto_s(api):
    api.update(
        [
            *CANARY_IS_MADE,
            replace("/description", "changed"),
            replace("/tracingEnabled", "true"),
            replace("/accessLogSettings/format", "$context.requestId"),
            replace("/*/*/metrics/enabled", "true"),
            replace("/~1api~1tasks/GET/throttling/rateLimit", "5"),
        ]
    )
    stage = api.stage()
    assert (stage["description"], stage["tracingEnabled"]) == ("changed", True)
    assert stage["accessLogSettings"] == {"format": "$context.requestId"}
    assert stage["methodSettings"]["*/*"]["metricsEnabled"]
    assert stage["canarySettings"]["percentTraffic"] == 5.0
    api.update([{"op": "remove", "path": "/*/*"}, {"op": "remove", "path": "/accessLogSettings"}])
    assert "*/*" not in api.stage()["methodSettings"]
    assert refusal(lambda: api.update([{"op": "remove", "path": "/*/*"}]))[2] == NOT_REMOVED.format("*/*")


# Canaries that are made with a stage, and with a deployment


def test_a_stage_is_created_with_a_canary(api):
    settings = {"deploymentId": api.deployments["next"], "percentTraffic": 50, **overridden()}
    answer = api.create_stage("dev", variables=VARIABLES, canarySettings=settings)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert answer["canarySettings"] == {**settings, "percentTraffic": 50.0, "useStageCache": False}
    assert api.seen("dev") == ("base", VARIABLES, canary("next", 50.0, **overridden()))
    (dev,) = [one for one in api.client.get_stages(restApiId=api.id)["item"] if "canarySettings" in one]
    assert dev["canarySettings"] == answer["canarySettings"]


def test_a_stage_with_a_canary_of_a_deployment_that_is_not_there_is_not_created(api):
    refused = refusal(lambda: api.create_stage("dev", canarySettings={"deploymentId": "deploy"}))
    assert refused == (400, "BadRequestException", "Deployment id does not exist")
    assert [one["stageName"] for one in api.client.get_stages(restApiId=api.id)["item"]] == ["lab"]


def deploy(api, **settings):
    return api.client.create_deployment(restApiId=api.id, **settings)


def test_a_deployment_with_a_canary_leaves_the_base_of_the_stage(api):
    api.update([replace("/tracingEnabled", "true")])
    for percent in (50, 60):
        made = deploy(api, stageName="lab", canarySettings={"percentTraffic": percent, **overridden()})
        api.deployments["made"] = made["id"]
        assert api.seen() == ("base", VARIABLES, canary("made", float(percent), **overridden()))
    assert api.stage()["tracingEnabled"]


def test_a_deployment_without_a_canary_moves_the_base_and_loses_no_setting(api):
    api.update([replace("/tracingEnabled", "true")])
    api.deployments["made"] = deploy(api, stageName="lab")["id"]
    assert api.seen() == ("made", VARIABLES, None)
    assert api.stage()["tracingEnabled"]
    made = deploy(api, stageName="first", variables={"a": "b"})["id"]
    assert (api.stage("first")["deploymentId"], api.stage("first")["variables"]) == (made, {"a": "b"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {},
            "Invalid deployment content specified.Non null and non empty stageName must be provided for canary "
            "deployment. Provided value is null",
        ),
        (
            {"stageName": ""},
            "Invalid deployment content specified.Non null and non empty stageName must be provided for canary "
            "deployment. Provided value is ",
        ),
        (
            {"stageName": "non-existing"},
            "Invalid deployment content specified.Stage non-existing must already be created before making a canary "
            "release deployment",
        ),
        ({"stageName": "lab", "canarySettings": {"percentTraffic": 101}}, NO_PERCENT.format("101")),
    ],
)
def test_a_deployment_whose_canary_has_no_place_is_not_made(api, settings, said):
    call = partial(deploy, api, **{"canarySettings": {"percentTraffic": 50, **overridden()}, **settings})
    assert refusal(call) == (400, "BadRequestException", said)
    assert len(api.client.get_deployments(restApiId=api.id)["items"]) == 2
    assert api.seen() == ("base", VARIABLES, None)


def test_a_stage_with_a_canary_takes_no_other_deployment(api):
    api.update(CANARY_IS_MADE)
    assert refusal(lambda: deploy(api, stageName="lab")) == (400, "BadRequestException", HAS_A_CANARY)
    assert api.seen() == ("base", VARIABLES, canary(percent=5.0))


# Trouble on demand


def trouble(api, told):
    arn = f"arn:aws:apigateway:{REGION}::/restapis/{api.id}/stages/lab"
    api.client.tag_resource(resourceArn=arn, tags={FAILURE_TAG: told})


CONFLICT = (
    409,
    "ConflictException",
    "Unable to complete operation due to concurrent modification. Please try again later.",
)


def test_as_many_updates_as_were_asked_for_meet_a_conflict(api):
    trouble(api, "conflict 2")
    for _ in range(2):
        assert refusal(lambda: api.update(CANARY_IS_MADE)) == CONFLICT
        assert api.seen() == ("base", VARIABLES, None)
    api.update(CANARY_IS_MADE)
    assert api.seen() == ("base", VARIABLES, canary(percent=5.0))
    assert api.stage()["tags"] == {FAILURE_TAG: "conflict 0"}


def test_as_many_updates_as_were_asked_for_are_too_many(api, emulator):
    hasty = Aws(REGION, emulator.url).client("apigateway", attempts=1)
    trouble(api, "throttle 1")
    with pytest.raises(ClientError) as refused:
        hasty.update_stage(restApiId=api.id, stageName="lab", patchOperations=CANARY_IS_MADE)
    answer = refused.value.response
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    api.update(CANARY_IS_MADE)
    assert api.seen()[2] == canary(percent=5.0)


def test_a_trouble_that_is_not_known_is_said(api):
    trouble(api, "conflict")
    assert "allowed: 'conflict N' or 'throttle N'" in refusal(lambda: api.update(CANARY_IS_MADE))[2]


# The rest of an API


def test_an_integration_keeps_the_stage_variable_in_its_uri(api):
    (resource,) = [
        one for one in api.client.get_resources(restApiId=api.id, embed=["methods"])["items"] if one["path"] == "/tasks"
    ]
    integration = resource["resourceMethods"]["ANY"]["methodIntegration"]
    assert (integration["type"], integration["uri"]) == ("HTTP_PROXY", URI)
