"""The process that keeps one service alive where there is no systemd, as ``Restart=always`` and a timer would.

    python -m lab.supervisor.supervisor --directory DIRECTORY --name NAME

Whoever kills it kills its child with it (on Linux, by the kernel's hand), and no second child starts while the first
one lives: a child holds a lock that is handed to it at its birth.
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
class Order:
    """What one supervisor is told, in ``<name>.json``; ``digest`` stands for what the configuration says."""

    command: tuple[str, ...]
    every_seconds: int | None
    digest: str

    def as_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def of_text(cls, text: str) -> Order:
        values = json.loads(text)
        return cls(tuple(values["command"]), values["every_seconds"], values["digest"])


@dataclass(frozen=True)
class Place:
    """The files of one service."""

    directory: Path
    name: str

    @property
    def order(self) -> Path:
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


def supervise(place: Place, stop: Stop) -> None:
    """Runs the child again and again until ``stop`` is set; then lets it end. Raises Refused if another does so."""
    lock = place.supervisor.take()
    if lock is None:
        raise Refused(f"{place.name} is supervised already", measured=f"process {place.supervisor.holder()}")
    write_pid(lock, os.getpid())
    order = Order.of_text(place.order.read_text(encoding="utf-8"))
    _log.info("supervising %s", place.name)
    while not stop:
        began = time.monotonic()
        try:
            ended = f"ended with exit code {_run_child(place, order, stop)}"
        except (OSError, subprocess.SubprocessError) as error:
            ended = f"could not be started: {error}"
        if stop:
            break
        if order.every_seconds is None:
            _log.warning("%s %s; again in %d s", place.name, ended, RESTART_SECONDS)
            stop.wait(RESTART_SECONDS)
        else:
            stop.wait(max(0.0, began + order.every_seconds - time.monotonic()))
    _log.info("supervising %s no more", place.name)


def _run_child(place: Place, order: Order, stop: Stop) -> int:
    """One life of the child; its exit code."""
    while (lock := place.child.take(0)) is None:
        # Left behind by a supervisor that was killed, where no kernel took it along.
        with suppress(Failed):
            place.child.end(STOP_SECONDS)
        if stop:
            return 0
    try:
        with opened(place.log) as output:
            child = subprocess.Popen(
                order.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                preexec_fn=_birth(os.getpid(), lock),
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


def _birth(parent: int, lock: int) -> Callable[[], None]:
    """What a child does before it becomes its program: signs the lock, and asks to be killed when its parent dies.

    Killed, and not asked to end: a child that hangs must not outlive the next one's start, and a batch that is cut is
    replayed.
    """
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def born() -> None:
        write_pid(lock, os.getpid())
        if prctl is not None:
            prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return born


def opened(log: Path) -> BinaryIO:
    """The log, to add to; at 5 MB it becomes ``<name>.log.1`` first."""
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
        supervise(Place(arguments.directory, arguments.name), stop)
    except MigrationError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
