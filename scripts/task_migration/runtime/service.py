"""A program that continues to run after the playbook has ended, and the interface of what keeps it running: systemd, or
in the lab a supervisor.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import task_migration
from task_migration.errors import Refused

RESTART_SECONDS = 1
STOP_SECONDS = 30
"""How long a running batch may take to finish; then it is killed, and the next start repeats it."""

_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Service:
    """One program, with a name that is unique on this machine ("task-migration-sync-forward").

    ``command`` is restarted 1 s after it ends, or with ``every_seconds`` started once per period (at once, then for
    example every hour; never two at a time). ``configuration`` is the file that it reads: the program runs as its
    owner, and is restarted when its content changes. ``writes`` are the folders that it may write to. Paths are
    absolute.
    """

    name: str
    description: str
    command: tuple[str, ...]
    configuration: Path
    every_seconds: int | None = None
    writes: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Refused("not a valid service name", measured=self.name, allowed=_NAME.pattern)
        if any(set("\0\r\n") & set(text) for text in (self.description, *self.command)):
            raise Refused(f"the description and command of {self.name} must not contain line breaks")
        relative = [str(path) for path in (self.configuration, *self.writes) if not path.is_absolute()]
        if relative:
            raise Refused(f"a path of {self.name} is not absolute", measured=", ".join(relative))

    def digest(self) -> str:
        """Returns a hash of the configuration file's content. Raises Refused if it cannot be read."""
        try:
            return hashlib.sha256(self.configuration.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise Refused(f"cannot read {self.configuration}", measured=error.strerror or str(error)) from error


class ServiceHost(Protocol):
    """Keeps services running. Each method can be called again, and then changes nothing."""

    def install(self, service: Service) -> bool:
        """Installs and starts the service; restarts it if it or its configuration changed. Returns whether it did."""

    def remove(self, name: str) -> bool:
        """Stops the service after its current batch, and removes it. Returns whether it was installed."""

    def running(self, name: str) -> bool:
        """Returns whether it is kept running (a periodic one: whether its next run is scheduled)."""

    def installed(self, name: str) -> bool:
        """Returns whether there is anything to remove."""

    def would_change(self, service: Service) -> bool:
        """Returns what ``install`` would return, without changing anything."""


def core_command(*arguments: str) -> tuple[str, ...]:
    """Returns the command that runs ``python -m task_migration`` with these arguments, with this interpreter."""
    return (sys.executable, "-m", "task_migration", *arguments)


def ends_with_the_job() -> bool:
    """Returns whether this is a container of one AWX job: a program that is started in it stops when the job ends."""
    return os.environ.get("AWX_ISOLATED_DATA_DIR", "").startswith("/runner/")


def package_folder() -> Path:
    """Returns the folder that contains this package, for the PYTHONPATH of another process."""
    return Path(str(task_migration.__file__)).resolve().parents[1]
