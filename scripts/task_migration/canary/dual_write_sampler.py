"""Measures what the conditions of the dual write are judged by: the API, the running sync, Laravel's database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from task_migration.canary import soak_gate
from task_migration.canary.api_probe import ApiProbe, ApiProbeResult
from task_migration.canary.metric_source import Unmeasured
from task_migration.canary.rollback_conditions import Away, DualWriteBounds, DualWriteSample, Sync
from task_migration.control import consistency_history, journal, sync_switch
from task_migration.errors import MigrationError
from task_migration.postgres import database
from task_migration.runtime import health_endpoint
from task_migration.runtime.sync_status import HEALTHY
from task_migration.sync import change_log


class SyncFollower:
    """One direction of the sync, look after look: remembers since when it is unwell, or slower than ``latency_ms``."""

    def __init__(self, health_port: int, latency_ms: float) -> None:
        self._health_port = health_port
        self._latency_ms = latency_ms
        self._unwell_since: float | None = None
        self._slow_since: float | None = None
        self._away: Away = None

    def sample(
        self, pending: int | None, oldest_seconds: float | None, trouble: str, find_away: Callable[[], Away]
    ) -> Sync:
        """How it is now, with the change log that it carries, which somebody else has asked. ``find_away`` is called
        only if it is unwell."""
        told = health_endpoint.ask(self._health_port)
        lag = health_endpoint.p95_ms(told)
        well = told is not None and told["state"] in HEALTHY
        away = None if well else find_away()
        now = time.monotonic()
        # What was due to a database that was away is not counted against a sync that has it again.
        self._unwell_since = None if well else now if away != self._away else self._unwell_since or now
        self._away = away
        self._slow_since = (self._slow_since or now) if lag is not None and lag > self._latency_ms else None
        return Sync(
            health=told,
            unwell_seconds=now - self._unwell_since if self._unwell_since else 0.0,
            slow_seconds=now - self._slow_since if self._slow_since else 0.0,
            pending=pending,
            oldest_seconds=oldest_seconds,
            trouble=trouble,
            away=away,
            state_seconds=_age(told["since"]) if told else 0.0,
        )


class DualWriteSampler:
    """Takes samples of the dual write. ``probe`` is None without an address; ``task_service`` tells, look after look,
    whether a sync that is unwell waits for that database."""

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
        self._forward = SyncFollower(health_port, bounds.trigger_latency_ms)
        self._probe = probe
        self.position: sync_switch.Position | None = None
        """How the switch stood at the last sample; None if nobody could ask."""

    def sample(self, api: ApiProbeResult | None = None) -> DualWriteSample:
        """One sample; ``api`` in place of what the probe has seen in its window."""
        pending, oldest, check, trouble = None, None, None, ""
        verdict, verdict_age, soaked = None, None, None
        try:
            with database.translated_errors(self._laravel), database.connect(self._laravel, "watch") as connection:
                self.position = sync_switch.position(connection, "sync_forward")
                pending, oldest, trouble = stand(connection)
                check = consistency_history.newest(connection)
                verdict = journal.latest_verdict(connection)
                verdict_age = (journal.now(connection) - verdict.at).total_seconds() if verdict else None
                soaked = soak_gate.seconds(connection)
        except MigrationError as error:
            self.position, trouble = None, in_short(error)
        return DualWriteSample(
            api=api or (self._probe.seen() if self._probe else None),
            forward=self._forward.sample(pending, oldest, trouble, self._find_away),
            check=check,
            verdict_passed=verdict.passed if verdict else None,
            verdict_age_seconds=verdict_age,
            soak_seconds=soaked,
        )

    def _find_away(self) -> Away:
        if self.position is None:
            return "laravel"
        return "task_service" if self._task_service and _is_away(self._task_service) else None


def stand(connection: database.Connection) -> tuple[int | None, float | None, str]:
    """How many entries are on one side's change log, how old the oldest is, and why nobody knows."""
    if not change_log.exists(connection):
        return None, None, f"{connection.side.title} has no change log: nothing is captured"
    return (*change_log.stand(connection), "")


def _is_away(side: database.Side) -> bool:
    try:
        database.connect(side, "watch").close()
    except database.Unreachable:
        return True
    except MigrationError:
        return False
    return False


def _age(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def in_short(error: MigrationError) -> str:
    """What went wrong, without what to type about it."""
    what = f"{Unmeasured.prefix}{error.what}" if isinstance(error, Unmeasured) else error.what
    return f"{what}: {error.measured}" if error.measured else what
