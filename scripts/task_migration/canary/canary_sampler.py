"""Measures what the gate of the canary judges: the gateway's and the database's figures, both syncs, both databases.

What can't be asked now is left unknown with the reason, and asked again at the next look: a database that restarts, or
figures that are late, must not end a look in an error.
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
from task_migration.canary.dual_write_sampler import in_short
from task_migration.canary.metric_source import MetricSource, TrafficCounts
from task_migration.canary.traffic_findings import silent
from task_migration.control import checklist, consistency_history, journal, sync_switch
from task_migration.control.consistency_history import Check
from task_migration.errors import MigrationError, Refused
from task_migration.postgres import database, schema_drift
from task_migration.runtime import health_endpoint
from task_migration.sync import sync_tables

CPU_PERIODS = 3
"""The CPU's figures come later than those of the traffic, by a period or two."""
BEFORE_SECONDS = 3600.0
"""For so long before a weight was set its traffic tells what is usual."""
_BURST_WINDOW_SECONDS = 120.0

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class _Letters:
    """What could not cross into one database, by kind, and how many conflicts it keeps."""

    dead: Mapping[str, int]
    conflicts: int


@dataclass(frozen=True)
class _Laravel:
    """What Laravel's database tells. ``stale`` is None if it takes the Task Service's database to know."""

    check: Check | None
    stale: str | None
    altered: bool
    backward_is_on: bool
    letters: _Letters


@dataclass(frozen=True)
class _Traffic:
    whole: TrafficWindow | None = None
    recent: TrafficWindow | None = None
    trouble: str = ""


