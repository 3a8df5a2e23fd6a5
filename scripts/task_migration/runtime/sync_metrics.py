"""The CloudWatch metrics of a running sync, by the names in metric_data.yml. None is a value that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from task_migration.runtime.sync_status import HEALTHY

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class SyncTotals:
    """What one sync did since it was started: entries carried, rows held back, conflicts met."""

    entries: int = 0
    held_back: int = 0
    conflicts: int = 0


def of_sync(told: Mapping[str, Any], now: SyncTotals, before: SyncTotals) -> Metrics:
    """``told`` is what GET /health says. One that is about to stop says nothing of its health: it is no fault."""
    is_known = told["pending"] is not None
    return {
        "SyncHealthy": None if told["state"] == "stopping" else float(told["state"] in HEALTHY),
        "SyncLatencyP95": told["lag_ms"]["p95"],
        "SyncOldestWrite": (told["oldest_seconds"] or 0.0) if is_known else None,
        "SyncQueueDepth": told["pending"],
        "SyncApplied": now.entries - before.entries,
        "SyncFailed": now.held_back - before.held_back,
        "SyncConflicts": now.conflicts - before.conflicts,
    }
