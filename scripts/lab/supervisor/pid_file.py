"""A file that names a process and is locked for as long as that process lives.

The lock, not the number, says that it lives: the kernel lets go of it at whatever death, and a number may be another's
by then. Who inherits the descriptor holds the lock too.
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
    """One such file, there or not."""

    path: Path

    def take(self, seconds: float = 1) -> int | None:
        """The descriptor that holds the lock; None if another still holds it after so many seconds."""
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
        """The number of the process that holds the lock; 0 if it has not written it yet, None if nobody does."""
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
        """Asks the holder to end, and kills it if it is still there after so many seconds; True if there was one.

        Raises Failed if even that does not help, as with a process that waits for a dead disk.
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
                raise Failed(f"process {pid} does not end", next_step=f"look at it, then: kill -9 {pid}")
            time.sleep(_POLL_SECONDS)
        return found

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Signals the holder and nobody else: between the look and the signal its number may become another's."""
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
    """Writes whom the file names, in one step for who reads it."""
    os.pwrite(descriptor, f"{pid:020d}".encode(), 0)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
