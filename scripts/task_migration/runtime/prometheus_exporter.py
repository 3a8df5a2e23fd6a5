"""The metrics of a sync in Prometheus's text format: ``task_migration_sync_*``, each with its direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from task_migration.runtime.latency import BUCKETS
from task_migration.runtime.sync_status import State, SyncStatus

_PREFIX = "task_migration_sync"
# Name, meaning, and the key in the answer of GET /health.
_GAUGES = (
    ("pending", "Entries on the change log", "pending"),
    ("oldest_seconds", "Age of the oldest entry on the change log; 0 if there is none", "oldest_seconds"),
    ("conflicts_recorded", "Conflicts that are recorded in the conflict tables", "conflicts"),
    ("rows_held_back", "Rows that are held back", "held_back"),
    ("waiting", "Entries of the last batch that wait for a parent", "waiting"),
    ("skew_seconds", "How far the clocks of the two databases are apart", "skew_seconds"),
    ("enabled", "1 if the switch is on", "enabled"),
)


class _SyncCollector(Collector):
    """Reads the status at each request, so that JSON and Prometheus cannot differ."""

    def __init__(self, status: SyncStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status, labels = self._status, [self._status.direction]
        health = status.as_json()
        yield _latency(status)
        yield from _counters(status)
        for name, meaning, key in _GAUGES:
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["direction"])
            gauge.add_metric(labels, float(health[key] or 0))
            yield gauge
        healthy = GaugeMetricFamily(f"{_PREFIX}_healthy", "1 if running or paused", labels=["direction"])
        healthy.add_metric(labels, float(status.healthy))
        yield healthy
        state = GaugeMetricFamily(f"{_PREFIX}_state", "1 for the state it is in", labels=["direction", "state"])
        for one in get_args(State):
            state.add_metric([*labels, one], float(one == health["state"]))
        yield state


def _counters(status: SyncStatus) -> Iterator[Metric]:
    for name, meaning, value in (
        ("entries", "Entries of the change log settled by this process", status.entries),
        ("batches", "Batches that settled an entry", status.batches),
        ("conflicts", "Conflicts met by this process", status.conflicts_seen),
        ("held_back", "Rows held back by this process", status.held_back_seen),
    ):
        counter = CounterMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["direction"])
        counter.add_metric([status.direction], value)
        yield counter


def _latency(status: SyncStatus) -> Metric:
    meaning = "From the write on one side to its commit on the other"
    counts, seconds = status.buckets()
    bounds = [*map(str, BUCKETS), "+Inf"]
    family = HistogramMetricFamily(f"{_PREFIX}_latency_seconds", meaning, labels=["direction"])
    below: list[Any] = list(zip(bounds, map(float, accumulate(counts)), strict=True))
    family.add_metric([status.direction], below, sum_value=seconds)
    return family


def exposed(status: SyncStatus) -> bytes:
    """Returns every metric in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_SyncCollector(status))
    return generate_latest(registry)
