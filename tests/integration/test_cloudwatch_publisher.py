"""PutMetricData against the lab's CloudWatch, read back; and a CloudWatch that is away, silent, or says no."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from lab.gateway.aws_emulator import AwsEmulator
from lab.servers.postgres_server import free_port
from moto.cloudwatch.exceptions import CloudWatchException
from moto.cloudwatch.responses import CloudWatchResponse
from published import REGION, Published
from task_migration.errors import Refused
from task_migration.external import cloudwatch_publisher
from task_migration.external.aws import Aws
from task_migration.external.cloudwatch_publisher import MOST_DATA, CloudWatchPublisher
from task_migration.options import arguments_of


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def published(emulator, request):
    """Of an environment that no other test publishes for."""
    return Published(emulator.url, request.node.name)


@pytest.fixture
def publisher(published):
    made = []

    def make(**more):
        made.append(CloudWatchPublisher(**arguments_of(CloudWatchPublisher, {**published.told, **more})))
        return made[-1]

    yield make
    for one in made:
        one.close(5)


def wait_for(told, seconds=10.0):
    until = time.monotonic() + seconds
    while not (found := told()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@contextmanager
def throttled(monkeypatch):
    """CloudWatch says that it is asked too often while the block runs; gives how often it was asked."""
    asked = []

    def put_metric_data(self):
        asked.append(time.monotonic())
        raise CloudWatchException("Throttling", "Rate exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(CloudWatchResponse, "put_metric_data", put_metric_data)
        yield asked


@contextmanager
def silent():
    """Something that takes connections and never answers; where it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_what_was_put_is_read_back_with_its_unit_and_dimensions(publisher, published):
    with publisher() as metrics:
        metrics.put({"SyncApplied": 40, "SyncLatencyP95": 12.5, "SyncHealthy": 1, "SyncOldestWrite": None}, "forward")
        metrics.put({"SyncApplied": 2}, "forward")
        metrics.put({"SyncApplied": 7}, "backward")
        metrics.put({"CanaryErrorRate": 0.05, "CanaryVerdict": -1, "ConsistencyAge": float("nan")})
    assert published.value("SyncApplied", direction="forward") == 42
    assert published.value("SyncApplied", direction="backward") == 7
    assert published.value("SyncLatencyP95", "Maximum", "forward") == 12.5
    assert published.value("SyncHealthy", "Minimum", "forward") == 1
    assert published.value("CanaryErrorRate", "Maximum") == 0.05
    assert published.value("CanaryVerdict", "Minimum") == -1
    assert published.names() == {"SyncApplied", "SyncLatencyP95", "SyncHealthy", "CanaryErrorRate", "CanaryVerdict"}


def test_without_a_namespace_nothing_is_sent_and_no_thread_is_there(publisher, published):
    before = threading.active_count()
    with publisher(metrics_namespace="") as metrics:
        metrics.put({"SyncApplied": 1}, "forward")
        assert threading.active_count() == before
    assert published.value("SyncApplied", direction="forward") is None


def test_a_name_that_the_catalogue_lacks_is_a_fault_of_the_program(publisher):
    with pytest.raises(KeyError), publisher(metrics_namespace="") as metrics:
        metrics.put({"Surprise": 1})


@pytest.mark.parametrize("namespace", ["AWS/RDS", "Task Migration", "x" * 256, "Täsk"])
def test_a_namespace_that_cloudwatch_would_not_take_is_refused_before_anything_runs(namespace):
    with pytest.raises(Refused, match="next: correct metrics_namespace in the inventory"):
        CloudWatchPublisher(metrics_namespace=namespace)


def test_a_cloudwatch_that_is_away_holds_nobody_up_is_said_once_and_gets_what_it_missed(
    publisher, published, emulator, caplog
):
    caplog.set_level(logging.INFO)
    metrics = publisher(aws_endpoint_url=f"http://127.0.0.1:{free_port()}")
    times = []
    for _ in range(3):
        began = time.monotonic()
        metrics.put({"SyncApplied": 5}, "forward")
        times.append(time.monotonic() - began)
    assert min(times) < 0.05
    wait_for(lambda: metrics.trouble)
    metrics.put({"SyncApplied": 5}, "forward")
    time.sleep(0.3)
    assert [line.split(":")[0] for line in caplog.messages] == [
        "metrics are not published to CloudWatch; everything else continues"
    ]
    metrics._aws = Aws(REGION, emulator.url)  # it is back
    metrics.put({"SyncApplied": 1}, "forward")
    wait_for(lambda: published.value("SyncApplied", direction="forward") == 21)
    assert caplog.messages[-1] == "metrics are published to CloudWatch again"
    assert len(caplog.messages) == 2
    assert "emulated" not in caplog.text  # the credentials


@pytest.mark.filterwarnings("ignore:Exception.CloudWatchException")  # moto knows no such error of CloudWatch's
def test_a_throttled_request_is_not_tried_again_at_once_and_what_waits_is_one_request_at_most(
    publisher, published, monkeypatch, caplog
):
    metrics = publisher()
    with throttled(monkeypatch) as asked:
        metrics.put({"SyncApplied": 1}, "forward")
        wait_for(lambda: metrics.trouble)
        assert "Rate exceeded" in metrics.trouble
        time.sleep(0.5)
        assert len(asked) == 1
        for _ in range(MOST_DATA + 200):
            metrics.put({"SyncApplied": 1}, "forward")
        wait_for(lambda: len(asked) > 1)
    metrics.put({"SyncApplied": 1}, "forward")
    # The last one may come after all that waited was sent.
    wait_for(lambda: published.value("SyncApplied", direction="forward") in (MOST_DATA, MOST_DATA + 1))
    assert len([one for one in caplog.messages if "not published" in one]) == 1


def test_one_that_never_answers_keeps_nobody_from_ending(publisher, monkeypatch):
    monkeypatch.setattr(cloudwatch_publisher, "READ_SECONDS", 60)
    with silent() as url:
        metrics = publisher(aws_endpoint_url=url)
        began = time.monotonic()
        metrics.put({"SyncApplied": 1}, "forward")
        metrics.close()
        assert time.monotonic() - began < 30


def test_a_fault_of_the_program_ends_nothing_and_is_named_without_its_text(publisher, published, monkeypatch, caplog):
    def client(*_, **__):
        raise RuntimeError("somebody's secret")

    metrics = publisher()
    with monkeypatch.context() as patch:
        patch.setattr("task_migration.external.aws.Aws.client", client)
        metrics.put({"SyncApplied": 1}, "forward")
        wait_for(lambda: metrics.trouble)
    assert caplog.messages == ["metrics are not published to CloudWatch; everything else continues: RuntimeError"]
    metrics.put({"SyncApplied": 1}, "forward")
    wait_for(lambda: published.value("SyncApplied", direction="forward") == 2)
