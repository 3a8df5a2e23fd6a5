"""What the lab publishes as CloudWatch's: AWS's names, units and gaps, and each request once, whatever is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import EndpointConnectionError
from lab.gateway import gateway_metrics
from lab.gateway.aws_emulator import AwsEmulator
from lab.gateway.gateway_metrics import CpuMeter, GatewayMetricsPublisher, PublishedState, request_metrics
from lab.locations import AWS_REGION
from lab.servers.postgres_server import PostgresServer
from task_migration.external.aws import Aws

LARAVEL, TASK_SERVICE = "127.0.0.1:8001", "127.0.0.1:8002"
SIDES = {LARAVEL: "laravel", TASK_SERVICE: "task_service"}
STAGE = {"ApiName": "tasks-lab", "Stage": "lab"}
BALANCER = {"LoadBalancer": "app/task-service-lab/0000000000000002"}
TARGET = {"TargetGroup": "targetgroup/task-service-lab/0000000000000002", **BALANCER}
STARTS = count(int(time.time()) // 60 * 60 - 7200, 300)


@pytest.fixture(scope="module")
def cloudwatch():
    with AwsEmulator() as emulator:
        client = Aws(AWS_REGION, emulator.url).client("cloudwatch")
        client.emulator_url = emulator.url
        yield client


class NoServer:
    """A database server that does not run."""

    def percent(self):
        return None


class Busy:
    """One that takes 12.5 % of the machine."""

    def percent(self):
        return 12.5


class World:
    """A log, a clock and a publisher, at a time of which no other test knows anything."""

    def __init__(self, cloudwatch, folder, clock):
        self.start = next(STARTS)
        self.cloudwatch, self.log, self.state, self._clock = cloudwatch, folder / "log", folder / "state", clock
        self.clock(0)

    def clock(self, seconds):
        self._clock[0] = self.start + seconds

    def line(self, seconds, **fields):
        line = {
            "time": int((self.start + seconds) * 1000),
            "isCanary": True,
            "path": "/api/tasks",
            "method": "GET",
            "status": 200,
            "latency": 12.4,
            "intStatus": 200,
            "intLatency": 11.6,
            "upstream": TASK_SERVICE,
            "err": "",
            **fields,
        }
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def publisher(self, client=None, cpu=None, period=1, delay=0.0):
        given = (
            client or self.cloudwatch,
            self.log,
            PublishedState.of(self.state),
            cpu or NoServer(),
            SIDES,
            period,
            delay,
        )
        return GatewayMetricsPublisher(*given)

    def points(self, name, dimensions, statistic="Sum", namespace="AWS/ApplicationELB", period=1):
        """Each period's value, by how many seconds after the start it begins."""
        found = self.cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=self.start,
            EndTime=self.start + 240,
            Period=period,
            Statistics=[statistic],
        )
        return {int(one["Timestamp"].timestamp() - self.start): one[statistic] for one in found["Datapoints"]}


