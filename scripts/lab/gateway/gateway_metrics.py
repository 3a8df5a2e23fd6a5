"""CloudWatch's view of the lab: reads the gateway's access log, and publishes what AWS would to the AWS emulator.

    python -m lab.gateway.gateway_metrics --aws-endpoint-url http://127.0.0.1:5005 --access-log FILE --state FILE \\
        --laravel-upstream 127.0.0.1:8001 --task-service-upstream 127.0.0.1:8002 --database-directory DIRECTORY

One period's figures at a time, ``--delay`` seconds after its end: with ``--period 60 --delay 120`` as late as AWS.
Names, units and gaps are AWS's: no request, no datapoint; a load balancer's errors only where there are some. Latencies
are in whole milliseconds. An app that refuses or breaks a connection is a target of its load balancer's that does: an
ALB answers 502 in its place. When the gateway gives up waiting, its 504 is the gateway's alone: for the load balancer
the caller went away, which is a request without a time, and nobody's error. What never reached a load balancer, as
where the upstream is neither side's, is in no figure of one.

Killed at any point, it goes on where it stopped. The state file tells how much of the log is published; what may have
been published just before a kill is asked for first, so that nothing counts twice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError
from task_migration.external.aws import Aws
from task_migration.runtime.stop_signal import Stop

from lab.locations import API_NAME, AWS_REGION, DB_INSTANCE, LOAD_BALANCERS, STAGE, TARGET_GROUPS
from lab.servers.postgres_server import PostgresServer

GATEWAY, LOAD_BALANCER, DATABASE = "AWS/ApiGateway", "AWS/ApplicationELB", "AWS/RDS"
SETTLING_SECONDS = 0.3
"""How long after its end a period's last lines are sure to be in the log."""
MOST_VALUES = 150
READINGS = 5
"""How often the CPU is read, if need be: a child that ends meanwhile would count twice, or not at all."""

MetricName = tuple[str, str, tuple[tuple[str, str], ...], str]
"""Namespace, name, dimensions, unit."""


def dimensions(**named: str) -> tuple[tuple[str, str], ...]:
    return tuple(named.items())


def request_metrics(lines: Iterable[Mapping[str, Any]], sides: Mapping[str, str]) -> dict[MetricName, Counter[float]]:
    """How often each value of each metric was measured in one period. ``sides`` says which side an upstream is."""
    found: dict[MetricName, Counter[float]] = defaultdict(Counter)
    for line in lines:
        _add_gateway_metrics(found, line)
        if line["upstream"] in sides:
            _add_load_balancer_metrics(found, line, sides[line["upstream"]])
    return found


def _add_gateway_metrics(found: dict[MetricName, Counter[float]], line: Mapping[str, Any]) -> None:
    """One sample of each metric for each request, 0 or 1 for the errors: so their average is the rate."""
    wholes = [dimensions(ApiName=API_NAME, Stage=STAGE)]
    if line["path"] is not None:
        wholes.append(dimensions(ApiName=API_NAME, Method=line["method"], Resource=line["path"], Stage=STAGE))
    status = line["status"] // 100
    for whole in wholes:
        found[GATEWAY, "Count", whole, "Count"][1] += 1
        found[GATEWAY, "4XXError", whole, "Count"][int(status == 4)] += 1
        found[GATEWAY, "5XXError", whole, "Count"][int(status == 5)] += 1
        found[GATEWAY, "Latency", whole, "Milliseconds"][round(line["latency"])] += 1
        if line["upstream"] is not None:
            found[GATEWAY, "IntegrationLatency", whole, "Milliseconds"][round(line["intLatency"])] += 1


def _add_load_balancer_metrics(found: dict[MetricName, Counter[float]], line: Mapping[str, Any], side: str) -> None:
    """What the app answered is its target group's, what was answered in its place the load balancer's, and what was not
    waited for nobody's."""
    balancer = dimensions(LoadBalancer=LOAD_BALANCERS[side])
    target = dimensions(TargetGroup=TARGET_GROUPS[side], LoadBalancer=LOAD_BALANCERS[side])
    found[LOAD_BALANCER, "RequestCount", target, "Count"][1] += 1
    answered = line["intStatus"]
    if answered is None and line["err"] == "timeout":
        return
    if answered is None:
        for name in ("HTTPCode_ELB_5XX_Count", f"HTTPCode_ELB_{line['status']}_Count"):
            found[LOAD_BALANCER, name, balancer, "Count"][1] += 1
        return
    found[LOAD_BALANCER, "TargetResponseTime", target, "Seconds"][round(line["intLatency"]) / 1000] += 1
    found[LOAD_BALANCER, f"HTTPCode_Target_{answered // 100}XX_Count", target, "Count"][1] += 1


