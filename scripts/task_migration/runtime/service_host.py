"""Creates the service host that the inventory's ``service_kind`` names."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from task_migration.errors import Refused
from task_migration.runtime.service import ServiceHost

GROUP = "task_migration.service_hosts"
"""The entry points (pyproject.toml) that name the classes, so that the lab can provide its own."""


def host(kind: Literal["systemd", "process"], directory: str | Path) -> ServiceHost:
    """Returns the service host of this kind, which keeps its files in ``directory``.

    systemd reads its units there (/etc/systemd/system). Raises Refused for an unknown kind.
    """
    known = entry_points(group=GROUP)
    if kind not in known.names:
        raise Refused("unknown service_kind", measured=kind, allowed=" or ".join(sorted(known.names)))
    made: ServiceHost = known[kind].load()(Path(os.path.abspath(directory)))
    return made
