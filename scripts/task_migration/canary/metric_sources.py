"""Makes the metric source that the inventory's ``metric_source`` names."""

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
_NEXT_STEP = "fill in metric_source in the inventory as roles/canary/README.md shows"


def source(settings: Mapping[str, Any], aws: Aws) -> MetricSource:
    """The source that the inventory's ``metric_source`` names. Raises Refused for settings that can't be meant."""
    kind = settings.get("kind")
    given = {name: value for name, value in settings.items() if name != "kind"}
    if kind == "cloudwatch":
        return CloudWatchSource(cloudwatch_settings(settings), aws)
    if kind == "prometheus":
        told = read_settings(PrometheusSettings, given, named="metric_source of kind prometheus", next_step=_NEXT_STEP)
        queries = read_settings(PrometheusQueries, told.queries, named="metric_source.queries", next_step=_NEXT_STEP)
        return PrometheusSource(told, queries)
    raise Refused(
        "the inventory's metric_source does not say where the canary's figures are",
        measured=f"kind {kind}" if "kind" in settings else "no kind",
        allowed=f"kind {' or '.join(KINDS)}",
        next_step=_NEXT_STEP,
    )


def cloudwatch_settings(settings: Mapping[str, Any]) -> CloudWatchSettings:
    """The inventory's ``metric_source`` of kind cloudwatch. Raises Refused for settings that can't be meant."""
    given = {name: value for name, value in settings.items() if name != "kind"}
    return read_settings(CloudWatchSettings, given, named="metric_source of kind cloudwatch", next_step=_NEXT_STEP)
