"""A background process of the lab: started once, identified by its pid file, ended by its process id.

    one = BackgroundProcess("app", directory, (sys.executable, "-m", "lab.apps.laravel_app", "--port", "8001", ...))
    one.start(ready=lambda: is_listening(8001))      # again: returns False, it already runs
    one.stop()

``directory`` holds ``<name>.pid`` (JSON: the process id and the command) and ``<name>.log``. The system reuses process
ids, so the command line must match the recorded one too. The command therefore has to contain a path of this lab, and
must not contain a secret, because every user of the machine can read it.
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
# The environment variables that a process of the lab inherits. None of them holds a key, token or password.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class BackgroundProcess:
    """One process. ``command`` starts with the interpreter, which is ignored when two commands are compared."""

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
        """Returns the process id if the process runs with this command, else None."""
        found = self._recorded()
        return found.pid if found is not None and _words(found) == self.command[1:] else None

    def runs(self) -> bool:
        """Returns whether the process in the pid file runs, whatever its command."""
        return self._recorded() is not None

    def start(
        self,
        ready: Callable[[], bool] = lambda: True,
        *,
        environment: Mapping[str, str] | None = None,
        seconds: float = START_SECONDS,
    ) -> bool:
        """Starts the process unless it runs, and waits until ``ready``. Ends a process with another command first.

        ``environment`` is added to the inherited variables. Raises Failed with the last lines of the log if the process
        ends or is not ready after ``seconds``. Returns whether it was started.
        """
        began = self.launch(environment)
        self.wait(ready, seconds)
        return began

    def launch(self, environment: Mapping[str, str] | None = None) -> bool:
        """Does the same as ``start`` without waiting, so that several processes start at the same time."""
        if self.pid() is not None:
            return False
        self.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with open(os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**inherited, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        atomic_file.write(self.pid_file, json.dumps({"pid": process.pid, "command": list(self.command)}) + "\n")
        # It outlives this process on purpose. Without this line Python would warn that it was not waited for.
        process.returncode = 0
        return True

    def wait(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Waits until ``ready``. Raises Failed if the process ends first, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while (gone := self._recorded() is None) or not ready():
            if gone or time.monotonic() > deadline:
                raise Failed(
                    f"the lab's process {self.name} {'ended at once' if gone else f'is not ready after {seconds:g} s'}",
                    measured=" | ".join(self._last_lines()) or "its log is empty",
                    next_step=f"read {self.log}",
                )
            time.sleep(0.02)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Asks the process to end, and kills it after ``seconds``. Removes its pid file and keeps its log."""
        found = self._recorded()
        if found is not None:
            terminate(found, seconds)
        self.pid_file.unlink(missing_ok=True)
        return found is not None

    def _recorded(self) -> psutil.Process | None:
        """Returns the running process of the pid file, verified by its command line."""
        try:
            facts = json.loads(self.pid_file.read_text(encoding="utf-8"))
            process = psutil.Process(int(facts["pid"]))
            if alive(process) and _words(process) == tuple(facts["command"][1:]):
                return process
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            pass
        return None

    def _last_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-3:] if self.log.exists() else []


def is_listening(port: int) -> bool:
    """Returns whether a program accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def leftover_processes(directory: Path) -> list[psutil.Process]:
    """Returns the lab's processes for ``directory`` that still run although their pid files were deleted by hand."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = _words(process)
            of_the_lab = words[:1] == ("-m",) and "".join(words[1:2]).startswith("lab.")
            if of_the_lab and any(f"{directory}{os.sep}" in word for word in words) and process.pid != os.getpid():
                found.append(process)
    return found


def terminate(process: psutil.Process, seconds: float = STOP_SECONDS) -> None:
    """Sends SIGTERM, and SIGKILL after ``seconds``. Waits until the process has ended."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def _words(process: psutil.Process) -> tuple[str, ...]:
    """Returns the command line after the interpreter."""
    try:
        return tuple(process.cmdline()[1:])
    except psutil.Error:
        return ()
