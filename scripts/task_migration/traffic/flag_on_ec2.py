"""Sets Laravel's flag where Laravel runs on EC2: SSM runs a command on every instance that has a tag."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from task_migration import progress
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.external import aws
from task_migration.external.inventory_mapping import TEXT, TEXT_OR_NONE, TEXTS, TIMEOUT
from task_migration.traffic import flag_parameter

DOCUMENT = "AWS-RunShellScript"
LEAST_DELIVERY_SECONDS = 30  # SSM takes no less
ACTIVE = "active"
"""What the command prints on an instance whose flag has the value."""
PAUSE_SECONDS = 1.0
_FINISHED = {"Success", "Cancelled", "Failed", "TimedOut"}


@dataclass(frozen=True)
class Ec2FlagSettings:
    """The inventory's ``laravel_flag`` of kind ssm_command.

    ``targets`` are the tags of the instances with their values; ``directory`` is Laravel's on the instance; ``user``
    runs artisan ("" for root, which then owns the files that artisan writes); ``reload`` is a systemd unit to reload,
    so that it drops the old configuration (php-fpm); ``parameter`` is an SSM parameter that new instances read, and
    that gets the same value.
    """

    targets: Annotated[Mapping[str, str], TEXTS]
    directory: Annotated[str, TEXT]
    parameter: Annotated[str, TEXT_OR_NONE] = ""
    user: Annotated[str, TEXT_OR_NONE] = ""
    reload: Annotated[str, TEXT_OR_NONE] = ""
    timeout_seconds: Annotated[float, TIMEOUT] = 300


@dataclass(frozen=True)
class _CommandResult:
    """The result of a command: its id, its status, and status and output by instance."""

    id: str
    status: str
    invocations: Mapping[str, tuple[str, str]]


class Ec2Flag:
    """Sets the flag on every instance."""

    def __init__(self, settings: Ec2FlagSettings, client: Callable[[str], Any]) -> None:
        self._settings = settings
        self._ssm = client("ssm")

    def pending(self, value: str) -> list[str]:
        """Returns what has to be changed, for the operator. Asks the instances by a command that only reads."""
        result = self._run(self._commands_to_read(value), f"read {_env_line(value)}", writes=False)
        if failures := _failures(result):
            raise self._error(Refused, "cannot read Laravel's flag on the instances", result, failures)
        differing = [
            instance for instance, (_, output) in sorted(result.invocations.items()) if output.strip() != ACTIVE
        ]
        name = self._settings.parameter
        differs = bool(name) and flag_parameter.read(self._ssm, name).value != value
        return [*([f"parameter {name}"] if differs else []), *differing]

    def apply(self, value: str, listener: progress.Listener) -> None:
        """Sets the flag on every instance, half of them at a time, and stops at the first one that fails."""
        name = self._settings.parameter
        if name and flag_parameter.read(self._ssm, name).value != value:
            flag_parameter.write(self._ssm, name, value)
        with aws.under_way("Laravel's flag may be changed on some instances and not on others"):
            result = self._run(
                self._commands_to_write(value), f"set {_env_line(value)}", writes=True, listener=listener
            )
        if failures := _failures(result):
            raise self._error(Failed, "Laravel's flag was not set on every instance", result, failures)

    def _commands_to_read(self, value: str) -> list[str]:
        return [
            "set -e",
            f"cd {shlex.quote(self._settings.directory)}",
            "test -f .env",
            f"if grep -qx {_env_line(value)} .env; then echo {ACTIVE}; else echo differs; fi",
        ]

    def _commands_to_write(self, value: str) -> list[str]:
        """The line in .env is written last: it shows that every command before it succeeded."""
        as_user = f"runuser -u {shlex.quote(self._settings.user)} -- " if self._settings.user else ""
        name = _env_line(value).partition("=")[0]
        return [
            "set -e",
            f"cd {shlex.quote(self._settings.directory)}",
            "test -f .env",
            f"{as_user}env {_env_line(value)} php artisan config:cache",
            f"{as_user}php artisan queue:restart",
            *([f"systemctl reload {shlex.quote(self._settings.reload)}"] if self._settings.reload else []),
            f"if grep -q '^{name}=' .env; then sed -i --follow-symlinks 's/^{name}=.*/{_env_line(value)}/' .env; "
            f"else printf '\\n%s\\n' {_env_line(value)} >> .env; fi",
        ]

    def _run(
        self, commands: Sequence[str], comment: str, *, writes: bool, listener: progress.Listener = progress.no_listener
    ) -> _CommandResult:
        """Sends the commands and waits until they are finished on every instance."""
        started = time.monotonic()
        limit = int(self._settings.timeout_seconds)
        with aws.translated_errors("run a command on Laravel's instances", writes=writes):
            sent = self._ssm.send_command(
                Targets=[{"Key": f"tag:{key}", "Values": [one]} for key, one in self._settings.targets.items()],
                DocumentName=DOCUMENT,
                Comment=comment,
                Parameters={"commands": list(commands), "executionTimeout": [str(limit)]},
                TimeoutSeconds=max(LEAST_DELIVERY_SECONDS, limit),
                MaxConcurrency="50%",
                MaxErrors="0",
            )["Command"]["CommandId"]
        while True:
            with aws.translated_errors("read the result of a command"):
                command: dict[str, Any] = next(iter(self._ssm.list_commands(CommandId=sent)["Commands"]), {})
                if command.get("Status") in _FINISHED:
                    return _CommandResult(sent, command["StatusDetails"] or command["Status"], self._invocations(sent))
            waited = time.monotonic() - started
            if waited > self._settings.timeout_seconds:
                return _CommandResult(sent, f"still {command.get('Status', 'unknown')} after {waited:.0f} s", {})
            done, total = int(command.get("CompletedCount", 0)), int(command.get("TargetCount", 0))
            listener(progress.Progress("setting Laravel's flag", done, total, "instances", waited))
            time.sleep(PAUSE_SECONDS)

    def _invocations(self, sent: str) -> dict[str, tuple[str, str]]:
        pages = self._ssm.get_paginator("list_command_invocations").paginate(CommandId=sent, Details=True)
        return {
            one["InstanceId"]: (one["Status"], "".join(part.get("Output", "") for part in one["CommandPlugins"]))
            for page in pages
            for one in page["CommandInvocations"]
        }

    def _error(self, kind: type[MigrationError], what: str, result: _CommandResult, failures: str) -> MigrationError:
        """The output of the instances is left out: it may hold secrets."""
        return kind(
            what,
            measured=failures,
            allowed="success on every instance with the tag "
            + ", ".join(f"{key}={value}" for key, value in self._settings.targets.items()),
            next_step=f"aws ssm list-command-invocations --details --command-id {result.id} (shows why); "
            "then run the same command again",
        )


def _failures(result: _CommandResult) -> str:
    """Returns what failed, "" if nothing did. A command for a tag that no instance has ends in Success, too."""
    if not result.invocations:
        return f"no instance answered; the command is {result.status}"
    wrong = [
        f"{instance} {status}" for instance, (status, _) in sorted(result.invocations.items()) if status != "Success"
    ]
    return ", ".join(wrong)


def _env_line(value: str) -> str:
    return f"TASK_SERVICE_ENABLED={value}"
