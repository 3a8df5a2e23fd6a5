"""The lab's REST API in the AWS emulator: the task routes, and the stage that selects their side."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from task_migration.external.aws import Aws

from lab.locations import API_NAME, AWS_REGION, REST_API_ID, STAGE, VARIABLE

# Each resource, and its path at the host that the stage variable names.
RESOURCES = {"/api/tasks": "/api/tasks", "/api/tasks/{proxy+}": "/api/tasks/{proxy}"}


def make(aws_endpoint_url: str, laravel_upstream: str, task_service_upstream: str) -> bool:
    """Creates the API if it does not exist, with all traffic to Laravel. Returns whether it did.

    An existing stage remains, with its canary, unless its traffic goes to an address that is neither side's now.
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
    # moto's tag sets the id; otherwise the id would change with each start.
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
    """Adds the resource at ``path`` and the missing ones above it. Any method is forwarded unchanged."""
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
