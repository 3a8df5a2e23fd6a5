"""What a playbook's file says of itself, for those who only see its name in a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from task_migration.arguments import OF_THE_LAB

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Playbook:
    """``name`` is what is typed without ``.yml``, ``title`` what its play is called, ``defaults`` its own values.

    ``is_change``: it takes the operator's lock, so it may change something, and ``--check`` means something.
    """

    name: str
    title: str
    defaults: dict[str, Any]
    is_change: bool

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
            yield Playbook(file.stem, play["name"], play.get("vars") or {}, "        name: lock\n" in text)
