"""Validates settings that the inventory stores as one mapping, such as ``metric_source``.

A dataclass declares the keys and their types: ``name: Annotated[str, TEXT]``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from task_migration.errors import Refused

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Setting:
    """What one key accepts: as text for messages, and as a test."""

    allowed: str
    takes: Callable[[Any], bool]


def is_a(kind: Any, value: Any) -> bool:
    """Returns whether the value is of this type; true and false do not count as numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) and word for word in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) and one for one in value.values())


TEXT = Setting("some text", lambda value: isinstance(value, str) and bool(value.strip()))
TEXT_OR_NONE = Setting("some text", lambda value: isinstance(value, str))
WORDS = Setting("a list of words", lambda value: bool(value) and _are_words(value))
WORDS_OR_NONE = Setting("a list of words", _are_words)
TEXTS = Setting("a mapping of names to texts", lambda value: bool(value) and _are_texts(value))


def seconds(least: float, most: float) -> Setting:
    """Returns a setting for a number of seconds from ``least`` to ``most``, both allowed."""
    return Setting(
        f"seconds from {least:,g} to {most:,g}", lambda value: is_a(int | float, value) and least <= value <= most
    )


TIMEOUT = seconds(1, 7200)


def read_settings(kind: type[_Settings], given: Mapping[str, Any], *, named: str, next_step: str) -> _Settings:
    """Returns the settings of one kind. Raises Refused for a key that is missing, unknown or has an invalid value.

    ``named`` is the mapping's name in messages; ``next_step`` is the next step in messages.
    """
    declared = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    takes = get_type_hints(kind, include_extras=True)

    def wrong(what: str, allowed: str) -> Refused:
        return Refused(f"the inventory's {named} {what}", allowed=allowed, next_step=next_step)

    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(str(name), declared, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise wrong(f"has an unknown key {name}{meant}", ", ".join(declared))
    for name, one in declared.items():
        if name in given:
            setting: Setting = takes[name].__metadata__[0]
            if not setting.takes(given[name]):
                raise wrong(f"has a value that is not valid: {name}={given[name]!r}", setting.allowed)
        elif one.default is dataclasses.MISSING:
            raise wrong(f"has no key {name}, which is required", ", ".join(declared))
    return kind(**given)
