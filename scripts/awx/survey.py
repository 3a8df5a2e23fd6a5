"""The questions that AWX asks before it runs a playbook: the playbook's parameters, with their bounds.

A question without an answer is not passed on, so the playbook's default applies. No question asks for a secret: those
are in files and credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from task_migration.parameters import Parameter, parameters

from awx.playbook import Playbook

# Keys of the inventory that operators also set for a single run, as the README describes.
ALSO_ASKED: Mapping[str, tuple[str, ...]] = {
    "report": ("report_language",),
    "rollback-2.1": ("allow_destroy",),
}
CONFIRMED = "environment_confirmed"
"""The environment's name. A job has no terminal to ask for it later, so the survey asks for it."""
LONGEST_TEXT = 1024
_TYPES = {"int": "integer", "float": "float", "str": "text", "path": "text", "day": "text"}


def survey(playbook: Playbook, *, is_named: bool) -> dict[str, Any]:
    """Returns the survey of one playbook, in AWX's format; ``spec`` is [] if there is nothing to ask.

    ``is_named``: in this environment its name must be confirmed before anything is written. Raises ValueError for a
    parameter that no survey can ask for: a mapping, a list or a connection string.
    """
    declared = parameters()
    own = [one for one in declared.values() if playbook.name in one.only]
    also = [declared[name] for name in ALSO_ASKED.get(playbook.name, ())]
    needed = {one.name for one in own if playbook.name in one.needed}
    if is_named and not playbook.skips_confirmation:
        needed.add(CONFIRMED)
    asked = [one for one in (*own, *also) if one.name != CONFIRMED or CONFIRMED in needed]
    asked.sort(key=lambda one: one.name not in needed)
    spec = [_question(one, one.name in needed, playbook.defaults.get(one.name)) for one in asked]
    return {"name": "", "description": "", "spec": spec}


def _question(parameter: Parameter, required: bool, default: object) -> dict[str, Any]:
    question: dict[str, Any] = {
        "question_name": parameter.name,
        "question_description": f"{parameter.about} ({parameter.allowed})",
        "variable": parameter.name,
        "required": required,
        "new_question": False,
    }
    if parameter.type == "bool" or parameter.choices:
        choices = ["false", "true"] if parameter.type == "bool" else [str(choice) for choice in parameter.choices]
        # The choices of AWX are always text.
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        more = {"default": shown} if shown in choices else {}
        return {**question, "type": "multiplechoice", "choices": choices, **more}
    if parameter.type not in _TYPES:
        raise ValueError(f"no survey can ask for {parameter.name}: {parameter.allowed}")
    return {**question, "type": _TYPES[parameter.type], **_bounds(parameter), **_default(parameter, default)}


def _bounds(parameter: Parameter) -> dict[str, int]:
    """Returns the bounds. AWX accepts only whole numbers, for text the length; the playbook checks the exact bounds."""
    if parameter.type not in ("int", "float"):
        return {"min": 0 if parameter.empty else 1, "max": LONGEST_TEXT}
    bounds = {"min": parameter.minimum, "max": parameter.maximum}
    return {name: int(bound) for name, bound in bounds.items() if bound is not None and bound == int(bound)}


def _default(parameter: Parameter, default: object) -> dict[str, Any]:
    """Returns the default. AWX requires exactly the question's type: 0.0 and not 0."""
    if default in (None, ""):
        return {}
    if parameter.type == "float":
        return {"default": float(str(default))}
    return {"default": int(str(default)) if parameter.type == "int" else str(default)}
