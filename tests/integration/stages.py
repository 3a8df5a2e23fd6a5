"""A stage of the emulated API Gateway whose task routes go to Laravel, and ways to stand in the runbook's way."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count

import boto3
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
LARAVEL, TASKS = "laravel.example.com", "tasks.example.com"
CANARY = "/canarySettings"


class Killed(BaseException):
    """The run ends here, as by kill -9: nothing of it goes on."""


class EmulatedStage:
    """The stage ``lab`` of a new REST API, as an operator sees and sets it by hand."""

    def __init__(self, emulator: AwsEmulator, variables: dict[str, str] | None = None) -> None:
        self.url = emulator.url
        self._client = boto3.client(
            "apigateway",
            region_name=REGION,
            endpoint_url=emulator.url,
            aws_access_key_id="emulated",
            aws_secret_access_key="emulated",
        )
        self.api = self._client.create_rest_api(name="tasks-lab")["id"]
        root = self._client.get_resources(restApiId=self.api)["items"][0]["id"]
        self._client.put_method(restApiId=self.api, resourceId=root, httpMethod="ANY", authorizationType="NONE")
        self._client.put_integration(restApiId=self.api, resourceId=root, httpMethod="ANY", type="MOCK")
        self.deployment = self._client.create_deployment(restApiId=self.api)["id"]
        self._client.create_stage(
            restApiId=self.api,
            stageName="lab",
            deploymentId=self.deployment,
            variables=variables or {"tasksUpstream": LARAVEL, "other": "hunter2"},
        )

    @property
    def arguments(self):
        """What every verb of the stage takes."""
        return {
            "gateway_rest_api_id": self.api,
            "gateway_stage": "lab",
            "gateway_variable": "tasksUpstream",
            "laravel_upstream": LARAVEL,
            "task_service_upstream": TASKS,
            "aws_region": REGION,
            "aws_endpoint_url": self.url,
        }

    def patch(self, *operations):
        for op, path, *value in operations:
            operation = {"op": op, "path": path, **({"value": value[0]} if value else {})}
            self._client.update_stage(restApiId=self.api, stageName="lab", patchOperations=[operation])

    def set(self, value, percent):
        """The variable's value, and a canary of the runbook's at so many percent; None for no canary."""
        self.patch(("replace", "/variables/tasksUpstream", value))
        if "canarySettings" in self.told():
            self.patch(("remove", CANARY))
        if percent is not None:
            self.patch(
                ("replace", f"{CANARY}/percentTraffic", f"{percent:.1f}"),
                ("replace", f"{CANARY}/stageVariableOverrides/tasksUpstream", TASKS),
            )

    def deploy_canary(self, **settings):
        """Somebody else's canary release of a new deployment."""
        self._client.create_deployment(restApiId=self.api, stageName="lab", canarySettings=settings)

    def trouble(self, what):
        """The next calls of UpdateStage: "conflict 2", "throttle 3"."""
        arn = f"arn:aws:apigateway:{REGION}::/restapis/{self.api}/stages/lab"
        self._client.tag_resource(resourceArn=arn, tags={"lab:update-stage": what})

    def told(self):
        """All that AWS tells of the stage, but for when."""
        told = self._client.get_stage(restApiId=self.api, stageName="lab")
        kept = ("deploymentId", "variables", "canarySettings", "cacheClusterEnabled")
        return {key: told[key] for key in kept if key in told}

    @property
    def state(self):
        """The variable's value, and the canary's percentage or None."""
        told = self.told()
        canary = told.get("canarySettings")
        if canary is not None:
            assert canary["deploymentId"] == told["deploymentId"] == self.deployment
            assert canary["stageVariableOverrides"] == {"tasksUpstream": TASKS}
        return told["variables"]["tasksUpstream"], canary and canary["percentTraffic"]


@contextmanager
def killed_after(monkeypatch, calls):
    """Within this a run is killed once so many calls of UpdateStage were carried out, and before it looks again."""
    made, asked = Aws.client, count(1)

    def client(self, *names, **values):
        true = made(self, *names, **values)
        update = true.update_stage

        def update_stage(**named):
            update(**named)
            if next(asked) == calls:
                raise Killed

        true.update_stage = update_stage
        return true

    with monkeypatch.context() as patched:
        patched.setattr(Aws, "client", client)
        yield
