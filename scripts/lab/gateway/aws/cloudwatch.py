"""CloudWatch: stores and reads metrics as AWS documents it, in place of moto, and creates alarms without data.

API reference, GetMetricData and PutMetricData; user guide, "CloudWatch statistics definitions". A metric is identified
by its namespace, its name and its exact dimensions, in any order. Its values are stored by the second, each with its
count, so percentiles are exact. Expressions are refused.

PutMetricData accepts the namespaces that start with AWS/, which AWS refuses. The lab publishes there for AWS's
services.
"""

from __future__ import annotations

import math
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import CloudWatchException, InvalidParameterCombination
from moto.cloudwatch.exceptions import ValidationError as Invalid
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

KEPT_SECONDS = 3 * 3600
"""How much older than its newest second a metric's data may be. AWS stores data finer than a minute for this long."""
MOST_QUERIES = 500
MOST_DATAPOINTS = 100_800
MOST_LISTED = 500
MOST_PUT = 1_000
MOST_VALUES = 150

_ID = re.compile(r"[a-z][A-Za-z0-9_]*")
_PERCENTILE = re.compile(r"p(?P<percent>\d{1,2}(\.\d{1,10})?|100)")
_RANK = re.compile(r"PR\((?P<above>\d+(\.\d+)?)?:(?P<up_to>\d+(\.\d+)?)?\)")
_TOKEN = re.compile(r"(?P<query>\d+)\.(?P<point>\d+)")

MetricId = tuple[str, str, frozenset[tuple[str, str]]]


@dataclass
class Distribution:
    """Values with their counts. ``values`` is None after a statistic set with different values: AWS has no percentile
    of those."""

    count: float = 0.0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    values: dict[float, float] | None = field(default_factory=dict)

    def add(self, value: float, count: float) -> None:
        self.count += count
        self.sum += value * count
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        if self.values is not None:
            self.values[value] = self.values.get(value, 0.0) + count

    def add_set(self, parameters: dict[str, float]) -> None:
        if parameters["Minimum"] == parameters["Maximum"]:
            self.add(parameters["Minimum"], parameters["SampleCount"])
            return
        self.count += parameters["SampleCount"]
        self.sum += parameters["Sum"]
        self.minimum = min(self.minimum, parameters["Minimum"])
        self.maximum = max(self.maximum, parameters["Maximum"])
        self.values = None

    def merge(self, other: Distribution) -> None:
        self.count += other.count
        self.sum += other.sum
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        if self.values is None or other.values is None:
            self.values = None
            return
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count


Statistic = Callable[[Distribution], float | None]

_SIMPLE: dict[str, Statistic] = {
    "SampleCount": lambda period: period.count,
    "Sum": lambda period: period.sum,
    "Average": lambda period: period.sum / period.count,
    "Minimum": lambda period: period.minimum,
    "Maximum": lambda period: period.maximum,
}


class Metric:
    """One metric: for each unit, a distribution for each second."""

    def __init__(self) -> None:
        self._units: defaultdict[str, dict[int, Distribution]] = defaultdict(dict)

    def second(self, unit: str, second: int) -> Distribution:
        seconds = self._units[unit]
        if second not in seconds:
            # Seconds arrive nearly in order, so the oldest are first.
            while seconds and (oldest := next(iter(seconds))) < second - KEPT_SECONDS:
                del seconds[oldest]
            seconds[second] = Distribution()
        return seconds[second]

    def periods(self, unit: str, first: int, end: int, length: int) -> dict[int, Distribution]:
        """Returns the distributions from ``first`` to before ``end``, by the start of their period, in order.

        Periods of ``length`` seconds are counted from ``first``. ``unit`` "" means any unit.
        """
        periods: defaultdict[int, Distribution] = defaultdict(Distribution)
        for seconds in [self._units.get(unit, {})] if unit else self._units.values():
            # Iterates over the requested seconds or the existing ones, whichever are fewer.
            there = range(first, end) if end - first < len(seconds) else seconds
            for second in there:
                if first <= second < end and second in seconds:
                    periods[second - (second - first) % length].merge(seconds[second])
        return dict(sorted(periods.items()))

    def units(self) -> list[str]:
        return list(self._units)


