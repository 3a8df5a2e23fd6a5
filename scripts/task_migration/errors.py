"""The two ways in which a step can end badly, said so that the operator knows what to do next."""

from __future__ import annotations


class MigrationError(Exception):
    """A step that did not reach its goal; use one of the two subclasses.

    ``what`` says what is wrong, ``measured`` what was found, ``allowed`` what would have been right, and ``next_step``
    the command or statement to type next. The message is one line, and never holds a secret or a row's content.
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
    """The step looked and did not start: nothing was changed."""

    prefix = "Refused, nothing was changed: "


class Failed(MigrationError):
    """The step stopped on its way: something may have been changed, and the message says in what state things are."""

    prefix = "Failed: "
