"""Creates the alarms that remain after the migration: the plan's bounds on the Task Service, in CloudWatch.

They use the metrics by which the canary was judged. If those are in Prometheus, the alerting rules belong there too,
and nothing is created here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from task_migration.canary.cloudwatch_source import CloudWatchSettings
from task_migration.canary.metric_sources import cloudwatch_settings
from task_migration.errors import Failed
from task_migration.external.aws import Aws, translated_errors
from task_migration.outcome import Outcome

PERIOD_SECONDS = 60
_PERIODS, _BAD_PERIODS = 5, 3
_ELB, _RDS = "AWS/ApplicationELB", "AWS/RDS"


def alarms(
    *,
    migration_environment: str,
    metric_source: Mapping[str, Any],
    canary_error_rate_percent: float = 0.1,
    canary_p95_ms: float = 200,
    canary_cpu_percent: float = 70,
    alert_topic_arn: str = "",
    aws: Aws,
    check: bool = False,
) -> Outcome:
    """Creates an alarm for each bound, updates those that differ, and reads them back. A second run changes nothing.

    The bounds: error rate and p95 of the API, CPU of the database, and at least one healthy target of the load
    balancer. An alarm fires when 3 of 5 minutes are out of bounds, and notifies ``alert_topic_arn`` ("" for no one).
    Details: ``alarms``, their names; ``made``, how many were created or updated. There are none if ``metric_source`` is
    not CloudWatch's. Raises Failed if an alarm does not read back as it was written.
    """
    settings = cloudwatch_settings(metric_source) if metric_source.get("kind") == "cloudwatch" else None
    if settings is None:
        return Outcome(
            False,
            "alarms: the metrics are not in CloudWatch, so the alarms must be set up elsewhere, by hand",
            {"alarms": [], "made": 0},
            ("once they are set up: ansible-playbook phase-2.5-cleanup.yml -e confirm=monitoring",),
        )
    bounds = {"error": canary_error_rate_percent, "p95": canary_p95_ms, "cpu": canary_cpu_percent}
    wanted = _alarms(settings, bounds, f"task-service-{migration_environment}", alert_topic_arn)
    client = aws.client("cloudwatch")
    existing = _read(client, list(wanted))
    outdated = [name for name, alarm in wanted.items() if _differences(alarm, existing.get(name))]
    if outdated and not check:
        for name in outdated:
            with translated_errors("create alarms", writes=True):
                client.put_metric_alarm(**wanted[name])
        existing = _read(client, outdated)
        if differing := [name for name in outdated if _differences(wanted[name], existing.get(name))]:
            raise Failed(
                "CloudWatch does not return the alarms as they were written",
                measured=", ".join(
                    f"{name}: {', '.join(_differences(wanted[name], existing.get(name)))}" for name in differing
                ),
                next_step="run the same command again",
            )
    verb = "would create or update" if check else "created or updated"
    message = f"{verb} {len(outdated)} of {len(wanted)} alarms" if outdated else f"{len(wanted)} alarms are up to date"
    notified = alert_topic_arn or "no one: alert_topic_arn is empty"
    lines = (*(f"{name}: {alarm['AlarmDescription']}" for name, alarm in wanted.items()), f"they notify {notified}")
    return Outcome(bool(outdated), f"alarms: {message}", {"alarms": list(wanted), "made": len(outdated)}, lines)


def _alarms(
    settings: CloudWatchSettings, bounds: Mapping[str, float], prefix: str, topic: str
) -> dict[str, dict[str, Any]]:
    """Returns each alarm by its name, as PutMetricAlarm takes it."""
    balancer = {"LoadBalancer": settings.load_balancer}
    target = {"TargetGroup": settings.target_group, **balancer}
    counts = {
        "answered": _sum("HTTPCode_Target_5XX_Count", target),
        "unanswered": _sum("HTTPCode_ELB_5XX_Count", balancer),
        "requests": _sum("RequestCount", target),
    }
    rate = {
        "Id": "rate",
        "Expression": "100 * (FILL(answered, 0) + FILL(unanswered, 0)) / requests",
        "Label": "failed requests in percent",
        "ReturnData": True,
    }
    alarms = {
        "errors": {
            "AlarmDescription": f"{bounds['error']:g} % or more of the Task Service's requests fail",
            "Metrics": [
                rate,
                *({"Id": name, "MetricStat": stat, "ReturnData": False} for name, stat in counts.items()),
            ],
            "Threshold": bounds["error"],
            "TreatMissingData": "notBreaching",
        },
        "p95": {
            "AlarmDescription": f"the p95 of the Task Service's answers is {bounds['p95']:g} ms or more",
            **_metric(_ELB, "TargetResponseTime", target),
            "ExtendedStatistic": "p95",
            "Threshold": bounds["p95"] / 1000,
            "TreatMissingData": "notBreaching",
        },
        "cpu": {
            "AlarmDescription": f"the CPU of the Task Service's database is at {bounds['cpu']:g} % or more, or unknown",
            **_metric(_RDS, "CPUUtilization", {"DBInstanceIdentifier": settings.db_instance}),
            "Statistic": "Average",
            "Threshold": bounds["cpu"],
            "TreatMissingData": "breaching",
        },
        "targets": {
            "AlarmDescription": "no target of the Task Service is healthy",
            **_metric(_ELB, "HealthyHostCount", target),
            "Statistic": "Minimum",
            "Threshold": 1.0,
            "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "breaching",
        },
    }
    common = {
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "EvaluationPeriods": _PERIODS,
        "DatapointsToAlarm": _BAD_PERIODS,
        "AlarmActions": [topic] if topic else [],
        "OKActions": [topic] if topic else [],
    }
    return {f"{prefix}-{name}": {"AlarmName": f"{prefix}-{name}", **common, **alarm} for name, alarm in alarms.items()}


def _sum(metric: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    one = {"Namespace": _ELB, "MetricName": metric, "Dimensions": _dimensions(dimensions)}
    return {"Metric": one, "Period": PERIOD_SECONDS, "Stat": "Sum"}


def _metric(namespace: str, metric: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": _dimensions(dimensions),
        "Period": PERIOD_SECONDS,
    }


def _dimensions(dimensions: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def _read(client: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    with translated_errors("read alarms"):
        found = client.describe_alarms(AlarmNames=names, AlarmTypes=["MetricAlarm"])["MetricAlarms"] if names else []
    return {one["AlarmName"]: one for one in found}


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> list[str]:
    """Returns the settings of an alarm that differ. The order in a list does not count."""
    if found is None:
        return ["missing"]
    return [name for name, value in wanted.items() if _plain(found.get(name)) != _plain(value)]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return sorted((_plain(one) for one in value), key=repr)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