def metric_data(
    measured: Mapping[MetricName, Counter[float]], start: float, period: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What PutMetricData takes, with its namespace; it takes so many values in one."""
    for (namespace, name, named, unit), counted in measured.items():
        values = sorted(counted)
        for first in range(0, len(values), MOST_VALUES):
            some = values[first : first + MOST_VALUES]
            yield (
                namespace,
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in named],
                    "Timestamp": datetime.fromtimestamp(start, UTC),
                    "Unit": unit,
                    "Values": some,
                    "Counts": [counted[value] for value in some],
                    "StorageResolution": 60 if period >= 60 else 1,
                },
            )


class CpuMeter:
    """The share of all cores that a PostgreSQL server's processes took, since it was asked before."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._before: tuple[int, float, float] | None = None

    def percent(self) -> float | None:
        """None if the server does not run, or was not the same one before."""
        before, self._before = self._before, self._taken()
        if before is None or self._before is None or before[0] != self._before[0]:
            return None
        took, passed = self._before[1] - before[1], self._before[2] - before[2]
        return max(0.0, min(100.0, 100 * took / passed / (os.cpu_count() or 1))) if passed > 0 else None

    def _taken(self) -> tuple[int, float, float] | None:
        """Its process id, seconds of CPU so far, and when."""
        pid = self._server.pid()
        if pid is None:
            return None
        try:
            postmaster = psutil.Process(pid)
            for _ in range(READINGS):
                taken, ended = _seconds(postmaster)
                if _seconds_of_ended(postmaster) == ended:
                    return pid, taken, time.monotonic()
        except psutil.Error:
            pass
        return None


def _seconds(postmaster: psutil.Process) -> tuple[float, float]:
    """What it, its children and those that ended took so far; and those that ended alone."""
    ended = _seconds_of_ended(postmaster)
    own = postmaster.cpu_times()
    taken = own.user + own.system + ended
    for child in postmaster.children():
        with suppress(psutil.Error):
            times = child.cpu_times()
            taken += times.user + times.system
    return taken, ended


def _seconds_of_ended(postmaster: psutil.Process) -> float:
    times = postmaster.cpu_times()
    return float(times.children_user + times.children_system)


@dataclass
class PublishedState:
    """How much of the log is published, and what was measured of the database for periods that are not."""

    file: Path
    offset: int = 0
    cpu: dict[int, float] = field(default_factory=dict)
    _saved: str = ""

    @classmethod
    def of(cls, file: Path) -> PublishedState:
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(file)
        return cls(file, fields["offset"], {int(start): value for start, value in fields["cpu"].items()})

    def save(self) -> None:
        """Whole after a kill; that it may be lost with the machine does no harm here."""
        text = json.dumps({"offset": self.offset, "cpu": self.cpu})
        if text != self._saved:
            beside = self.file.with_name(f".{self.file.name}")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.file)
            self._saved = text


