"""Laravel's own flag where Laravel runs on ECS: an SSM parameter that containers take their environment from.

A container reads it when it starts, so the parameter is in force once every task was started after it was changed. That
is what is looked at, and not the parameter alone: a run that was cut off between the two is taken up where it stopped.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from task_migration import progress
from task_migration.errors import Failed, Refused
from task_migration.external import aws
from task_migration.external.inventory_mapping import TEXT, TIMEOUT
from task_migration.traffic import flag_parameter

APPEARS_WITHIN_SECONDS = 60.0
"""ECS's answers may lag: for so long a deployment of ours that is not told yet counts as one that is on its way."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


@dataclass(frozen=True)
class EcsFlagSettings:
    """The inventory's ``laravel_flag`` of kind ecs. ``timeout_seconds`` bounds the wait for a deployment."""

    parameter: Annotated[str, TEXT]
    cluster: Annotated[str, TEXT]
    service: Annotated[str, TEXT]
    timeout_seconds: Annotated[float, TIMEOUT] = 900


class EcsFlag:
    """Turns the flag of one ECS service."""

    def __init__(self, settings: EcsFlagSettings, client: Callable[[str], Any]) -> None:
        self._settings = settings
        self._ssm, self._ecs = client("ssm"), client("ecs")

    def lacking(self, value: str) -> list[str]:
        """What is not so yet, in words. Raises Refused if the service can't be deployed anew."""
        stored = flag_parameter.read(self._ssm, self._settings.parameter)
        primary = self._primary(self._service())
        if stored.value != value:
            return [f"parameter {self._settings.parameter}", f"new tasks of {self._settings.service}"]
        return [] if _in_force(primary, stored) else [f"new tasks of {self._settings.service}"]

    def bring(self, value: str, listener: progress.Listener) -> None:
        """Makes it so, and waits until only tasks that have read the value are left."""
        name = self._settings.parameter
        if flag_parameter.read(self._ssm, name).value != value:
            flag_parameter.write(self._ssm, name, value)
        with aws.under_way(f"the parameter {name} holds {value}, which tasks that start from now on read"):
            stored = flag_parameter.read(self._ssm, name)
            primary = self._primary(self._service())
            under_way = primary["createdAt"] >= stored.changed_at and primary["rolloutState"] == "IN_PROGRESS"
            self._wait_for(str(primary["id"]) if under_way else self._deploy(), value, listener)

    def _deploy(self) -> str:
        """The id of the deployment that this begins."""
        with aws.translated_errors(f"start the tasks of {self._settings.service} anew", writes=True):
            updated = self._ecs.update_service(
                cluster=self._settings.cluster, service=self._settings.service, forceNewDeployment=True
            )
        return str(self._primary(updated["service"])["id"])

    def _wait_for(self, deployment: str, value: str, listener: progress.Listener) -> None:
        """The waiter services_stable is not asked: it is content with what a circuit breaker rolled back, too."""
        began, pause, seen = time.monotonic(), SHORTEST_PAUSE_SECONDS, False
        while True:
            service = self._service()
            primary, waited = self._primary(service), time.monotonic() - began
            ours = next((one for one in service["deployments"] if one["id"] == deployment), None)
            seen = seen or ours is not None
            if ours and ours["rolloutState"] == "FAILED":
                raise self._failed("ECS gave the deployment up", value, ours)
            if primary["id"] != deployment and (seen or waited > APPEARS_WITHIN_SECONDS):
                raise self._failed("another deployment took the place of the one that was begun", value, primary)
            if ours and ours["rolloutState"] == "COMPLETED":
                return
            if waited > self._settings.timeout_seconds:
                raise self._failed(f"ECS is still deploying after {waited:.0f} s", value, ours or primary)
            if ours:
                running, desired = int(ours["runningCount"]), int(ours["desiredCount"])
                listener(progress.Progress("waiting for new tasks", running, desired, "tasks", waited))
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _service(self) -> Any:
        with aws.translated_errors(f"look at the ECS service {self._settings.service}"):
            answer = self._ecs.describe_services(cluster=self._settings.cluster, services=[self._settings.service])
        services = [one for one in answer["services"] if one["status"] == "ACTIVE"]
        if not services:
            raise Refused(
                f"there is no ECS service {self._settings.service} in the cluster {self._settings.cluster}",
                measured=", ".join(str(one.get("reason")) for one in answer["failures"]) or "it is not active",
                next_step="correct laravel_flag in the inventory; also look at aws_region and the account",
            )
        return services[0]

    def _primary(self, service: Any) -> Any:
        for one in service["deployments"]:
            if one["status"] == "PRIMARY" and "rolloutState" in one:
                return one
        controller = service.get("deploymentController", {}).get("type", "ECS")
        raise Refused(
            f"the ECS service {self._settings.service} can't be deployed anew from here",
            measured=f"its deployments are made by {controller}",
            allowed="deploymentController ECS",
            next_step="deploy it with its own tool, and write {} as laravel_flag in the inventory",
        )

    def _failed(self, what: str, value: str, deployment: Any) -> Failed:
        look = shlex.join(["--cluster", self._settings.cluster, "--services", self._settings.service])
        return Failed(
            f"{what}; the parameter {self._settings.parameter} holds {value}, which tasks that start from now on read",
            measured=f"{deployment['id']} is {deployment['status']} {deployment['rolloutState']}: "
            f"{deployment.get('rolloutStateReason', '')}",
            next_step=f"aws ecs describe-services {look} tells its events; then run the same command again",
        )


def _in_force(primary: Any, stored: flag_parameter.Stored) -> bool:
    """Whether every task was started after the parameter was changed."""
    rolled_back = "rolling back" in str(primary.get("rolloutStateReason", "")).lower()
    return bool(
        primary["createdAt"] >= stored.changed_at and primary["rolloutState"] == "COMPLETED" and not rolled_back
    )
