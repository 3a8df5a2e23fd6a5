"""The canary as the watch sees it: how traffic is divided now, what its gate says of it, and whether the way back
carries. What can't be asked ends no watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any

from task_migration.canary import canary_judgement, canary_metrics, canary_sample, metric_sources, rollback_conditions
from task_migration.canary.canary_sampler import CanarySampler
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.dual_write_sampler import SyncFollower, in_short, stand
from task_migration.canary.rollback_conditions import Away, Condition
from task_migration.errors import MigrationError
from task_migration.external.aws import Aws
from task_migration.postgres import database
from task_migration.traffic import stage

ATTEMPTS = 2
"""The next look is not far away."""


@dataclass(frozen=True)
class CanaryCheck:
    """One look: every condition of the canary, and its figures in one line, "" while nobody's traffic has moved, and as
    they are published."""

    conditions: list[Condition]
    told: str
    figures: canary_metrics.Figures = field(default_factory=dict)


class CanaryWatch:
    """Looks at the canary while its block runs, and keeps connections open as long as traffic is moved.

    It takes samples with a new sampler when traffic moves again, so that nothing is remembered of what was before.
    ``recent_seconds`` is how far back the first look reaches, if the weight was in force by then. Raises Refused if the
    inventory's values won't do.
    """

    def __init__(
        self,
        gateway: stage.Gateway,
        settings: CanarySettings,
        endpoints: CanaryEndpoints,
        bounds: rollback_conditions.DualWriteBounds,
        aws: Aws,
        *,
        recent_seconds: float,
    ) -> None:
        source = metric_sources.source(settings.metric_source, aws)
        stage.refuse_invalid(gateway)
        self._gateway = gateway
        self._make_gauge = partial(CanarySampler, settings, endpoints, source, recent_seconds=recent_seconds)
        self._task_service = database.task_service(endpoints.task_service_dsn)
        self._backward_port = int(endpoints.sync_health_ports["backward"])
        self._bounds = bounds
        self._canary_bounds = settings.bounds
        self._figures_take = timedelta(seconds=source.delay_seconds + 2 * source.period_seconds)
        self._recent = timedelta(seconds=max(recent_seconds, source.period_seconds))
        self._settle = timedelta(seconds=settings.canary_settle_seconds)
        self._connect = partial(aws.client, "apigateway", attempts=ATTEMPTS)
        self._client: Any = self._connect()
        self._open = ExitStack()
        self._measured_by: tuple[CanarySampler, SyncFollower] | None = self._instruments()
        self._seen = datetime.now(UTC)
        self.share: float | None = None
        """How many of a hundred requests go to the Task Service, as it was last known; None if it never was."""

    @property
    def may_have_moved(self) -> bool:
        """Whether traffic goes to the Task Service; True while nobody could tell."""
        return self.share != 0

    def __enter__(self) -> CanaryWatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def look(self) -> CanaryCheck:
        """Asks API Gateway, and if traffic is moved, all that its gate asks."""
        traffic = self.traffic()
        unknown = str(traffic) if traffic.grade == "unknown" else ""
        if not self.share:
            self._forget()
            return CanaryCheck([traffic], unknown)
        if self._measured_by is None:
            self._measured_by = self._instruments()
        gauge, backward = self._measured_by
        shifts = gauge.shifts(self.share)
        since = self._since(shifts)
        sample = gauge.sample(self.share, since, shifts)
        findings = canary_judgement.judge(sample, self._canary_bounds)
        late = datetime.now(UTC) - since > self._figures_take
        caveat = self._canary_bounds.caveat
        told = f"{self.share:g} % to the Task Service{caveat}: {canary_judgement.in_one_line(sample)}"
        found = [
            traffic,
            *self._way_back(backward, sample),
            *rollback_conditions.of_canary(sample, findings, late=late),
        ]
        figures = canary_metrics.of_canary(sample, findings)
        return CanaryCheck(found, "; ".join(filter(None, [unknown, told])), figures)

    def _instruments(self) -> tuple[CanarySampler, SyncFollower]:
        gauge = self._open.enter_context(self._make_gauge())
        return gauge, SyncFollower(self._backward_port, self._bounds.trigger_latency_ms)

    def _forget(self) -> None:
        self._open.close()
        self._measured_by = None

    def traffic(self) -> Condition:
        """Asks API Gateway how traffic is divided; keeps the share, unless it can't be told."""

        def says(grade: rollback_conditions.Grade, measured: str) -> Condition:
            return Condition("traffic", grade, measured, "API Gateway tells, and divides it as the runbook does")

        try:
            self._client = self._client or self._connect()
            found = stage.read(self._client, self._gateway)
            stage.refuse_foreign(found)
        except MigrationError as error:
            # Credentials that are renewed meanwhile are seen by a new client alone.
            self._client = None
            last = "" if self.share is None else f"; at the last look {self.share:g} % went to the Task Service"
            return says("unknown", in_short(error) + last)
        share = int(found.share) if found.share.is_integer() else found.share
        if share != self.share:
            self.share, self._seen = share, datetime.now(UTC)
        promoted = ", without a canary" if found.promoted else ""
        return says("fine", f"{share:g} % goes to the Task Service{promoted}")

    def _since(self, shifts: Sequence[datetime]) -> datetime:
        """From when on traffic counts: what was before this watch, or before this weight, moves nobody now."""
        if not shifts:
            return self._seen + self._settle
        return max(shifts[-1] + self._settle, self._seen - self._recent - self._figures_take)

    def _way_back(self, backward: SyncFollower, sample: canary_sample.CanarySample) -> Iterable[Condition]:
        def find_away() -> Away:
            return "laravel" if sample.laravel_trouble else "task_service" if sample.task_service_trouble else None

        try:
            with (
                database.translated_errors(self._task_service),
                database.connect(self._task_service, "watch") as connection,
            ):
                log = stand(connection)
        except MigrationError as error:
            log = None, None, in_short(error)
        sync = backward.sample(*log, find_away)
        return rollback_conditions.of_sync("sync backward", sync, self._bounds)
