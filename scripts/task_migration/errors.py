"""The two errors of a step, with messages that name the next command."""

from __future__ import annotations


class MigrationError(Exception):
    """The base class of both errors; raise one of the two subclasses.

    ``what`` is what is wrong, ``measured`` what was found, ``allowed`` what would be right, ``next_step`` the command
    or statement to type next. The message is one line. It never contains a secret or a row's content.
    """

    prefix = ""

    def __init__(self, what: str, *, measured: str = "", allowed: str = "", next_step: str = "") -> None:
        self.what = what
        self.measured = measured
        self.allowed = allowed
        self.next_step = next_step
        super().__init__(self.__str__())

    def __str__(self) -> str:
        parts = [f"{self.prefix}{self.what}"]
        if self.measured:
            parts.append(f"measured: {self.measured}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return "; ".join(" ".join(part.split()) for part in parts)


class Refused(MigrationError):
    """A check failed before the step started: nothing was changed."""

    prefix = "Refused, nothing was changed: "


class Failed(MigrationError):
    """The step stopped after it had started: something may have been changed, and the message describes the state."""

    prefix = "Failed: "