class MetricStore:
    """The metrics of one account and region."""

    def __init__(self) -> None:
        self._metrics: defaultdict[MetricId, Metric] = defaultdict(Metric)
        self._lock = threading.Lock()

    def put(self, namespace: str, data: list[dict[str, Any]]) -> None:
        now = int(datetime.now(UTC).timestamp())
        with self._lock:
            for datum in data:
                metric = self._metrics[key(namespace, datum["MetricName"], datum.get("Dimensions"))]
                second = int(_seconds(datum["Timestamp"])) if "Timestamp" in datum else now
                distribution = metric.second(datum.get("Unit", "None"), second)
                if values := datum.get("Values"):
                    for value, count in zip(values, datum.get("Counts") or [1.0] * len(values), strict=True):
                        distribution.add(float(value), float(count))
                elif parameters := datum.get("StatisticValues"):
                    distribution.add_set({name: float(value) for name, value in parameters.items()})
                else:
                    distribution.add(float(datum["Value"]), 1.0)

    def get(self, metric: MetricId, unit: str, first: int, end: int, length: int) -> dict[int, Distribution]:
        with self._lock:
            return self._metrics[metric].periods(unit, first, end, length) if metric in self._metrics else {}

    def units(self, metric: MetricId) -> list[str]:
        with self._lock:
            return self._metrics[metric].units() if metric in self._metrics else []

    def listed(self, parameters: dict[str, Any]) -> list[MetricId]:
        with self._lock:
            return [one for one in self._metrics if _matches(one, parameters)]


def key(namespace: str, name: str, dimensions: list[dict[str, str]] | None) -> MetricId:
    return namespace, name, frozenset((one["Name"], one["Value"]) for one in dimensions or [])


def store_metrics() -> None:
    """Replaces PutMetricData, GetMetricData, GetMetricStatistics and ListMetrics."""
    response: Any = CloudWatchResponse

    def put_metric_data(self: Any) -> Any:
        data = self._get_param("MetricData", [])
        _check_size("MetricData", data, MOST_PUT)
        for number, datum in enumerate(data, 1):
            where = f"MetricData.member.{number}"
            self.cloudwatch_backend._validate_parameters_put_metric_data(datum, number)
            _check_size(f"{where}.Values", datum.get("Values") or [], MOST_VALUES)
            if not datum.keys() & {"Value", "Values", "StatisticValues"}:
                raise InvalidParameterCombination(f"{where} must have one of Value, Values and StatisticValues.")
        _metrics(self).put(self._get_param("Namespace"), data)
        return EmptyResult()

    def get_metric_data(self: Any) -> Any:
        parameters = self._get_params()
        start, end = _interval(parameters)
        queries = parameters["MetricDataQueries"]
        _check_queries(queries)
        descending = (parameters.get("ScanBy") or "TimestampDescending") == "TimestampDescending"
        found = [_points(_metrics(self), query["MetricStat"], start, end) for query in queries]
        ordered_points = [list(reversed(points)) if descending else points for points in found]
        most = parameters.get("MaxDatapoints") or MOST_DATAPOINTS
        results, token = _page(queries, ordered_points, most, parameters.get("NextToken"))
        return ActionResult({"MetricDataResults": results, **({"NextToken": token} if token else {})})

    def get_metric_statistics(self: Any) -> Any:
        parameters = self._get_params()
        names = (parameters.get("Statistics") or []) + (parameters.get("ExtendedStatistics") or [])
        if not names:
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
        statistics = {name: _statistic(name) for name in names}
        length = parameters["Period"]
        _check_period(length)
        start, end = _interval(parameters)
        # Unlike in GetMetricData, periods are counted from the start; the AWS CLI's own example shows it.
        first = start - start % min(length, 60)
        metric = key(parameters["Namespace"], parameters["MetricName"], parameters.get("Dimensions"))
        points = [
            _datapoint(second, period, statistics, unit)
            for unit in ([parameters["Unit"]] if parameters.get("Unit") else _metrics(self).units(metric))
            for second, period in _metrics(self).get(metric, unit, first, end, length).items()
        ]
        return ActionResult({"Label": parameters["MetricName"], "Datapoints": points})

    def list_metrics(self: Any) -> Any:
        parameters = self._get_params()
        keys = _metrics(self).listed(parameters)
        begin = int(parameters.get("NextToken") or 0)
        end = begin + MOST_LISTED
        listed = [
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": one, "Value": value} for one, value in sorted(dimensions)],
            }
            for namespace, name, dimensions in keys[begin:end]
        ]
        return ActionResult({"Metrics": listed, **({"NextToken": str(end)} if len(keys) > end else {})})

    response.put_metric_data, response.get_metric_data = put_metric_data, get_metric_data
    response.get_metric_statistics, response.list_metrics = get_metric_statistics, list_metrics


