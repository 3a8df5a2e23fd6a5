"""Creates the metric source that the inventory's ``metric_source`` describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from task_migration.canary.cloudwatch_source import CloudWatchSettings, CloudWatchSource
from task_migration.canary.metric_source import MetricSource
from task_migration.canary.prometheus_source import PrometheusQueries, PrometheusSettings, PrometheusSource
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.external.inventory_mapping import read_settings

KINDS = ("cloudwatch", "prometheus")
_NEXT_STEP = "set metric_source in the inventory as roles/canary/README.md shows"


def source(settings: Mapping[str, Any], aws: Aws) -> MetricSource:
    """Returns the source that the inventory's ``metric_source`` describes. Raises Refused if it is not valid."""
    kind = settings.get("kind")
    given = {name: value for name, value in settings.items() if name != "kind"}
    if kind == "cloudwatch":
        return CloudWatchSource(cloudwatch_settings(settings), aws)
    if kind == "prometheus":
        known = read_settings(PrometheusSettings, given, named="metric_source of kind prometheus", next_step=_NEXT_STEP)
        queries = read_settings(PrometheusQueries, known.queries, named="metric_source.queries", next_step=_NEXT_STEP)
        return PrometheusSource(known, queries)
    raise Refused(
        "metric_source in the inventory has no valid kind",
        measured=f"kind {kind}" if "kind" in settings else "no kind",
        allowed=f"kind {' or '.join(KINDS)}",
        next_step=_NEXT_STEP,
    )


def cloudwatch_settings(settings: Mapping[str, Any]) -> CloudWatchSettings:
    """Returns the inventory's ``metric_source`` of kind cloudwatch. Raises Refused if it is not valid."""
    given = {name: value for name, value in settings.items() if name != "kind"}
    return read_settings(CloudWatchSettings, given, named="metric_source of kind cloudwatch", next_step=_NEXT_STEP)
