"""Measures what the conditions of the dual write are judged by: the API, the running sync, Laravel's database."""

from __future__ import annotations

import time

from task_migration import change_log, consistency_history, database, health, switch
from task_migration.conditions import Bounds, Sample
from task_migration.errors import MigrationError
from task_migration.probe import Probe, Probed
from task_migration.vitals import HEALTHY


class Measuring:
    """Takes samples, and remembers since when the sync is unwell or slow. ``probe`` is None without an address."""

    def __init__(self, laravel: database.Side, health_port: int, probe: Probe | None, bounds: Bounds) -> None:
        self._laravel = laravel
        self._health_port = health_port
        self._probe = probe
        self._bounds = bounds
        self._unwell_since: float | None = None
        self._slow_since: float | None = None
        self.position: switch.Position | None = None
        """How the switch stood at the last sample; None if nobody could ask."""

    def sample(self, api: Probed | None = None) -> Sample:
        """One sample; ``api`` in place of what the probe has seen in its window."""
        sync = health.ask(self._health_port)
        lag = ((sync or {}).get("lag_ms_10_s") or {}).get("p95")
        now = time.monotonic()
        well = sync is not None and sync["state"] in HEALTHY
        self._unwell_since = None if well else self._unwell_since or now
        self._slow_since = (self._slow_since or now) if lag is not None and lag > self._bounds.latency_ms else None
        pending, oldest, check, trouble = None, None, None, ""
        try:
            with database.said(self._laravel), database.connect(self._laravel, "watch") as connection:
                self.position = switch.position(connection, "sync_forward")
                if change_log.exists(connection):
                    pending, oldest = change_log.stand(connection)
                else:
                    trouble = "Laravel's database has no change log: nothing is captured"
                check = consistency_history.newest(connection)
        except MigrationError as error:
            self.position, trouble = None, f"{error.what}: {error.measured}" if error.measured else error.what
        return Sample(
            api=api or (self._probe.seen() if self._probe else None),
            sync=sync,
            unwell_seconds=now - self._unwell_since if self._unwell_since else 0.0,
            slow_seconds=now - self._slow_since if self._slow_since else 0.0,
            pending=pending,
            oldest_seconds=oldest,
            check=check,
            laravel_trouble=trouble,
        )
