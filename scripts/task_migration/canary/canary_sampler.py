"""Measures what the canary gate judges: the metrics of the gateway and of the database, both syncs, both databases.

A source that cannot be reached does not stop a sample: its values are unknown, with the reason, and the next sample
reads them again. A restarting database, or late metrics, must not raise an error.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TypeVar

from task_migration.canary.api_probe import ApiProbe
from task_migration.canary.canary_sample import CanarySample, SyncDirection, TrafficWindow
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.dual_write_sampler import error_text
from task_migration.canary.metric_source import MetricSource, TrafficCounts
from task_migration.canary.traffic_findings import is_silent
from task_migration.control import checklist, consistency_history, journal, sync_switch
from task_migration.control.consistency_history import Check
from task_migration.errors import MigrationError, Refused
from task_migration.postgres import database, schema_drift
from task_migration.runtime import health_endpoint
from task_migration.sync import sync_tables

CPU_PERIODS = 3
"""The CPU's metrics come a period or two later than those of the traffic."""
BEFORE_SECONDS = 3600.0
"""How long before a shift traffic is compared with that after it."""
_BURST_WINDOW_SECONDS = 120.0

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _SyncTables:
    """Rows that could not be synced into one database, by kind, and how many conflicts it stores."""

    dead_letters: Mapping[str, int]
    conflicts: int


@dataclass(frozen=True)
class _LaravelSample:
    """What Laravel's database holds. ``stale`` is None if that needs the Task Service's database too."""

    check: Check | None
    stale: str | None
    altered: bool
    backward_is_on: bool
    sync_tables: _SyncTables


@dataclass(frozen=True)
class _TrafficSample:
    whole: TrafficWindow | None = None
    recent: TrafficWindow | None = None
    trouble: str = ""