class GatewayMetricsPublisher:
    """Publishes the periods that are over, oldest first. ``period`` and ``delay`` are in seconds."""

    def __init__(
        self,
        client: Any,
        log: Path,
        state: PublishedState,
        cpu: CpuMeter,
        sides: Mapping[str, str],
        period: int,
        delay: float,
    ) -> None:
        self._client = client
        self._log = log
        self._state = state
        self._cpu = cpu
        self._sides = sides
        self._period = period
        self._delay = delay
        self._in_doubt = True

    def step(self) -> None:
        """Once after the end of each period. Raises what boto3 raises; the next step publishes the same again."""
        ended = self._start_of(time.time() - SETTLING_SECONDS) - self._period
        if (percent := self._cpu.percent()) is not None:
            self._state.cpu[ended] = round(percent, 2)
        try:
            self._publish(self._start_of(time.time() - SETTLING_SECONDS - self._delay))
        except BaseException:
            self._in_doubt = True
            raise
        finally:
            self._state.save()

    def _start_of(self, moment: float) -> int:
        return math.floor(moment / self._period) * self._period

    def _publish(self, before: int) -> None:
        """Every period that begins before that moment."""
        for start, lines, offset in self._periods(before):
            measured = request_metrics(lines, self._sides)
            if start in self._state.cpu:
                named = dimensions(DBInstanceIdentifier=DB_INSTANCE)
                measured[DATABASE, "CPUUtilization", named, "Percent"][self._state.cpu[start]] += 1
            self._put(list(metric_data(measured, start, self._period)))
            self._state.offset = offset
            self._state.cpu = {one: value for one, value in self._state.cpu.items() if one > start}
            self._state.save()
            self._in_doubt = False

    def _periods(self, before: int) -> Iterator[tuple[int, list[dict[str, Any]], int]]:
        """Start, lines, and the offset in the log behind them, of each period of which anything is known.

        The log is in the order of time, but for a clock that was set back; such lines belong to periods of their own.
        """
        measured = sorted(start for start in self._state.cpu if start < before)
        lines: list[dict[str, Any]] = []
        current, offset = None, self._state.offset
        for line, behind in self._unpublished():
            start = self._start_of(line["time"] / 1000)
            if start >= before:
                break
            if current is not None and start != current:
                yield current, lines, offset
                lines = []
            while measured and measured[0] <= start:
                if (only_measured := measured.pop(0)) < start:
                    yield only_measured, [], offset
            lines.append(line)
            current, offset = start, behind
        if current is not None:
            yield current, lines, offset
        yield from ((start, [], offset) for start in measured)

    def _unpublished(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each whole line of the log that is not published, and the offset behind it."""
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._state.offset:
                self._state.offset = 0  # another log in its place
            file.seek(self._state.offset)
            offset = self._state.offset
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue  # the gateway ended in the middle of it
                yield fields, offset

    def _put(self, ready: list[tuple[str, dict[str, Any]]]) -> None:
        for namespace in dict.fromkeys(namespace for namespace, _ in ready):
            some = [datum for of, datum in ready if of == namespace]
            if not (self._in_doubt and self._is_there(namespace, some[0])):
                self._client.put_metric_data(Namespace=namespace, MetricData=some)

    def _is_there(self, namespace: str, datum: Mapping[str, Any]) -> bool:
        """Whether all that this datum counts is published; what goes to a namespace goes at once."""
        found = self._client.get_metric_statistics(
            Namespace=namespace,
            MetricName=datum["MetricName"],
            Dimensions=datum["Dimensions"],
            StartTime=datum["Timestamp"],
            EndTime=datum["Timestamp"] + timedelta(seconds=self._period),
            Period=self._period,
            Statistics=["SampleCount"],
        )["Datapoints"]
        return bool(sum(point["SampleCount"] for point in found) >= sum(datum["Counts"]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lab.gateway.gateway_metrics", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--aws-endpoint-url", required=True, help="where the AWS emulator is")
    parser.add_argument("--access-log", type=Path, required=True, help="the gateway's")
    parser.add_argument("--laravel-upstream", required=True, help="host:port")
    parser.add_argument("--task-service-upstream", required=True, help="host:port")
    parser.add_argument("--database-directory", type=Path, required=True, help="of the Task Service's server")
    parser.add_argument("--state", type=Path, required=True, help="how much is published")
    parser.add_argument("--period", type=int, default=1, help="seconds, 1 or a multiple of 60 as AWS takes them")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds from a period's end to its figures")
    asked = parser.parse_args()
    ending = Stop().on_signals(signal.SIGTERM, signal.SIGINT)
    client = Aws(AWS_REGION, asked.aws_endpoint_url).client("cloudwatch", attempts=1)
    publisher = GatewayMetricsPublisher(
        client,
        asked.access_log,
        PublishedState.of(asked.state),
        CpuMeter(PostgresServer(asked.database_directory, 0)),
        {asked.laravel_upstream: "laravel", asked.task_service_upstream: "task_service"},
        asked.period,
        asked.delay,
    )
    trouble = ""
    while True:
        now = time.time() - SETTLING_SECONDS
        if ending.wait(asked.period - now % asked.period + 0.01):  # surely behind the end
            return
        try:
            publisher.step()
            said = ""
        except (BotoCoreError, ClientError) as error:
            said = str(error)
        if said != trouble:
            print(said or "CloudWatch takes the figures again", file=sys.stderr)
            trouble = said


if __name__ == "__main__":
    main()
