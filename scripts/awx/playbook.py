"""Reads the playbooks' files for the job templates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from task_migration.parameters import OF_THE_LAB

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class Playbook:
    """``name`` is the file's name without ``.yml``, ``title`` the name of its play, ``defaults`` its variables.

    ``is_change``: it checks its target, so it may change something, and ``--check`` is useful. ``skips_confirmation``:
    it does not ask for the environment's name.
    """

    name: str
    title: str
    defaults: dict[str, Any]
    is_change: bool
    skips_confirmation: bool

    @property
    def path(self) -> str:
        """Returns the path from the project's root."""
        return f"playbooks/{self.name}.yml"

    @property
    def is_rollback(self) -> bool:
        return self.name.startswith(("rollback-", "break-glass"))


def playbooks() -> Iterator[Playbook]:
    """Yields the playbooks that operators run outside of the lab, by name."""
    for file in sorted((PROJECT / "playbooks").glob("*.yml")):
        if file.stem not in OF_THE_LAB:
            text = file.read_text(encoding="utf-8")
            (play,) = yaml.safe_load(text)
            yield Playbook(
                name=file.stem,
                title=play["name"],
                defaults=play.get("vars") or {},
                is_change="        tasks_from: target_gate\n" in text,
                skips_confirmation="guard_is_rollback: true" in text,
            )


def inventory(environment: str) -> dict[str, Any]:
    """Returns the keys of an environment's inventory, unrendered."""
    file = PROJECT / "inventories" / environment / "group_vars/all.yml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
