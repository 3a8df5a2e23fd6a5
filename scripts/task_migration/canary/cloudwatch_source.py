"""The gate's figures from CloudWatch: what the Task Service's load balancer, API Gateway and RDS publish there.

The load balancer's whole traffic is the canary. Its gaps are these: an error count has no data point where there was no
error; requests that found no target, or a broken one, are errors of the load balancer and not of a target; a request
whose caller went away before the answer is an error of nobody, and has no response time. So errors are counted from
both, a missing error count is 0 only beside requests, and a request that was never timed counts as slow.

What never reaches the load balancer is an error of API Gateway's alone, so its count of errors is read beside its count
of requests. A preflight is no request here: what answers it is the gateway, or nobody knows who.

Rates are for the caller: every figure here is a count that adds up over periods. A percentile does not, so how many
were slow is asked as a percentile rank, the share of response times up to the bound.
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
"""The next look is not far away."""
MOST_POINTS = 100_800
"""What one answer of GetMetricData holds (API reference)."""
# Whatever follows them on a later page, these points are not all there.
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

    ``api_name`` is the name of the REST API and not its id, ``resources`` are the paths of the task routes; they need
    the detailed metrics of the stage. ``load_balancer`` and ``target_group`` are the Task Service's.
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
    """One statistic of one metric; the dimensions have to be exactly those that are published."""

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
    """Reads CloudWatch; an error of AWS's is Unmeasured. Raises Refused if AWS may not be spoken to as told."""

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
                "CloudWatch has answers of the Task Service, and not how many requests there were",
                measured=f"no RequestCount in {len(behind)} of the periods",
                next_step="look again",
            )
        unanswered = _total(points["balancer_errors"])
        errors = _total(points["target_errors"]) + unanswered
        requests = max(_total(points["requests"]), errors)
        untimed = max(0, _total(points["requests"]) - _total(points["timed"]) - unanswered)
        slow = min(requests, _slow(points["timed"], points["fast_percent"]) + untimed)
        p95_ms = 1000 * max(points["p95_seconds"].values()) if points["p95_seconds"] else None
        counted = sum(_total(points[name]) for name in counts)
        # Counts that are listed, and hold nothing while there are requests, are no counts of this window.
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
                next_step="look again later; if it stays so, correct metric_source.db_instance in the inventory",
            )
        return max(points.values())

    def _of_target(self, metric: str, statistic: str) -> _Series:
        dimensions = {"TargetGroup": self._settings.target_group, "LoadBalancer": self._settings.load_balancer}
        return _Series("AWS/ApplicationELB", metric, statistic, dimensions)

    def _routes(self) -> list[Mapping[str, str]]:
        """The dimensions of the task routes, one set for each method that API Gateway publishes but OPTIONS; none
        without detailed metrics."""
        settings = self._settings
        stage = {"ApiName": settings.api_name, "Stage": settings.stage}
        with self._asking("list the metrics of API Gateway") as cloudwatch:
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
        """Every point of every series. Raises Unmeasured unless AWS says of each that it is complete."""
        start, end, period = _fitted(start, end, self.period_seconds, len(series))
        points: dict[str, _Points] = {name: {} for name in series}
        states = dict.fromkeys(series, "not answered")
        said: list[str] = []
        with self._asking("read the canary's metrics") as cloudwatch:
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
                    said += [one["Value"] for one in result.get("Messages", [])]
                said += [one["Value"] for one in page.get("Messages", [])]
        lacking = [f"{series[name].metric} is {state}" for name, state in states.items() if state != "Complete"]
        if lacking:
            raise Unmeasured(
                "CloudWatch did not give all of the canary's figures",
                measured="; ".join(dict.fromkeys([*lacking, *said])),
                allowed="Complete",
                next_step="look again; if it stays so: a role that may do cloudwatch:GetMetricData, and AWS's health",
            )
        return points

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Any]:
        try:
            self._client = self._client or self._connect()
            with translated_errors(doing):
                yield self._client
        except MigrationError as error:
            # Credentials that are renewed meanwhile are seen by a new client alone.
            self._client = None
            raise Unmeasured(
                error.what, measured=error.measured, allowed=error.allowed, next_step=error.next_step
            ) from error


def _of_route(metric: str, dimensions: Mapping[str, str]) -> _Series:
    return _Series("AWS/ApiGateway", metric, "Sum", dimensions)


def _total(points: _Points) -> int:
    return round(sum(points.values()))


def _slow(timed: _Points, fast_percent: _Points) -> int:
    """How many response times were above the bound."""
    if missing := timed.keys() - fast_percent.keys():
        raise Unmeasured(
            "CloudWatch has response times, and not how many of them were slow",
            measured=f"no percentile rank of TargetResponseTime in {len(missing)} of {len(timed)} periods",
            next_step="look again",
        )
    return round(sum(count * (100 - fast_percent[at]) / 100 for at, count in timed.items()))


def _fitted(start: datetime, end: datetime, period: int, series: int) -> tuple[datetime, datetime, int]:
    """The window in periods that are so long that one answer holds them; whole ones, so it may become shorter."""
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
