"""The emulator's CloudWatch: each value is counted once, in the period, the metric and the unit that it is of."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from botocore.exceptions import ClientError
from lab.gateway.aws import cloudwatch
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
NAMES = (f"Latency{number}" for number in count())
STAGE = [{"Name": "ApiName", "Value": "tasks-lab"}, {"Name": "Stage", "Value": "lab"}]
NAMESPACE = "AWS/ApiGateway"


@pytest.fixture(scope="module")
def client():
    with AwsEmulator() as emulator:
        yield Aws(REGION, emulator.url).client("cloudwatch")


def at(seconds):
    return NOON + timedelta(seconds=seconds)


class Metric:
    def __init__(self, client, name):
        self.client, self.name = client, name

    def put(self, seconds=0.0, *, namespace=NAMESPACE, dimensions=STAGE, **told):
        datum = {"MetricName": self.name, "Dimensions": dimensions, "Timestamp": at(seconds), **told}
        self.client.put_metric_data(Namespace=namespace, MetricData=[datum])

    def query(self, stat="Sum", period=60, *, id="q", namespace=NAMESPACE, dimensions=STAGE, unit=None):
        metric = {"Namespace": namespace, "MetricName": self.name, "Dimensions": dimensions}
        told = {"Metric": metric, "Period": period, "Stat": stat, **({"Unit": unit} if unit else {})}
        return {"Id": id, "MetricStat": told}

    def answer(self, *queries, start=0, end=3600, **told):
        return self.client.get_metric_data(
            MetricDataQueries=list(queries), StartTime=at(start), EndTime=at(end), **told
        )

    def get(self, stat="Sum", period=60, *, start=0, end=3600, **told):
        """The values, by the seconds after noon."""
        (result,) = self.answer(self.query(stat, period, **told), start=start, end=end)["MetricDataResults"]
        assert result["StatusCode"] == "Complete"
        return seconds(result)

    def value(self, stat):
        """Of all of the hour."""
        return self.get(stat, 3600)[0]


def seconds(result):
    return {
        (moment - NOON).total_seconds(): value
        for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
    }


@pytest.fixture
def metric(client):
    return Metric(client, next(NAMES))


# What is put is what is read


@pytest.mark.parametrize(
    ("stat", "value"),
    [
        ("SampleCount", 5),
        ("Sum", 30),
        ("Average", 6),
        ("Minimum", 2),
        ("Maximum", 10),
        ("p0", 2),
        ("p50", 6),
        ("p80", 8),
        ("p80.1", 10),
        ("p95", 10),
        ("p99.99", 10),
        ("p100", 10),
        ("PR(:6)", 60),
        ("PR(:5.9)", 40),
        ("PR(2:6)", 40),
        ("PR(6:)", 40),
        ("PR(:10)", 100),
        ("PR(:1.5)", 0),
    ],
)
def test_every_statistic_is_of_all_the_values(metric, stat, value):
    metric.put(0, Value=2)
    metric.put(10, Value=4.0)
    metric.put(20, Values=[6, 8], Counts=[1, 1])
    metric.put(30, Values=[10])
    assert metric.value(stat) == value


def test_a_count_is_so_many_values(metric):
    metric.put(Values=[0.1, 0.2, 0.3], Counts=[94, 3, 3])
    assert metric.value("SampleCount") == 100
    assert metric.value("Sum") == pytest.approx(10.9)
    assert (metric.value("p94"), metric.value("p95"), metric.value("p98")) == (0.1, 0.2, 0.3)
    assert metric.value("PR(:0.2)") == 97


def test_a_statistic_set_counts_but_its_percentiles_are_unknown(metric):
    metric.put(0, StatisticValues={"SampleCount": 4, "Sum": 20, "Minimum": 1, "Maximum": 9})
    assert [metric.value(stat) for stat in ("SampleCount", "Average", "Minimum", "Maximum")] == [4, 5, 1, 9]
    metric.put(60, Value=3)
    assert metric.get("p95") == {60: 3}
    assert metric.get("p95", 3600) == {}
    metric.put(120, StatisticValues={"SampleCount": 2, "Sum": 4, "Minimum": 2, "Maximum": 2})
    assert metric.get("p95") == {60: 3, 120: 2}, "a set of equal values is as good as the values"


def test_percentiles_are_those_of_the_sorted_values(metric):
    values = [round(random.Random(1).gauss(0.1, 0.03), 4) for _ in range(150)]
    values = [value + 0.0001 * number for number, value in enumerate(values)]
    metric.put(Values=values)
    values.sort()
    for percent in (1, 50, 90, 95, 99):
        assert metric.value(f"p{percent}") == values[-(-150 * percent // 100) - 1]


# Which values


def test_the_start_is_inclusive_and_the_end_exclusive(metric):
    for second in (0, 59, 60, 119, 120):
        metric.put(second, Value=1)
    assert metric.get(start=0, end=120) == {0: 2, 60: 2}
    assert metric.get(start=60, end=180) == {60: 2, 120: 1}
    assert metric.get(period=1, start=59, end=61) == {59: 1, 60: 1}


@pytest.mark.parametrize("period", [1, 5, 10, 20, 30, 60, 300])
def test_periods_are_cut_by_the_clock(metric, period):
    data = [
        {"MetricName": metric.name, "Dimensions": STAGE, "Timestamp": at(second), "Value": 1}
        for second in range(0, 600, 7)
    ]
    metric.client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    told = metric.get(period=period, start=293, end=600)
    first = 293 - 293 % period
    assert all(second % period == 0 for second in told)
    assert sum(told.values()) == sum(1 for second in range(0, 600, 7) if second >= first)


def test_a_period_without_a_value_is_left_out(metric):
    metric.put(0, Value=0)
    metric.put(180, Value=0)
    assert metric.get() == {0: 0, 180: 0}


@pytest.mark.parametrize(("scan_by", "order"), [({}, [60, 0]), ({"ScanBy": "TimestampAscending"}, [0, 60])])
def test_the_newest_is_first_unless_asked_otherwise(metric, scan_by, order):
    metric.put(0, Value=1)
    metric.put(60, Value=1)
    (result,) = metric.answer(metric.query(), **scan_by)["MetricDataResults"]
    assert list(seconds(result)) == order


def test_a_metric_is_its_namespace_and_exactly_its_dimensions_in_any_order(metric):
    metric.put(Value=1)
    assert metric.get(dimensions=STAGE[::-1]) == {0: 1}
    for other in (STAGE[:1], [], [*STAGE, {"Name": "Method", "Value": "GET"}], [STAGE[0], {**STAGE[1], "Value": "x"}]):
        assert metric.get(dimensions=other) == {}
    assert metric.get(namespace="AWS/RDS") == {}
    metric.put(Value=10, namespace="AWS/RDS")
    assert metric.get() == {0: 1}


def test_a_unit_that_was_not_put_finds_nothing(metric):
    metric.put(Value=1, Unit="Count")
    metric.put(Value=10)
    assert (metric.get(unit="Count"), metric.get(unit="Seconds"), metric.get()) == ({0: 1}, {}, {0: 11})


def test_an_unknown_metric_is_empty_and_complete(metric):
    (result,) = metric.answer(metric.query())["MetricDataResults"]
    assert (result["Id"], result["Values"], result["Timestamps"]) == ("q", [], [])
    assert result["StatusCode"] == "Complete"


def test_a_value_without_a_time_is_of_now(client, metric):
    before = datetime.now(UTC).replace(microsecond=0)
    client.put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": metric.name, "Value": 1}])
    query = metric.query(period=1, dimensions=[])
    told = client.get_metric_data(MetricDataQueries=[query], StartTime=before, EndTime=before + timedelta(seconds=60))
    assert told["MetricDataResults"][0]["Values"] == [1]


def test_what_is_long_past_is_forgotten(metric):
    metric.put(0, Value=1)
    metric.put(cloudwatch.KEPT_SECONDS, Value=1)
    assert metric.get(end=2 * cloudwatch.KEPT_SECONDS) == {0: 1, cloudwatch.KEPT_SECONDS: 1}
    metric.put(cloudwatch.KEPT_SECONDS + 1, Value=1)
    assert metric.get(end=2 * cloudwatch.KEPT_SECONDS) == {cloudwatch.KEPT_SECONDS: 2}


# Pages


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("scan_by", ["TimestampAscending", "TimestampDescending"])
def test_the_pages_together_are_the_whole(metric, most, scan_by):
    for second in range(0, 300, 60):
        metric.put(second, Value=second)
    queries = [metric.query(id="a"), metric.query("Maximum", id="b"), metric.query(namespace="Other", id="c")]
    whole = metric.answer(*queries, ScanBy=scan_by)["MetricDataResults"]
    assert [one["StatusCode"] for one in whole] == ["Complete"] * 3

    found, last, token = {}, {}, {}
    while True:
        page = metric.answer(*queries, ScanBy=scan_by, MaxDatapoints=most, **token)
        assert sum(len(one["Values"]) for one in page["MetricDataResults"]) <= most
        for one in page["MetricDataResults"]:
            found.setdefault(one["Id"], []).extend(zip(one["Timestamps"], one["Values"], strict=True))
            last[one["Id"]] = one["StatusCode"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == {one["Id"]: list(zip(one["Timestamps"], one["Values"], strict=True)) for one in whole}
    assert set(last.values()) == {"Complete"}


def test_a_result_that_goes_on_is_partial(metric):
    for second in (0, 60):
        metric.put(second, Value=1)
    page = metric.answer(metric.query(), MaxDatapoints=1)
    assert page["MetricDataResults"][0]["StatusCode"] == "PartialData"
    with pytest.raises(ClientError, match="InvalidNextToken"):
        metric.answer(metric.query(), NextToken="x")


# What is refused


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"period": 45}, "Period must be 1, 5, 10, 20, 30 or a multiple of 60, and is 45"),
        ({"period": 90}, "and is 90"),
        ({"id": "Upper"}, r"Upper for parameter MetricDataQueries.member.1.Id"),
        ({"id": "1st"}, "1st"),
        ({"stat": "Median"}, "Median for parameter Stat"),
        ({"stat": "p101"}, "p101"),
        ({"stat": "PR(:)"}, r"PR\(:\)"),
        ({"stat": "PR(.:1)"}, r"PR\(\.:1\)"),
    ],
)
def test_what_no_metric_can_answer_is_refused(metric, told, said):
    with pytest.raises(ClientError, match=said) as refused:
        metric.answer(metric.query(**told))
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationError", 400)


def test_an_expression_is_refused_and_not_taken_for_nothing(metric):
    with pytest.raises(ClientError, match="does not evaluate expressions"):
        metric.answer(metric.query(id="e"), {"Id": "rate", "Expression": "100*e/2"})


def test_queries_have_ids_of_their_own_and_are_not_too_many(metric):
    with pytest.raises(ClientError, match="not unique"):
        metric.answer(metric.query(), metric.query())
    many = [metric.query(id=f"q{number}") for number in range(501)]
    with pytest.raises(ClientError, match="size greater than 500"):
        metric.answer(*many)
    assert len(metric.answer(*many[:500])["MetricDataResults"]) == 500


def test_a_time_that_ends_before_it_begins_is_refused(metric):
    with pytest.raises(ClientError, match="must be greater than StartTime"):
        metric.get(start=60, end=0)
    with pytest.raises(ClientError, match="must not equal"):
        metric.get(start=60, end=60)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "must have one of Value, Values and StatisticValues"),
        ({"Values": [1.0] * 151}, "MetricData.member.1.Values must not have a size greater than 150"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "must be of the same size"),
        ({"Value": float("nan")}, "NaN"),
    ],
)
def test_a_datum_that_is_none_is_refused(metric, told, said):
    with pytest.raises(ClientError, match=said):
        metric.put(**told)
    assert metric.get() == {}


# The other calls


def test_statistics_are_those_of_metric_data(client, metric):
    for second, value in ((0, 1), (30, 3), (60, 5)):
        metric.put(second, Value=value, Unit="Seconds")
    told = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric.name,
        Dimensions=STAGE[::-1],
        StartTime=at(0),
        EndTime=at(120),
        Period=60,
        Statistics=["Sum", "Maximum"],
        ExtendedStatistics=["p50"],
    )
    assert told["Label"] == metric.name
    assert told["Datapoints"] == [
        {"Timestamp": at(0), "Sum": 4, "Maximum": 3, "Unit": "Seconds", "ExtendedStatistics": {"p50": 1}},
        {"Timestamp": at(60), "Sum": 5, "Maximum": 5, "Unit": "Seconds", "ExtendedStatistics": {"p50": 5}},
    ]


def test_metrics_are_listed_by_name_and_by_any_of_their_dimensions(client, metric):
    metric.put(Value=1)
    metric.put(Value=1, dimensions=[])
    listed = {"Namespace": NAMESPACE, "MetricName": metric.name, "Dimensions": STAGE}

    def found(**told):
        return client.list_metrics(MetricName=metric.name, **told)["Metrics"]

    assert found(Dimensions=[{"Name": "Stage"}]) == [listed]
    assert found(Dimensions=[STAGE[0]]) == [listed]
    assert found(Dimensions=[{"Name": "Stage", "Value": "other"}]) == []
    assert found(Namespace="AWS/RDS") == []
    assert found() == [listed, {**listed, "Dimensions": []}]


def test_the_list_of_metrics_has_pages(client, monkeypatch):
    monkeypatch.setattr(cloudwatch, "MOST_LISTED", 2)
    data = [{"MetricName": f"paged{number}", "Value": 1} for number in range(5)]
    client.put_metric_data(Namespace="Paged", MetricData=data)
    pages = [len(page["Metrics"]) for page in client.get_paginator("list_metrics").paginate(Namespace="Paged")]
    assert pages == [2, 2, 1]


def test_an_alarm_has_no_data_until_its_state_is_set(client, metric):
    alarm = {
        "AlarmName": metric.name,
        "Namespace": NAMESPACE,
        "MetricName": metric.name,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }

    def state():
        (told,) = client.describe_alarms(AlarmNames=[metric.name])["MetricAlarms"]
        return told["StateValue"]

    client.put_metric_alarm(**alarm)
    assert state() == "INSUFFICIENT_DATA"
    client.set_alarm_state(AlarmName=metric.name, StateValue="ALARM", StateReason="tested")
    client.put_metric_alarm(**alarm, AlarmDescription="changed")
    assert state() == "ALARM"