class CanarySampler:
    """Takes samples over connections that it keeps open while its block runs; remembers since when a value is above its
    bound. A verdict of phase 2.2 that is fresh when the gauge is made does not get old under its hands: traffic goes
    back for what is wrong, and not because time passes.

    ``recent_seconds`` is how much of a window's end is measured by itself too, ``window_seconds`` how far back a window
    reaches at most. Raises Refused if the API's address or the CA's file won't do.
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
        """When the runbook set this weight, which is in force, and before it those that led to it, oldest first.

        By this machine's clock. Empty if it was set by other means, as one is that the journal's newest shift does not
        lead to, or if nobody can tell.
        """

        def ask(laravel: database.Connection) -> list[datetime]:
            standing = checklist.standing(journal.entries(laravel))
            shifts = [one for one in standing if (one.phase, one.item, one.result) == ("2.4", "shift", "done")]
            if not shifts or str(shifts[-1].evidence.get("to")) != f"{weight:g}":
                return []
            ahead = datetime.now(UTC) - journal.now(laravel)
            return [one.at + ahead for one in shifts]

        return self._asked(self._laravel, ask)[0] or []

    def sample(self, weight: float, since: datetime | None, shifts: Sequence[datetime] = ()) -> CanarySample:
        """One sample; of the traffic since that time, or as far back as a window reaches. Of those ``shifts``, what was
        between the last two is what it is compared with."""
        now = datetime.now(UTC)
        oldest = now - timedelta(seconds=self._window_seconds)
        traffic = self._traffic(weight, max(since or oldest, oldest) if weight else oldest, now)
        cpu_percent, cpu_trouble = self._cpu(now)
        there, task_service_trouble = self._asked(self._task_service, self._letters)
        here, laravel_trouble = self._asked(self._laravel, self._told_by_laravel)
        letters = [one for one in (here and here.letters, there) if one]
        return CanarySample(
            weight=weight,
            whole=traffic.whole,
            recent=traffic.recent,
            traffic_trouble=traffic.trouble,
            cpu_percent=cpu_percent,
            cpu_trouble=cpu_trouble,
            # One point above is in every window until it has left it.
            cpu_above_seconds=max(0.0, self._above("cpu", cpu_percent, self._bounds.cpu_percent) - self._cpu_seconds),
            forward=self._direction("forward"),
            backward=self._direction("backward") if weight or (here and here.backward_is_on) else None,
            api=self._probe.burst() if self._probe and not weight else None,
            check=here.check if here else None,
            stale=here.stale if here else None,
            altered=bool(here and here.altered),
            dead_letters=sum((Counter(one.dead) for one in letters), Counter()) if len(letters) == 2 else None,
            conflicts=sum(one.conflicts for one in letters) if len(letters) == 2 else None,
            laravel_trouble=laravel_trouble,
            task_service_trouble=task_service_trouble,
            before=self._traffic_before(shifts, now) if weight else None,
            shifted_seconds=(now - shifts[-1]).total_seconds() if shifts else 0.0,
        )

    def _traffic(self, weight: float, since: datetime, now: datetime) -> _Traffic:
        window = self._source.window(since, now)
        if window is None:
            late = self._source.delay_seconds + self._source.period_seconds
            return _Traffic(trouble=f"no figures yet; they come up to {late:g} s late")
        start, end = window
        began = max(start, end - self._periods(self._recent_seconds)) if weight else start
        try:
            recent = self._window(began, end)
            if weight and silent(recent.traffic, weight):
                # Counts of one service may come a period later than those of another; they don't twice.
                longer = self._window(max(start, began - (end - began)), end)
                if longer.seconds == recent.seconds or not silent(longer.traffic, weight):
                    every = recent.traffic.all_requests
                    trouble = (
                        f"no figures of the Task Service in the last {recent.seconds:.0f} s, of {every:,} requests"
                    )
                    return _Traffic(self._window(start, began) if began > start else None, None, trouble)
                recent = longer
            return _Traffic(self._window(start, end), recent) if began > start else _Traffic(recent)
        except MigrationError as error:
            return _Traffic(trouble=in_short(error))

    def _traffic_before(self, shifts: Sequence[datetime], now: datetime) -> TrafficCounts | None:
        """At the weight before, an hour of it at most; asked until it is whole, and then kept."""
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
            return None, "no figures yet"
        try:
            return self._source.cpu_percent(window[1] - length, window[1]), ""
        except MigrationError as error:
            return None, in_short(error)

    @property
    def _cpu_seconds(self) -> float:
        return max(self._periods(self._recent_seconds), CPU_PERIODS * self._periods(0)).total_seconds()

    def _periods(self, seconds: float) -> timedelta:
        """So many seconds, in whole periods, one at least."""
        period = self._source.period_seconds
        return timedelta(seconds=max(1, math.ceil(seconds / period)) * period)

    def _direction(self, name: str) -> SyncDirection:
        found = SyncDirection(self._ports[name], health_endpoint.ask(self._ports[name]))
        return replace(
            found,
            above_seconds=self._above(name, found.latency_ms, self._bounds.sync_latency_ms),
            unwell_seconds=self._lasting(f"{name} unwell", found.state != "running"),
        )

    def _above(self, name: str, value: float | None, bound: float) -> float:
        return self._lasting(name, value is not None and value >= bound)

    def _lasting(self, name: str, holds: bool) -> float:
        """For how many seconds it has been so, as far as was looked."""
        if not holds:
            self._since.pop(name, None)
            return 0.0
        return time.monotonic() - self._since.setdefault(name, time.monotonic())

    def _told_by_laravel(self, laravel: database.Connection) -> _Laravel:
        there = self._open.get("task_service")
        fingerprint = schema_drift.schema_fingerprint(laravel, there) if there else None
        verdict, now = journal.latest_verdict(laravel), journal.now(laravel)
        if verdict is not None:
            now = min(now, max(verdict.at, now - timedelta(seconds=time.monotonic() - self._made)))
        stale, as_it_was = (
            journal.stale_because(verdict, now, self._bounds.verdict_max_age_hours, one) for one in (fingerprint, None)
        )
        return _Laravel(
            check=consistency_history.newest(laravel),
            stale=stale or ("" if fingerprint else None),
            altered=stale is not None and as_it_was is None,
            backward_is_on=sync_switch.is_on(laravel, "sync_backward"),
            letters=self._letters(laravel),
        )

    def _letters(self, connection: database.Connection) -> _Letters:
        if lacking := sync_tables.missing(connection):
            raise Refused(f"{connection.side.title} lacks {', '.join(lacking)}, which the sync keeps there")
        found = sync_tables.dead_letters(connection, self._signed_off)
        return _Letters(found, sum(sync_tables.conflicts_by_winner(connection).values()))

    def _asked(self, side: database.Side, ask: Callable[[database.Connection], _Told]) -> tuple[_Told | None, str]:
        """What one database tells; None, and why, if it can't be asked now. A session that met an error is not used
        again."""
        try:
            with database.translated_errors(side):
                connection = self._open.get(side.name)
                if connection is None:
                    connection = self._open[side.name] = database.connect(side, "gate")
                return ask(connection), ""
        except MigrationError as error:
            lost = self._open.pop(side.name, None)
            if lost is not None:
                lost.close()
            return None, in_short(error)
