"""Measures what the conditions of the dual write are judged by: the API, the running sync, Laravel's database."""

from __future__ import annotations

import time

from task_migration import change_log, consistency_history, database, health, switch
from task_migration.conditions import Bounds, Sample, Sync
from task_migration.errors import MigrationError
from task_migration.probe import Probe, Probed
from task_migration.vitals import HEALTHY


class Following:
    """One direction of the sync, look after look: remembers since when it is unwell, or slower than ``latency_ms``."""

    def __init__(self, health_port: int, latency_ms: float) -> None:
        self._health_port = health_port
        self._latency_ms = latency_ms
        self._unwell_since: float | None = None
        self._slow_since: float | None = None

    def sample(self, pending: int | None, oldest_seconds: float | None, trouble: str) -> Sync:
        """How it is now, with the change log that it carries, which somebody else has asked."""
        told = health.ask(self._health_port)
        lag = ((told or {}).get("lag_ms_10_s") or {}).get("p95")
        now = time.monotonic()
        well = told is not None and told["state"] in HEALTHY
        self._unwell_since = None if well else self._unwell_since or now
        self._slow_since = (self._slow_since or now) if lag is not None and lag > self._latency_ms else None
        return Sync(
            health=told,
            unwell_seconds=now - self._unwell_since if self._unwell_since else 0.0,
            slow_seconds=now - self._slow_since if self._slow_since else 0.0,
            pending=pending,
            oldest_seconds=oldest_seconds,
            trouble=trouble,
        )


class Measuring:
    """Takes samples of the dual write. ``probe`` is None without an address."""

    def __init__(self, laravel: database.Side, health_port: int, probe: Probe | None, bounds: Bounds) -> None:
        self._laravel = laravel
        self._forward = Following(health_port, bounds.latency_ms)
        self._probe = probe
        self.position: switch.Position | None = None
        """How the switch stood at the last sample; None if nobody could ask."""

    def sample(self, api: Probed | None = None) -> Sample:
        """One sample; ``api`` in place of what the probe has seen in its window."""
        pending, oldest, check, trouble = None, None, None, ""
        try:
            with database.said(self._laravel), database.connect(self._laravel, "watch") as connection:
                self.position = switch.position(connection, "sync_forward")
                pending, oldest, trouble = stand(connection)
                check = consistency_history.newest(connection)
        except MigrationError as error:
            self.position, trouble = None, in_short(error)
        return Sample(
            api=api or (self._probe.seen() if self._probe else None),
            forward=self._forward.sample(pending, oldest, trouble),
            check=check,
        )


def stand(connection: database.Connection) -> tuple[int | None, float | None, str]:
    """How many entries are on one side's change log, how old the oldest is, and why nobody knows."""
    if not change_log.exists(connection):
        return None, None, f"{connection.side.title} has no change log: nothing is captured"
    return (*change_log.stand(connection), "")


def in_short(error: MigrationError) -> str:
    """What went wrong, without what to type about it."""
    return f"{error.what}: {error.measured}" if error.measured else error.what
