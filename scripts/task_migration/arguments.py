"""What the operator typed with -e and what the inventory says, checked before anything else is looked at.

Ansible takes any name after -e and says nothing when it means nothing: a misspelt safety switch would be no switch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
import yaml
from psycopg.conninfo import conninfo_to_dict

from task_migration.errors import Refused
from task_migration.outcome import Outcome

# Names that Ansible, AWX and ansible-rulebook (extensions/eda) hand over by themselves.
FOREIGN_PREFIXES = ("ansible_", "awx_", "tower_", "inventory_dir")
# Playbooks that need no databases to be there, and are for no other environment.
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
    """One declared name; see parameters.yml for what the fields mean."""

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
        """Whether the value, as typed on a command line or as YAML gave it, is one of this parameter's."""
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
        """A list of words; what is typed as name=value is text, and splitting it would be guessing."""
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
    """Every declared parameter by its name."""
    declared = yaml.safe_load((files("task_migration") / "parameters.yml").read_text(encoding="utf-8"))
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


def arguments(*, playbook: str, extra_vars: Mapping[str, Any], variable: Callable[[str], Any]) -> Outcome:
    """Refuses names that no playbook knows, values that can't be meant, and an inventory that lacks a key.

    ``extra_vars`` are what was typed with -e; ``variable`` gives the value of a variable as the playbook sees it, None
    if there is none. Details: ``typed``, the names that were typed.
    """
    known = {name: one for name, one in parameters().items() if not one.only or playbook in one.only}
    typed = [name for name in extra_vars if not name.startswith(FOREIGN_PREFIXES)]
    for name in typed:
        if name not in known:
            raise _unknown(name, playbook, list(known))
        _check(known[name], extra_vars[name], f"-e {name}")
        _refuse_typed_guard(known[name], variable("migration_environment"))
    for name, one in known.items():
        if not one.only and name not in typed:
            _check(one, variable(name), f"the inventory's {name}")
        elif playbook in one.needed and name not in typed:
            raise Refused(
                f"{playbook} needs -e {name}=... ({one.about})",
                allowed=one.allowed,
                next_step=f"ansible-playbook {playbook}.yml -e {name}=...",
            )
    environment = variable("migration_environment")
    _check_sense(playbook, environment, variable)
    return Outcome(
        False,
        f"{playbook} on {environment}" + (f", with {', '.join(sorted(typed))} from the command line" if typed else ""),
        {"typed": sorted(typed), "migration_environment": environment},
    )


def _refuse_typed_guard(parameter: Parameter, environment: str) -> None:
    """Raises Refused for what guards an environment and was typed: a guard that can be typed away is none."""
    if parameter.typed == "never" or (parameter.typed == "lab" and environment != "local"):
        raise Refused(
            f"{parameter.name} stands in the inventory, and is not typed ({parameter.about})",
            measured=f"-e {parameter.name}",
            allowed="the inventory's" if parameter.typed == "never" else "the inventory's; -e in the lab alone",
            next_step="leave it out; what is wrong there is corrected in the inventory's group_vars/all.yml",
        )


def _unknown(name: str, playbook: str, known: list[str]) -> Refused:
    if name == "_raw_params":
        raise Refused(
            "a value with spaces was cut in pieces",
            allowed="quotes within quotes",
            next_step="""type it as -e "reason='so many words'\"""",
        )
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return Refused(f"{playbook} has no parameter {name}; did you mean {close[0]}?")
    elsewhere = parameters().get(name)
    if elsewhere is not None:
        return Refused(f"{playbook} has no parameter {name}", measured=f"it belongs to {', '.join(elsewhere.only)}")
    return Refused(f"{playbook} has no parameter {name}", allowed=", ".join(sorted(known)))


def _check(parameter: Parameter, value: object, where: str) -> None:
    if value is None:
        raise Refused(
            f"{where} is missing ({parameter.about})",
            allowed=parameter.allowed,
            next_step="look at -i: is this an inventory of the migration, such as inventories/local?",
        )
    if not parameter.takes(value):
        measured = "not a connection string" if parameter.type == "dsn" else repr(value)
        raise Refused(f"{where} can't be used ({parameter.about})", measured=measured, allowed=parameter.allowed)


def _is_connection_string(value: str) -> bool:
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError:
        return False
    return True


def _check_sense(playbook: str, environment: str, variable: Callable[[str], Any]) -> None:
    if playbook in OF_THE_LAB and environment != "local":
        raise Refused(f"{playbook} is for the lab", measured=f"the inventory of {environment}", allowed="local")
    if playbook == "phase-2.4-canary" and variable("sync_sink") == "api":
        raise Refused(
            "users can't go to the Task Service while its own API carries Laravel's writes to it",
            measured="sync_sink=api: what it writes for us would be taken for a user's write, newer than Laravel's",
            allowed="sync_sink=database",
            next_step="set sync_sink to database in the inventory, then ansible-playbook phase-2.3-dual-write.yml",
        )
    if playbook in OF_THE_LAB or variable("laravel_dsn"):
        return
    if environment == "local":
        raise Refused("the lab is down", next_step="ansible-playbook lab-up.yml")
    raise Refused("the inventory's laravel_dsn is empty", next_step="write it in the inventory's group_vars/all.yml")
