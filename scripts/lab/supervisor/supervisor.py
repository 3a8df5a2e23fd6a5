"""The process that keeps one service running without systemd, like ``Restart=always`` and a timer.

    python -m lab.supervisor.supervisor --directory DIRECTORY --name NAME

If it is killed, its child is killed too (on Linux, by the kernel), and no second child starts while the first one
lives: a child holds a lock that it inherits when it is started.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from task_migration.errors import Failed, MigrationError, Refused
from task_migration.runtime.service import RESTART_SECONDS, STOP_SECONDS
from task_migration.runtime.stop_signal import Stop

from lab.supervisor.pid_file import PidFile, write_pid

LOG_BYTES = 5_000_000
_POLL_SECONDS = 0.1
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LaunchSpec:
    """What one supervisor runs, in ``<name>.json``; ``digest`` is a hash of the service's configuration file."""

    command: tuple[str, ...]
    every_seconds: int | None
    digest: str

    def as_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def of_text(cls, text: str) -> LaunchSpec:
        values = json.loads(text)
        return cls(tuple(values["command"]), values["every_seconds"], values["digest"])


@dataclass(frozen=True)
class ServiceFiles:
    """The files of one service."""

    directory: Path
    name: str

    @property
    def launch_spec(self) -> Path:
        return self.directory / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def supervisor(self) -> PidFile:
        return PidFile(self.directory / f"{self.name}.pid")

    @property
    def child(self) -> PidFile:
        return PidFile(self.directory / f"{self.name}.child.pid")


def supervise(files: ServiceFiles, stop: Stop) -> None:
    """Restarts the child until ``stop`` is set, and then terminates it. Raises Refused if the service already has a
    supervisor."""
    lock = files.supervisor.take()
    if lock is None:
        raise Refused(f"{files.name} already has a supervisor", measured=f"process {files.supervisor.holder()}")
    write_pid(lock, os.getpid())
    spec = LaunchSpec.of_text(files.launch_spec.read_text(encoding="utf-8"))
    _log.info("supervising %s", files.name)
    while not stop:
        started = time.monotonic()
        try:
            ended = f"ended with exit code {_run_child(files, spec, stop)}"
        except (OSError, subprocess.SubprocessError) as error:
            ended = f"could not be started: {error}"
        if stop:
            break
        if spec.every_seconds is None:
            _log.warning("%s %s; restarting in %d s", files.name, ended, RESTART_SECONDS)
            stop.wait(RESTART_SECONDS)
        else:
            stop.wait(max(0.0, started + spec.every_seconds - time.monotonic()))
    _log.info("stopped supervising %s", files.name)


def _run_child(files: ServiceFiles, spec: LaunchSpec, stop: Stop) -> int:
    """Runs the child once; returns its exit code."""
    while (lock := files.child.take(0)) is None:
        # Its supervisor was killed, on a system where the kernel does not kill the child too.
        with suppress(Failed):
            files.child.end(STOP_SECONDS)
        if stop:
            return 0
    try:
        with opened(files.log) as output:
            child = subprocess.Popen(
                spec.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                preexec_fn=_before_exec(os.getpid(), lock),
            )
    finally:
        os.close(lock)
    while child.poll() is None and not stop.wait(_POLL_SECONDS):
        pass
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _before_exec(parent: int, lock: int) -> Callable[[], None]:
    """Returns what a child does before it starts its program: it writes its id, and asks the kernel to kill it when its
    parent dies.

    Killed and not terminated: a child that hangs must not run beside the next one. An interrupted batch is repeated.
    """
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def run() -> None:
        write_pid(lock, os.getpid())
        if prctl is not None:
            prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return run


def opened(log: Path) -> BinaryIO:
    """Opens the log for appending; at 5 MB it is first renamed to ``<name>.log.1``."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")


def main(words: list[str] | None = None) -> int:
    """Supervises one service until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.supervisor.supervisor", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args(words)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s UTC %(levelname)s %(message)s", datefmt="%F %T"
    )
    stop = Stop().on_signals(signal.SIGTERM, signal.SIGINT)
    try:
        supervise(ServiceFiles(arguments.directory, arguments.name), stop)
    except MigrationError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
