"""Reads one stage of API Gateway: the settings that divide the traffic of the task routes between both sides.

The integrations of the task routes take their host from one stage variable. A canary overrides it for a percentage of
the requests; a promotion changes the variable itself, for all of them. Moving traffic in either direction needs nothing
else of AWS than GetStage, and UpdateStage on this one stage (stage_change.py).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from task_migration.errors import Refused
from task_migration.external import aws

ONE_WAY = "OneWay"
"""The stage variable that marks the point of no return is named like gateway_variable, with this at its end."""
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_VALUE = re.compile(r"[A-Za-z0-9\-._~:/?#&=,]{1,512}")
"""What API Gateway accepts as the value of a stage variable (API reference, CreateStage)."""


@dataclass(frozen=True)
class Gateway:
    """Where API Gateway divides traffic, and how: the inventory's values, "" while traffic cannot be moved."""

    gateway_rest_api_id: str = ""
    gateway_stage: str = ""
    gateway_variable: str = ""
    laravel_upstream: str = ""
    task_service_upstream: str = ""

    @property
    def title(self) -> str:
        return f"the stage {self.gateway_stage} of {self.gateway_rest_api_id}"

    def command(self, operation: str) -> str:
        """Returns the AWS CLI command for one patch operation."""
        api, name = shlex.quote(self.gateway_rest_api_id), shlex.quote(self.gateway_stage)
        where = f"--rest-api-id {api} --stage-name {name}"
        return f"aws apigateway update-stage {where} --patch-operations {operation}"


@dataclass(frozen=True)
class StageCanary:
    """The canary of a stage: ``percent`` of its requests, chosen at random, use ``overrides`` as variables."""

    percent: float
    deployment_id: str
    overrides: dict[str, str]
    uses_cache: bool


@dataclass(frozen=True)
class Stage:
    """The stage as it was read. ``last_updated`` is aware, by AWS's clock; None where AWS does not return it."""

    gateway: Gateway
    deployment_id: str
    variables: dict[str, str]
    canary: StageCanary | None
    cache_enabled: bool
    last_updated: datetime | None

    @property
    def upstream(self) -> str | None:
        """The value of the variable, used by requests outside the canary."""
        return self.variables.get(self.gateway.gateway_variable)

    @property
    def promoted(self) -> bool:
        """Whether all requests go to the Task Service without a canary. The percentage of a canary then has no
        effect."""
        return self.upstream == self.gateway.task_service_upstream

    @property
    def is_one_way(self) -> bool:
        """Whether the migration is past its point of no return: Laravel refuses writes, so no traffic may go there."""
        return f"{self.gateway.gateway_variable}{ONE_WAY}" in self.variables

    @property
    def has_canary(self) -> bool:
        """Whether a canary sends its percentage, which may be 0, to the Task Service."""
        overrides = self.canary.overrides if self.canary else {}
        return overrides.get(self.gateway.gateway_variable) == self.gateway.task_service_upstream

    @property
    def share(self) -> float:
        """The percentage of requests that go to the Task Service."""
        if self.promoted:
            return 100.0
        return self.canary.percent if self.canary else 0.0

    @property
    def details(self) -> dict[str, Any]:
        """For the journal. Of other variables only the names, because their values may be secret."""
        canary = self.canary
        return {
            "deployment_id": self.deployment_id,
            "variable": self.gateway.gateway_variable,
            "value": self.upstream,
            "canary": canary
            and {
                "percent": canary.percent,
                "deployment_id": canary.deployment_id,
                "value": canary.overrides.get(self.gateway.gateway_variable),
                "uses_cache": canary.uses_cache,
            },
            "other_variables": sorted(self.variables.keys() - {self.gateway.gateway_variable}),
            "cache": self.cache_enabled,
        }

    @property
    def summary(self) -> str:
        """How the stage divides traffic, for the operator."""
        value = f"{self.gateway.gateway_variable}={self.upstream}"
        return f"{value}, {f'a canary at {self.canary.percent:g} %' if self.canary else 'no canary'}"

    def divides_as(self, other: Stage) -> bool:
        """Returns whether both treat requests alike. Other variables may differ."""
        mine, others = ((one.deployment_id, one.upstream, one.canary) for one in (self, other))
        return mine == others


