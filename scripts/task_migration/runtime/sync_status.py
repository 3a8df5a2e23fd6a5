"""What a running sync knows of itself: its state, its figures and its last error, for whoever asks over HTTP."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any, Literal, Protocol

from task_migration.runtime.latency import LatencyWindow
from task_migration.runtime.stop_signal import Stop

State = Literal["running", "paused", "reconnecting", "blocked", "stopping"]
HEALTHY: tuple[State, ...] = ("running", "paused")


class Step(Protocol):
    """What one batch did; ``sync.Step`` says what each field means."""

    @property
    def entries(self) -> int: ...
    @property
    def latencies(self) -> tuple[float, ...]: ...
    @property
    def conflicts(self) -> int: ...
    @property
    def held_back(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def paused(self) -> bool: ...


class Look(Protocol):
    """How things stand on both sides; ``sync.Look`` says what each field means."""

    @property
    def pending(self) -> int: ...
    @property
    def oldest_seconds(self) -> float | None: ...
    @property
    def skew_seconds(self) -> float: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def held_back(self) -> int: ...
    @property
    def conflicts(self) -> int: ...
    @property
    def problem(self) -> str: ...


class SyncStatus:
    """Written by the loop that carries, read by the threads that answer. Begins as reconnecting."""

    def __init__(self, direction: str, stop: Stop) -> None:
        self.direction = direction
        self.lag = LatencyWindow()
        self.entries = self.batches = self.conflicts_seen = self.held_back_seen = 0
        self._stop = stop
        self._lock = threading.RLock()
        self._state: State = "reconnecting"
        self._since = datetime.now(UTC)
        self._look: Look | None = None
        self._waiting = 0
        self._last_error = ""
        self._last_carried_at: datetime | None = None

    @property
    def state(self) -> State:
        return "stopping" if self._stop else self._state

    @property
    def healthy(self) -> bool:
        return self.state in HEALTHY

    def become(self, state: State, error: str = "") -> bool:
        """Says in what state the loop is, and why if that is an error; True if that is news."""
        with self._lock:
            news = state != self._state or (error != "" and error != self._last_error)
            if state != self._state:
                self._state, self._since = state, datetime.now(UTC)
            self._last_error = error or self._last_error
            return news

    def stepped(self, step: Step) -> None:
        with self._lock:
            if step.entries:
                self.entries += step.entries
                self.batches += 1
                self.lag.add(step.entries, step.latencies)
                self._last_carried_at = datetime.now(UTC)
            self.conflicts_seen += step.conflicts
            self.held_back_seen += step.held_back
            self._waiting = step.waiting

    def looked(self, look: Look) -> None:
        with self._lock:
            self._look = look

    def as_json(self) -> dict[str, Any]:
        """Every figure, as GET /health gives it. Latencies in ms; what is not known yet is null.

        ``conflicts`` and ``held_back`` are what stands on both sides, not what this process met.
        """
        with self._lock:
            look = self._look
            return {
                "direction": self.direction,
                "state": self.state,
                "since": _text(self._since),
                "pid": os.getpid(),
                "pending": look.pending if look else None,
                "oldest_seconds": look.oldest_seconds if look else None,
                "lag_ms": self.lag.percentiles(),
                "lag_ms_10_s": self.lag.percentiles(seconds=10),
                "entries_per_second": self.lag.entries_per_second(),
                "entries_total": self.entries,
                "batches_total": self.batches,
                "conflicts": look.conflicts if look else None,
                "held_back": look.held_back if look else None,
                "waiting": self._waiting,
                "skew_seconds": look.skew_seconds if look else None,
                "enabled": look.enabled if look else None,
                "last_error": self._last_error,
                "last_carried_at": _text(self._last_carried_at),
                "version": version(),
            }

    def sample(self, seconds: int) -> dict[str, Any]:
        """One line of the lag's history: the last so many seconds, and what is pending."""
        with self._lock:
            return {
                "at": _text(datetime.now(UTC)),
                "direction": self.direction,
                "state": self.state,
                "pending": self._look.pending if self._look else None,
                "oldest_seconds": self._look.oldest_seconds if self._look else None,
                "lag_ms": self.lag.percentiles(seconds=seconds),
                "entries_per_second": self.lag.entries_per_second(seconds=seconds),
            }

    def buckets(self) -> tuple[list[int], float]:
        """How many latencies fell below each bound of ``lag.BUCKETS`` but not below the one before; seconds in all."""
        with self._lock:
            return list(self.lag.buckets), self.lag.seconds_in_all


@cache
def version() -> str:
    try:
        return metadata.version("task-migration")
    except metadata.PackageNotFoundError:
        return ""


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None
