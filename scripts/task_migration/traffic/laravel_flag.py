"""Laravel's own flag, for a Laravel that has one: TASK_SERVICE_ENABLED, exactly ``true`` or ``false``.

It is never the way to move traffic, and least of all back: a container takes its environment when it starts, so it is
in force minutes later. On the way there it is turned on before any traffic moves; on the way back traffic goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from task_migration import progress
from task_migration.errors import Refused
from task_migration.external import aws
from task_migration.external.inventory_mapping import read_settings
from task_migration.outcome import Outcome
from task_migration.traffic.flag_by_command import CommandFlag, CommandFlagSettings
from task_migration.traffic.flag_on_ec2 import Ec2Flag, Ec2FlagSettings
from task_migration.traffic.flag_on_ecs import EcsFlag, EcsFlagSettings

KINDS = ("none", "ecs", "ssm_command", "command")

_Settings = TypeVar("_Settings", EcsFlagSettings, Ec2FlagSettings, CommandFlagSettings)


class FlagSwitcher(Protocol):
    """How a flag is turned. ``value`` is "true" or "false"."""

    def lacking(self, value: str) -> list[str]:
        """What is not so yet, in words; empty if nothing is to be done. It touches nothing."""

    def bring(self, value: str, listener: progress.Listener) -> None:
        """Makes it so. Raises Failed, with the state in which things are."""


def laravel_flag(
    *,
    state: Literal["on", "off"],
    laravel_flag: Mapping[str, Any],
    aws_region: str,
    aws_endpoint_url: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Turns Laravel's TASK_SERVICE_ENABLED on or off, and waits until it is in force: minutes on ECS.

    ``laravel_flag`` says how, by its ``kind``: none (or {}), ecs, ssm_command or command; the other keys are those of
    ``OnEcs``, ``OnEc2`` and ``ByCommand``. A run that was cut off is taken up where it stopped. Details: ``kind``,
    ``value``, and ``lacking``, what had to be made so. Raises Refused for settings that can't be meant.
    """
    value = {"on": "true", "off": "false"}[state]
    kind = str(laravel_flag.get("kind", "none"))
    way = _way(kind, laravel_flag, partial(aws.client, aws_region=aws_region, aws_endpoint_url=aws_endpoint_url))
    if way is None:
        return Outcome(
            False, "Laravel's own flag: nothing to do, the inventory's laravel_flag names none", {"kind": "none"}
        )
    lacking = way.lacking(value)
    if lacking and not check:
        way.bring(value, listener)
    done = f"{'would change' if check else 'changed'}: {', '.join(lacking)}" if lacking else "in force already"
    return Outcome(
        bool(lacking),
        f"Laravel's own flag, TASK_SERVICE_ENABLED={value}: {done}",
        {"kind": kind, "value": value, "lacking": lacking},
    )


def _way(kind: str, values: Mapping[str, Any], client: Callable[[str], Any]) -> FlagSwitcher | None:
    if kind == "ecs":
        return EcsFlag(_settings(EcsFlagSettings, values), client)
    if kind == "ssm_command":
        return Ec2Flag(_settings(Ec2FlagSettings, values), client)
    if kind == "command":
        return CommandFlag(_settings(CommandFlagSettings, values))
    if kind != "none" or values.keys() - {"kind"}:
        raise Refused(
            "the inventory's laravel_flag does not say how the flag is turned",
            measured=f"kind {kind}" if "kind" in values else "no kind",
            allowed=f"kind {', '.join(KINDS)}",
            next_step="correct laravel_flag in the inventory; it is {} for a Laravel without a flag",
        )
    return None


def _settings(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    return read_settings(
        kind,
        {name: value for name, value in values.items() if name != "kind"},
        named=f"laravel_flag of kind {values['kind']}",
        next_step="correct laravel_flag in the inventory",
    )
