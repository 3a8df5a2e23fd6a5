"""The gate's figures, published as AWS's services do and read back from the emulator over HTTP."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.canary import metric_sources
from task_migration.canary.metric_source import TrafficCounts, Unmeasured
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
START = datetime.now(UTC).replace(microsecond=0, second=0) - timedelta(hours=1)

# The lab's own are 1 and 2, and all emulators of one process remember the same.
_numbers = count(16)


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


class Published:
    """Metrics of a Task Service of its own. ``second`` counts from START."""

    def __init__(self, url):
        number = f"{next(_numbers):016x}"
        self.settings = {
            "kind": "cloudwatch",
            "api_name": f"tasks-{number}",
            "stage": "lab",
            "resources": ["/api/tasks", "/api/tasks/{proxy+}"],
            "load_balancer": f"app/task-service-lab/{number}",
            "target_group": f"targetgroup/task-service-lab/{number}",
            "db_instance": f"task-service-{number}",
            "period_seconds": 1,
            "delay_seconds": 2,
        }
        self._url = url
        self._cloudwatch = Aws(REGION, url).client("cloudwatch")

    def source(self, **changes):
        return metric_sources.source({**self.settings, **changes}, Aws(REGION, self._url))

    def _put(self, namespace, second, metrics):
        data = [
            {
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                "Timestamp": START + timedelta(seconds=second),
                "Values": [float(value) for value in values],
                "Counts": [float(times) for times in values.values()],
            }
            for metric, dimensions, values in metrics
            if values
        ]
        self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    def served(self, second, *seconds, target_errors=0, balancer_errors=0, unanswered=0):
        """One second of the load balancer, with each answer's time in seconds. As there, no count of errors is 0."""
        balancer = {"LoadBalancer": self.settings["load_balancer"]}
        target = {"TargetGroup": self.settings["target_group"], **balancer}
        requests = len(seconds) + balancer_errors + unanswered
        metrics = [
            ("RequestCount", target, Counter([1.0] * requests)),
            ("TargetResponseTime", target, Counter(seconds)),
            ("HTTPCode_Target_5XX_Count", target, Counter([1.0] * target_errors)),
            ("HTTPCode_ELB_5XX_Count", balancer, Counter([1.0] * balancer_errors)),
        ]
        self._put("AWS/ApplicationELB", second, metrics)

    def routed(self, second, requests, resource="/api/tasks", method="ANY", stage="lab", errors=0):
        """One second of API Gateway's detailed metrics, and the stage's own beside them."""
        api = {"ApiName": self.settings["api_name"]}
        detailed = {**api, "Method": method, "Resource": resource, "Stage": stage}
        failed = {0.0: requests - errors, 1.0: errors} if errors else {0.0: requests}
        metrics = (("Count", {1.0: requests}), ("5XXError", failed))
        whole = {**api, "Stage": stage}
        self._put("AWS/ApiGateway", second, [(name, of, each) for name, each in metrics for of in (detailed, whole)])

    def worked(self, second, percent):
        instance = {"DBInstanceIdentifier": self.settings["db_instance"]}
        self._put("AWS/RDS", second, [("CPUUtilization", instance, {percent: 1})])


@pytest.fixture
def published(emulator):
    return Published(emulator.url)


def at(second):
    return START + timedelta(seconds=second)


def test_what_was_published_is_what_is_counted(published):
    published.served(0, *[0.010] * 97, 0.150, 0.200, 0.201)
    published.served(1, *[0.020] * 50, target_errors=3)
    published.served(3, *[0.300] * 2, balancer_errors=4, unanswered=1)
    published.routed(0, 400, errors=5)
    published.routed(1, 200, "/api/tasks/{proxy+}", errors=6)
    published.routed(1, 34, "/api/tasks/{proxy+}", "OPTIONS")
    published.routed(1, 1000, "/api/users", errors=1000)
    published.routed(1, 1000, stage="live")
    # A time of exactly the bound is not slow; one that nobody took is. A preflight is no request.
    assert published.source().traffic(at(0), at(4), 200) == TrafficCounts(157, 7, 1 + 2 + 1, 300.0, 600, 11)


def test_a_window_holds_its_first_second_and_not_its_end(published):
    for second in range(4):
        published.served(second, *[0.01] * (10**second))
        published.routed(second, 10**second)
        published.worked(second, 10.0 * second)
    source = published.source()
    found = source.traffic(at(1), at(3), 200)
    assert (found.requests, found.all_requests) == (110, 110)
    assert source.cpu_percent(at(1), at(3)) == 20.0
    assert source.cpu_percent(at(0), at(4)) == 30.0


def test_nothing_published_is_no_request_and_nothing_known(published):
    source = published.source()
    assert source.traffic(at(0), at(60), 200) == TrafficCounts(0, 0, 0, None, None)
    with pytest.raises(Unmeasured, match="CloudWatch has no CPU of the database task-service-"):
        source.cpu_percent(at(0), at(60))


def test_without_detailed_metrics_nobody_knows_the_routes(published):
    published.served(0, *[0.01] * 10)
    assert published.source().traffic(at(0), at(1), 200).all_requests is None


def test_a_service_that_hangs_is_slow_though_nothing_says_so(published):
    published.served(0, unanswered=50)
    assert published.source().traffic(at(0), at(1), 200) == TrafficCounts(50, 0, 50, None, None)


def test_a_service_that_is_down_has_requests_and_errors(published):
    published.served(0, balancer_errors=50)
    assert published.source().traffic(at(0), at(1), 200) == TrafficCounts(50, 50, 0, None, None)


@pytest.mark.parametrize(("hours", "period"), [(0.5, 1), (6, 1), (24, 60)])
def test_a_long_window_loses_nothing(published, hours, period):
    for second in range(0, 1800, 90):
        published.served(second, *[0.01] * 9, 0.5)
        published.routed(second, 40)
    now = at(1800)
    found = published.source(period_seconds=period).traffic(now - timedelta(hours=hours), now, 200)
    assert found == TrafficCounts(200, 0, 20, 500.0, 800, 0)


def test_an_emulator_that_is_gone_is_not_measured():
    with AwsEmulator() as running:
        source = Published(running.url).source()
    with pytest.raises(Unmeasured, match="AWS cannot be reached to list the metrics of API Gateway"):
        source.traffic(at(0), at(1), 200)
