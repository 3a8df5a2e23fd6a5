"""API Gateway: adds canaries to stages.

What is accepted and refused, and with which messages, is as AWS was recorded to answer on 30 May 2025
(localstack/localstack, tests/aws/services/apigateway/test_apigateway_canary.py and its snapshot). A case without a
recording is refused, and its docstring names it.

The stage's tag ``lab:update-stage`` makes the next calls of UpdateStage fail. It is set like any tag
(``apigateway.tag_resource``). ``conflict 2`` refuses two calls as AWS does while another one runs, ``throttle 3``
refuses three as too many. Each refused call decrements the number.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from typing import Any

from moto.apigateway.exceptions import ApiGatewayException, BadRequestException, ConflictException
from moto.apigateway.models import APIGatewayBackend, Stage
from moto.apigateway.responses import APIGatewayResponse

CANARY = "/canarySettings"
OVERRIDES = f"{CANARY}/stageVariableOverrides"
FAILURE_TAG = "lab:update-stage"

_COPIES = {"/deploymentId": f"{CANARY}/deploymentId", "/variables": OVERRIDES}
_OVERRIDE = re.compile(rf"{OVERRIDES}/(?P<name>[^/]+)")
_VARIABLE = re.compile(r"/variables/(?P<name>[^/]+)")
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_VALUE = re.compile(r"[A-Za-z0-9._~:/?#&=,-]{1,512}")
_FAILURE = re.compile(r"(?P<kind>conflict|throttle) (?P<left>\d+)")
_OTHER_SETTING = re.compile(
    r"/description|/cacheClusterEnabled|/cacheClusterSize|/clientCertificateId|/tracingEnabled"
    r"|/accessLogSettings/(destinationArn|format)"
    r"|/.+/(\*|[A-Z]+)/(metrics/enabled|logging/(dataTrace|loglevel)|throttling/(burstLimit|rateLimit)"
    r"|caching/(enabled|ttlInSeconds|dataEncrypted|requireAuthorizationForCacheControl"
    r"|unauthorizedCacheControlHeaderStrategy))"
)
_SETTINGS = (
    "[/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, /accessLogSettings, "
    "/accessLogSettings/destinationArn, /accessLogSettings/format, /{resourcePath}/{httpMethod}/metrics/enabled, "
    "/{resourcePath}/{httpMethod}/logging/dataTrace, /{resourcePath}/{httpMethod}/logging/loglevel, "
    "/{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit"
    "/{resourcePath}/{httpMethod}/caching/ttlInSeconds, /{resourcePath}/{httpMethod}/caching/enabled, "
    "/{resourcePath}/{httpMethod}/caching/dataEncrypted, "
    "/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, "
    "/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, "
    "/*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit "
    "/*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, "
    "/*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, "
    "/variables/{variable_name}, /tracingEnabled]"
)
_lock = threading.Lock()


def add_canaries() -> None:
    """Adds ``canarySettings`` to UpdateStage, CreateStage and CreateDeployment. moto drops them, or
    repoints the stage."""
    stage: Any = Stage
    backend: Any = APIGatewayBackend
    response: Any = APIGatewayResponse
    original_init, original_to_json = stage.__init__, stage.to_json
    create_stage, create_deployment = response.create_stage, backend.create_deployment

    def stage_init(self: Any, *values: Any, **named: Any) -> None:
        original_init(self, *values, **named)
        self.canary = None
        self.created = self.updated = int(time.time())

    def stage_to_json(self: Any) -> dict[str, Any]:
        # Copies, because another call may change the stage while this answer is written.
        fields = {**original_to_json(self), "variables": dict(self.variables), "tags": dict(self.tags or {})}
        if self.canary:
            fields["canarySettings"] = _without_empty(self.canary)
        return {
            "cacheClusterStatus": "NOT_AVAILABLE",
            "tracingEnabled": False,
            **_without_empty(fields),
            "methodSettings": self.method_settings,
            "createdDate": self.created,
            "lastUpdatedDate": self.updated,
        }

    def update_stage(self: Any, function_id: str, stage_name: str, patch_operations: Any) -> Any:
        """Applies the operations in order. Not recorded: whether AWS undoes a list that fails half-way.
        This does not."""
        changed = self.get_stage(function_id, stage_name)
        deployments = self.get_rest_api(function_id).deployments
        with _lock:
            _fail_if_tagged(changed)
            for operation in patch_operations or []:
                _apply(changed, deployments, operation)
                changed.updated = int(time.time())
        return changed

    def create_stage_with_canary(self: Any) -> Any:
        api = self.backend.get_rest_api(self.path.split("/")[2])
        settings = self._get_param("canarySettings")
        _check_variables(self._get_param("variables") or {})
        canary = None if settings is None else _canary(self._get_param("deploymentId"), api.deployments, settings)
        status, headers, _ = create_stage(self)
        made = api.stages[self._get_param("stageName")]
        made.canary = canary
        return status, headers, json.dumps(made.to_json())

    def create_deployment_with_canary(self: Any) -> Any:
        api = self.backend.get_rest_api(self.path.split("/")[2])
        name, settings = self._get_param("stageName"), self._get_param("canarySettings")
        variables = self._get_param("variables") or {}
        _check_variables(variables)
        existing = api.stages.get(name)
        canary = None if settings is None else _canary("", api.deployments, settings)
        if canary:
            _check_canary_stage(name, existing)
        elif existing:
            _check_no_canary(existing)
        # moto is not given the name of an existing stage, because it would replace that stage.
        made = create_deployment(
            self.backend, api.id, None if existing else name, self._get_param("description"), variables
        )
        if existing and canary:
            existing.canary = {**canary, "deploymentId": made.id}
        elif existing:
            existing.deployment_id, existing.variables = made.id, {**existing.variables, **variables}
        if existing:
            made.stage_name, existing.updated = name, int(time.time())
        return 201, {"status": 201}, json.dumps(made.to_json())

    stage.__init__, stage.to_json = stage_init, stage_to_json
    backend.update_stage = update_stage
    response.create_stage, response.create_deployment = create_stage_with_canary, create_deployment_with_canary


def _without_empty(shown: dict[str, Any]) -> dict[str, Any]:
    """Leaves out empty values, as AWS does. false and 0 are not empty."""
    return {key: value for key, value in shown.items() if value not in (None, "", {})}


def _fail_if_tagged(stage: Any) -> None:
    tag = (stage.tags or {}).get(FAILURE_TAG)
    if tag is None:
        return
    if not (failure := _FAILURE.fullmatch(tag)):
        raise BadRequestException(f"{FAILURE_TAG} is '{tag}'; allowed: 'conflict N' or 'throttle N'")
    if not int(failure["left"]):
        return
    stage.tags[FAILURE_TAG] = f"{failure['kind']} {int(failure['left']) - 1}"
    if failure["kind"] == "conflict":
        raise ConflictException("Unable to complete operation due to concurrent modification. Please try again later.")
    raise _TooManyRequests("TooManyRequestsException", "Too Many Requests")


class _TooManyRequests(ApiGatewayException):
    code = 429

    def get_headers(self, *values: Any, **named: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*values, **named), ("Retry-After", "1")]


def _apply(stage: Any, deployments: dict[str, Any], operation: dict[str, str]) -> None:
    op, path, value = operation["op"], operation["path"], operation.get("value", "")
    if op == "copy":
        _copy(stage, path, operation.get("from", ""))
    elif op == "remove":
        _remove(stage, path)
    elif op != "replace":
        raise BadRequestException(f"Invalid {op} operation with path: {path}")
    elif path.startswith(CANARY):
        _replace_in_canary(stage, deployments, path, value)
    else:
        _replace(stage, deployments, path, value)


def _copy(stage: Any, path: str, origin: str) -> None:
    """Promotes the canary. The overrides are added to the variables; variables that only the stage has remain."""
    if _COPIES.get(path) != origin:
        raise BadRequestException(
            f"Invalid copy operation with path: {path} and from {origin}. Valid copy:path are "
            f"[{', '.join(_COPIES)}] and valid copy:from are [{', '.join(_COPIES.values())}]"
        )
    if not stage.canary:
        raise BadRequestException("Promotion not available. Canary does not exist.")
    if path == "/deploymentId":
        stage.deployment_id = stage.canary["deploymentId"]
    else:
        stage.variables = {**stage.variables, **stage.canary["stageVariableOverrides"]}


def _remove(stage: Any, path: str) -> None:
    """Removes a setting. Not recorded: a canary or override that does not exist. This refuses it like other
    settings."""
    override, variable = _OVERRIDE.fullmatch(path), _VARIABLE.fullmatch(path)
    if path == CANARY and stage.canary:
        stage.canary = None
    elif override and stage.canary and override["name"] in stage.canary["stageVariableOverrides"]:
        overrides = {**stage.canary["stageVariableOverrides"]}
        del overrides[override["name"]]
        stage.canary = {**stage.canary, "stageVariableOverrides": overrides}
    elif variable:
        stage.variables = {name: value for name, value in stage.variables.items() if name != variable["name"]}
    elif path == "/accessLogSettings":
        stage.access_log_settings = None
    elif stage.method_settings.pop(path[1:], None) is None:
        raise BadRequestException(
            f"Cannot remove method setting {path[1:]} because there is no method setting for this method "
        )


def _replace(stage: Any, deployments: dict[str, Any], path: str, value: str) -> None:
    if path == "/deploymentId":
        _check_deployment(deployments, value)
        _check_no_canary(stage)
        stage.deployment_id = value
    elif variable := _VARIABLE.fullmatch(path):
        _check_variables({variable["name"]: value})
        stage.variables = {**stage.variables, variable["name"]: value}
    elif _OTHER_SETTING.fullmatch(path):
        stage.apply_operations([{"op": "replace", "path": path, "value": value}])
    else:
        raise _no_setting(path)


def _replace_in_canary(stage: Any, deployments: dict[str, Any], path: str, value: str) -> None:
    """Replaces a canary setting. Creates the canary first if needed, with the stage's deployment and
    without traffic."""
    canary = stage.canary or _canary(stage.deployment_id, deployments, {})
    name = path.removeprefix(f"{CANARY}/")
    if name == "percentTraffic":
        stage.canary = {**canary, name: _percent(value)}
    elif name == "deploymentId":
        _check_deployment(deployments, value)
        stage.canary = {**canary, name: value}
    elif name == "useStageCache":
        stage.canary = {**canary, name: value.lower() == "true"}
    elif override := _OVERRIDE.fullmatch(path):
        _check_variables({override["name"]: value})
        overrides = {**canary["stageVariableOverrides"], override["name"]: value}
        stage.canary = {**canary, "stageVariableOverrides": overrides}
    else:
        raise _no_setting(path)


def _canary(deployment: str, deployments: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Returns a canary of ``deployment``, unless the settings name another one."""
    named, overrides = settings.get("deploymentId"), settings.get("stageVariableOverrides") or {}
    if named:
        _check_deployment(deployments, named)
    _check_variables(overrides)
    return {
        "deploymentId": named or deployment,
        "percentTraffic": _percent(settings.get("percentTraffic", 0.0)),
        "stageVariableOverrides": overrides,
        "useStageCache": bool(settings.get("useStageCache", False)),
    }


