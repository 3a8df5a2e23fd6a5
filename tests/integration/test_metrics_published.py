"""From the inventory's key to CloudWatch: what background keeps alive publishes there, and carries on when it can't."""

from __future__ import annotations

import threading
import time

import pytest
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from lab.servers.postgres_server import free_port
from published import NAMESPACE, REGION, Published
from sides import SIGNED_OFF
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.runtime import health_endpoint
from task_migration.runtime.services import services
from test_cloudwatch_publisher import silent, wait_for


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def published(emulator):
    return Published(emulator.url, "local")


@pytest.fixture
def told(copied, tmp_path, published):
    """What the inventory says; everything is taken away in the end."""
    values = {
        **copied.both,
        **published.told,
        "service_kind": "process",
        "service_directory": str(tmp_path / "services"),
        "sync_health_ports": {"forward": free_port(), "backward": free_port()},
        "quarantine_signed_off": SIGNED_OFF,
    }
    sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_forward", state="on")
    yield values
    for name in ("sync_forward", "consistency"):
        call(services, name=name, state="absent", **values)


@pytest.fixture
def kept(told):
    """``kept(name, **more)`` keeps a service alive that publishes; gives the port on which the sync tells."""

    def go(name, **more):
        assert call(services, name=name, **{**told, **more}).changed
        return told["sync_health_ports"]["forward"]

    return go


def write(copied, times):
    for number in range(times):
        copied.laravel("UPDATE tasks SET title = %s WHERE id = 60", f"number {number}")
        wait_for(lambda wanted=f"number {number}": copied.task(60, "title") == (wanted,))


def test_the_sync_publishes_at_once_and_its_last_figures_when_it_ends(copied, kept, published):
    before = published.value("SyncApplied", direction="forward") or 0
    port = kept("sync_forward")
    wait_for(lambda: published.value("SyncHealthy", "Maximum", "forward") == 1)
    write(copied, 5)
    carried = health_endpoint.ask(port)["entries_total"]
    assert carried >= 5
    kept("sync_forward", state="absent")
    assert published.value("SyncApplied", direction="forward") - before == carried
    assert published.value("SyncFailed", direction="forward") == 0
    assert 0 < published.value("SyncLatencyP95", "Maximum", "forward") < 5000
    assert published.value("SyncOldestWrite", "Minimum", "forward") == 0
    assert {"SyncQueueDepth", "SyncConflicts"} <= published.names()


def test_the_hourly_check_publishes_what_it_found_green_and_red(copied, kept, published):
    kept("consistency")
    wait_for(lambda: published.value("ConsistencyVerdict", "Maximum") == 1, seconds=30)
    assert published.value("ConsistencyDifferences", "Maximum") == 0
    assert published.value("DeadLetters", "Maximum") == 0
    assert published.value("ConsistencyRows", "Maximum") > 150
    kept("consistency", state="absent")
    copied.target("UPDATE tasks SET title = 'wrong' WHERE id IN (20, 60)")
    kept("consistency")
    wait_for(lambda: published.value("ConsistencyVerdict", "Minimum") == -1, seconds=30)
    assert published.value("ConsistencyDifferences", "Maximum") == 2


def test_a_cloudwatch_that_never_answers_is_said_once_in_the_log_and_nothing_is_slower(copied, kept, tmp_path):
    """Ending too: the last figures are given up after a moment."""
    with silent() as url:
        kept("sync_forward", aws_endpoint_url=url)
        log = tmp_path / "services/task-migration-local-sync-forward.log"
        write(copied, 5)
        wait_for(lambda: "metrics are not published to CloudWatch" in log.read_text())
        began = time.monotonic()
        write(copied, 5)
        assert time.monotonic() - began < 5
        ending = threading.Thread(target=kept, args=("sync_forward",), kwargs={"state": "absent"})
        began = time.monotonic()
        ending.start()
        ending.join(10)
        assert time.monotonic() - began < 5
    assert log.read_text().count("not published") == 1
    assert "entries synced in" in log.read_text()


@pytest.fixture
def alarm(emulator, published):
    """The alarm on the silence of the check, as Terraform makes it; ``alarm()`` tells whether it has its voice."""
    cloudwatch = Aws(REGION, emulator.url).client("cloudwatch")
    name = "task-service-local-migration-consistency-silent"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=NAMESPACE,
        MetricName="ConsistencyAge",
        Statistic="Maximum",
        Period=300,
        EvaluationPeriods=2,
        Threshold=7200,
        ComparisonOperator="GreaterThanThreshold",
        ActionsEnabled=False,
    )

    def has_voice():
        (found,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return found["ActionsEnabled"]

    yield has_voice
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_the_alarm_on_silence_has_a_voice_as_long_as_there_is_something_to_be_silent(told, alarm):
    check = {"name": "consistency", **told}
    assert call(services, **check, check=True).changed
    assert not alarm()
    assert call(services, **check).changed
    assert alarm()
    assert not call(services, **check).changed
    assert call(services, **check, state="absent", check=True).changed
    assert alarm()
    assert call(services, **check, state="absent").changed
    assert not alarm()
    assert not call(services, **check, state="absent").changed


def test_a_voice_that_was_taken_by_hand_is_given_again_and_is_a_change(told, alarm, emulator):
    check = {"name": "consistency", **told}
    call(services, **check)
    Aws(REGION, emulator.url).client("cloudwatch").disable_alarm_actions(
        AlarmNames=["task-service-local-migration-consistency-silent"]
    )
    assert call(services, **check, check=True).changed
    assert call(services, **check).changed
    assert alarm()


def test_without_a_namespace_nobody_asks_for_an_alarm(told, alarm):
    call(services, **{**told, "metrics_namespace": ""}, name="consistency")
    assert not alarm()


def test_an_alarm_that_can_not_be_reached_keeps_no_service_from_ending_and_says_what_to_type(told, alarm):
    check = {"name": "consistency", **told}
    call(services, **check)
    with silent() as url:
        began = time.monotonic()
        ended = call(services, **{**check, "aws_endpoint_url": url}, state="absent")
        assert time.monotonic() - began < 15
    assert ended.changed
    (line,) = ended.lines
    assert line.endswith(
        "it may alert although nothing is wrong; next: aws cloudwatch disable-alarm-actions --alarm-names "
        "task-service-local-migration-consistency-silent"
    )


def test_a_namespace_that_cloudwatch_would_not_take_is_refused_before_anything_is_written(kept, tmp_path):
    with pytest.raises(Refused, match="metrics_namespace=AWS/RDS"):
        kept("sync_forward", metrics_namespace="AWS/RDS")
    assert not (tmp_path / "services").exists()
