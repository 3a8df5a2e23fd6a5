"""AWS on this machine: moto's server, and where moto is silent or wrong, what AWS documents.

    python -m lab.aws_emulator --port 5005

It takes any credentials, keeps everything in memory, and listens on 127.0.0.1 alone. One function below for each thing
that is not moto's. How a deployment of an ECS service ends is told by a tag of the service, ``lab:deployments``, set
like any tag (``ecs.tag_resource``): ``complete`` (as without the tag), ``fail``, ``roll_back`` or ``hang``.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from task_migration.errors import Refused

from lab.postgres_server import port_is_taken

ADDRESS = "127.0.0.1"
DEPLOYMENT_SECONDS = 1.0
DEPLOYMENTS_TAG = "lab:deployments"

OnInstance = Callable[[str, list[str]], tuple[int, str]]
"""Runs a command's lines on an instance; gives exit code and output."""


def nothing_is_run(instance: str, lines: list[str]) -> tuple[int, str]:
    """What instances do unless a test says otherwise: an open port may not run what it is sent."""
    del instance, lines
    return 0, ""


_on_instance: OnInstance = nothing_is_run


class AwsEmulator:
    """The emulator in this process. ``port`` 0 takes a free one; ``url`` is for ``aws_endpoint_url``.

    moto keeps one world for a process: two emulators in it share theirs.
    """

    def __init__(self, port: int = 0, on_instance: OnInstance = nothing_is_run) -> None:
        self._port, self._on_instance = port, on_instance
        self._server: Any = None
        self.url = ""

    def start(self) -> AwsEmulator:
        """Raises Refused if the port is taken."""
        from moto.server import ThreadedMotoServer

        if self._port and port_is_taken(self._port):
            raise Refused(f"the port {self._port} is taken", next_step="python -m lab.aws_emulator --port 0")
        global _on_instance
        _on_instance = self._on_instance
        extend()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ADDRESS, self._port, verbose=False)
        self._server.start()
        self.url = f"http://{ADDRESS}:{self._server.get_host_and_port()[1]}"
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> AwsEmulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@cache
def extend() -> None:
    """Puts all that follows in moto's place, once."""
    ecs_deployments_end()
    ssm_commands_are_run()
    ssm_lists_invocations()


def ecs_deployments_end() -> None:
    """A deployment completes, fails or is rolled back after a while; moto leaves it in progress for ever.

    Amazon ECS API reference, Deployment: rolloutState is IN_PROGRESS, then COMPLETED when the service is steady, or
    FAILED by the circuit breaker. A forced one is PRIMARY from the start, the one before stays ACTIVE until it is
    drained. With rollback, the last one that completed is PRIMARY again.
    """
    from moto.ecs.models import EC2ContainerServiceBackend

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
    """Ends what has been in progress for long enough."""
    from moto.core.utils import utcnow

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


def ssm_commands_are_run() -> None:
    """A command is in progress, then ends on each instance as the instance does; moto calls it a success at once.

    Systems Manager user guide, "Understanding command statuses": a non-zero exit code is Failed; MaxErrors 0 sends it
    to no further instance after one error; a tag that no instance bears ends in NoInstancesInTag.
    """
    from moto.ssm.models import SimpleSystemManagerBackend

    backend: Any = SimpleSystemManagerBackend
    send = backend.send_command

    def send_command(self: Any, **values: Any) -> Any:
        command = send(self, **values)
        command.status = command.status_details = "InProgress"
        command.completed_count = 0
        command.target_count = len(command.instance_ids)
        for invocation in command.invocations:
            invocation.update(Status="Pending", StatusDetails="Pending", ResponseCode=-1)
        threading.Thread(target=_run, args=(command,), daemon=True).start()
        return command

    backend.send_command = send_command


def _run(command: Any) -> None:
    status = "Success"
    for invocation in command.invocations:
        if status != "Success":
            invocation.update(Status="Cancelled", StatusDetails="Terminated")
            continue
        code, output = _on_instance(invocation["InstanceId"], command.parameters["commands"])
        status = "Failed" if code else "Success"
        invocation.update(Status=status, StatusDetails=status, ResponseCode=code, StandardOutputContent=output[:2500])
        command.completed_count += 1
    command.status, command.status_details = status, status if command.invocations else "NoInstancesInTag"


def ssm_lists_invocations() -> None:
    """ListCommandInvocations, which moto lacks (API reference: with Details, each plugin's first 2,500 characters)."""
    from moto.core.responses import ActionResult
    from moto.ssm.responses import SimpleSystemManagerResponse

    response: Any = SimpleSystemManagerResponse

    def list_command_invocations(self: Any) -> Any:
        command = self.ssm_backend.get_command_by_id(self._get_param("CommandId"))
        return ActionResult({"CommandInvocations": [_told(one) for one in command.invocations]})

    response.list_command_invocations = list_command_invocations


def _told(invocation: dict[str, Any]) -> dict[str, Any]:
    plugin = {
        "Name": invocation["PluginName"],
        "Status": invocation["Status"],
        "ResponseCode": invocation["ResponseCode"],
        "Output": invocation["StandardOutputContent"],
    }
    kept = ("CommandId", "InstanceId", "Comment", "DocumentName", "Status", "StatusDetails")
    return {**{key: invocation[key] for key in kept}, "CommandPlugins": [plugin]}


def main(words: list[str] | None = None) -> None:
    """Listens until SIGTERM or SIGINT; prints its address first."""
    parser = argparse.ArgumentParser(prog="python -m lab.aws_emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    ending = {signal.SIGTERM, signal.SIGINT}
    # Blocked before there is a thread, so that no thread of the server's takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with AwsEmulator(parser.parse_args(words).port) as emulator:
        print(emulator.url, flush=True)
        signal.sigwait(ending)


if __name__ == "__main__":
    main()
