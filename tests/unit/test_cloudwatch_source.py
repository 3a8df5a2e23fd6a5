"""CloudWatch's answers, gaps and refusals, each as the figures of a gate: what is missing is never taken for none."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from botocore.stub import ANY, Stubber
from task_migration.canary import cloudwatch_source, metric_source, metric_sources
from task_migration.canary.metric_source import TrafficCounts, Unmeasured
from task_migration.errors import Refused
from task_migration.external.aws import Aws

SETTINGS = {
    "kind": "cloudwatch",
    "api_name": "tasks",
    "stage": "live",
    "resources": ["/api/tasks", "/api/tasks/{proxy+}"],
    "load_balancer": "app/task-service/0123456789abcdef",
    "target_group": "targetgroup/task-service/fedcba9876543210",
    "db_instance": "task-service",
    "period_seconds": 60,
    "delay_seconds": 180,
}
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
END = START + timedelta(minutes=3)
TARGET = {"TargetGroup": SETTINGS["target_group"], "LoadBalancer": SETTINGS["load_balancer"]}


def route(resource, method="ANY", stage="live"):
    return {"ApiName": "tasks", "Method": method, "Resource": resource, "Stage": stage}


ROUTES = [route("/api/tasks"), route("/api/tasks/{proxy+}")]


def listed(*metrics, token=None):
    """An answer of ListMetrics."""
    count = {"Namespace": "AWS/ApiGateway", "MetricName": "Count"}
    found = [{**count, "Dimensions": [{"Name": n, "Value": v} for n, v in one.items()]} for one in metrics]
    return {"Metrics": found, **({"NextToken": token} if token else {})}


def answered(token=None, messages=(), **series):
    """An answer of GetMetricData: values by minute, None for a gap; or a status and then the values."""
    names = ["requests", "target_errors", "balancer_errors", "timed", "fast_percent", "p95_seconds"]
    results = []
    for name in dict.fromkeys([*names, *series]) if not token else series:
        values = series.get(name, [])
        status, values = values if isinstance(values, tuple) else ("Complete", values)
        points = [(START + timedelta(minutes=n), value) for n, value in enumerate(values) if value is not None]
        results.append(
            {
                "Id": name,
                "StatusCode": status,
                "Timestamps": [at for at, _ in points],
                "Values": [value for _, value in points],
            }
        )
    told = {"Messages": [{"Code": "Told", "Value": text} for text in messages]}
    return {"MetricDataResults": results, **told, **({"NextToken": token} if token else {})}


@contextmanager
def answering(*answers, routes=()):
    """A source whose CloudWatch lists these routes, None if it is not asked to, and gives these answers to
    GetMetricData; what it was asked, in order."""
    source = metric_sources.source(SETTINGS, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    asked = []
    source._client.meta.events.register(
        "before-parameter-build.cloudwatch.*", lambda params, model, **_: asked.append((model.name, dict(params)))
    )
    with Stubber(source._client) as stub:
        if routes is not None:
            stub.add_response("list_metrics", listed(*routes))
        for one in answers:
            stub.add_response("get_metric_data", one)
        yield source, asked


def series_of(**routes):
    """Counts of the routes, and no error beside them."""
    return {**routes, **{name.replace("route", "failed"): [] for name in routes}}


def traffic(*answers, **more):
    with answering(*answers, **more) as (source, _):
        return source.traffic(START, END, 200)


WELL = {
    "requests": [100.0, 200.0, 100.0],
    "timed": [100.0, 200.0, 100.0],
    "fast_percent": [99.0, 100.0, 97.0],
    "p95_seconds": [0.120, 0.041, 0.190],
}


def test_counts_add_up_and_the_p95_is_that_of_the_worst_period():
    assert traffic(answered(**WELL)) == TrafficCounts(400, 0, 4, 190.0, None)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        # No error count beside requests is no error: CloudWatch publishes none where there is none.
        ({"target_errors": [None, 2.0, None]}, {"errors": 2}),
        # A broken target's requests are errors of the load balancer, and were never timed.
        ({"balancer_errors": [3.0], "timed": [97.0, 200.0, 100.0]}, {"errors": 3}),
        # Nobody answered: the callers went away, which is an error in no metric.
        ({"timed": [100.0, 150.0, 100.0]}, {"slow": 54}),
        ({"timed": [], "fast_percent": [], "p95_seconds": []}, {"slow": 400, "p95_ms": None}),
        # No target was found for any: the load balancer counts no request, and its errors are requests all the same.
        (
            {"requests": [], "timed": [], "fast_percent": [], "p95_seconds": [], "balancer_errors": [7.0, 8.0]},
            {"requests": 15, "errors": 15, "slow": 0, "p95_ms": None},
        ),
        ({name: [] for name in WELL}, {"requests": 0, "slow": 0, "p95_ms": None}),
        # A percentile rank is an approximation: what it loses in one period it may not lose in all.
        ({"fast_percent": [99.6, 99.8, 99.6]}, {"slow": 1}),
    ],
)  # fmt: skip
def test_each_gap_means_what_the_load_balancer_means_by_it(series, expected):
    found = traffic(answered(**{**WELL, **series}))
    assert found == TrafficCounts(
        **{"requests": 400, "errors": 0, "slow": 4, "p95_ms": 190.0, "all_requests": None} | expected
    )


def test_it_asks_once_for_everything_with_the_dimensions_as_they_are_published():
    answer = answered(**WELL, route_0=[1000.0], route_1=[234.0], failed_0=[1.0, 0.0, 2.0], failed_1=[0.0])
    with answering(answer, routes=ROUTES) as (source, asked):
        found = source.traffic(START, END, 200)
        assert (found.all_requests, found.all_errors) == (1234, 3)
    (_, listing), (_, data) = asked
    assert listing["Dimensions"] == [{"Name": "ApiName", "Value": "tasks"}, {"Name": "Stage", "Value": "live"}]
    assert (data["StartTime"], data["EndTime"], data["ScanBy"]) == (START, END, "TimestampAscending")
    stats = {one["Id"]: one["MetricStat"] for one in data["MetricDataQueries"]}
    dimensions = {
        name: {one["Name"]: one["Value"] for one in stat["Metric"]["Dimensions"]} for name, stat in stats.items()
    }
    balancer = {"LoadBalancer": SETTINGS["load_balancer"]}
    assert {
        name: (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], stat["Stat"], dimensions[name])
        for name, stat in stats.items()
    } == {
        "requests": ("AWS/ApplicationELB", "RequestCount", "Sum", TARGET),
        "target_errors": ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", TARGET),
        "balancer_errors": ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", balancer),
        "timed": ("AWS/ApplicationELB", "TargetResponseTime", "SampleCount", TARGET),
        "fast_percent": ("AWS/ApplicationELB", "TargetResponseTime", "PR(:0.2)", TARGET),
        "p95_seconds": ("AWS/ApplicationELB", "TargetResponseTime", "p95", TARGET),
        "route_0": ("AWS/ApiGateway", "Count", "Sum", ROUTES[0]),
        "route_1": ("AWS/ApiGateway", "Count", "Sum", ROUTES[1]),
        "failed_0": ("AWS/ApiGateway", "5XXError", "Sum", ROUTES[0]),
        "failed_1": ("AWS/ApiGateway", "5XXError", "Sum", ROUTES[1]),
    }
    assert {stat["Period"] for stat in stats.values()} == {60}
    # A wrong unit returns nothing, and looks like no traffic.
    assert all("Unit" not in stat for stat in stats.values())


def test_only_the_task_routes_are_counted_and_every_method_of_theirs_but_that_of_preflights():
    others = [
        {"ApiName": "tasks", "Stage": "live"},
        route("/api/users"),
        {**route("/api/tasks"), "Device": "phone"},
        route("/api/tasks", "OPTIONS"),
    ]
    routes = [*others, route("/api/tasks", "GET"), route("/api/tasks", "POST")]
    found = traffic(answered(**WELL, **series_of(route_0=[300.0], route_1=[100.0])), routes=routes)
    assert (found.all_requests, found.all_errors) == (400, 0)


def test_the_list_of_metrics_is_read_to_its_end():
    source = metric_sources.source(SETTINGS, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    with Stubber(source._client) as stub:
        stub.add_response("list_metrics", listed(ROUTES[0], token="more"))
        expected = {"Namespace": ANY, "MetricName": ANY, "Dimensions": ANY, "NextToken": "more"}
        stub.add_response("list_metrics", listed(ROUTES[1]), expected)
        stub.add_response("get_metric_data", answered(**WELL, **series_of(route_0=[1000.0], route_1=[234.0])))
        assert source.traffic(START, END, 200).all_requests == 1234


@pytest.mark.parametrize(
    ("routes", "series", "expected"),
    [
        ([], {}, (None, None)),
        (ROUTES, {}, (None, None)),
        (ROUTES, {"failed_0": [1.0]}, (None, None)),
        (ROUTES, {"route_0": [500.0]}, (500, 0)),
        (ROUTES, {"route_0": [500.0], "failed_0": [1.0, None, 2.0]}, (500, 3)),
        (ROUTES, {name: [] for name in WELL}, (0, 0)),
    ],
)
def test_what_nobody_counts_on_the_routes_is_unknown_and_not_none(routes, series, expected):
    told = series_of(route_0=[], route_1=[]) if routes else {}
    found = traffic(answered(**{**WELL, **told, **series}), routes=routes)
    assert (found.all_requests, found.all_errors) == expected


def test_an_answer_in_pages_is_put_together():
    first = {name: ("PartialData", values[:1]) for name, values in WELL.items()}
    rest = {name: [None, *values[1:]] for name, values in WELL.items()}
    assert traffic(answered(**first, token="more"), answered(**rest)) == TrafficCounts(400, 0, 4, 190.0, None)


@pytest.mark.parametrize("status", ["PartialData", "InternalError", "Forbidden"])
def test_what_is_not_complete_is_not_measured(status):
    with pytest.raises(Unmeasured, match=rf"HTTPCode_Target_5XX_Count is {status}.*oops.*next: ") as raised:
        traffic(answered(**WELL, target_errors=(status, []), messages=["oops"]))
    assert str(raised.value).startswith("Not measured: CloudWatch did not return all")
    assert "\n" not in str(raised.value)


def test_what_was_lost_on_one_page_is_not_made_up_for_by_the_next():
    lost = answered(token="more", requests=("InternalError", [100.0]))
    with pytest.raises(Unmeasured, match="RequestCount is InternalError"):
        traffic(lost, answered(**WELL))


def test_a_series_that_is_not_answered_at_all_is_not_measured():
    answer = answered(**WELL)
    answer["MetricDataResults"] = [one for one in answer["MetricDataResults"] if one["Id"] != "target_errors"]
    with pytest.raises(Unmeasured, match="HTTPCode_Target_5XX_Count is missing"):
        traffic(answer)


@pytest.mark.parametrize("answers", [{}, {"timed": [], "fast_percent": [], "target_errors": [None, None, 2.0]}])
def test_answers_that_are_there_before_the_count_of_requests_are_not_measured(answers):
    with pytest.raises(Unmeasured, match=r"no RequestCount in 1 of the periods.*next: run the same command again"):
        traffic(answered(**{**WELL, "requests": [100.0, 200.0], **answers}))


def test_times_without_their_rank_are_not_measured():
    with pytest.raises(Unmeasured, match="no percentile rank of TargetResponseTime in 1 of 3 periods"):
        traffic(answered(**{**WELL, "fast_percent": [99.0, None, 97.0]}))


@pytest.mark.parametrize("call", ["list_metrics", "get_metric_data"])
def test_an_error_of_aws_is_not_measured_and_the_next_look_logs_in_anew(call):
    source = metric_sources.source(SETTINGS, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    before = source._client
    with Stubber(before) as stub:
        if call == "get_metric_data":
            stub.add_response("list_metrics", listed())
        stub.add_client_error(call, "ExpiredToken", "The security token included in the request is expired", 400)
        with pytest.raises(Unmeasured, match=r"does not accept the credentials.*is expired.*next: log in to AWS"):
            source.traffic(START, END, 200)
    with pytest.raises(Unmeasured, match="AWS cannot be reached"):
        source.cpu_percent(START, END)
    assert source._client is not before


def cpu_percent(values):
    answer = {"MetricDataResults": answered(cpu=values)["MetricDataResults"][-1:]}
    with answering(answer, routes=None) as (source, asked):
        return source.cpu_percent(START, END), asked[0][1]["MetricDataQueries"]


def test_the_cpu_is_that_of_the_worst_period():
    percent, (query,) = cpu_percent([12.0, None, 71.5])
    assert percent == 71.5
    assert query["MetricStat"]["Stat"] == "Average"
    assert query["MetricStat"]["Metric"] == {
        "Namespace": "AWS/RDS",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": "task-service"}],
    }


def test_no_cpu_is_not_measured():
    with pytest.raises(Unmeasured, match=r"no CPU of the database task-service.*from 12:00:00 until 12:03:00 UTC"):
        cpu_percent([])


@pytest.mark.parametrize(
    ("period", "hours", "series", "expected"),
    [
        (60, 24, 8, 60),
        (60, 168, 8, 60),
        (60, 168, 20, 120),
        (1, 1, 8, 1),
        (1, 24, 8, 10),
        (10, 24 * 7, 8, 60),
        (120, 168, 40, 240),
        (300, 168, 500, 3000),
    ],
)
def test_a_long_window_is_read_in_longer_periods_that_fit_one_answer(period, hours, series, expected):
    start = START + timedelta(seconds=period)
    end = start + timedelta(hours=hours)
    first, last, fitted = cloudwatch_source._fitted(start, end, period, series)
    assert fitted == expected
    assert fitted % period == 0
    assert metric_source.PERIOD.takes(fitted)
    assert first.timestamp() % fitted == last.timestamp() % fitted == 0
    assert start <= first < last <= end
    assert (last - first).total_seconds() / fitted * series <= cloudwatch_source.MOST_POINTS


@pytest.mark.parametrize(
    ("since", "now", "expected"),
    [
        ("12:00:00", "12:10:00", ("12:00:00", "12:07:00")),
        ("12:00:01", "12:09:59", ("12:01:00", "12:06:00")),
        ("12:00:01", "12:05:00", ("12:01:00", "12:02:00")),
        ("12:00:01", "12:04:59", None),
        ("12:00:00", "12:00:00", None),
        ("12:10:00", "12:00:00", None),
    ],
)
def test_a_window_is_of_whole_periods_that_change_no_more(since, now, expected):
    def at(clock):
        return datetime.fromisoformat(f"2026-11-23T{clock}+00:00")

    source = metric_sources.source(SETTINGS, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    assert source.window(at(since), at(now)) == (expected and tuple(map(at, expected)))


WITHOUT = {name: value for name, value in SETTINGS.items() if name != "stage"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"has no valid kind; measured: no kind; allowed: kind cloudwatch or prometheus"),
        ({"kind": "datadog"}, r"measured: kind datadog; allowed: kind cloudwatch or prometheus"),
        (WITHOUT, r"metric_source of kind cloudwatch has no key stage, which is required; allowed: api_name, stage,"),
        ({**SETTINGS, "resource": []}, r"has an unknown key resource; did you mean resources\?"),
        ({**SETTINGS, "url": "x"}, r"has an unknown key url; allowed"),
        ({**SETTINGS, "api_name": ""}, r"not valid: api_name=''; allowed: some text"),
        ({**SETTINGS, "resources": "/api/tasks"}, r"not valid: resources='/api/tasks'; allowed: a list of paths"),
        ({**SETTINGS, "resources": []}, r"not valid: resources=\[\]"),
        ({**SETTINGS, "load_balancer": f"arn:aws:elasticloadbalancing:x:1:loadbalancer/{SETTINGS['load_balancer']}"},
         r"allowed: app/<name>/<id>, the end of its ARN"),
        ({**SETTINGS, "target_group": "task-service"}, r"allowed: targetgroup/<name>/<id>, the end of its ARN"),
        ({**SETTINGS, "period_seconds": 45}, r"=45; allowed: 1, 5, 10, 30 or a multiple of 60, up to 3,600"),
        ({**SETTINGS, "period_seconds": 0}, r"period_seconds=0"),
        ({**SETTINGS, "period_seconds": True}, r"period_seconds=True"),
        ({**SETTINGS, "period_seconds": "60"}, r"period_seconds='60'"),
        ({**SETTINGS, "delay_seconds": -1}, r"delay_seconds=-1; allowed: seconds from 0 to 3,600"),
    ],
)  # fmt: skip
def test_settings_that_cant_be_meant_are_refused_in_one_line(settings, said):
    with pytest.raises(Refused, match=said) as raised:
        metric_sources.source(settings, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    assert "\n" not in str(raised.value)
    assert "roles/canary/README.md" in str(raised.value)


def test_cloudwatch_elsewhere_is_asked_over_tls_alone():
    with pytest.raises(Refused, match="AWS may only be called over TLS"):
        metric_sources.source(SETTINGS, Aws("ap-northeast-1", "http://aws.example.com"))
