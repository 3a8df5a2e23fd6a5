"""Sets Laravel's own flag, for a Laravel that has one: TASK_SERVICE_ENABLED, exactly ``true`` or ``false``.

It never moves traffic: a container reads its environment when it starts, so a new value is active minutes later. The
flag is turned on before any traffic moves to the Task Service, and off after all traffic is back at Laravel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

from task_migration import progress
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.external.inventory_mapping import read_settings
from task_migration.outcome import Outcome
from task_migration.traffic.flag_by_command import CommandFlag, CommandFlagSettings
from task_migration.traffic.flag_on_ec2 import Ec2Flag, Ec2FlagSettings
from task_migration.traffic.flag_on_ecs import EcsFlag, EcsFlagSettings

KINDS = ("none", "ecs", "ssm_command", "command")

_Settings = TypeVar("_Settings", EcsFlagSettings, Ec2FlagSettings, CommandFlagSettings)


class FlagSwitcher(Protocol):
    """A way to set the flag. ``value`` is "true" or "false"."""

    def pending(self, value: str) -> list[str]:
        """Returns what has to be changed, for the operator; empty if the flag has the value. Changes nothing."""

    def apply(self, value: str, listener: progress.Listener) -> None:
        """Sets the flag, and waits until it is active. Raises Failed with the state that it left."""


def laravel_flag(
    *,
    state: Literal["on", "off"],
    laravel_flag: Mapping[str, Any],
    aws: Aws,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Turns Laravel's TASK_SERVICE_ENABLED on or off, and waits until it is active: minutes on ECS.

    ``laravel_flag`` says how, by its ``kind``: none (or {}), ecs, ssm_command or command; the other keys are those of
    ``EcsFlagSettings``, ``Ec2FlagSettings`` and ``CommandFlagSettings``. A run that was interrupted continues where it
    stopped. Details: ``kind``, ``value``, and ``lacking``, what had to be changed. Raises Refused if the settings are
    not valid.
    """
    value = {"on": "true", "off": "false"}[state]
    kind = str(laravel_flag.get("kind", "none"))
    switcher = _switcher(kind, laravel_flag, aws.client)
    if switcher is None:
        return Outcome(
            False, "Laravel's flag: nothing to do, laravel_flag is not set in the inventory", {"kind": "none"}
        )
    pending = switcher.pending(value)
    if pending and not check:
        switcher.apply(value, listener)
    done = f"{'would change' if check else 'changed'}: {', '.join(pending)}" if pending else "active already"
    return Outcome(
        bool(pending),
        f"Laravel's flag, TASK_SERVICE_ENABLED={value}: {done}",
        {"kind": kind, "value": value, "lacking": pending},
    )


def _switcher(kind: str, values: Mapping[str, Any], client: Callable[[str], Any]) -> FlagSwitcher | None:
    if kind == "ecs":
        return EcsFlag(_settings(EcsFlagSettings, values), client)
    if kind == "ssm_command":
        return Ec2Flag(_settings(Ec2FlagSettings, values), client)
    if kind == "command":
        return CommandFlag(_settings(CommandFlagSettings, values))
    if kind != "none" or values.keys() - {"kind"}:
        raise Refused(
            "laravel_flag in the inventory has no valid kind",
            measured=f"kind {kind}" if "kind" in values else "no kind",
            allowed=f"kind {', '.join(KINDS)}",
            next_step="correct laravel_flag in the inventory; it is {} if Laravel has no flag",
        )
    return None


def _settings(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    return read_settings(
        kind,
        {name: value for name, value in values.items() if name != "kind"},
        named=f"laravel_flag of kind {values['kind']}",
        next_step="correct laravel_flag in the inventory",
    )
