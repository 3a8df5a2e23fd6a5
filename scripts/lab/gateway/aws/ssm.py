"""Systems Manager: runs commands, and lists their invocations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ssm.models import SimpleSystemManagerBackend
from moto.ssm.responses import SimpleSystemManagerResponse

OnInstance = Callable[[str, list[str]], tuple[int, str]]
"""Runs a command's lines on an instance; returns the exit code and the output."""


def run_nothing(instance: str, lines: list[str]) -> tuple[int, str]:
    """The default for instances: runs nothing, because the port is open to every program on this machine."""
    del instance, lines
    return 0, ""


on_instance: OnInstance = run_nothing


def run_commands() -> None:
    """Runs a command on each instance; it is in progress until then. moto calls it a success at once.

    Systems Manager user guide, "Understanding command statuses": a non-zero exit code is Failed; with MaxErrors 0 no
    further instance gets the command after one error; a tag that no instance has ends in NoInstancesInTag.
    """
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
        code, output = on_instance(invocation["InstanceId"], command.parameters["commands"])
        status = "Failed" if code else "Success"
        invocation.update(Status=status, StatusDetails=status, ResponseCode=code, StandardOutputContent=output[:2500])
        command.completed_count += 1
    command.status, command.status_details = status, status if command.invocations else "NoInstancesInTag"


def add_invocation_list() -> None:
    """Adds ListCommandInvocations, which moto does not have.

    API reference: with Details, it returns the first 2,500 characters of each plugin's output.
    """
    response: Any = SimpleSystemManagerResponse

    def list_command_invocations(self: Any) -> Any:
        command = self.ssm_backend.get_command_by_id(self._get_param("CommandId"))
        return ActionResult({"CommandInvocations": [_listed_invocation(one) for one in command.invocations]})

    response.list_command_invocations = list_command_invocations


def _listed_invocation(invocation: dict[str, Any]) -> dict[str, Any]:
    plugin = {
        "Name": invocation["PluginName"],
        "Status": invocation["Status"],
        "ResponseCode": invocation["ResponseCode"],
        "Output": invocation["StandardOutputContent"],
    }
    names = ("CommandId", "InstanceId", "Comment", "DocumentName", "Status", "StatusDetails")
    return {**{key: invocation[key] for key in names}, "CommandPlugins": [plugin]}
