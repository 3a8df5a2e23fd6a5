"""A program that runs on when the playbook has ended, kept alive by systemd where there is one, by our own supervisor
elsewhere; both behind one interface.
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
"""So long a batch that is under way may take to its end; then it is cut, which costs a replay and nothing else."""

_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Service:
    """One program, by a name that is its alone on this machine ("task-migration-sync-forward").

    ``command`` is run again 1 s after it ends, or, with ``every_seconds``, once per period (at once, then each hour,
    say; never two at a time). ``configuration`` is the file it reads: its owner is whom the program runs as, and when
    its content changes the program is restarted. ``writes`` are the folders it may write to. Paths are absolute.
    """

    name: str
    description: str
    command: tuple[str, ...]
    configuration: Path
    every_seconds: int | None = None
    writes: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Refused("this is no name of a service", measured=self.name, allowed=_NAME.pattern)
        if any(set("\0\r\n") & set(text) for text in (self.description, *self.command)):
            raise Refused(f"the command of {self.name} must be of single lines")
        relative = [str(path) for path in (self.configuration, *self.writes) if not path.is_absolute()]
        if relative:
            raise Refused(f"a path of {self.name} is not absolute", measured=", ".join(relative))

    def digest(self) -> str:
        """Stands for what the configuration file says now. Raises Refused if it can't be read."""
        try:
            return hashlib.sha256(self.configuration.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise Refused(f"{self.configuration} can't be read", measured=error.strerror or str(error)) from error


class ServiceHost(Protocol):
    """What keeps services alive. Each method may be called again, and finds its work done then."""

    def install(self, service: Service) -> bool:
        """Makes it run as described, restarting it if the description or its configuration changed; True if so."""

    def remove(self, name: str) -> bool:
        """Stops it, letting a batch end, and takes it away; True if it was there."""

    def running(self, name: str) -> bool:
        """Whether it is kept alive now (a periodic one: whether its next run is sure to come)."""

    def installed(self, name: str) -> bool:
        """Whether there is anything to remove."""

    def would_change(self, service: Service) -> bool:
        """What ``install`` would give, without doing it."""


def engine(*arguments: str) -> tuple[str, ...]:
    """The command that runs ``python -m task_migration`` with these arguments, by this very interpreter."""
    return (sys.executable, "-m", "task_migration", *arguments)


def ends_with_the_job() -> bool:
    """Whether this is a container that AWX made for one job: what is begun in it is gone when the job has ended."""
    return os.environ.get("AWX_ISOLATED_DATA_DIR", "").startswith("/runner/")


def package_folder() -> Path:
    """The folder to find this package in, for a process that starts elsewhere."""
    return Path(str(task_migration.__file__)).resolve().parents[1]
