"""CloudWatch's view of the lab: reads the gateway's access log, and publishes AWS's metrics to the AWS emulator.

    python -m lab.gateway.gateway_metrics --aws-endpoint-url http://127.0.0.1:5005 --access-log FILE --state FILE \\
        --laravel-upstream 127.0.0.1:8001 --task-service-upstream 127.0.0.1:8002 --database-directory DIRECTORY

Each period is published ``--delay`` seconds after its end. ``--period 60 --delay 120`` is as late as AWS. Names, units
and gaps are AWS's: without a request there is no datapoint, and a load balancer publishes errors only if there are
some. Latencies are in whole milliseconds. If an application refuses or breaks a connection, the load balancer answers
502. If the gateway stops waiting, its 504 counts only for the gateway: the load balancer sees a client that
disconnected, which is a request without a time and not an error. A request that did not reach a load balancer is in
none of its metrics.

After a kill it continues where it stopped. The state file has the published offset of the log. Metrics that may have
been published just before the kill are looked up first, so nothing counts twice.
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
"""The time after the end of a period until its last lines are in the log."""
MOST_VALUES = 150
READINGS = 5
"""How often the CPU is read at most. If a child ends during a reading, it would count twice or not at all."""

MetricName = tuple[str, str, tuple[tuple[str, str], ...], str]
"""Namespace, name, dimensions, unit."""


def dimensions(**named: str) -> tuple[tuple[str, str], ...]:
    return tuple(named.items())


def request_metrics(lines: Iterable[Mapping[str, Any]], sides: Mapping[str, str]) -> dict[MetricName, Counter[float]]:
    """Counts each value of each metric in one period. ``sides`` maps an upstream to its side."""
    found: dict[MetricName, Counter[float]] = defaultdict(Counter)
    for line in lines:
        _add_gateway_metrics(found, line)
        if line["upstream"] in sides:
            _add_load_balancer_metrics(found, line, sides[line["upstream"]])
    return found


def _add_gateway_metrics(found: dict[MetricName, Counter[float]], line: Mapping[str, Any]) -> None:
    """Adds one sample per request to each metric. An error metric gets 0 or 1, so its average is the error rate."""
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
    """Adds one request. An answer of the application counts for its target group, an error in its place for the load
    balancer, and a timeout of the gateway for neither."""
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
    """Yields the arguments of PutMetricData with their namespace. One datum has at most MOST_VALUES values."""
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
    """Measures the share of all cores that a PostgreSQL server's processes used since the last call."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._before: tuple[int, float, float] | None = None

    def percent(self) -> float | None:
        """Returns None if the server does not run, or was restarted since the last call."""
        before, self._before = self._before, self._taken()
        if before is None or self._before is None or before[0] != self._before[0]:
            return None
        took, passed = self._before[1] - before[1], self._before[2] - before[2]
        return max(0.0, min(100.0, 100 * took / passed / (os.cpu_count() or 1))) if passed > 0 else None

    def _taken(self) -> tuple[int, float, float] | None:
        """Returns the process id, the CPU seconds so far, and the time."""
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
    """Returns the CPU seconds of the postmaster with all children, and those of the ended children alone."""
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
    """The published offset of the log, and the CPU values of periods that are not published yet."""

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
        """Writes the file atomically. It may be lost if the machine crashes, which does no harm."""
        text = json.dumps({"offset": self.offset, "cpu": self.cpu})
        if text != self._saved:
            temporary = self.file.with_name(f".{self.file.name}")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.file)
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
        self._uncertain = True

    def step(self) -> None:
        """Runs once after each period. Raises boto3's errors; the next step then publishes the same periods again."""
        ended = self._start_of(time.time() - SETTLING_SECONDS) - self._period
        if (percent := self._cpu.percent()) is not None:
            self._state.cpu[ended] = round(percent, 2)
        try:
            self._publish(self._start_of(time.time() - SETTLING_SECONDS - self._delay))
        except BaseException:
            self._uncertain = True
            raise
        finally:
            self._state.save()

    def _start_of(self, moment: float) -> int:
        return math.floor(moment / self._period) * self._period

    def _publish(self, before: int) -> None:
        """Publishes every period that starts before this time."""
        for start, lines, offset in self._periods(before):
            measured = request_metrics(lines, self._sides)
            if start in self._state.cpu:
                named = dimensions(DBInstanceIdentifier=DB_INSTANCE)
                measured[DATABASE, "CPUUtilization", named, "Percent"][self._state.cpu[start]] += 1
            self._put(list(metric_data(measured, start, self._period)))
            self._state.offset = offset
            self._state.cpu = {one: value for one, value in self._state.cpu.items() if one > start}
            self._state.save()
            self._uncertain = False

    def _periods(self, before: int) -> Iterator[tuple[int, list[dict[str, Any]], int]]:
        """Yields each period with data: its start, its lines, and the offset after them.

        The log is ordered by time, unless the clock was set back; such lines form periods of their own.
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
        """Yields each complete line of the log that is not published, and the offset after it."""
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._state.offset:
                self._state.offset = 0  # the log was replaced
            file.seek(self._state.offset)
            offset = self._state.offset
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue  # the gateway stopped in the middle of this line
                yield fields, offset

    def _put(self, ready: list[tuple[str, dict[str, Any]]]) -> None:
        for namespace in dict.fromkeys(namespace for namespace, _ in ready):
            some = [datum for of, datum in ready if of == namespace]
            if not (self._uncertain and self._is_published(namespace, some[0])):
                self._client.put_metric_data(Namespace=namespace, MetricData=some)

    def _is_published(self, namespace: str, datum: Mapping[str, Any]) -> bool:
        """Returns whether this datum is published. A namespace's data is published in one call."""
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
    parser.add_argument("--aws-endpoint-url", required=True, help="the address of the AWS emulator")
    parser.add_argument("--access-log", type=Path, required=True, help="the access log of the gateway")
    parser.add_argument("--laravel-upstream", required=True, help="host:port")
    parser.add_argument("--task-service-upstream", required=True, help="host:port")
    parser.add_argument("--database-directory", type=Path, required=True, help="of the Task Service's server")
    parser.add_argument("--state", type=Path, required=True, help="the file that stores how much is published")
    parser.add_argument("--period", type=int, default=1, help="seconds: 1 or a multiple of 60, as AWS accepts them")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds from the end of a period to its metrics")
    asked = parser.parse_args()
    stop = Stop().on_signals(signal.SIGTERM, signal.SIGINT)
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
    last_error = ""
    while True:
        now = time.time() - SETTLING_SECONDS
        if stop.wait(asked.period - now % asked.period + 0.01):  # a little after the end
            return
        try:
            publisher.step()
            error_text = ""
        except (BotoCoreError, ClientError) as error:
            error_text = str(error)
        if error_text != last_error:
            print(error_text or "CloudWatch accepts the metrics again", file=sys.stderr)
            last_error = error_text


if __name__ == "__main__":
    main()
