"""What a playbook's file says of itself, for those who only see its name in a list."""

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
    """``name`` is what is typed without ``.yml``, ``title`` what its play is called, ``defaults`` its own values.

    ``is_change``: it makes sure of its target, so it may change something, and ``--check`` means something.
    ``is_way_home``: nobody is asked for the environment's name.
    """

    name: str
    title: str
    defaults: dict[str, Any]
    is_change: bool
    is_way_home: bool

    @property
    def path(self) -> str:
        """As seen from the project's root."""
        return f"playbooks/{self.name}.yml"

    @property
    def is_way_back(self) -> bool:
        return self.name.startswith(("rollback-", "break-glass"))


def playbooks() -> Iterator[Playbook]:
    """Those that an operator runs outside of the lab, by name."""
    for file in sorted((PROJECT / "playbooks").glob("*.yml")):
        if file.stem not in OF_THE_LAB:
            text = file.read_text(encoding="utf-8")
            (play,) = yaml.safe_load(text)
            yield Playbook(
                name=file.stem,
                title=play["name"],
                defaults=play.get("vars") or {},
                is_change="        name: target\n" in text,
                is_way_home="target_way_home: true" in text,
            )


def inventory(environment: str) -> dict[str, Any]:
    """The keys of an environment's inventory, as they stand there."""
    file = PROJECT / "inventories" / environment / "group_vars/all.yml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
