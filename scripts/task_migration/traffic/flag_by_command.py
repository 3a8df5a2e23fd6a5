"""Sets Laravel's flag by a command on this machine: a deploy tool, or artisan itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from task_migration import progress
from task_migration.errors import Failed, Refused
from task_migration.external import local_command
from task_migration.external.inventory_mapping import TEXT_OR_NONE, TIMEOUT, WORDS, WORDS_OR_NONE


@dataclass(frozen=True)
class CommandFlagSettings:
    """The inventory's ``laravel_flag`` of kind command.

    ``command`` is run in ``directory`` with TASK_SERVICE_ENABLED in its environment and in place of ``{value}``.
    ``look`` prints true or false, the present value of the flag; without it ``command`` runs each time.
    """

    command: Annotated[Sequence[str], WORDS]
    look: Annotated[Sequence[str], WORDS_OR_NONE] = ()
    directory: Annotated[str, TEXT_OR_NONE] = ""
    timeout_seconds: Annotated[float, TIMEOUT] = 60


class CommandFlag:
    """Sets the flag by the command in the inventory."""

    def __init__(self, settings: CommandFlagSettings) -> None:
        self._settings = settings

    def pending(self, value: str) -> list[str]:
        """Returns what has to be changed, for the operator. Raises Refused if ``look`` does not print the value."""
        command = shlex.join(self._settings.command)
        if not self._settings.look:
            return [f"{command} (it is not known whether this is needed: laravel_flag.look is not set)"]
        checked = self._run(self._settings.look, value)
        answer = checked.answer.strip()
        if checked.problem or answer not in ("true", "false"):
            raise Refused(
                "cannot read Laravel's flag",
                measured=f"{shlex.join(self._settings.look)}: {checked.problem or 'it printed neither true nor false'}",
                allowed="exit code 0, and the one word true or false",
                next_step="correct laravel_flag.look in the inventory",
            )
        return [] if answer == value else [command]

    def apply(self, value: str, listener: progress.Listener) -> None:
        """Runs the command, then checks the flag. Raises Failed if it did not change."""
        del listener  # only the command knows how far it is
        ran = self._run(self._settings.command, value)
        by_hand = f"cd {shlex.quote(self._settings.directory)} && " if self._settings.directory else ""
        by_hand += f"TASK_SERVICE_ENABLED={value} {shlex.join(self._argv(self._settings.command, value))}"
        if ran.problem:
            raise Failed(
                "the command that sets Laravel's flag failed",
                measured=f"{shlex.join(self._settings.command)}: {ran.problem}",
                allowed=f"exit code 0 within {self._settings.timeout_seconds:g} s",
                next_step=f"to see its output: {by_hand}",
            )
        if self._settings.look and self.pending(value):
            raise Failed(
                "the command succeeded, but Laravel's flag did not change",
                measured=f"{shlex.join(self._settings.look)} does not print {value}",
                next_step=f"to see its output: {by_hand}",
            )

    def _run(self, argv: Sequence[str], value: str) -> local_command.LocalCommandResult:
        return local_command.run(
            self._argv(argv, value),
            timeout_seconds=self._settings.timeout_seconds,
            directory=self._settings.directory,
            environment={"TASK_SERVICE_ENABLED": value},
        )

    def _argv(self, argv: Sequence[str], value: str) -> list[str]:
        return [word.replace("{value}", value) for word in argv]
