"""Checks the variables typed with -e and the inventory, before any other check.

Ansible accepts any name after -e, even one that nothing uses: a misspelt safety switch would have no effect.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.parameters import OF_THE_LAB, Parameter, parameters

# Names that Ansible, AWX and ansible-rulebook (extensions/eda) pass automatically.
FOREIGN_PREFIXES = ("ansible_", "awx_", "tower_", "inventory_dir")


def check_inputs(*, playbook: str, extra_vars: Mapping[str, Any], variable: Callable[[str], Any]) -> Outcome:
    """Refuses unknown names, values that are not valid, and an inventory with a missing key.

    ``extra_vars`` are the variables typed with -e; ``variable`` returns the value of a variable as the playbook sees
    it, None if there is none. Details: ``typed``, the names that were typed.
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
    """Raises Refused for a typed variable that guards an environment: -e must not disable a guard."""
    if parameter.typed == "never" or (parameter.typed == "lab" and environment != "local"):
        raise Refused(
            f"{parameter.name} is set in the inventory and cannot be set with -e ({parameter.about})",
            measured=f"-e {parameter.name}",
            allowed="the inventory's value"
            if parameter.typed == "never"
            else "the inventory's value; -e only in the lab",
            next_step="leave out -e; if the value is wrong, correct it in the inventory's group_vars/all.yml",
        )


def _unknown(name: str, playbook: str, known: list[str]) -> Refused:
    if name == "_raw_params":
        raise Refused(
            "a value with spaces was split at the spaces",
            allowed="quotes inside quotes",
            next_step="""the same command with -e "reason='a few words'\"""",
        )
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return Refused(f"{playbook} has no parameter {name}; did you mean {close[0]}?")
    elsewhere = parameters().get(name)
    if elsewhere is not None:
        return Refused(
            f"{playbook} has no parameter {name}", measured=f"it is a parameter of {', '.join(elsewhere.only)}"
        )
    return Refused(f"{playbook} has no parameter {name}", allowed=", ".join(sorted(known)))


def _check(parameter: Parameter, value: object, where: str) -> None:
    if value is None:
        raise Refused(
            f"{where} is missing ({parameter.about})",
            allowed=parameter.allowed,
            next_step="check -i: it must name an inventory of the migration, such as -i ../inventories/local",
        )
    if not parameter.takes(value):
        measured = "not a connection string" if parameter.type == "dsn" else repr(value)
        raise Refused(f"{where} is not valid ({parameter.about})", measured=measured, allowed=parameter.allowed)


def _check_sense(playbook: str, environment: str, variable: Callable[[str], Any]) -> None:
    if playbook in OF_THE_LAB and environment != "local":
        raise Refused(f"{playbook} runs only in the lab", measured=f"the inventory of {environment}", allowed="local")
    if playbook == "phase-2.4-canary" and variable("sync_sink") == "api":
        raise Refused(
            "users cannot be sent to the Task Service while the sync writes through its API",
            measured="sync_sink=api: a row that the sync writes would look like a user's write, newer than Laravel's",
            allowed="sync_sink=database",
            next_step="set sync_sink to database in the inventory, then ansible-playbook phase-2.3-dual-write.yml",
        )
    if playbook in OF_THE_LAB or variable("laravel_dsn"):
        return
    if environment == "local":
        raise Refused("the lab is down", next_step="ansible-playbook lab-up.yml")
    raise Refused(
        "the inventory's laravel_dsn is empty", next_step="set laravel_dsn in the inventory's group_vars/all.yml"
    )
