"""Services without systemd: each has its own supervisor, which is found by a locked pid file.

A change is made in the order stop, write, start. If it is killed in between, the service remains stopped, so that the
next install sees that something is left to do.
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

from lab.supervisor.supervisor import LaunchSpec, ServiceFiles, opened

SUPERVISOR = "lab.supervisor.supervisor"
START_SECONDS = 15
_MARGIN_SECONDS = 5
# Other variables of the operator's shell may be secrets, and would be readable for as long as the service runs.
_KEPT_VARIABLES = (
    *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TZ"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
)


@dataclass(frozen=True)
class Supervised:
    """``directory`` contains for each service ``<name>.json`` (what to run), ``.pid``, ``.child.pid`` and ``.log``."""

    directory: Path

    def install(self, service: Service) -> bool:
        """See ``ServiceHost``. Raises Failed if the supervisor does not start."""
        if not self.would_change(service):
            return False
        files = self._files(service.name)
        self._stop(files)
        for folder in (self.directory, *service.writes):
            folder.mkdir(parents=True, exist_ok=True)
        atomic_file.write(files.launch_spec, _launch_spec(service).as_text())
        self._start(files)
        return True

    def remove(self, name: str) -> bool:
        """See ``ServiceHost``. The log remains."""
        files = self._files(name)
        if not self.installed(name):
            return False
        self._stop(files)
        for path in (files.child.path, files.supervisor.path, files.launch_spec):
            path.unlink(missing_ok=True)
        return True

    def running(self, name: str) -> bool:
        """See ``ServiceHost``."""
        return self._files(name).supervisor.holder() is not None

    def installed(self, name: str) -> bool:
        """See ``ServiceHost``."""
        files = self._files(name)
        return any(path.exists() for path in (files.launch_spec, files.supervisor.path, files.child.path))

    def would_change(self, service: Service) -> bool:
        """See ``ServiceHost``."""
        try:
            written = self._files(service.name).launch_spec.read_text(encoding="utf-8")
        except FileNotFoundError:
            return True
        return written != _launch_spec(service).as_text() or not self.running(service.name)

    def _files(self, name: str) -> ServiceFiles:
        return ServiceFiles(self.directory, name)

    def _start(self, files: ServiceFiles) -> None:
        with opened(files.log) as log:
            supervisor = subprocess.Popen(
                (sys.executable, "-m", SUPERVISOR, "--directory", str(self.directory), "--name", files.name),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while files.supervisor.holder() != supervisor.pid:
            if supervisor.poll() is not None or time.monotonic() > until:
                supervisor.kill()
                raise Failed(
                    f"the supervisor of {files.name} did not start",
                    measured=f"exit code {supervisor.wait()}",
                    next_step=f"tail {files.log}",
                )
            time.sleep(0.02)

    def _stop(self, files: ServiceFiles) -> None:
        """Stops the supervisor, which stops its child; and a child whose supervisor was killed."""
        files.supervisor.end(STOP_SECONDS + _MARGIN_SECONDS)
        files.child.end(STOP_SECONDS)


def _launch_spec(service: Service) -> LaunchSpec:
    return LaunchSpec(service.command, service.every_seconds, service.digest())


def _environment() -> dict[str, str]:
    kept = {name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name))}
    return {**kept, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(package_folder())}
