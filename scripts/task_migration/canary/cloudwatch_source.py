"""Reads the canary's metrics from CloudWatch, where the Task Service's load balancer, API Gateway and RDS publish them.

All traffic of the load balancer is the canary's. Its metrics have gaps: an error count has no data point if there was
no error; requests without a target, or with a broken one, are errors of the load balancer and not of a target; a
request whose caller closed the connection before the answer is not an error, and has no response time. So errors are
counted from both, a missing error count is 0 only if there are requests, and a request without a response time counts
as slow.

Requests that never reach the load balancer are errors of API Gateway only, so its count of errors is read with its
count of requests. A CORS preflight does not count as a request: the gateway itself may answer it.

Every value here is a count that adds up over periods; the caller computes rates. A percentile does not add up, so the
number of slow requests is read as a percentile rank, the share of response times up to the bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from task_migration.canary.metric_source import DELAY, PERIOD, MetricSource, TrafficCounts, Unmeasured
from task_migration.errors import MigrationError
from task_migration.external.aws import Aws, translated_errors
from task_migration.external.inventory_mapping import TEXT, Setting

ATTEMPTS = 3
"""Few, because the next check comes soon."""
MOST_POINTS = 100_800
"""Data points in one answer of GetMetricData (API reference)."""
# Points are missing then, whatever follows on a later page.
_LOST = ("InternalError", "Forbidden")


def _ending(pattern: str) -> Setting:
    whole = re.compile(pattern.replace("<name>", "[A-Za-z0-9-]+").replace("<id>", "[0-9a-f]+"))
    return Setting(
        f"{pattern}, the end of its ARN", lambda value: isinstance(value, str) and bool(whole.fullmatch(value))
    )


def _are_paths(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and bool(value)
    return listed and all(isinstance(one, str) and one.startswith("/") for one in value)


_PATHS = Setting("a list of paths that begin with /", _are_paths)


@dataclass(frozen=True)
class CloudWatchSettings:
    """The inventory's ``metric_source`` of kind cloudwatch.

    ``api_name`` is the name of the REST API, not its id; ``resources`` are the paths of the task routes, for which the
    stage must have detailed metrics. ``load_balancer`` and ``target_group`` are the Task Service's.
    """

    api_name: Annotated[str, TEXT]
    stage: Annotated[str, TEXT]
    resources: Annotated[Sequence[str], _PATHS]
    load_balancer: Annotated[str, _ending("app/<name>/<id>")]
    target_group: Annotated[str, _ending("targetgroup/<name>/<id>")]
    db_instance: Annotated[str, TEXT]
    period_seconds: Annotated[int, PERIOD]
    delay_seconds: Annotated[float, DELAY]


@dataclass(frozen=True)
class _Series:
    """One statistic of one metric; the dimensions must be exactly the published ones."""

    namespace: str
    metric: str
    statistic: str
    dimensions: Mapping[str, str]

    def query(self, name: str, period: int) -> dict[str, Any]:
        dimensions = [{"Name": key, "Value": value} for key, value in self.dimensions.items()]
        metric = {"Namespace": self.namespace, "MetricName": self.metric, "Dimensions": dimensions}
        return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": self.statistic}}


_Points = dict[datetime, float]


class CloudWatchSource(MetricSource):
    """Reads CloudWatch; an error of AWS is raised as Unmeasured. Raises Refused if the endpoint is not valid."""

    name = "CloudWatch"

    def __init__(self, settings: CloudWatchSettings, aws: Aws) -> None:
        self._settings = settings
        self.period_seconds = settings.period_seconds
        self.delay_seconds = settings.delay_seconds
        self._connect = partial(aws.client, "cloudwatch", attempts=ATTEMPTS)
        self._client = self._connect()

    def traffic(self, start: datetime, end: datetime, slow_ms: float) -> TrafficCounts:
        routes = self._routes()
        counts = {f"route_{number}": _of_route("Count", one) for number, one in enumerate(routes)}
        failures = {f"failed_{number}": _of_route("5XXError", one) for number, one in enumerate(routes)}
        series = {
            "requests": self._of_target("RequestCount", "Sum"),
            "target_errors": self._of_target("HTTPCode_Target_5XX_Count", "Sum"),
            "balancer_errors": _Series(
                "AWS/ApplicationELB",
                "HTTPCode_ELB_5XX_Count",
                "Sum",
                {"LoadBalancer": self._settings.load_balancer},
            ),
            "timed": self._of_target("TargetResponseTime", "SampleCount"),
            "fast_percent": self._of_target("TargetResponseTime", f"PR(:{slow_ms / 1000:.10g})"),
            "p95_seconds": self._of_target("TargetResponseTime", "p95"),
        }
        points = self._read({**series, **counts, **failures}, start, end)
        if behind := (points["timed"].keys() | points["target_errors"].keys()) - points["requests"].keys():
            raise Unmeasured(
                "CloudWatch has response times or errors of the Task Service, but no number of requests",
                measured=f"no RequestCount in {len(behind)} of the periods",
                next_step="run the same command again",
            )
        unanswered = _total(points["balancer_errors"])
        errors = _total(points["target_errors"]) + unanswered
        requests = max(_total(points["requests"]), errors)
        untimed = max(0, _total(points["requests"]) - _total(points["timed"]) - unanswered)
        slow = min(requests, _slow(points["timed"], points["fast_percent"]) + untimed)
        p95_ms = 1000 * max(points["p95_seconds"].values()) if points["p95_seconds"] else None
        counted = sum(_total(points[name]) for name in counts)
        # Counts that are listed but empty while there are requests do not cover this window.
        if not routes or (requests and not counted):
            return TrafficCounts(requests, errors, slow, p95_ms, None)
        return TrafficCounts(requests, errors, slow, p95_ms, counted, sum(_total(points[name]) for name in failures))

    def cpu_percent(self, start: datetime, end: datetime) -> float:
        instance = self._settings.db_instance
        cpu = _Series("AWS/RDS", "CPUUtilization", "Average", {"DBInstanceIdentifier": instance})
        points = self._read({"cpu": cpu}, start, end)["cpu"]
        if not points:
            raise Unmeasured(
                f"CloudWatch has no CPU of the database {instance}",
                measured=f"no CPUUtilization from {start:%H:%M:%S} until {end:%H:%M:%S} UTC",
                next_step="run the same command again; if that does not help, correct metric_source.db_instance in the "
                "inventory",
            )
        return max(points.values())

    def _of_target(self, metric: str, statistic: str) -> _Series:
        dimensions = {"TargetGroup": self._settings.target_group, "LoadBalancer": self._settings.load_balancer}
        return _Series("AWS/ApplicationELB", metric, statistic, dimensions)

    def _routes(self) -> list[Mapping[str, str]]:
        """Returns the dimensions of the task routes, one set per method that API Gateway publishes, without OPTIONS;
        none without detailed metrics."""
        settings = self._settings
        stage = {"ApiName": settings.api_name, "Stage": settings.stage}
        with self._cloudwatch("list the metrics of API Gateway") as cloudwatch:
            pages = cloudwatch.get_paginator("list_metrics").paginate(
                Namespace="AWS/ApiGateway",
                MetricName="Count",
                Dimensions=[{"Name": name, "Value": value} for name, value in stage.items()],
            )
            listed = [metric["Dimensions"] for page in pages for metric in page["Metrics"]]
        published = [{one["Name"]: one["Value"] for one in dimensions} for dimensions in listed]
        return [
            dimensions
            for dimensions in published
            if dimensions.keys() == {"ApiName", "Method", "Resource", "Stage"}
            and dimensions["Resource"] in settings.resources
            and dimensions["Method"] != "OPTIONS"
        ]

    def _read(self, series: Mapping[str, _Series], start: datetime, end: datetime) -> dict[str, _Points]:
        """Returns every point of every series. Raises Unmeasured unless AWS returns each as complete."""
        start, end, period = _fitted(start, end, self.period_seconds, len(series))
        points: dict[str, _Points] = {name: {} for name in series}
        states = dict.fromkeys(series, "missing")
        messages: list[str] = []
        with self._cloudwatch("read the canary's metrics") as cloudwatch:
            pages = cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[one.query(name, period) for name, one in series.items()],
                StartTime=start,
                EndTime=end,
                ScanBy="TimestampAscending",
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    name = result["Id"]
                    points[name].update(zip(result["Timestamps"], result["Values"], strict=True))
                    if states[name] not in _LOST:
                        states[name] = result["StatusCode"]
                    messages += [one["Value"] for one in result.get("Messages", [])]
                messages += [one["Value"] for one in page.get("Messages", [])]
        incomplete = [f"{series[name].metric} is {state}" for name, state in states.items() if state != "Complete"]
        if incomplete:
            raise Unmeasured(
                "CloudWatch did not return all of the canary's metrics",
                measured="; ".join(dict.fromkeys([*incomplete, *messages])),
                allowed="Complete",
                next_step="run the same command again; if that does not help, check that the role may do "
                "cloudwatch:GetMetricData, and AWS Health",
            )
        return points

    @contextmanager
    def _cloudwatch(self, doing: str) -> Iterator[Any]:
        try:
            self._client = self._client or self._connect()
            with translated_errors(doing):
                yield self._client
        except MigrationError as error:
            # Only a new client uses renewed credentials.
            self._client = None
            raise Unmeasured(
                error.what, measured=error.measured, allowed=error.allowed, next_step=error.next_step
            ) from error


def _of_route(metric: str, dimensions: Mapping[str, str]) -> _Series:
    return _Series("AWS/ApiGateway", metric, "Sum", dimensions)


def _total(points: _Points) -> int:
    return round(sum(points.values()))


def _slow(timed: _Points, fast_percent: _Points) -> int:
    """Returns how many response times were above the bound."""
    if missing := timed.keys() - fast_percent.keys():
        raise Unmeasured(
            "CloudWatch has response times, but no percentile rank of them",
            measured=f"no percentile rank of TargetResponseTime in {len(missing)} of {len(timed)} periods",
            next_step="run the same command again",
        )
    return round(sum(count * (100 - fast_percent[at]) / 100 for at, count in timed.items()))


def _fitted(start: datetime, end: datetime, period: int, series: int) -> tuple[datetime, datetime, int]:
    """Returns the window, in whole periods long enough for one answer of AWS; it may become shorter."""
    seconds = (end - start).total_seconds()
    least = math.ceil(seconds * series / MOST_POINTS)
    if least <= period:
        return start, end, period
    if period < 60:
        period = next((one for one in (5, 10, 30) if one >= least and one % period == 0), 60 * math.ceil(least / 60))
    else:
        period *= math.ceil(least / period)
    first, last = math.ceil(start.timestamp() / period), math.floor(end.timestamp() / period)
    return datetime.fromtimestamp(first * period, UTC), datetime.fromtimestamp(last * period, UTC), period
