"""What the operator typed with -e and what the inventory says, checked before anything else is looked at.

Ansible takes any name after -e and says nothing when it means nothing: a misspelt safety switch would be no switch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.parameters import OF_THE_LAB, Parameter, parameters

# Names that Ansible, AWX and ansible-rulebook (extensions/eda) hand over by themselves.
FOREIGN_PREFIXES = ("ansible_", "awx_", "tower_", "inventory_dir")


def check_inputs(*, playbook: str, extra_vars: Mapping[str, Any], variable: Callable[[str], Any]) -> Outcome:
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
