"""A background process of the lab: started once, known by its pid file, ended by its own process id.

    one = Background("laravel-app", directory, (sys.executable, "-m", "lab.apps.laravel_app", "--port", "8001", ...))
    one.start(ready=lambda: listens(8001))      # again: False, it runs
    one.stop()

``directory`` holds ``<name>.pid`` (JSON: the process id and its command) and ``<name>.log``. A process id alone proves
nothing, since the system gives it away again: the process is ours only if its command line is the one written down. So
the command must say whose it is, by a path of the lab's among its words. No secret may be in it: everybody can read it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from task_migration.errors import Failed
from task_migration.external import atomic_file

from lab.servers.postgres_server import HOST, alive

START_SECONDS = 20.0
STOP_SECONDS = 10.0
# What a process of the lab may know of whoever started it: no key, token or password of the operator's shell.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class BackgroundProcess:
    """One process. ``command`` begins with the interpreter, which counts for nothing when two commands are compared."""

    name: str
    directory: Path
    command: tuple[str, ...]

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def pid(self) -> int | None:
        """The process id under which it runs with this command; None if it does not."""
        found = self._recorded()
        return found.pid if found is not None and _words(found) == self.command[1:] else None

    def runs(self) -> bool:
        """Whether the process that the pid file tells of runs, with whatever command it was started."""
        return self._recorded() is not None

    def start(
        self,
        ready: Callable[[], bool] = lambda: True,
        *,
        environment: Mapping[str, str] | None = None,
        seconds: float = START_SECONDS,
    ) -> bool:
        """Starts it unless it runs, and waits until ``ready``; one that runs with another command is ended first.

        ``environment`` goes over the little that it gets of ours. Raises Failed with the log's last words if it ends at
        once or is not ready after ``seconds``.
        """
        began = self.launch(environment)
        self.wait(ready, seconds)
        return began

    def launch(self, environment: Mapping[str, str] | None = None) -> bool:
        """As ``start``, without waiting: for several that come up side by side."""
        if self.pid() is not None:
            return False
        self.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with open(os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**kept, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        atomic_file.write(self.pid_file, json.dumps({"pid": process.pid, "command": list(self.command)}) + "\n")
        # It outlives us by design; without this Python would complain that nobody waited for it.
        process.returncode = 0
        return True

    def wait(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Until ``ready``. Raises Failed if the process ends before, or if it takes longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while (gone := self._recorded() is None) or not ready():
            if gone or time.monotonic() > deadline:
                raise Failed(
                    f"{self.name} of the lab {'ended at once' if gone else f'is not up after {seconds:g} s'}",
                    measured=" | ".join(self._last_words()) or "nothing in its log",
                    next_step=f"read {self.log}",
                )
            time.sleep(0.02)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Asks it to end, and ends it after ``seconds``. Its pid file goes, its log stays."""
        found = self._recorded()
        if found is not None:
            end(found, seconds)
        self.pid_file.unlink(missing_ok=True)
        return found is not None

    def _recorded(self) -> psutil.Process | None:
        """The living process that the pid file tells of, sure to be the one that was started."""
        try:
            facts = json.loads(self.pid_file.read_text(encoding="utf-8"))
            process = psutil.Process(int(facts["pid"]))
            if alive(process) and _words(process) == tuple(facts["command"][1:]):
                return process
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            pass
        return None

    def _last_words(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-3:] if self.log.exists() else []


def is_listening(port: int) -> bool:
    """Whether anything accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def leftover_processes(directory: Path) -> list[psutil.Process]:
    """Programs of the lab in ``directory`` that still run though their pid files were deleted by hand."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = _words(process)
            of_the_lab = words[:1] == ("-m",) and "".join(words[1:2]).startswith("lab.")
            if of_the_lab and any(f"{directory}{os.sep}" in word for word in words) and process.pid != os.getpid():
                found.append(process)
    return found


def end(process: psutil.Process, seconds: float = STOP_SECONDS) -> None:
    """SIGTERM, and SIGKILL if that is not heard within ``seconds``; waits until it has ended."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def _words(process: psutil.Process) -> tuple[str, ...]:
    """Its command line after the interpreter."""
    try:
        return tuple(process.cmdline()[1:])
    except psutil.Error:
        return ()