def start_alarms_without_data() -> None:
    """Creates an alarm as INSUFFICIENT_DATA, and keeps its state when it is put again. moto always starts with OK.

    API reference, PutMetricAlarm. Nothing evaluates the alarm: SetAlarmState sets its state.
    """
    backend: Any = CloudWatchBackend
    put = backend.put_metric_alarm

    def put_metric_alarm(self: Any, name: str, **settings: Any) -> Any:
        before = self.alarms.get(name)
        alarm = put(self, name=name, **settings)
        alarm.state_value = before.state_value if before else "INSUFFICIENT_DATA"
        return alarm

    backend.put_metric_alarm = put_metric_alarm


def _metrics(response: Any) -> MetricStore:
    # It is stored in moto's backend, so that moto's reset empties it.
    return response.cloudwatch_backend.__dict__.setdefault("lab_metrics", MetricStore())  # type: ignore[no-any-return]


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _interval(parameters: dict[str, Any]) -> tuple[int, int]:
    """Returns the start, inclusive, and the end, exclusive."""
    start, end = int(_seconds(parameters["StartTime"])), math.ceil(_seconds(parameters["EndTime"]))
    if start > end:
        raise Invalid("The parameter EndTime must be greater than StartTime.")
    if start == end:
        raise Invalid("The parameter StartTime must not equal parameter EndTime.")
    return start, end


def _check_queries(queries: list[dict[str, Any]]) -> None:
    """Checks the queries. Most of the messages are not AWS's, because they were not recorded."""
    _check_size("MetricDataQueries", queries, MOST_QUERIES)
    ids: set[str] = set()
    for number, query in enumerate(queries, 1):
        where = f"MetricDataQueries.member.{number}"
        if not _ID.fullmatch(query["Id"]):
            raise Invalid(f"The value {query['Id']} for parameter {where}.Id is not matching the expected pattern.")
        if query["Id"] in ids:
            raise Invalid(f"The values for parameter Id in MetricDataQueries are not unique: {query['Id']}.")
        ids.add(query["Id"])
        if "Expression" in query:
            raise Invalid(f"{where}: this emulator does not evaluate expressions.")
        if "MetricStat" not in query:
            raise Invalid(f"The parameter {where}.MetricStat is required.\n")
        _check_period(query["MetricStat"]["Period"])
        _statistic(query["MetricStat"]["Stat"])


def _check_size(name: str, collection: list[Any], most: int) -> None:
    if len(collection) > most:
        raise Invalid(f"The collection {name} must not have a size greater than {most}.")


