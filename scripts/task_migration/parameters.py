"""The names that an operator may type with -e or set in an inventory, as parameters.yml declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from task_migration import yaml_files

# Playbooks that run only in the environment "local", and that need no databases.
OF_THE_LAB = ("lab-up", "lab-down", "lab-fault", "lab-users", "rehearse")
_WORDS = {
    "str": "some text",
    "path": "a path",
    "dsn": "a libpq connection string such as host=... dbname=... user=... passfile=...",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "day": "a day in quotes, such as '2026-01-31'",
    "dict": """a mapping, typed as -e '{"name": {"key": "value"}}'""",
    "list": """a list of words, typed as -e '{"name": ["one", "two"]}'""",
}
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter. parameters.yml describes the fields."""

    name: str
    type: str
    about: str
    choices: tuple[str | int, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    empty: bool = False
    typed: str = ""
    only: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        if self.choices:
            return " or ".join(map(str, self.choices))
        if self.minimum is not None:
            return f"{_WORDS[self.type]} from {self.minimum:,} to {self.maximum:,}"
        return _WORDS[self.type]

    def takes(self, value: object) -> bool:
        """Returns whether this parameter accepts the value, as typed on a command line or as read from YAML."""
        if self.type == "dict":
            return isinstance(value, Mapping)
        if self.type == "list":
            return self._takes_list(value)
        if self.type == "bool":
            return isinstance(value, bool) or str(value).strip().lower() in _TRUTHS
        if self.type in ("int", "float"):
            return self._takes_number(value)
        if self.type == "day":
            return isinstance(value, str) and (_is_day(value) if value else self.empty)
        if self.type == "dsn":
            return isinstance(value, str) and _is_connection_string(value)
        return isinstance(value, str) and bool(value.strip() or self.empty) and value in (self.choices or (value,))

    def _takes_list(self, value: object) -> bool:
        """Returns whether it is a list of words. Text typed as name=value is refused: splitting it would be a guess."""
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        return bool(value or self.empty) and all(isinstance(word, str) and word for word in value)

    def _takes_number(self, value: object) -> bool:
        if isinstance(value, bool):
            return False
        try:
            number = int(str(value)) if self.type == "int" else float(str(value))
        except ValueError:
            return False
        if self.choices:
            return number in self.choices
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)


@cache
def parameters() -> dict[str, Parameter]:
    """Returns every declared parameter by its name."""
    declared = yaml_files.read("parameters.yml")
    return {name: _declared(name, **fields) for name, fields in declared.items()}


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _declared(name: str, **fields: Any) -> Parameter:
    lists: dict[str, Any] = {key: tuple(fields.pop(key, ())) for key in ("choices", "only", "needed")}
    return Parameter(name=name, **lists, **fields)


def _is_connection_string(value: str) -> bool:
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError:
        return False
    return True