def _percent(value: Any) -> float:
    """Returns the percentage. Not recorded: AWS's message for a value that is not valid."""
    try:
        percent = float(value)
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise BadRequestException(f"Invalid percent traffic value {value}. Must be between 0.0 and 100.0")
    return percent


def _check_deployment(deployments: dict[str, Any], deployment: str) -> None:
    if deployment not in deployments:
        raise BadRequestException("Deployment id does not exist")


def _check_variables(variables: dict[str, str]) -> None:
    """Checks names and values. The message for a name is not recorded; that for a value is from
    sirceljm/aws-lambda-blog, issue 10."""
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise BadRequestException(f"Invalid stage variable name: {name}. Only a-zA-Z0-9_ are allowed")
        if not _VALUE.fullmatch(value):
            raise BadRequestException(
                f"Invalid stage variable value: {value}.  Please use values with alphanumeric characters and the "
                "symbols ' ', -', '.', '_', ':', '/', '?', '&', '=', and ','."
            )


def _check_canary_stage(name: str | None, stage: Any) -> None:
    prefix = "Invalid deployment content specified."
    if not name:
        given = "null" if name is None else name
        raise BadRequestException(
            f"{prefix}Non null and non empty stageName must be provided for canary deployment. "
            f"Provided value is {given}"
        )
    if not stage:
        raise BadRequestException(
            f"{prefix}Stage {name} must already be created before making a canary release deployment"
        )


def _check_no_canary(stage: Any) -> None:
    """Raises if the stage has a canary. Developer guide, "Set up an API Gateway canary release deployment": a stage
    "cannot be associated with another non-canary release deployment until the canary is disabled". The message is not
    recorded."""
    if stage.canary:
        raise BadRequestException(
            f"Stage {stage.name} has a canary and accepts no other deployment until it is disabled"
        )


def _no_setting(path: str) -> Exception:
    return BadRequestException(f"Invalid method setting path: {path}. Must be one of: {_SETTINGS}")
