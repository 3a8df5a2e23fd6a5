"""The status of a running sync: its state, metrics and last error, as GET /health and GET /metrics return them."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from task_migration.runtime.latency import LatencyWindow
from task_migration.runtime.stop_signal import Stop

# For annotations only: a command that asks a sync for its health does not load what runs a sync.
if TYPE_CHECKING:
    from task_migration.sync.sync_worker import SyncSnapshot, SyncStep

State = Literal["running", "paused", "reconnecting", "blocked", "stopping"]
HEALTHY: tuple[State, ...] = ("running", "paused")


class SyncStatus:
    """The status of one sync, written by its loop and read by the HTTP server's threads. Starts as reconnecting."""

    def __init__(self, direction: str, stop: Stop) -> None:
        self.direction = direction
        self.latency = LatencyWindow()
        self.entries = self.batches = self.conflicts_seen = self.held_back_seen = 0
        self._stop = stop
        self._lock = threading.RLock()
        self._state: State = "reconnecting"
        self._since = datetime.now(UTC)
        self._snapshot: SyncSnapshot | None = None
        self._waiting = 0
        self._last_error = ""
        self._last_synced_at: datetime | None = None

    @property
    def state(self) -> State:
        return "stopping" if self._stop else self._state

    @property
    def healthy(self) -> bool:
        return self.state in HEALTHY

    def become(self, state: State, error: str = "") -> bool:
        """Sets the state of the loop, and its error if there is one. Returns whether either is new."""
        with self._lock:
            is_new = state != self._state or (error != "" and error != self._last_error)
            if state != self._state:
                self._state, self._since = state, datetime.now(UTC)
            self._last_error = error or self._last_error
            return is_new

    def record_step(self, step: SyncStep) -> None:
        """Adds what one batch did."""
        with self._lock:
            if step.entries:
                self.entries += step.entries
                self.batches += 1
                self.latency.add(step.entries, step.latencies)
                self._last_synced_at = datetime.now(UTC)
            self.conflicts_seen += step.conflicts
            self.held_back_seen += step.held_back
            self._waiting = step.waiting

    def record_snapshot(self, snapshot: SyncSnapshot) -> None:
        """Replaces the state of both sides by a newer one."""
        with self._lock:
            self._snapshot = snapshot

    def as_json(self) -> dict[str, Any]:
        """Returns every value, as GET /health does. Latencies are in ms; a value that is not known yet is null.

        ``conflicts`` and ``held_back`` are the rows recorded on both sides, not those that this process met.
        """
        with self._lock:
            snapshot = self._snapshot
            return {
                "direction": self.direction,
                "state": self.state,
                "since": _text(self._since),
                "pid": os.getpid(),
                "pending": snapshot.pending if snapshot else None,
                "oldest_seconds": snapshot.oldest_seconds if snapshot else None,
                "lag_ms": self.latency.percentiles(),
                "lag_ms_10_s": self.latency.percentiles(seconds=10),
                "entries_per_second": self.latency.entries_per_second(),
                "entries_total": self.entries,
                "batches_total": self.batches,
                "conflicts": snapshot.conflicts if snapshot else None,
                "held_back": snapshot.held_back if snapshot else None,
                "waiting": self._waiting,
                "skew_seconds": snapshot.skew_seconds if snapshot else None,
                "enabled": snapshot.enabled if snapshot else None,
                "last_error": self._last_error,
                "last_carried_at": _text(self._last_synced_at),
                "version": version(),
            }

    def sample(self, seconds: int) -> dict[str, Any]:
        """Returns one line of the latency history: the last ``seconds`` seconds, and what is pending."""
        with self._lock:
            return {
                "at": _text(datetime.now(UTC)),
                "direction": self.direction,
                "state": self.state,
                "pending": self._snapshot.pending if self._snapshot else None,
                "oldest_seconds": self._snapshot.oldest_seconds if self._snapshot else None,
                "lag_ms": self.latency.percentiles(seconds=seconds),
                "entries_per_second": self.latency.entries_per_second(seconds=seconds),
            }

    def buckets(self) -> tuple[list[int], float]:
        """Returns how many latencies are below each bound of ``latency.BUCKETS`` but not below the previous one, and
        the sum of all latencies in seconds."""
        with self._lock:
            return list(self.latency.buckets), self.latency.seconds_in_all


@cache
def version() -> str:
    try:
        return metadata.version("task-migration")
    except metadata.PackageNotFoundError:
        return ""


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None