def _check_period(seconds: int) -> None:
    if not (seconds in (1, 5, 10, 20, 30) or (seconds > 0 and seconds % 60 == 0)):
        raise Invalid(f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, and is {seconds}.")


def _points(metrics: MetricStore, asked: dict[str, Any], start: int, end: int) -> list[tuple[int, float]]:
    """Returns the points. Periods are aligned to the clock, and the start moves back to the start of its period."""
    length, statistic, metric = asked["Period"], _statistic(asked["Stat"]), asked["Metric"]
    periods = metrics.get(
        key(metric["Namespace"], metric["MetricName"], metric.get("Dimensions")),
        asked.get("Unit") or "",
        start - start % length,
        end,
        length,
    )
    values = ((second, statistic(period)) for second, period in periods.items())
    return [(second, value) for second, value in values if value is not None]


def _page(
    queries: list[dict[str, Any]], points: list[list[tuple[int, float]]], most: int, token: str | None
) -> tuple[list[dict[str, Any]], str]:
    """Returns up to ``most`` points of the results, starting at ``token``, and the next token or ""."""
    at = _TOKEN.fullmatch(token or "0.0")
    if not at:
        raise CloudWatchException("InvalidNextToken", "The next token specified is invalid.")
    results: list[dict[str, Any]] = []
    begin = int(at["point"])
    for number in range(int(at["query"]), len(queries)):
        query = queries[number]
        if query.get("ReturnData") is False:
            continue
        if not most:
            return results, f"{number}.0"
        page = points[number][begin : begin + most]
        most -= len(page)
        complete = begin + len(page) == len(points[number])
        metric = query["MetricStat"]["Metric"]["MetricName"]
        results.append(
            {
                "Id": query["Id"],
                "Label": query.get("Label") or metric,
                "Timestamps": [datetime.fromtimestamp(second, UTC) for second, _ in page],
                "Values": [value for _, value in page],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
        if not complete:
            return results, f"{number}.{begin + len(page)}"
        begin = 0
    return results, ""


def _datapoint(second: int, period: Distribution, statistics: dict[str, Statistic], unit: str) -> dict[str, Any]:
    values = {name: statistic(period) for name, statistic in statistics.items()}
    simple = {name: value for name, value in values.items() if name in _SIMPLE}
    extended = {name: value for name, value in values.items() if name not in _SIMPLE and value is not None}
    return {
        "Timestamp": datetime.fromtimestamp(second, UTC),
        "Unit": unit,
        **simple,
        **({"ExtendedStatistics": extended} if extended else {}),
    }


def _matches(metric: MetricId, parameters: dict[str, Any]) -> bool:
    """Returns whether the metric matches. A dimension without a value matches any value."""
    namespace, name, dimensions = metric
    there = dict(dimensions)
    return (
        parameters.get("Namespace") in (None, namespace)
        and parameters.get("MetricName") in (None, name)
        and all(
            one["Name"] in there and one.get("Value") in (None, there[one["Name"]])
            for one in parameters.get("Dimensions") or []
        )
    )


def _statistic(name: str) -> Statistic:
    """Returns the statistic that ``Stat`` names: Sum, Average, Minimum, Maximum, SampleCount, p95, p99.9,
    PR(0.1:0.2)."""
    if name in _SIMPLE:
        return _SIMPLE[name]
    if percentile := _PERCENTILE.fullmatch(name):
        return lambda period: _percentile(period, float(percentile["percent"]))
    rank = _RANK.fullmatch(name)
    if rank and (rank["above"] or rank["up_to"]):
        above, up_to = float(rank["above"] or "-inf"), float(rank["up_to"] or "inf")
        return lambda period: _rank(period, above, up_to)
    raise Invalid(f"The value {name} for parameter Stat is not supported.")


def _percentile(period: Distribution, percent: float) -> float | None:
    """Returns the smallest value that at least this share of all values do not exceed. AWS does not document how it
    interpolates."""
    if period.values is None:
        return None
    wanted, seen = period.count * percent / 100, 0.0
    for value in sorted(period.values):
        seen += period.values[value]
        # A sum of fractions may be too small by a rounding error.
        if seen >= wanted - 1e-9:
            return value
    return period.maximum


def _rank(period: Distribution, above: float, up_to: float) -> float | None:
    """Returns the percentage of values above ``above`` and up to ``up_to``, which is inclusive."""
    if period.values is None:
        return None
    return 100 * sum(count for value, count in period.values.items() if above < value <= up_to) / period.count
