"""A file that contains the id of a process and is locked for as long as that process lives.

The lock, not the id, shows that the process lives: the kernel releases it however the process ends, and the id may
belong to another process by then. A process that inherits the descriptor holds the lock too.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from task_migration.errors import Failed

_POLL_SECONDS = 0.02
_KILL_SECONDS = 5


@dataclass(frozen=True)
class PidFile:
    """One such file, which may not exist."""

    path: Path

    def take(self, seconds: float = 1) -> int | None:
        """Takes the lock and returns its descriptor; None if another process still holds it after ``seconds``."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + seconds
        while not _locked(descriptor):
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        return descriptor

    def holder(self) -> int | None:
        """Returns the id of the process that holds the lock; 0 if its id is not written yet, None without one."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if _locked(descriptor):
                return None
            text = os.pread(descriptor, 20, 0).decode()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)

    def end(self, seconds: float) -> bool:
        """Terminates the holder, and kills it if it still runs after ``seconds``. Returns whether there was one.

        Raises Failed if the process cannot be killed, for example because it waits for a broken disk.
        """
        found = self.holder() is not None
        until = time.monotonic() + seconds
        asked: set[int] = set()
        while (pid := self.holder()) is not None:
            late = time.monotonic() > until
            if pid and (late or pid not in asked):
                asked.add(pid)
                self._signal(pid, signal.SIGKILL if late else signal.SIGTERM)
            if time.monotonic() > until + _KILL_SECONDS:
                raise Failed(f"process {pid} does not stop", next_step=f"kill -9 {pid}")
            time.sleep(_POLL_SECONDS)
        return found

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Signals the holder only: between the check and the signal its id may become another process's."""
        with suppress(ProcessLookupError):
            if not hasattr(os, "pidfd_open"):
                os.kill(pid, number)
                return
            handle = os.pidfd_open(pid)
            try:
                if self.holder() == pid:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def write_pid(descriptor: int, pid: int) -> None:
    """Writes the process id, atomically for a reader."""
    os.pwrite(descriptor, f"{pid:020d}".encode(), 0)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