@pytest.fixture
def world(cloudwatch, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(gateway_metrics.time, "time", lambda: clock[0])
    return World(cloudwatch, tmp_path, clock)


# What is measured


def measured(*lines):
    base = {"path": "/api/tasks", "method": "GET", "latency": 20, "intLatency": 10, "upstream": TASK_SERVICE, "err": ""}
    return {
        (name, tuple(value for _, value in dimensions)): dict(counted)
        for (_, name, dimensions, _), counted in request_metrics([{**base, **line} for line in lines], SIDES).items()
    }


def test_a_request_has_every_figure_that_aws_gives_it():
    one = {"status": 200, "latency": 12.4, "intStatus": 200, "intLatency": 11.6}
    method, target = ("tasks-lab", "GET", "/api/tasks", "lab"), tuple(TARGET.values())
    assert measured(one) == {
        (name, whole): {value: 1}
        for whole in (tuple(STAGE.values()), method)
        for name, value in {"Count": 1, "4XXError": 0, "5XXError": 0, "Latency": 12, "IntegrationLatency": 12}.items()
    } | {
        ("RequestCount", target): {1: 1},
        ("HTTPCode_Target_2XX_Count", target): {1: 1},
        ("TargetResponseTime", target): {0.012: 1},
    }


def test_what_the_app_answers_is_its_own_error_and_what_it_does_not_answer_the_load_balancers():
    found = measured(
        *({"status": status, "intStatus": status} for status in (200, 404, 500, 503)),
        *({"status": 502, "intStatus": None, "err": error} for error in ("refused", "broken")),
    )
    stage, target, balancer = tuple(STAGE.values()), tuple(TARGET.values()), tuple(BALANCER.values())
    assert found["RequestCount", target] == {1: 6}
    assert found["HTTPCode_Target_4XX_Count", target] == {1: 1}
    assert found["HTTPCode_Target_5XX_Count", target] == {1: 2}
    assert found["HTTPCode_ELB_5XX_Count", balancer] == {1: 2}
    assert found["HTTPCode_ELB_502_Count", balancer] == {1: 2}
    assert found["TargetResponseTime", target] == {0.01: 4}
    assert found["5XXError", stage] == {0: 2, 1: 4}
    assert found["4XXError", stage] == {0: 5, 1: 1}


def test_what_the_gateway_did_not_wait_for_is_its_own_error_and_for_the_load_balancer_a_caller_that_went_away():
    found = measured({"status": 504, "intStatus": None, "err": "timeout"})
    assert {name: counted for (name, whole), counted in found.items() if whole[-1] in TARGET.values()} == {
        "RequestCount": {1: 1}
    }
    assert found["5XXError", tuple(STAGE.values())] == {1: 1}


def test_what_never_reached_a_load_balancer_is_the_gateways_alone():
    found = measured({"status": 502, "intStatus": None, "err": "refused", "upstream": "elsewhere.example.com"})
    assert {whole[0] for _, whole in found} == {"tasks-lab"}
    assert found["5XXError", tuple(STAGE.values())] == {1: 1}


def test_a_request_that_reached_no_resource_is_the_stages_alone():
    found = measured({"status": 403, "path": None, "upstream": None, "intStatus": None})
    assert {whole for _, whole in found} == {tuple(STAGE.values())}
    assert ("IntegrationLatency", tuple(STAGE.values())) not in found


# When it is published


def test_a_period_is_published_after_its_end_and_without_requests_there_is_none(world):
    publisher = world.publisher()
    world.line(0.2)
    world.line(0.9, intStatus=500, status=500)
    world.line(2.5)
    for moment, expected in ((1.2, {}), (1.4, {0: 2}), (2.4, {0: 2}), (3.4, {0: 2, 2: 1})):
        world.clock(moment)
        publisher.step()
        assert world.points("RequestCount", TARGET) == expected
    assert world.points("HTTPCode_Target_5XX_Count", TARGET) == {0: 1}
    assert world.points("5XXError", STAGE, "Average", "AWS/ApiGateway") == {0: 0.5, 2: 0.0}
    assert world.points("TargetResponseTime", TARGET, "Maximum") == {0: 0.012, 2: 0.012}


def test_with_the_delay_of_aws_a_minute_is_told_two_minutes_after_its_end(world):
    publisher = world.publisher(period=60, delay=120)
    for seconds in (1, 59, 61):
        world.line(seconds)
    for moment, expected in ((61, {}), (180, {}), (180.4, {0: 2}), (239, {0: 2}), (241, {0: 2, 60: 1})):
        world.clock(moment)
        publisher.step()
        assert world.points("RequestCount", TARGET, period=60) == expected


def test_the_database_is_measured_in_each_period_whether_or_not_there_are_requests(world):
    publisher = world.publisher(cpu=Busy(), delay=2)
    for moment in (1.4, 2.4, 3.4, 4.4, 5.4):
        world.line(moment)
        world.clock(moment)
        publisher.step()
    found = world.points("CPUUtilization", {"DBInstanceIdentifier": "task-service-lab"}, "Average", "AWS/RDS")
    assert found == {0: 12.5, 1: 12.5, 2: 12.5}
    assert world.points("RequestCount", TARGET) == {1: 1, 2: 1}


def test_a_torn_line_is_left_for_the_next_look_and_a_broken_one_passed_over(world):
    publisher = world.publisher()
    world.line(0.1)
    world.line(1.1)
    whole = world.log.read_bytes()
    world.log.write_bytes(whole[:-20])
    world.clock(1.4)
    publisher.step()
    world.log.write_bytes(whole + b'{"time":\n')
    world.line(1.2)
    world.clock(2.4)
    publisher.step()
    assert world.points("RequestCount", TARGET) == {0: 1, 1: 2}


def test_another_log_in_its_place_is_read_from_its_beginning(world):
    for seconds in (0.1, 0.2):
        world.line(seconds)
    world.clock(1.4)
    world.publisher().step()
    world.log.unlink()
    world.line(1.1)
    world.clock(2.4)
    world.publisher().step()
    assert world.points("RequestCount", TARGET) == {0: 2, 1: 1}


# Killed, and without AWS


class Killed(BaseException):
    pass


class Fragile:
    """A client that is killed at its n-th write, before or after it was done."""

    def __init__(self, client, number, done):
        self._client, self._left, self._done = client, number, done

    def put_metric_data(self, **values):
        self._left -= 1
        if self._left or self._done:
            self._client.put_metric_data(**values)
        if not self._left:
            raise Killed

    def get_metric_statistics(self, **values):
        return self._client.get_metric_statistics(**values)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("number", range(1, 7))
def test_killed_at_any_write_nothing_is_lost_or_counted_twice(world, number, done):
    for seconds in (0.1, 0.2, 1.1):
        world.line(seconds)
    PublishedState(world.state, 0, {world.start: 12.5, world.start + 1: 25.0}).save()
    world.clock(2.4)
    with pytest.raises(Killed):
        world.publisher(Fragile(world.cloudwatch, number, done)).step()
    for _ in range(2):
        world.publisher().step()
    assert world.points("RequestCount", TARGET) == {0: 2, 1: 1}
    assert world.points("Count", STAGE, "SampleCount", "AWS/ApiGateway") == {0: 2, 1: 1}
    database = {"DBInstanceIdentifier": "task-service-lab"}
    assert world.points("CPUUtilization", database, "SampleCount", "AWS/RDS") == {0: 1, 1: 1}


def test_what_came_while_aws_was_away_is_published_with_its_own_times(world):
    nowhere = Aws(AWS_REGION, "http://127.0.0.1:1").client("cloudwatch", attempts=1)
    publisher = world.publisher(nowhere)
    for seconds in (0.1, 1.1, 5.1):
        world.line(seconds)
        world.clock(seconds + 1.3)
        with pytest.raises(EndpointConnectionError):
            publisher.step()
    world.clock(9)
    world.publisher().step()
    assert world.points("RequestCount", TARGET) == {0: 1, 1: 1, 5: 1}


def test_the_process_killed_and_started_again_goes_on_where_it_stopped(cloudwatch, tmp_path):
    world = World(cloudwatch, tmp_path, [0.0])
    words = [
        *("--aws-endpoint-url", cloudwatch.emulator_url, "--access-log", str(world.log), "--state", str(world.state)),
        *("--laravel-upstream", LARAVEL, "--task-service-upstream", TASK_SERVICE),
        *("--database-directory", str(tmp_path / "nowhere")),
    ]

    def start():
        return subprocess.Popen([sys.executable, "-m", "lab.gateway.gateway_metrics", *words])

    def told(number):
        return sum(world.points("RequestCount", TARGET).values()) == number

    process = start()
    try:
        for second in range(3):
            world.line(second)
        until(lambda: told(3))
        process.kill()
        process.wait()
        for second in range(3, 8):
            world.line(second)
        process = start()
        until(lambda: told(8))
        assert world.points("RequestCount", TARGET) == dict.fromkeys(range(8), 1)
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# The database's CPU


def test_the_cpu_is_that_of_all_processes_of_the_server_those_that_ended_too(task_service_server):
    cpu = CpuMeter(task_service_server)
    assert cpu.percent() is None
    time.sleep(0.3)
    idle = cpu.percent()
    with psycopg.connect(task_service_server.dsn("postgres")) as session:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            session.execute("SELECT count(*) FROM generate_series(1, 200000)")
    assert idle < 5 < cpu.percent() <= 100


def test_a_server_that_does_not_run_has_no_cpu(tmp_path):
    assert CpuMeter(PostgresServer(Path(tmp_path), 0)).percent() is None
