"""The alarms that stay: made, again nothing, put right where somebody altered one, untouched in check mode."""

from __future__ import annotations

from functools import partial

import boto3
import pytest
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.finish.alarms import alarms

REGION = "ap-northeast-1"
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:task-service"
SOURCE = {
    "kind": "cloudwatch",
    "api_name": "tasks",
    "stage": "production",
    "resources": ["/api/tasks"],
    "load_balancer": "app/tasks/0123456789abcdef",
    "target_group": "targetgroup/tasks/0123456789abcdef",
    "db_instance": "task-service",
    "period_seconds": 60,
    "delay_seconds": 180,
}
NAMES = [f"task-service-staging-{name}" for name in ("errors", "p95", "cpu", "targets")]


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def cloudwatch(emulator):
    client = boto3.client(
        "cloudwatch",
        region_name=REGION,
        endpoint_url=emulator.url,
        aws_access_key_id="emulated",
        aws_secret_access_key="emulated",
    )
    client.delete_alarms(AlarmNames=NAMES)
    return client


@pytest.fixture
def alarmed(emulator):
    return partial(
        alarms,
        migration_environment="staging",
        metric_source=SOURCE,
        alert_topic_arn=TOPIC,
        aws=Aws(REGION, emulator.url),
    )


def told(cloudwatch):
    return {one["AlarmName"]: one for one in cloudwatch.describe_alarms(AlarmNames=NAMES)["MetricAlarms"]}


def test_every_bound_of_the_plan_has_its_alarm_and_again_nothing_changes(alarmed, cloudwatch):
    predicted = alarmed(check=True)
    assert (predicted.changed, predicted.details["made"]) == (True, 4)
    assert told(cloudwatch) == {}
    done = alarmed()
    assert (done.changed, done.details) == (True, {"alarms": NAMES, "made": 4})
    found = told(cloudwatch)
    assert [found[name]["Threshold"] for name in NAMES] == [0.1, 0.2, 70, 1]
    assert all(one["AlarmActions"] == one["OKActions"] == [TOPIC] for one in found.values())
    assert found[NAMES[1]]["ExtendedStatistic"] == "p95"
    assert found[NAMES[2]]["TreatMissingData"] == "breaching"
    rate = next(one for one in found[NAMES[0]]["Metrics"] if "Expression" in one)
    assert rate["ReturnData"] is True
    assert {one["MetricStat"]["Metric"]["MetricName"] for one in found[NAMES[0]]["Metrics"] if one is not rate} == {
        *("HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count", "RequestCount")
    }
    assert not alarmed().changed
    assert not alarmed(check=True).changed


def test_what_somebody_altered_is_put_right_alone(alarmed, cloudwatch):
    alarmed()
    before = told(cloudwatch)
    altered = before[NAMES[2]]
    kept = ("AlarmName", "MetricName", "Namespace", "Dimensions", "Statistic", "Period", "EvaluationPeriods")
    cloudwatch.put_metric_alarm(
        **{name: altered[name] for name in kept}, Threshold=99.0, ComparisonOperator="GreaterThanThreshold"
    )
    cloudwatch.delete_alarms(AlarmNames=NAMES[:1])
    done = alarmed()
    assert done.details["made"] == 2
    after = told(cloudwatch)
    assert after[NAMES[2]]["Threshold"] == 70
    assert after[NAMES[1]] == before[NAMES[1]]
    assert not alarmed().changed


def test_a_bound_of_the_inventorys_is_that_of_its_alarm(alarmed, cloudwatch):
    alarmed(canary_p95_ms=350, alert_topic_arn="")
    found = told(cloudwatch)[NAMES[1]]
    assert (found["Threshold"], found["AlarmActions"]) == (0.35, [])
    assert "350 ms" in found["AlarmDescription"]


def test_figures_that_are_elsewhere_have_no_alarm_here_and_it_says_what_to_type(alarmed, cloudwatch):
    done = alarmed(metric_source={"kind": "prometheus"})
    assert (done.changed, done.details) == (False, {"alarms": [], "made": 0})
    assert "-e confirm=monitoring" in done.lines[0]
    assert told(cloudwatch) == {}


def test_settings_that_can_not_be_meant_are_refused(alarmed):
    with pytest.raises(Refused, match="metric_source of kind cloudwatch has no key db_instance"):
        alarmed(metric_source={name: value for name, value in SOURCE.items() if name != "db_instance"})
