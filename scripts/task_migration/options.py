"""The options of a core function: its parameters, and the fields of each parameter that is a dataclass.

A module documents flat options, such as ``aws_region``. A function that needs several which belong together takes them
as one parameter, such as ``aws: Aws``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""


def arguments_of(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options as the function takes them: those that are fields of a dataclass, in one of its kind.

    A dataclass that has a default, and none of whose fields is an option, is left out.
    """
    parameters = _parameters(function)
    groups = {name: _defaults(one.annotation) for name, one in parameters.items() if is_dataclass(one.annotation)}
    fields = {field for group in groups.values() for field in group}
    made = {name: value for name, value in options.items() if name in parameters or name not in fields}
    for name, group in groups.items():
        given = {field: options[field] for field in group if field in options}
        if given or parameters[name].default is REQUIRED:
            made[name] = parameters[name].annotation(**given)
    return made


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the default of each option that the function takes, ``REQUIRED`` for one without."""
    found: dict[str, Any] = {}
    for name, one in _parameters(function).items():
        found.update(_defaults(one.annotation) if is_dataclass(one.annotation) else {name: one.default})
    return found


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function, eval_str=True).parameters


def _defaults(group: Any) -> dict[str, Any]:
    """Returns the default of each field of a dataclass."""
    found = {}
    for field in dataclasses.fields(group):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        found[field.name] = REQUIRED if made is dataclasses.MISSING else made
    return found
