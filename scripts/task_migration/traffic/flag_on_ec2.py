"""Laravel's own flag where Laravel runs on EC2: commands that SSM runs on every instance that bears a tag."""

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
IN_FORCE = "in force"
PAUSE_SECONDS = 1.0
_ENDED = {"Success", "Cancelled", "Failed", "TimedOut"}


@dataclass(frozen=True)
class Ec2FlagSettings:
    """The inventory's ``laravel_flag`` of kind ssm_command.

    ``targets`` are tags and the value that an instance bears; ``directory`` is Laravel's there; ``user`` runs artisan
    ("" for root, who then owns what artisan writes); ``reload`` is a systemd unit that must let go of the old
    configuration (php-fpm); ``parameter`` is an SSM parameter that new instances read, kept in step.
    """

    targets: Annotated[Mapping[str, str], TEXTS]
    directory: Annotated[str, TEXT]
    parameter: Annotated[str, TEXT_OR_NONE] = ""
    user: Annotated[str, TEXT_OR_NONE] = ""
    reload: Annotated[str, TEXT_OR_NONE] = ""
    timeout_seconds: Annotated[float, TIMEOUT] = 300


@dataclass(frozen=True)
class _CommandEnded:
    """What became of a command: the command's id, and status and output by instance."""

    id: str
    status: str
    invocations: Mapping[str, tuple[str, str]]


class Ec2Flag:
    """Turns the flag on every instance."""

    def __init__(self, settings: Ec2FlagSettings, client: Callable[[str], Any]) -> None:
        self._settings = settings
        self._ssm = client("ssm")

    def lacking(self, value: str) -> list[str]:
        """What is not so yet, in words. It asks the instances, by a command that only reads."""
        ended = self._run(self._looking(value), f"look at {_line(value)}", writes=False)
        if bad := _bad(ended):
            raise self._trouble(Refused, "the instances can't be asked for Laravel's flag", ended, bad)
        differing = [
            instance for instance, (_, output) in sorted(ended.invocations.items()) if output.strip() != IN_FORCE
        ]
        name = self._settings.parameter
        apart = bool(name) and flag_parameter.read(self._ssm, name).value != value
        return [*([f"parameter {name}"] if apart else []), *differing]

    def bring(self, value: str, listener: progress.Listener) -> None:
        """Makes it so on every instance, half of them at a time, and stops at the first one that fails."""
        name = self._settings.parameter
        if name and flag_parameter.read(self._ssm, name).value != value:
            flag_parameter.write(self._ssm, name, value)
        with aws.under_way("some instances may have Laravel's flag as it was, some as it shall be"):
            ended = self._run(self._turning(value), f"set {_line(value)}", writes=True, listener=listener)
        if bad := _bad(ended):
            raise self._trouble(Failed, "not every instance has Laravel's flag as it shall be", ended, bad)

    def _looking(self, value: str) -> list[str]:
        return [
            "set -e",
            f"cd {shlex.quote(self._settings.directory)}",
            "test -f .env",
            f"if grep -qx {_line(value)} .env; then echo {IN_FORCE}; else echo differs; fi",
        ]

    def _turning(self, value: str) -> list[str]:
        """The line in .env is written last: while it is not there, not everything before it was done."""
        as_user = f"runuser -u {shlex.quote(self._settings.user)} -- " if self._settings.user else ""
        name = _line(value).partition("=")[0]
        return [
            "set -e",
            f"cd {shlex.quote(self._settings.directory)}",
            "test -f .env",
            f"{as_user}env {_line(value)} php artisan config:cache",
            f"{as_user}php artisan queue:restart",
            *([f"systemctl reload {shlex.quote(self._settings.reload)}"] if self._settings.reload else []),
            f"if grep -q '^{name}=' .env; then sed -i --follow-symlinks 's/^{name}=.*/{_line(value)}/' .env; "
            f"else printf '\\n%s\\n' {_line(value)} >> .env; fi",
        ]

    def _run(
        self, commands: Sequence[str], comment: str, *, writes: bool, listener: progress.Listener = progress.no_listener
    ) -> _CommandEnded:
        """Sends the commands and waits until every instance has ended them."""
        began = time.monotonic()
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
            with aws.translated_errors("see what became of a command"):
                told: dict[str, Any] = next(iter(self._ssm.list_commands(CommandId=sent)["Commands"]), {})
                if told.get("Status") in _ENDED:
                    return _CommandEnded(sent, told["StatusDetails"] or told["Status"], self._invocations(sent))
            waited = time.monotonic() - began
            if waited > self._settings.timeout_seconds:
                return _CommandEnded(sent, f"still {told.get('Status', 'unknown')} after {waited:.0f} s", {})
            done, total = int(told.get("CompletedCount", 0)), int(told.get("TargetCount", 0))
            listener(progress.Progress("turning Laravel's flag", done, total, "instances", waited))
            time.sleep(PAUSE_SECONDS)

    def _invocations(self, sent: str) -> dict[str, tuple[str, str]]:
        pages = self._ssm.get_paginator("list_command_invocations").paginate(CommandId=sent, Details=True)
        return {
            one["InstanceId"]: (one["Status"], "".join(part.get("Output", "") for part in one["CommandPlugins"]))
            for page in pages
            for one in page["CommandInvocations"]
        }

    def _trouble(self, kind: type[MigrationError], what: str, ended: _CommandEnded, bad: str) -> MigrationError:
        """What an instance printed is not repeated: it may be anything."""
        return kind(
            what,
            measured=bad,
            allowed="every instance that bears "
            + ", ".join(f"{key}={value}" for key, value in self._settings.targets.items()),
            next_step=f"aws ssm list-command-invocations --details --command-id {ended.id} says why; then run it again",
        )


def _bad(ended: _CommandEnded) -> str:
    """What went wrong, "" if nothing did. A tag that no instance bears ends in Success, too."""
    if not ended.invocations:
        return f"no instance answered; the command is {ended.status}"
    wrong = [
        f"{instance} {status}" for instance, (status, _) in sorted(ended.invocations.items()) if status != "Success"
    ]
    return ", ".join(wrong)


def _line(value: str) -> str:
    return f"TASK_SERVICE_ENABLED={value}"
