"""Services without systemd: each under a supervisor of its own, found again by a locked pid file.

A change goes stop, write, start. Killed anywhere on the way, it leaves the service stopped, so that the next install
sees that there is something to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from task_migration.errors import Failed
from task_migration.external import atomic_file
from task_migration.runtime.service import STOP_SECONDS, Service, package_folder

from lab.supervisor.supervisor import Order, Place, opened

SUPERVISOR = "lab.supervisor.supervisor"
START_SECONDS = 15
_MARGIN_SECONDS = 5
# What else an operator's shell holds may be a secret, and would be there to read for as long as the service runs.
_KEPT = (
    *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TZ"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
)


@dataclass(frozen=True)
class Supervised:
    """``directory`` holds, for each service, ``<name>.json`` (what to run), ``.pid``, ``.child.pid`` and ``.log``."""

    directory: Path

    def install(self, service: Service) -> bool:
        """See ``service.Host``. Raises Failed if the supervisor does not start."""
        if not self.would_change(service):
            return False
        place = self._place(service.name)
        self._end(place)
        for folder in (self.directory, *service.writes):
            folder.mkdir(parents=True, exist_ok=True)
        atomic_file.write(place.order, _order(service).as_text())
        self._start(place)
        return True

    def remove(self, name: str) -> bool:
        """See ``service.Host``. The log stays."""
        place = self._place(name)
        if not self.installed(name):
            return False
        self._end(place)
        for path in (place.child.path, place.supervisor.path, place.order):
            path.unlink(missing_ok=True)
        return True

    def running(self, name: str) -> bool:
        """See ``service.Host``."""
        return self._place(name).supervisor.holder() is not None

    def installed(self, name: str) -> bool:
        """See ``service.Host``."""
        place = self._place(name)
        return any(path.exists() for path in (place.order, place.supervisor.path, place.child.path))

    def would_change(self, service: Service) -> bool:
        """See ``service.Host``."""
        try:
            said = self._place(service.name).order.read_text(encoding="utf-8")
        except FileNotFoundError:
            return True
        return said != _order(service).as_text() or not self.running(service.name)

    def _place(self, name: str) -> Place:
        return Place(self.directory, name)

    def _start(self, place: Place) -> None:
        with opened(place.log) as log:
            supervisor = subprocess.Popen(
                (sys.executable, "-m", SUPERVISOR, "--directory", str(self.directory), "--name", place.name),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while place.supervisor.holder() != supervisor.pid:
            if supervisor.poll() is not None or time.monotonic() > until:
                supervisor.kill()
                raise Failed(
                    f"the supervisor of {place.name} did not start",
                    measured=f"exit code {supervisor.wait()}",
                    next_step=f"tail {place.log}",
                )
            time.sleep(0.02)

    def _end(self, place: Place) -> None:
        """Ends the supervisor, which ends its child; and a child that was left alone."""
        place.supervisor.end(STOP_SECONDS + _MARGIN_SECONDS)
        place.child.end(STOP_SECONDS)


def _order(service: Service) -> Order:
    return Order(service.command, service.every_seconds, service.digest())


def _environment() -> dict[str, str]:
    kept = {name: value for name in _KEPT if (value := os.environ.get(name))}
    return {**kept, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(package_folder())}
