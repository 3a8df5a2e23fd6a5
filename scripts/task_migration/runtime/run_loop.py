"""The loop around the engine's batches: fast while there is work, patient while there is none, never giving up.

A database that is restarted or fails over is waited for. What a human must set right stops the carrying, not the
process: it says so on /health, and goes on by itself when it is right.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psycopg

from task_migration.errors import MigrationError, Refused
from task_migration.external.cloudwatch_publisher import CloudWatchPublisher
from task_migration.external.retry import Backoff
from task_migration.postgres.database import Unreachable
from task_migration.runtime import health_endpoint, latency, sync_metrics
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_metrics import SyncTotals
from task_migration.runtime.sync_status import Look, State, Step, SyncStatus, version

LOOK_SECONDS = 1.0
BLOCKED_SECONDS = 5.0
HISTORY_SECONDS = 10
PUBLISH_SECONDS = 60
RECONNECT_BACKOFF = Backoff(0.1, 5.0, jitter=0.5)
PAUSED_SECONDS = 0.2
# How long to wait after a batch that found nothing, by how long ago there was work. All stay well below the second
# within which the switch must be honoured.
_PAUSES = ((2.0, 0.002), (10.0, 0.05), (float("inf"), 0.2))

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """What carries one direction; ``sync.Worker`` is the one. Each method but close raises MigrationError."""

    def connect(self) -> None: ...
    def step(self) -> Step: ...
    def look(self) -> Look: ...
    def close(self) -> None: ...


def serve(
    worker: Worker,
    *,
    direction: str,
    health_port: int,
    stop: Stop,
    history: Path | None = None,
    publisher: CloudWatchPublisher | None = None,
) -> None:
    """Carries until ``stop`` is set; the batch that is under way then is brought to its end.

    ``history``: a file that gets the lag as one line of JSON every 10 s. ``publisher`` gets the figures once a minute,
    from the loop that carries: one that hangs is silent, and that is an alarm. Raises Refused if the port is taken.
    """
    publisher = publisher or CloudWatchPublisher()
    vitals = SyncStatus(direction, stop)
    with health_endpoint.answering(vitals, health_port) as port:
        _log.info("sync %s started, version %s, health on %s:%d", direction, version(), health_endpoint.HOST, port)
        loop = _Loop(worker, vitals, stop, history, publisher)
        while not stop:
            loop.run()
        loop.publish()
        publisher.close()
        _log.info("sync %s stops; %d entries carried in %d batches", direction, vitals.entries, vitals.batches)


class _Loop:
    def __init__(
        self, worker: Worker, vitals: SyncStatus, stop: Stop, history: Path | None, publisher: CloudWatchPublisher
    ) -> None:
        self._worker = worker
        self._vitals = vitals
        self._stop = stop
        self._history = history
        self._publisher = publisher
        self._published = SyncTotals()
        self._failures = 0
        self._next_look = self._next_sample = self._next_publication = 0.0
        self._last_work = time.monotonic()
        self._said = (0, 0)
        self._history_failed = False

    def run(self) -> None:
        """One connection's life, and the wait before the next one's."""
        wait = 0.0
        try:
            self._worker.connect()
            _log.info("sync %s connected", self._vitals.direction)
            self._next_look = 0.0
            self._carry()
        except (MigrationError, psycopg.Error) as error:
            wait = self._failed(error)
        finally:
            with suppress(MigrationError, psycopg.Error):
                self._worker.close()
        self._pause(wait)

    def _carry(self) -> None:
        while not self._stop:
            if time.monotonic() >= self._next_look and self._look():
                self._pause(LOOK_SECONDS)
                continue
            step = self._worker.step()
            self._failures = 0
            self._vitals.stepped(step)
            self._become("paused" if step.paused else "running")
            self._sample()
            if step.entries:
                self._last_work = time.monotonic()
            else:
                self._stop.wait(PAUSED_SECONDS if step.paused else self._idle_seconds())

    def _idle_seconds(self) -> float:
        idle = time.monotonic() - self._last_work
        return next(pause for below, pause in _PAUSES if idle < below)

    def _look(self) -> str:
        """Looks how things stand, and gives what a human must set right before anything more may be carried."""
        look = self._worker.look()
        self._vitals.looked(look)
        self._say_what_grew()
        if look.problem:
            if self._vitals.become("blocked", look.problem):
                _log.error("sync %s blocked: %s", self._vitals.direction, look.problem)
        else:
            self._next_look = time.monotonic() + LOOK_SECONDS
        return look.problem

    def _become(self, state: State) -> None:
        if self._vitals.become(state):
            _log.info("sync %s %s", self._vitals.direction, state)

    def _failed(self, error: MigrationError | psycopg.Error) -> float:
        """Says what went wrong if that is news, and gives the seconds to wait before the next try."""
        said = _told(error)
        if isinstance(error, Refused) and not isinstance(error, Unreachable):
            if self._vitals.become("blocked", said):
                _log.error("sync %s blocked: %s", self._vitals.direction, said)
            return BLOCKED_SECONDS
        if self._vitals.become("reconnecting", said):
            _log.warning("sync %s reconnecting: %s", self._vitals.direction, said)
        self._failures += 1
        return RECONNECT_BACKOFF.seconds(self._failures)

    def _pause(self, seconds: float) -> None:
        """Waits, or less if it is to stop, and goes on writing the lag's history meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, LOOK_SECONDS)):
            self._sample()

    def _say_what_grew(self) -> None:
        conflicts, held_back = self._vitals.conflicts_seen, self._vitals.held_back_seen
        if conflicts > self._said[0]:
            _log.warning("sync %s: %d conflicts so far, each kept with its loser", self._vitals.direction, conflicts)
        if held_back > self._said[1]:
            _log.warning("sync %s: %d rows held back so far", self._vitals.direction, held_back)
        self._said = (conflicts, held_back)

    def publish(self) -> None:
        """Hands the figures since the last time to CloudWatch, or to nobody."""
        now = SyncTotals(self._vitals.entries, self._vitals.held_back_seen, self._vitals.conflicts_seen)
        figures = sync_metrics.of_sync(self._vitals.as_json(), now, self._published)
        self._published = now
        self._publisher.put(figures, self._vitals.direction)

    def _sample(self) -> None:
        """Keeps the history, and publishes. A disk that is full costs the history, never the sync."""
        if time.monotonic() >= self._next_publication:
            self._next_publication = time.monotonic() + PUBLISH_SECONDS
            self.publish()
        if self._history is None or time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + HISTORY_SECONDS
        try:
            latency.remember(self._history, self._vitals.sample(HISTORY_SECONDS))
            self._history_failed = False
        except OSError as error:
            if not self._history_failed:
                _log.warning("%s could not be written: %s", self._history, error.strerror)
            self._history_failed = True


def _told(error: MigrationError | psycopg.Error) -> str:
    """The error in one line. PostgreSQL's own words may hold a row's content: its code stands for them."""
    return str(error) if isinstance(error, MigrationError) else f"{type(error).__name__} {error.sqlstate or ''}".strip()
