"""The settings of an API Gateway stage, read from AWS again and again.

Integrations belong to a deployment and are read once for each. The stage's variables and its canary may change at any
time. While AWS does not answer, the last settings remain active.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

POLL_SECONDS = 0.5
LONGEST_INTEGRATION_SECONDS = 29.0
_NAME = re.compile(r"\{(\w+)(\+?)\}")
_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")


@dataclass(frozen=True)
class Integration:
    """``parameters`` maps each parameter of ``uri`` to a parameter of the request's path."""

    uri: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    seconds: float = LONGEST_INTEGRATION_SECONDS

    def address(self, variables: Mapping[str, str], found: Mapping[str, str]) -> str | None:
        """Returns host, port and path for a request with the path parameters ``found``; None if a variable
        is not set."""
        if any(name not in variables for name in _VARIABLE.findall(self.uri)):
            return None
        uri = _VARIABLE.sub(lambda match: variables[match[1]], self.uri)
        uri = _NAME.sub(lambda match: found.get(self.parameters.get(match[1], ""), ""), uri)
        return uri.removeprefix("http://")


@dataclass(frozen=True)
class Resource:
    """A path with ``{name}`` for one segment and ``{name+}`` for the rest, and its methods. ANY matches
    every method."""

    path: str
    methods: Mapping[str, Integration]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = [
            f"({'.+' if named[2] else '[^/]+'})" if (named := _NAME.fullmatch(part)) else re.escape(part)
            for part in self.path.split("/")
        ]
        object.__setattr__(self, "pattern", re.compile("/".join(parts)))

    @property
    def rank(self) -> list[int]:
        """Returns the sort key: exact segments before ``{name}``, and those before ``{name+}``."""
        return [1 + bool(named[2]) if (named := _NAME.fullmatch(part)) else 0 for part in self.path.split("/")]

    def match(self, path: str) -> dict[str, str] | None:
        """Returns the parameters of a matching path, as integrations name them; None if the path does not match."""
        matched = self.pattern.fullmatch(path)
        if matched is None:
            return None
        names = (named[1] for named in _NAME.finditer(self.path))
        return {f"method.request.path.{name}": value for name, value in zip(names, matched.groups(), strict=True)}


@dataclass(frozen=True)
class GatewaySettings:
    """The settings of one stage. ``percent`` is None without a canary; ``since`` is the time when they
    became active."""

    deployment: str
    variables: Mapping[str, str]
    percent: float | None
    overrides: Mapping[str, str]
    resources: Sequence[Resource]
    since: float = field(default=0.0, compare=False)

    def resource(self, path: str) -> tuple[Resource, dict[str, str]] | None:
        for resource in self.resources:
            if (found := resource.match(path)) is not None:
                return resource, found
        return None

    def variables_for(self, canary: bool) -> Mapping[str, str]:
        """Returns the variables of one request."""
        return {**self.variables, **self.overrides} if canary else self.variables


class StageSettings(threading.Thread):
    """Reads the stage every POLL_SECONDS. New settings become active ``propagation_seconds`` later."""

    def __init__(self, client: Callable[[], Any], rest_api: str, stage: str, propagation_seconds: float = 0.0) -> None:
        super().__init__(name="stage settings", daemon=True)
        self._client = client
        self._rest_api, self._stage = rest_api, stage
        self._propagation_seconds = propagation_seconds
        self._pending: list[tuple[float, GatewaySettings]] = []
        self._newest: GatewaySettings | None = None
        self._stopped = threading.Event()
        self.active: GatewaySettings | None = None
        self.answered_at = 0.0
        """When AWS answered last, as a Unix time; 0 if it never did."""

    def run(self) -> None:
        client, last_error = self._client(), ""
        while not self._stopped.wait(POLL_SECONDS if self.answered_at or last_error else 0):
            try:
                found, error_text = self._read_stage(client), ""
            except (BotoCoreError, ClientError) as error:
                found, error_text = None, str(error)
            if error_text != last_error:
                print(error_text or "the stage can be read again", file=sys.stderr)
                last_error = error_text
            if found is not None and found != self._newest:
                self._newest = found
                self._pending.append((time.monotonic() + self._propagation_seconds, found))
            self._activate_due()
            if found is not None:
                self.answered_at = time.time()

    def end(self) -> None:
        self._stopped.set()

    def _activate_due(self) -> None:
        while self._pending and self._pending[0][0] <= time.monotonic():
            _, settings = self._pending.pop(0)
            object.__setattr__(settings, "since", time.time())
            self.active = settings

    def _read_stage(self, client: Any) -> GatewaySettings:
        stage = client.get_stage(restApiId=self._rest_api, stageName=self._stage)
        canary = stage.get("canarySettings")
        deployment = stage["deploymentId"]
        known = self._newest is not None and self._newest.deployment == deployment
        return GatewaySettings(
            deployment,
            stage.get("variables", {}),
            None if canary is None else float(canary.get("percentTraffic", 0)),
            (canary or {}).get("stageVariableOverrides", {}),
            self._newest.resources if self._newest is not None and known else self._resources(client),
        )

    def _resources(self, client: Any) -> list[Resource]:
        pages = client.get_paginator("get_resources").paginate(restApiId=self._rest_api, embed=["methods"])
        found = [
            Resource(
                item["path"],
                {
                    name: _integration(method["methodIntegration"])
                    for name, method in item.get("resourceMethods", {}).items()
                },
            )
            for page in pages
            for item in page["items"]
        ]
        return sorted(found, key=lambda resource: resource.rank)


def _integration(method_integration: Mapping[str, Any]) -> Integration:
    prefix = "integration.request.path."
    parameters = method_integration.get("requestParameters", {})
    return Integration(
        method_integration["uri"],
        {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)},
        method_integration.get("timeoutInMillis", LONGEST_INTEGRATION_SECONDS * 1000) / 1000,
    )
