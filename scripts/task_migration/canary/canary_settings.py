"""The inventory's values that the gate, the bake and the watch of the canary share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from task_migration.canary.canary_sample import CanaryBounds


@dataclass(frozen=True)
class CanaryEndpoints:
    """Where the canary is measured: both databases, the loopback port of each direction of the sync (``forward``,
    ``backward``), and the Task Service's API, "" if it is not asked."""

    laravel_dsn: str
    task_service_dsn: str
    sync_health_ports: Mapping[str, int]
    task_service_url: str = ""
    task_service_ca_file: str = ""


@dataclass(frozen=True)
class CanarySettings:
    """How the canary is measured and judged: where its metrics are read, its bounds, and its times.

    ``canary_settle_seconds`` is how long a weight may take to be active everywhere, ``canary_interval_seconds`` how
    often it is judged, ``canary_window_seconds`` how far back traffic counts at most. ``quarantine_signed_off`` holds
    the kinds of quarantined rows that are accepted, each with the reason.
    """

    metric_source: Mapping[str, Any]
    canary_error_rate_percent: float = 0.1
    canary_p95_ms: float = 200
    canary_p95_samples: int = 200
    canary_cpu_percent: float = 70
    canary_sync_latency_ms: float = 100
    canary_confidence_percent: float = 95
    canary_settle_seconds: float = 60
    canary_interval_seconds: float = 60
    canary_window_seconds: float = 86_400
    verdict_max_age_hours: float = 24
    consistency_every_seconds: int = 3600
    quarantine_signed_off: Mapping[str, str] = field(default_factory=dict)

    @property
    def bounds(self) -> CanaryBounds:
        return CanaryBounds(
            error_rate_percent=self.canary_error_rate_percent,
            p95_ms=self.canary_p95_ms,
            p95_samples=self.canary_p95_samples,
            cpu_percent=self.canary_cpu_percent,
            sync_latency_ms=self.canary_sync_latency_ms,
            confidence_percent=self.canary_confidence_percent,
            verdict_max_age_hours=self.verdict_max_age_hours,
            consistency_every_seconds=self.consistency_every_seconds,
        )
