"""Sets Laravel's flag where Laravel runs on ECS: an SSM parameter that is in the environment of its containers.

A container reads it when it starts, so the value is active once every task was started after the change. That is what
is checked, not only the parameter: a run that was interrupted between the two continues where it stopped.
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
from task_migration.external.retry import Backoff, retried
from task_migration.traffic import flag_parameter

APPEARS_WITHIN_SECONDS = 60.0
"""ECS's answers may be late: for so long a deployment that was started may be missing in them."""
BACKOFF = Backoff(0.5, 10.0, factor=1.5)


@dataclass(frozen=True)
class EcsFlagSettings:
    """The inventory's ``laravel_flag`` of kind ecs. ``timeout_seconds`` bounds the wait for a deployment."""

    parameter: Annotated[str, TEXT]
    cluster: Annotated[str, TEXT]
    service: Annotated[str, TEXT]
    timeout_seconds: Annotated[float, TIMEOUT] = 900


class EcsFlag:
    """Sets the flag of one ECS service."""

    def __init__(self, settings: EcsFlagSettings, client: Callable[[str], Any]) -> None:
        self._settings = settings
        self._ssm, self._ecs = client("ssm"), client("ecs")

    def pending(self, value: str) -> list[str]:
        """Returns what has to be changed, for the operator. Raises Refused if the service cannot be redeployed."""
        stored = flag_parameter.read(self._ssm, self._settings.parameter)
        primary = self._primary(self._service())
        if stored.value != value:
            return [f"parameter {self._settings.parameter}", f"new tasks of {self._settings.service}"]
        return [] if _is_active(primary, stored) else [f"new tasks of {self._settings.service}"]

    def apply(self, value: str, listener: progress.Listener) -> None:
        """Sets the parameter, and waits until only tasks that have read the value are running."""
        name = self._settings.parameter
        if flag_parameter.read(self._ssm, name).value != value:
            flag_parameter.write(self._ssm, name, value)
        with aws.under_way(f"the parameter {name} is {value}, and new tasks read it"):
            stored = flag_parameter.read(self._ssm, name)
            primary = self._primary(self._service())
            under_way = primary["createdAt"] >= stored.changed_at and primary["rolloutState"] == "IN_PROGRESS"
            self._wait_for(str(primary["id"]) if under_way else self._deploy(), value, listener)

    def _deploy(self) -> str:
        """Starts a deployment and returns its id."""
        with aws.translated_errors(f"redeploy {self._settings.service}", writes=True):
            updated = self._ecs.update_service(
                cluster=self._settings.cluster, service=self._settings.service, forceNewDeployment=True
            )
        return str(self._primary(updated["service"])["id"])

    def _wait_for(self, deployment: str, value: str, listener: progress.Listener) -> None:
        """Waits until the deployment is complete. botocore's waiter services_stable would also accept a deployment that
        a circuit breaker rolled back."""
        started, seen = time.monotonic(), False

        def is_complete() -> bool:
            nonlocal seen
            service = self._service()
            primary, waited = self._primary(service), time.monotonic() - started
            own = next((one for one in service["deployments"] if one["id"] == deployment), None)
            seen = seen or own is not None
            if own and own["rolloutState"] == "FAILED":
                raise self._failure("the ECS deployment failed", value, own)
            if primary["id"] != deployment and (seen or waited > APPEARS_WITHIN_SECONDS):
                raise self._failure("another deployment replaced the one that was started", value, primary)
            if own and own["rolloutState"] == "COMPLETED":
                return True
            if waited > self._settings.timeout_seconds:
                raise self._failure(f"ECS is still deploying after {waited:.0f} s", value, own or primary)
            if own:
                running, desired = int(own["runningCount"]), int(own["desiredCount"])
                listener(progress.Progress("waiting for new tasks", running, desired, "tasks", waited))
            return False

        retried(is_complete, backoff=BACKOFF, until=bool)

    def _service(self) -> Any:
        with aws.translated_errors(f"read the ECS service {self._settings.service}"):
            answer = self._ecs.describe_services(cluster=self._settings.cluster, services=[self._settings.service])
        services = [one for one in answer["services"] if one["status"] == "ACTIVE"]
        if not services:
            raise Refused(
                f"there is no ECS service {self._settings.service} in the cluster {self._settings.cluster}",
                measured=", ".join(str(one.get("reason")) for one in answer["failures"]) or "it is not active",
                next_step="correct laravel_flag in the inventory; also check aws_region and the AWS account",
            )
        return services[0]

    def _primary(self, service: Any) -> Any:
        for one in service["deployments"]:
            if one["status"] == "PRIMARY" and "rolloutState" in one:
                return one
        controller = service.get("deploymentController", {}).get("type", "ECS")
        raise Refused(
            f"cannot redeploy the ECS service {self._settings.service}",
            measured=f"deploymentController {controller}",
            allowed="deploymentController ECS",
            next_step="deploy it with its own tool, and set laravel_flag to {} in the inventory",
        )

    def _failure(self, what: str, value: str, deployment: Any) -> Failed:
        service = shlex.join(["--cluster", self._settings.cluster, "--services", self._settings.service])
        return Failed(
            f"{what}; the parameter {self._settings.parameter} is {value}, and new tasks read it",
            measured=f"{deployment['id']} is {deployment['status']} {deployment['rolloutState']}: "
            f"{deployment.get('rolloutStateReason', '')}",
            next_step=f"aws ecs describe-services {service} (shows its events); then run the same command again",
        )


def _is_active(primary: Any, stored: flag_parameter.StoredFlag) -> bool:
    """Returns whether every task was started after the parameter was changed."""
    rolled_back = "rolling back" in str(primary.get("rolloutStateReason", "")).lower()
    return bool(
        primary["createdAt"] >= stored.changed_at and primary["rolloutState"] == "COMPLETED" and not rolled_back
    )
