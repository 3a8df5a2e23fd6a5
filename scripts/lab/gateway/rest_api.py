"""The REST API of the lab in the AWS emulator: the task routes, and the stage that says which side they go to."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from task_migration.external.aws import Aws

from lab.locations import API_NAME, AWS_REGION, REST_API_ID, STAGE, VARIABLE

# Where each resource goes: below the stage variable's host.
RESOURCES = {"/api/tasks": "/api/tasks", "/api/tasks/{proxy+}": "/api/tasks/{proxy}"}


def make(aws_endpoint_url: str, laravel_upstream: str, task_service_upstream: str) -> bool:
    """Makes it if it is not there, with all traffic to Laravel; whether anything was done.

    One whose stage is there stays as it is, canary and all, unless its traffic goes to neither side as they are now.
    """
    client = Aws(AWS_REGION, aws_endpoint_url).client("apigateway")
    try:
        stage = client.get_stage(restApiId=REST_API_ID, stageName=STAGE)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        stage = None
    if stage is not None and stage["variables"].get(VARIABLE) in (laravel_upstream, task_service_upstream):
        return False
    if REST_API_ID in {api["id"] for api in client.get_rest_apis()["items"]}:
        client.delete_rest_api(restApiId=REST_API_ID)
    # moto's own tag gives an id; without it the id would be another after each start.
    client.create_rest_api(name=API_NAME, tags={"_custom_id_": REST_API_ID})
    known = {one["path"]: one["id"] for one in client.get_resources(restApiId=REST_API_ID)["items"]}
    for path, below in RESOURCES.items():
        _add_resource(client, known, path, below)
    deployment = client.create_deployment(restApiId=REST_API_ID)["id"]
    client.create_stage(
        restApiId=REST_API_ID, stageName=STAGE, deploymentId=deployment, variables={VARIABLE: laravel_upstream}
    )
    return True


def _add_resource(client: Any, known: dict[str, str], path: str, below: str) -> None:
    """The resource at ``path`` and those above it that are not ``known`` yet; any method of it goes on as it came."""
    parent = "/"
    for part in path.strip("/").split("/"):
        here = f"{parent.rstrip('/')}/{part}"
        if here not in known:
            made = client.create_resource(restApiId=REST_API_ID, parentId=known[parent], pathPart=part)
            known[here] = made["id"]
        parent = here
    of_method = {"restApiId": REST_API_ID, "resourceId": known[path], "httpMethod": "ANY"}
    named = "{proxy+}" in path
    client.put_method(
        **of_method,
        authorizationType="NONE",
        requestParameters={"method.request.path.proxy": True} if named else {},
    )
    client.put_integration(
        **of_method,
        type="HTTP_PROXY",
        integrationHttpMethod="ANY",
        uri=f"http://${{stageVariables.{VARIABLE}}}{below}",
        requestParameters={"integration.request.path.proxy": "method.request.path.proxy"} if named else {},
    )
