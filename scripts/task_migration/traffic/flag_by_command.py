"""Laravel's own flag where a command on this machine turns it: a deploy tool, or artisan itself."""

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
    ``look`` prints true or false, as the flag is now; without it nobody can tell, and ``command`` runs each time.
    """

    command: Annotated[Sequence[str], WORDS]
    look: Annotated[Sequence[str], WORDS_OR_NONE] = ()
    directory: Annotated[str, TEXT_OR_NONE] = ""
    timeout_seconds: Annotated[float, TIMEOUT] = 60


class CommandFlag:
    """Turns the flag by a command of the operator's choice."""

    def __init__(self, settings: CommandFlagSettings) -> None:
        self._settings = settings

    def lacking(self, value: str) -> list[str]:
        """What is not so yet, in words. Raises Refused if ``look`` does not say it."""
        ran = shlex.join(self._settings.command)
        if not self._settings.look:
            return [f"{ran} (whether it is needed is not known: laravel_flag has no look)"]
        looked = self._run(self._settings.look, value)
        answer = looked.answer.strip()
        if looked.problem or answer not in ("true", "false"):
            raise Refused(
                "the flag can't be looked at",
                measured=f"{shlex.join(self._settings.look)}: {looked.problem or 'it printed neither true nor false'}",
                allowed="exit code 0, and the one word true or false",
                next_step="correct laravel_flag.look in the inventory",
            )
        return [] if answer == value else [ran]

    def bring(self, value: str, listener: progress.Listener) -> None:
        """Runs the command, and looks whether that was enough."""
        del listener  # how far it is, only the command knows
        ran = self._run(self._settings.command, value)
        by_hand = f"cd {shlex.quote(self._settings.directory)} && " if self._settings.directory else ""
        by_hand += f"TASK_SERVICE_ENABLED={value} {shlex.join(self._argv(self._settings.command, value))}"
        if ran.problem:
            raise Failed(
                "the command that turns Laravel's flag did not end well",
                measured=f"{shlex.join(self._settings.command)}: {ran.problem}",
                allowed=f"exit code 0 within {self._settings.timeout_seconds:g} s",
                next_step=f"to see what it says: {by_hand}",
            )
        if self._settings.look and self.lacking(value):
            raise Failed(
                "the command that turns Laravel's flag ended well, and yet the flag is as it was",
                measured=f"{shlex.join(self._settings.look)} does not print {value}",
                next_step=f"to see what it says: {by_hand}",
            )

    def _run(self, argv: Sequence[str], value: str) -> local_command.Ran:
        return local_command.run(
            self._argv(argv, value),
            timeout_seconds=self._settings.timeout_seconds,
            directory=self._settings.directory,
            environment={"TASK_SERVICE_ENABLED": value},
        )

    def _argv(self, argv: Sequence[str], value: str) -> list[str]:
        return [word.replace("{value}", value) for word in argv]