class CanarySampler:
    """Takes samples, with connections that stay open while its block runs; remembers since when a value is above its
    bound. A verdict of phase 2.2 that is fresh when sampling starts stays valid until sampling ends: traffic is rolled
    back because of a fault, and not because time passes.

    ``recent_seconds`` is the length of a window's end that is also measured separately. Raises Refused if the API's
    address or the CA file is not valid.
    """

    def __init__(
        self,
        settings: CanarySettings,
        endpoints: CanaryEndpoints,
        source: MetricSource,
        *,
        recent_seconds: float,
    ) -> None:
        self._laravel = database.laravel(endpoints.laravel_dsn)
        self._task_service = database.task_service(endpoints.task_service_dsn)
        self._ports = {name: int(port) for name, port in endpoints.sync_health_ports.items()}
        self._probe = (
            ApiProbe(endpoints.task_service_url, endpoints.task_service_ca_file, _BURST_WINDOW_SECONDS)
            if endpoints.task_service_url
            else None
        )
        self._signed_off = sorted(settings.quarantine_signed_off)
        self._source = source
        self._bounds = settings.bounds
        self._recent_seconds = recent_seconds
        self._window_seconds = settings.canary_window_seconds
        self._open: dict[str, database.Connection] = {}
        self._since: dict[str, float] = {}
        self._before: dict[tuple[datetime, datetime], TrafficCounts] = {}
        self._made = time.monotonic()

    def __enter__(self) -> CanarySampler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def shifts(self, weight: float) -> list[datetime]:
        """Returns when the runbook set the active weight, after those that led to it, oldest first, by this machine's
        clock.

        Empty if the journal's newest shift is to another weight, so that it was set by other means, or if the journal
        cannot be read.
        """

        def read(laravel: database.Connection) -> list[datetime]:
            in_effect = checklist.in_effect(journal.entries(laravel))
            shifts = [one for one in in_effect if (one.phase, one.item, one.result) == ("2.4", "shift", "done")]
            if not shifts or str(shifts[-1].evidence.get("to")) != f"{weight:g}":
                return []
            ahead = datetime.now(UTC) - journal.now(laravel)
            return [one.at + ahead for one in shifts]

        return self._read(self._laravel, read)[0] or []

    def sample(self, weight: float, since: datetime | None, shifts: Sequence[datetime] = ()) -> CanarySample:
        """Takes one sample, of the traffic since that time or of the longest window. It is compared with the traffic
        between the last two ``shifts``."""
        now = datetime.now(UTC)
        oldest = now - timedelta(seconds=self._window_seconds)
        traffic = self._traffic(weight, max(since or oldest, oldest) if weight else oldest, now)
        cpu_percent, cpu_trouble = self._cpu(now)
        in_task_service, task_service_trouble = self._read(self._task_service, self._sync_tables)
        laravel, laravel_trouble = self._read(self._laravel, self._read_laravel)
        both = [one for one in (laravel and laravel.sync_tables, in_task_service) if one]
        return CanarySample(
            weight=weight,
            whole=traffic.whole,
            recent=traffic.recent,
            traffic_trouble=traffic.trouble,
            cpu_percent=cpu_percent,
            cpu_trouble=cpu_trouble,
            # A single value above the bound is in every window until it has left it.
            cpu_above_seconds=max(0.0, self._above("cpu", cpu_percent, self._bounds.cpu_percent) - self._cpu_seconds),
            forward=self._direction("forward"),
            backward=self._direction("backward") if weight or (laravel and laravel.backward_is_on) else None,
            api=self._probe.burst() if self._probe and not weight else None,
            check=laravel.check if laravel else None,
            stale=laravel.stale if laravel else None,
            altered=bool(laravel and laravel.altered),
            dead_letters=sum((Counter(one.dead_letters) for one in both), Counter()) if len(both) == 2 else None,
            conflicts=sum(one.conflicts for one in both) if len(both) == 2 else None,
            laravel_trouble=laravel_trouble,
            task_service_trouble=task_service_trouble,
            before=self._traffic_before(shifts, now) if weight else None,
            shifted_seconds=(now - shifts[-1]).total_seconds() if shifts else 0.0,
        )

    def _traffic(self, weight: float, since: datetime, now: datetime) -> _TrafficSample:
        window = self._source.window(since, now)
        if window is None:
            late = self._source.delay_seconds + self._source.period_seconds
            return _TrafficSample(trouble=f"no metrics yet; they come up to {late:g} s late")
        start, end = window
        recent_start = max(start, end - self._periods(self._recent_seconds)) if weight else start
        try:
            recent = self._window(recent_start, end)
            if weight and is_silent(recent.traffic, weight):
                # The counts of one service may come one period later than those of another, but not two.
                longer = self._window(max(start, recent_start - (end - recent_start)), end)
                if longer.seconds == recent.seconds or not is_silent(longer.traffic, weight):
                    every = recent.traffic.all_requests
                    trouble = (
                        f"no metrics of the Task Service in the last {recent.seconds:.0f} s, for {every:,} requests"
                    )
                    whole = self._window(start, recent_start) if recent_start > start else None
                    return _TrafficSample(whole, None, trouble)
                recent = longer
            return _TrafficSample(self._window(start, end), recent) if recent_start > start else _TrafficSample(recent)
        except MigrationError as error:
            return _TrafficSample(trouble=error_text(error))

    def _traffic_before(self, shifts: Sequence[datetime], now: datetime) -> TrafficCounts | None:
        """Returns the traffic at the previous weight, an hour of it at most; reads it until it is complete, and then
        remembers it."""
        if not shifts:
            return None
        longest = shifts[-1] - timedelta(seconds=min(BEFORE_SECONDS, self._window_seconds))
        until = min(now, shifts[-1] + timedelta(seconds=self._source.delay_seconds))
        window = self._source.window(max([longest, *shifts[-2:-1]]), until)
        if window is None:
            return None
        try:
            if window not in self._before:
                self._before[window] = self._source.traffic(*window, self._bounds.p95_ms)
        except MigrationError:
            return None
        return self._before[window]

    def _window(self, start: datetime, end: datetime) -> TrafficWindow:
        return TrafficWindow((end - start).total_seconds(), self._source.traffic(start, end, self._bounds.p95_ms))

    def _cpu(self, now: datetime) -> tuple[float | None, str]:
        length = timedelta(seconds=self._cpu_seconds)
        late = timedelta(seconds=self._source.delay_seconds)
        window = self._source.window(now - late - length - self._periods(0), now)
        if window is None:
            return None, "no metrics yet"
        try:
            return self._source.cpu_percent(window[1] - length, window[1]), ""
        except MigrationError as error:
            return None, error_text(error)

    @property
    def _cpu_seconds(self) -> float:
        return max(self._periods(self._recent_seconds), CPU_PERIODS * self._periods(0)).total_seconds()

    def _periods(self, seconds: float) -> timedelta:
        """Returns these seconds as whole periods, one at least."""
        period = self._source.period_seconds
        return timedelta(seconds=max(1, math.ceil(seconds / period)) * period)

    def _direction(self, name: str) -> SyncDirection:
        found = SyncDirection(self._ports[name], health_endpoint.ask(self._ports[name]))
        return replace(
            found,
            above_seconds=self._above(name, found.latency_ms, self._bounds.sync_latency_ms),
            unwell_seconds=self._sustained(f"{name} unwell", found.state != "running"),
        )

    def _above(self, name: str, value: float | None, bound: float) -> float:
        return self._sustained(name, value is not None and value >= bound)

    def _sustained(self, name: str, holds: bool) -> float:
        """Returns for how many seconds it has been so, as far as the samples show."""
        if not holds:
            self._since.pop(name, None)
            return 0.0
        return time.monotonic() - self._since.setdefault(name, time.monotonic())

    def _read_laravel(self, laravel: database.Connection) -> _LaravelSample:
        task_service = self._open.get("task_service")
        fingerprint = schema_drift.schema_fingerprint(laravel, task_service) if task_service else None
        verdict, now = journal.latest_verdict(laravel), journal.now(laravel)
        if verdict is not None:
            now = min(now, max(verdict.at, now - timedelta(seconds=time.monotonic() - self._made)))
        stale, stale_unaltered = (
            journal.stale_because(verdict, now, self._bounds.verdict_max_age_hours, one) for one in (fingerprint, None)
        )
        return _LaravelSample(
            check=consistency_history.newest(laravel),
            stale=stale or ("" if fingerprint else None),
            altered=stale is not None and stale_unaltered is None,
            backward_is_on=sync_switch.is_on(laravel, "sync_backward"),
            sync_tables=self._sync_tables(laravel),
        )

    def _sync_tables(self, connection: database.Connection) -> _SyncTables:
        if missing := sync_tables.missing(connection):
            raise Refused(f"tables of the sync are missing in {connection.side.title}", measured=", ".join(missing))
        found = sync_tables.dead_letters(connection, self._signed_off)
        return _SyncTables(found, sum(sync_tables.conflicts_by_winner(connection).values()))

    def _read(self, side: database.Side, read: Callable[[database.Connection], _Value]) -> tuple[_Value | None, str]:
        """Reads from one database; returns None and the reason if that fails. A connection that met an error is not
        used again."""
        try:
            with database.translated_errors(side):
                connection = self._open.get(side.name)
                if connection is None:
                    connection = self._open[side.name] = database.connect(side, "gate")
                return read(connection), ""
        except MigrationError as error:
            lost = self._open.pop(side.name, None)
            if lost is not None:
                lost.close()
            return None, error_text(error)
