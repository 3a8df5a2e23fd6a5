"""ECS: lets deployments end.

The service's tag ``lab:deployments`` sets how: ``complete`` (the default), ``fail``, ``roll_back`` or ``hang``. It is
set like any tag (``ecs.tag_resource``).
"""

from __future__ import annotations

from typing import Any

from moto.core.utils import utcnow
from moto.ecs.models import EC2ContainerServiceBackend

DEPLOYMENT_SECONDS = 1.0
DEPLOYMENTS_TAG = "lab:deployments"


def end_deployments() -> None:
    """Lets a deployment complete, fail or be rolled back after a while. moto leaves it in progress forever.

    Amazon ECS API reference, Deployment: rolloutState is IN_PROGRESS, then COMPLETED when the service is steady, or
    FAILED by the circuit breaker. A forced deployment is PRIMARY from the start, and the previous one stays ACTIVE
    until it is drained. After a rollback, the last completed one is PRIMARY again.
    """
    backend: Any = EC2ContainerServiceBackend
    update, describe = backend.update_service, backend.describe_services

    def update_service(self: Any, service_properties: dict[str, Any]) -> Any:
        name = service_properties["service"].split("/")[-1]
        service = self._get_service(service_properties.get("cluster", "default"), name)
        _end_deployment(service)
        before = [dict(one) for one in service.deployments]
        forced = service_properties.get("force_new_deployment", False)
        update(self, service_properties)
        if forced and before:
            count = service.desired_count
            service.deployments[0].update(
                _rollout("IN_PROGRESS", "in progress."), desiredCount=count, runningCount=0, pendingCount=count
            )
            service.deployments[1:] = [{**before[0], "status": "ACTIVE"}]
        return service

    def describe_services(self: Any, cluster_str: str, service_names_or_arns: list[str]) -> Any:
        services, failures = describe(self, cluster_str, service_names_or_arns)
        for service in services:
            _end_deployment(service)
        return services, failures

    backend.update_service, backend.describe_services = update_service, describe_services


def _end_deployment(service: Any) -> None:
    """Ends the deployment if it has been in progress for DEPLOYMENT_SECONDS."""
    if not service.deployments:
        return
    primary, *others = service.deployments
    age = (utcnow() - primary["createdAt"]).total_seconds()
    if primary["rolloutState"] != "IN_PROGRESS" or age < DEPLOYMENT_SECONDS:
        return
    ending = {tag["key"]: tag["value"] for tag in service.tags or []}.get(DEPLOYMENTS_TAG, "complete")
    if ending == "hang":
        return
    if ending == "complete":
        count = service.desired_count
        primary.update(_rollout("COMPLETED", "completed."), runningCount=count, pendingCount=0)
        service.running_count, service.pending_count = count, 0
        service.deployments = [primary]
        return
    primary.update(_rollout("FAILED", "tasks failed to start."), failedTasks=service.desired_count)
    if ending == "roll_back" and others:
        back = {**others[0], "status": "PRIMARY"}
        back.update(_rollout("COMPLETED", f"circuit breaker: rolling back to deploymentId {back['id']}."))
        service.deployments = [back, {**primary, "status": "ACTIVE"}]


def _rollout(state: str, reason: str) -> dict[str, str]:
    return {"rolloutState": state, "rolloutStateReason": f"ECS deployment {reason}"}
