"""A sync's figures as Prometheus reads them: ``task_migration_sync_*``, each with its direction."""

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
# Name, meaning, and the name in what GET /health answers.
_GAUGES = (
    ("pending", "Entries on the change log", "pending"),
    ("oldest_seconds", "Age of the oldest entry on the change log; 0 if there is none", "oldest_seconds"),
    ("conflicts_recorded", "Conflicts that stand in the conflict tables", "conflicts"),
    ("rows_held_back", "Rows that are held back", "held_back"),
    ("waiting", "Entries of the last batch that wait for a parent", "waiting"),
    ("skew_seconds", "How far the clocks of the two databases are apart", "skew_seconds"),
    ("enabled", "1 if the switch is on", "enabled"),
)


class _Figures(Collector):
    """Reads the vitals when it is asked, so that JSON and Prometheus can't disagree."""

    def __init__(self, vitals: SyncStatus) -> None:
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        vitals, labels = self._vitals, [self._vitals.direction]
        figures = vitals.as_json()
        yield _latency(vitals)
        yield from _counters(vitals)
        for name, meaning, key in _GAUGES:
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["direction"])
            gauge.add_metric(labels, float(figures[key] or 0))
            yield gauge
        healthy = GaugeMetricFamily(f"{_PREFIX}_healthy", "1 if running or paused", labels=["direction"])
        healthy.add_metric(labels, float(vitals.healthy))
        yield healthy
        state = GaugeMetricFamily(f"{_PREFIX}_state", "1 for the state it is in", labels=["direction", "state"])
        for one in get_args(State):
            state.add_metric([*labels, one], float(one == figures["state"]))
        yield state


def _counters(vitals: SyncStatus) -> Iterator[Metric]:
    for name, meaning, value in (
        ("entries", "Entries of the change log settled by this process", vitals.entries),
        ("batches", "Batches that settled an entry", vitals.batches),
        ("conflicts", "Conflicts met by this process", vitals.conflicts_seen),
        ("held_back", "Rows held back by this process", vitals.held_back_seen),
    ):
        counter = CounterMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["direction"])
        counter.add_metric([vitals.direction], value)
        yield counter


def _latency(vitals: SyncStatus) -> Metric:
    meaning = "From the write on one side to its commit on the other"
    counts, seconds = vitals.buckets()
    bounds = [*map(str, BUCKETS), "+Inf"]
    family = HistogramMetricFamily(f"{_PREFIX}_latency_seconds", meaning, labels=["direction"])
    below: list[Any] = list(zip(bounds, map(float, accumulate(counts)), strict=True))
    family.add_metric([vitals.direction], below, sum_value=seconds)
    return family


def exposed(vitals: SyncStatus) -> bytes:
    """Every metric in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Figures(vitals))
    return generate_latest(registry)
