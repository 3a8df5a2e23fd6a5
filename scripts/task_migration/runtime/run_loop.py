"""The loop around the sync's batches: fast while there is work, slow while there is none; it never gives up.

It waits for a database that restarts or fails over. A problem that only the operator can fix stops the sync but not the
process: GET /health reports it, and the sync continues automatically once the problem is fixed.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from task_migration.errors import MigrationError, Refused
from task_migration.external.cloudwatch_publisher import CloudWatchPublisher
from task_migration.external.retry import Backoff
from task_migration.postgres.database import Unreachable
from task_migration.runtime import health_endpoint, latency, sync_metrics
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_metrics import SyncTotals
from task_migration.runtime.sync_status import State, SyncStatus, version
from task_migration.sync.sync_worker import SyncWorker

SNAPSHOT_SECONDS = 1.0
BLOCKED_SECONDS = 5.0
HISTORY_SECONDS = 10
PUBLISH_SECONDS = 60
RECONNECT_BACKOFF = Backoff(0.1, 5.0, jitter=0.5)
PAUSED_SECONDS = 0.2
# After a batch that found nothing the sync waits for a fifth of the time since the last work, at most 20 ms: few writes
# take little of the processor, and their latency stays far below the bound of 100 ms. After 10 s without work it waits
# longer, still well below the second within which a change of the switch takes effect.
_IDLE_SHARE, _SHORTEST_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 0.2, 0.002, 0.02
_QUIET_AFTER_SECONDS, _QUIET_SECONDS = 10.0, 0.2

_log = logging.getLogger(__name__)


def serve(
    worker: SyncWorker,
    *,
    direction: str,
    health_port: int,
    stop: Stop,
    history: Path | None = None,
    publisher: CloudWatchPublisher | None = None,
) -> None:
    """Runs the sync until ``stop`` is set; a batch that has started is finished.

    ``history``: a file that gets the latency as one line of JSON every 10 s. ``publisher`` gets the metrics once a
    minute, from the loop itself: a loop that hangs publishes nothing, and that raises an alarm. Raises Refused if the
    port is in use.
    """
    publisher = publisher or CloudWatchPublisher()
    status = SyncStatus(direction, stop)
    with health_endpoint.answering(status, health_port) as port:
        _log.info("sync %s started, version %s, health on %s:%d", direction, version(), health_endpoint.HOST, port)
        loop = _Loop(worker, status, stop, history, publisher)
        while not stop:
            loop.run()
        loop.publish()
        publisher.close()
        _log.info("sync %s stops; %d entries synced in %d batches", direction, status.entries, status.batches)


def idle_seconds(since_work: float) -> float:
    """Returns how long to wait after a batch that found nothing, by the seconds since the last work."""
    if since_work >= _QUIET_AFTER_SECONDS:
        return _QUIET_SECONDS
    return min(max(since_work * _IDLE_SHARE, _SHORTEST_IDLE_SECONDS), _LONGEST_IDLE_SECONDS)


class _Loop:
    def __init__(
        self, worker: SyncWorker, status: SyncStatus, stop: Stop, history: Path | None, publisher: CloudWatchPublisher
    ) -> None:
        self._worker = worker
        self._status = status
        self._stop = stop
        self._history = history
        self._publisher = publisher
        self._published = SyncTotals()
        self._failures = 0
        self._next_snapshot = self._next_sample = self._next_publication = 0.0
        self._last_work = time.monotonic()
        self._logged = (0, 0)
        self._history_failed = False

    def run(self) -> None:
        """Runs the sync over one connection until that fails, and waits before the next one."""
        wait = 0.0
        try:
            self._worker.connect()
            _log.info("sync %s connected", self._status.direction)
            self._next_snapshot = 0.0
            self._sync()
        except (MigrationError, psycopg.Error) as error:
            wait = self._after(error)
        finally:
            with suppress(MigrationError, psycopg.Error):
                self._worker.close()
        self._wait(wait)

    def _sync(self) -> None:
        while not self._stop:
            if time.monotonic() >= self._next_snapshot and self._is_blocked():
                self._wait(SNAPSHOT_SECONDS)
                continue
            step = self._worker.step()
            self._failures = 0
            self._status.record_step(step)
            self._become("paused" if step.paused else "running")
            self._sample()
            if step.entries:
                self._last_work = time.monotonic()
            else:
                self._stop.wait(PAUSED_SECONDS if step.paused else idle_seconds(time.monotonic() - self._last_work))

    def _is_blocked(self) -> bool:
        """Takes a snapshot of both sides. Returns whether the operator has to fix a problem before the sync goes on."""
        snapshot = self._worker.snapshot()
        self._status.record_snapshot(snapshot)
        self._log_conflicts()
        if snapshot.problem:
            if self._status.become("blocked", snapshot.problem):
                _log.error("sync %s blocked: %s", self._status.direction, snapshot.problem)
        else:
            self._next_snapshot = time.monotonic() + SNAPSHOT_SECONDS
        return bool(snapshot.problem)

    def _become(self, state: State) -> None:
        if self._status.become(state):
            _log.info("sync %s %s", self._status.direction, state)

    def _after(self, error: MigrationError | psycopg.Error) -> float:
        """Logs the error if it is a new one, and returns the seconds to wait before the next attempt."""
        text = _in_one_line(error)
        if isinstance(error, Refused) and not isinstance(error, Unreachable):
            if self._status.become("blocked", text):
                _log.error("sync %s blocked: %s", self._status.direction, text)
            return BLOCKED_SECONDS
        if self._status.become("reconnecting", text):
            _log.warning("sync %s reconnecting: %s", self._status.direction, text)
        self._failures += 1
        return RECONNECT_BACKOFF.seconds(self._failures)

    def _wait(self, seconds: float) -> None:
        """Waits, or until the stop flag is set, and continues to write the latency history."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, SNAPSHOT_SECONDS)):
            self._sample()

    def _log_conflicts(self) -> None:
        conflicts, held_back = self._status.conflicts_seen, self._status.held_back_seen
        if conflicts > self._logged[0]:
            _log.warning("sync %s: %d conflicts so far; each losing write is stored", self._status.direction, conflicts)
        if held_back > self._logged[1]:
            _log.warning("sync %s: %d rows held back so far", self._status.direction, held_back)
        self._logged = (conflicts, held_back)

    def publish(self) -> None:
        """Publishes the metrics since the last time to CloudWatch, if a namespace is configured."""
        totals = SyncTotals(self._status.entries, self._status.held_back_seen, self._status.conflicts_seen)
        metrics = sync_metrics.of_sync(self._status.as_json(), totals, self._published)
        self._published = totals
        self._publisher.put(metrics, self._status.direction)

    def _sample(self) -> None:
        """Writes the history and publishes the metrics when they are due. A full disk stops the history only."""
        if time.monotonic() >= self._next_publication:
            self._next_publication = time.monotonic() + PUBLISH_SECONDS
            self.publish()
        if self._history is None or time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + HISTORY_SECONDS
        try:
            latency.append_sample(self._history, self._status.sample(HISTORY_SECONDS))
            self._history_failed = False
        except OSError as error:
            if not self._history_failed:
                _log.warning("%s could not be written: %s", self._history, error.strerror)
            self._history_failed = True


def _in_one_line(error: MigrationError | psycopg.Error) -> str:
    """Returns the error in one line. PostgreSQL's message may contain a row's content, so its code is used instead."""
    return str(error) if isinstance(error, MigrationError) else f"{type(error).__name__} {error.sqlstate or ''}".strip()
