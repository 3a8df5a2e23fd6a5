"""The CloudWatch metrics of a running sync, with the names in metric_data.yml. None is an unknown value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from task_migration.runtime.sync_status import HEALTHY

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class SyncTotals:
    """What one sync did since its start: entries synced, rows held back, conflicts found."""

    entries: int = 0
    held_back: int = 0
    conflicts: int = 0


def of_sync(health: Mapping[str, Any], now: SyncTotals, before: SyncTotals) -> Metrics:
    """Returns the metrics for an answer of GET /health. A sync that is stopping has no health value, because stopping
    is not a failure."""
    is_known = health["pending"] is not None
    return {
        "SyncHealthy": None if health["state"] == "stopping" else float(health["state"] in HEALTHY),
        "SyncLatencyP95": health["lag_ms"]["p95"],
        "SyncOldestWrite": (health["oldest_seconds"] or 0.0) if is_known else None,
        "SyncQueueDepth": health["pending"],
        "SyncApplied": now.entries - before.entries,
        "SyncFailed": now.held_back - before.held_back,
        "SyncConflicts": now.conflicts - before.conflicts,
    }
