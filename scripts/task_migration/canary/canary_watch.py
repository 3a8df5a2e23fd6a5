"""The canary as the watch sees it: how traffic is divided now, the findings of its gate, and the backward sync.

A source that cannot be reached does not stop the watch.
"""

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
from task_migration.canary.dual_write_sampler import SyncMonitor, change_log_state, error_text
from task_migration.canary.rollback_conditions import Condition, UnreachableDatabase
from task_migration.errors import MigrationError
from task_migration.external.aws import Aws
from task_migration.postgres import database
from task_migration.traffic import stage

ATTEMPTS = 2
"""Few, because the next check comes soon."""


@dataclass(frozen=True)
class CanaryCheck:
    """One check: every condition of the canary; its values in one line, "" while no traffic has moved; and its metrics,
    as they are published."""

    conditions: list[Condition]
    summary: str
    metrics: canary_metrics.Metrics = field(default_factory=dict)


class CanaryWatch:
    """Checks the canary while its block runs, with connections that stay open while traffic goes to the Task Service.

    When traffic moves again it uses a new sampler, which remembers nothing from before. ``recent_seconds`` is how far
    back the first check reaches, if the weight was active by then. Raises Refused if the inventory's values are not
    valid.
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
        self._new_sampler = partial(CanarySampler, settings, endpoints, source, recent_seconds=recent_seconds)
        self._task_service = database.task_service(endpoints.task_service_dsn)
        self._backward_port = int(endpoints.sync_health_ports["backward"])
        self._bounds = bounds
        self._canary_bounds = settings.bounds
        self._metrics_take = timedelta(seconds=source.delay_seconds + 2 * source.period_seconds)
        self._recent = timedelta(seconds=max(recent_seconds, source.period_seconds))
        self._settle = timedelta(seconds=settings.canary_settle_seconds)
        self._connect = partial(aws.client, "apigateway", attempts=ATTEMPTS)
        self._client: Any = self._connect()
        self._open = ExitStack()
        self._measured_by: tuple[CanarySampler, SyncMonitor] | None = self._start_measuring()
        self._seen = datetime.now(UTC)
        self.share: float | None = None
        """The percentage of the requests that goes to the Task Service, as it was last read; None if it never was."""

    @property
    def may_have_moved(self) -> bool:
        """Whether traffic goes to the Task Service; True while that is not known."""
        return self.share != 0

    def __enter__(self) -> CanaryWatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def check(self) -> CanaryCheck:
        """Reads the stage from API Gateway, and if traffic has moved, all that the canary gate reads."""
        traffic = self.read_traffic()
        unknown = str(traffic) if traffic.grade == "unknown" else ""
        if not self.share:
            self._stop_measuring()
            return CanaryCheck([traffic], unknown)
        if self._measured_by is None:
            self._measured_by = self._start_measuring()
        sampler, backward = self._measured_by
        shifts = sampler.shifts(self.share)
        since = self._since(shifts)
        sample = sampler.sample(self.share, since, shifts)
        findings = canary_judgement.judge(sample, self._canary_bounds)
        late = datetime.now(UTC) - since > self._metrics_take
        note = self._canary_bounds.confidence_note
        summary = f"{self.share:g} % to the Task Service{note}: {canary_judgement.summary(sample)}"
        conditions = [
            traffic,
            *self._backward_conditions(backward, sample),
            *rollback_conditions.of_canary(sample, findings, late=late),
        ]
        metrics = canary_metrics.of_canary(sample, findings)
        return CanaryCheck(conditions, "; ".join(filter(None, [unknown, summary])), metrics)

    def _start_measuring(self) -> tuple[CanarySampler, SyncMonitor]:
        sampler = self._open.enter_context(self._new_sampler())
        return sampler, SyncMonitor(self._backward_port, self._bounds.trigger_latency_ms)

    def _stop_measuring(self) -> None:
        self._open.close()
        self._measured_by = None

    def read_traffic(self) -> Condition:
        """Reads from API Gateway how traffic is divided, and remembers the share if that succeeds."""

        def condition(grade: rollback_conditions.Grade, measured: str) -> Condition:
            return Condition("traffic", grade, measured, "API Gateway answers, and divides it as the runbook does")

        try:
            self._client = self._client or self._connect()
            found = stage.read(self._client, self._gateway)
            stage.refuse_foreign(found)
        except MigrationError as error:
            # Only a new client uses renewed credentials.
            self._client = None
            last = "" if self.share is None else f"; at the last check {self.share:g} % went to the Task Service"
            return condition("unknown", error_text(error) + last)
        share = int(found.share) if found.share.is_integer() else found.share
        if share != self.share:
            self.share, self._seen = share, datetime.now(UTC)
        promoted = ", without a canary" if found.promoted else ""
        return condition("fine", f"{share:g} % goes to the Task Service{promoted}")

    def _since(self, shifts: Sequence[datetime]) -> datetime:
        """Returns from when on traffic counts: not before this weight, and not before this watch, because that would
        roll back nothing now."""
        if not shifts:
            return self._seen + self._settle
        return max(shifts[-1] + self._settle, self._seen - self._recent - self._metrics_take)

    def _backward_conditions(self, backward: SyncMonitor, sample: canary_sample.CanarySample) -> Iterable[Condition]:
        def find_unreachable() -> UnreachableDatabase:
            return "laravel" if sample.laravel_trouble else "task_service" if sample.task_service_trouble else None

        try:
            with (
                database.translated_errors(self._task_service),
                database.connect(self._task_service, "watch") as connection,
            ):
                log = change_log_state(connection)
        except MigrationError as error:
            log = None, None, error_text(error)
        sync = backward.sample(*log, find_unreachable)
        return rollback_conditions.of_sync("sync backward", sync, self._bounds)
