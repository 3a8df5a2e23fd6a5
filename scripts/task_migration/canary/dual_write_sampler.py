"""Measures what the conditions of the dual write are judged by: the API, the running sync, Laravel's database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from task_migration.canary import soak_gate
from task_migration.canary.api_probe import ApiProbe, ApiProbeResult
from task_migration.canary.metric_source import Unmeasured
from task_migration.canary.rollback_conditions import DualWriteBounds, DualWriteSample, SyncSample, UnreachableDatabase
from task_migration.control import consistency_history, journal, sync_switch
from task_migration.errors import MigrationError
from task_migration.postgres import database
from task_migration.runtime import health_endpoint
from task_migration.runtime.sync_status import HEALTHY
from task_migration.sync import change_log


class SyncMonitor:
    """Samples one direction of the sync; remembers since when it is unwell, or slower than ``latency_ms``."""

    def __init__(self, health_port: int, latency_ms: float) -> None:
        self._health_port = health_port
        self._latency_ms = latency_ms
        self._unwell_since: float | None = None
        self._slow_since: float | None = None
        self._unreachable: UnreachableDatabase = None

    def sample(
        self,
        pending: int | None,
        oldest_seconds: float | None,
        trouble: str,
        find_unreachable: Callable[[], UnreachableDatabase],
    ) -> SyncSample:
        """Takes one sample, with the state of its change log, which the caller has read. ``find_unreachable`` is called
        only if the sync is unwell."""
        health = health_endpoint.ask(self._health_port)
        latency = health_endpoint.p95_ms(health)
        well = health is not None and health["state"] in HEALTHY
        unreachable = None if well else find_unreachable()
        now = time.monotonic()
        # Time in which a database was unreachable does not count against a sync that can reach it again.
        if well:
            self._unwell_since = None
        elif unreachable != self._unreachable:
            self._unwell_since = now
        else:
            self._unwell_since = self._unwell_since or now
        self._unreachable = unreachable
        self._slow_since = (self._slow_since or now) if latency is not None and latency > self._latency_ms else None
        return SyncSample(
            health=health,
            unwell_seconds=now - self._unwell_since if self._unwell_since else 0.0,
            slow_seconds=now - self._slow_since if self._slow_since else 0.0,
            pending=pending,
            oldest_seconds=oldest_seconds,
            trouble=trouble,
            unreachable=unreachable,
            state_seconds=_age(health["since"]) if health else 0.0,
        )


class DualWriteSampler:
    """Takes samples of the dual write. ``probe`` is None without an address; ``task_service`` is checked if a sync is
    unwell, because it may wait for that database."""

    def __init__(
        self,
        laravel: database.Side,
        health_port: int,
        probe: ApiProbe | None,
        bounds: DualWriteBounds,
        task_service: database.Side | None = None,
    ) -> None:
        self._laravel = laravel
        self._task_service = task_service
        self._forward = SyncMonitor(health_port, bounds.trigger_latency_ms)
        self._probe = probe
        self.position: sync_switch.Position | None = None
        """The position of the switch at the last sample; None if it could not be read."""

    def sample(self, api: ApiProbeResult | None = None) -> DualWriteSample:
        """Takes one sample; ``api`` replaces the result of the probe's window."""
        pending, oldest, check, trouble = None, None, None, ""
        verdict, verdict_age, soaked = None, None, None
        try:
            with database.translated_errors(self._laravel), database.connect(self._laravel, "watch") as connection:
                self.position = sync_switch.position(connection, "sync_forward")
                pending, oldest, trouble = change_log_state(connection)
                check = consistency_history.newest(connection)
                verdict = journal.latest_verdict(connection)
                verdict_age = (journal.now(connection) - verdict.at).total_seconds() if verdict else None
                soaked = soak_gate.soak_seconds(connection)
        except MigrationError as error:
            self.position, trouble = None, error_text(error)
        return DualWriteSample(
            api=api or (self._probe.result() if self._probe else None),
            forward=self._forward.sample(pending, oldest, trouble, self._find_unreachable),
            check=check,
            verdict_passed=verdict.passed if verdict else None,
            verdict_age_seconds=verdict_age,
            soak_seconds=soaked,
        )

    def _find_unreachable(self) -> UnreachableDatabase:
        if self.position is None:
            return "laravel"
        return "task_service" if self._task_service and _is_unreachable(self._task_service) else None


def change_log_state(connection: database.Connection) -> tuple[int | None, float | None, str]:
    """Returns how many entries are on one side's change log, how old the oldest is, and why that is not known."""
    if not change_log.exists(connection):
        return None, None, f"{connection.side.title} has no change log: writes are not captured"
    return (*change_log.backlog(connection), "")


def error_text(error: MigrationError) -> str:
    """Returns what went wrong, without the next step."""
    what = f"{Unmeasured.prefix}{error.what}" if isinstance(error, Unmeasured) else error.what
    return f"{what}: {error.measured}" if error.measured else what


def _is_unreachable(side: database.Side) -> bool:
    try:
        database.connect(side, "watch").close()
    except database.Unreachable:
        return True
    except MigrationError:
        return False
    return False


def _age(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