def refuse_invalid(gateway: Gateway) -> None:
    """Raises Refused if a value of the inventory is empty, or is not valid for API Gateway."""
    given = asdict(gateway)
    correct = "correct it in the inventory's group_vars/all.yml"
    empty = [name for name, value in given.items() if not value]
    if empty:
        raise Refused(
            f"cannot move traffic: {', '.join(empty)} {'are' if len(empty) > 1 else 'is'} empty in the inventory",
            next_step="set it in the inventory's group_vars/all.yml",
        )
    if not _NAME.fullmatch(gateway.gateway_variable):
        raise Refused(
            "gateway_variable in the inventory is not a valid name of a stage variable",
            measured=gateway.gateway_variable,
            allowed="up to 64 letters, digits and _",
            next_step=correct,
        )
    for name in ("laravel_upstream", "task_service_upstream"):
        if not _VALUE.fullmatch(given[name]):
            raise Refused(
                f"{name} in the inventory is not a valid value of a stage variable",
                measured=given[name],
                allowed="a host, with a port if needed, such as tasks.example.com:8443",
                next_step=correct,
            )
    if gateway.laravel_upstream == gateway.task_service_upstream:
        raise Refused(
            "laravel_upstream and task_service_upstream in the inventory are the same",
            measured=gateway.laravel_upstream,
            allowed="two different hosts",
            next_step=correct,
        )


def read(client: Any, gateway: Gateway) -> Stage:
    """Reads the stage from AWS. ``client`` is one of apigateway."""
    with aws.translated_errors(f"read {gateway.title}"):
        answer = client.get_stage(restApiId=gateway.gateway_rest_api_id, stageName=gateway.gateway_stage)
    found = answer.get("canarySettings")
    canary = found and StageCanary(
        percent=float(found.get("percentTraffic", 0.0)),
        deployment_id=str(found.get("deploymentId", "")),
        overrides=dict(found.get("stageVariableOverrides") or {}),
        uses_cache=bool(found.get("useStageCache", False)),
    )
    return Stage(
        gateway=gateway,
        deployment_id=str(answer.get("deploymentId", "")),
        variables=dict(answer.get("variables") or {}),
        canary=canary or None,
        cache_enabled=bool(answer.get("cacheClusterEnabled", False)),
        last_updated=answer.get("lastUpdatedDate"),
    )


def refuse_foreign(stage: Stage) -> None:
    """Raises Refused if the variable or the canary was not set by this runbook; its owner may depend on it."""
    where = stage.gateway
    if stage.upstream is None:
        raise Refused(
            f"{where.title} has no variable {where.gateway_variable}",
            measured=f"its variables: {', '.join(sorted(stage.variables)) or 'none'}",
            allowed=f"{where.gateway_variable}, from which the integrations of the task routes take their host",
            next_step="deploy the integrations with that variable, or correct gateway_variable in the inventory",
        )
    if stage.upstream not in (where.laravel_upstream, where.task_service_upstream):
        raise Refused(
            f"{where.title} sends the task routes to a host that is neither side's",
            measured=f"{where.gateway_variable}={stage.upstream}",
            allowed=f"{where.laravel_upstream} or {where.task_service_upstream}",
            next_step="correct laravel_upstream and task_service_upstream in the inventory",
        )
    foreign = list(_foreign(stage))
    if foreign:
        raise Refused(
            f"{where.title} has a canary that is not the runbook's",
            measured="; ".join(foreign),
            allowed=f"no canary, or one that overrides {where.gateway_variable}={where.task_service_upstream} alone",
            next_step=f"find out who created it; to remove it: {where.command('op=remove,path=/canarySettings')}",
        )


def _foreign(stage: Stage) -> Iterator[str]:
    """Yields what in the canary is not the runbook's. A canary at 0 % without overrides is: its creation was
    interrupted."""
    canary, variable = stage.canary, stage.gateway.gateway_variable
    if canary is None:
        return
    if canary.deployment_id != stage.deployment_id:
        yield f"it serves the deployment {canary.deployment_id}, the stage {stage.deployment_id}"
    others = sorted(canary.overrides.keys() - {variable})
    if others:
        yield f"it overrides {', '.join(others)}"
    if variable in canary.overrides and not stage.has_canary:
        yield f"it overrides {variable}={canary.overrides[variable]}"
    if variable not in canary.overrides and canary.percent > 0:
        yield f"it does not override {variable}, at {canary.percent:g} %"


def refuse_cache(stage: Stage) -> None:
    """Raises Refused if both sides would share a cache: a canary of the same deployment uses the same keys."""
    where, allowed = stage.gateway, "no cache while requests go to both sides"
    if stage.cache_enabled:
        off = where.command("op=replace,path=/cacheClusterEnabled,value=false")
        raise Refused(
            f"the cache of {where.title} would return one side's answers for the other side",
            measured="cacheClusterEnabled=true",
            allowed=allowed,
            next_step=f"{off}; then run the same command again",
        )
    if stage.canary and stage.canary.uses_cache:
        off = where.command("op=replace,path=/canarySettings/useStageCache,value=false")
        raise Refused(
            f"the canary of {where.title} uses the stage's cache",
            measured="useStageCache=true",
            allowed=allowed,
            next_step=f"{off}; then run the same command again",
        )
