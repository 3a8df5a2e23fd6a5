"""The canary over the lab's gateway, apps, databases and CloudWatch, under live traffic: what is found, and how soon.

TASK_MIGRATION_CANARY="60 120" is the long form: the period and the delay of the figures in seconds, here as CloudWatch
has them. It takes a quarter of an hour; with ``-s`` it prints what it measured.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle

import httpx
import pytest
from by_options import call
from lab.down import down
from lab.fault import fault
from lab.gateway.gateway_metrics import CpuMeter, GatewayMetricsPublisher, PublishedState
from lab.load import accounting, ledger
from lab.locations import API_NAME, AWS_REGION, DB_INSTANCE, LOAD_BALANCERS, STAGE, TARGET_GROUPS, VARIABLE, Locations
from lab.servers.postgres_server import free_port
from lab.servers.processes import BackgroundProcess
from lab.up import up
from sides import SIGNED_OFF, Sides
from task_migration import binomial
from task_migration.canary import traffic_findings
from task_migration.canary.bake import bake
from task_migration.canary.canary_gate import canary_gate
from task_migration.canary.watch import watch
from task_migration.compare import consistency
from task_migration.control import journal
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.external.aws import Aws
from task_migration.runtime import configuration
from task_migration.runtime.service import Service, core_command
from task_migration.runtime.service_host import host
from task_migration.traffic.stage import Gateway
from task_migration.traffic.weight import weight
from workers import capture_there

LONG = os.environ.get("TASK_MIGRATION_CANARY", "")
PERIOD, DELAY = (int(word) for word in (LONG or "5 10").split())
LOOK_SECONDS = 10
"""So long one look may take on a busy machine."""
CHANCE = 0.9999
# What this machine happens to be busy with is not what is judged here.
LENIENT = {
    "canary_p95_ms": 2000,
    "canary_p95_samples": 40,
    "canary_cpu_percent": 101,
    "canary_sync_latency_ms": 5000,
    "canary_confidence_percent": 5,
    "canary_settle_seconds": 0,
}


@dataclass
class Live:
    """A lab that is carried both ways, verified, and ready for a canary."""

    world: Locations
    sides: Sides
    ports: dict[str, int]

    @property
    def told(self):
        return self.world.endpoints()

    @property
    def aws(self):
        return Aws(AWS_REGION, self.told["aws_endpoint_url"])

    @property
    def gateway(self):
        names = ("gateway_rest_api_id", "laravel_upstream", "task_service_upstream")
        return {**{name: self.told[name] for name in names}, "gateway_stage": STAGE, "gateway_variable": VARIABLE}

    def judging(self, period, delay):
        """What gate, bake and watch take, with figures of this period that are whole after this delay."""
        return {
            **asdict(self.aws),
            **LENIENT,
            "laravel_dsn": self.sides.laravel_dsn,
            "task_service_dsn": self.sides.task_service_dsn,
            "sync_health_ports": self.ports,
            "quarantine_signed_off": SIGNED_OFF,
            "metric_source": {
                "kind": "cloudwatch",
                "api_name": API_NAME,
                "stage": STAGE,
                "resources": ["/api/tasks", "/api/tasks/{proxy+}"],
                "load_balancer": LOAD_BALANCERS["task_service"],
                "target_group": TARGET_GROUPS["task_service"],
                "db_instance": DB_INSTANCE,
                "period_seconds": period,
                "delay_seconds": delay,
            },
        }

    def weigh(self, percent):
        """Sets the weight as the runbook does, and waits until it is in force."""
        done = weight(aws=self.aws, gateway=Gateway(**self.gateway), weight=percent, force=True, reason="test")
        journal.journal(
            laravel_dsn=self.sides.laravel_dsn,
            phase="2.4",
            item="shift",
            result="done",
            evidence={"from": done.details["before"], "to": percent},
        )
        with httpx.Client(base_url=self.told["gateway_url"], trust_env=False) as http:
            until(lambda: (http.get("/lab/gateway").json()["percent"] or 0) == percent)

    def publish(self, period, delay):
        """Figures come in such periods, so long after their end."""
        usual = self.world.processes(self.told)["gateway_metrics"]
        words = (*usual.command, "--period", str(period), "--delay", str(delay))
        BackgroundProcess(usual.name, usual.directory, words).start()

    def kill(self, name):
        os.kill(json.loads((self.world.processes_directory / f"{name}.pid").read_text())["pid"], signal.SIGKILL)

    @contextmanager
    def users(self, book, rate):
        """So many requests a second through the gateway while the block runs, half of them writes; then all is at
        rest."""
        words = ["--endpoints", str(self.world.endpoints_file), "--ledger", str(book), "--gateway-requests", str(rate)]
        process = subprocess.Popen([sys.executable, "-m", "lab.load.traffic", *words], stdout=subprocess.DEVNULL)
        try:
            until(lambda: book.exists() and book.stat().st_size)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        count = "SELECT count(*) FROM task_migration.change_log"
        until(lambda: self.sides.ours(count) == self.sides.target(count) == [(0,)], 60)

    def passed(self, since=0):
        """What the gateway's log tells of the requests after that many lines of it."""
        time.sleep(0.3)
        return [json.loads(line) for line in self.world.access_log.read_text().splitlines()][since:]

    def side(self, line):
        names = ("laravel", "task_service")
        return {self.told[f"{name}_upstream"]: name for name in names}[line["upstream"]]


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary")
    directory, run = str(folder / "lab"), folder / "run"
    up(lab_directory=directory)
    world, kept = Locations(folder / "lab"), host("process", run)
    ports = {direction: free_port() for direction in ("forward", "backward")}
    try:
        told = world.endpoints()
        place = ["--directory", str(world.task_service_directory), "--port", str(told["task_service_port"])]
        command = [sys.executable, "-m", "lab.servers.postgres_server", "create", *place]
        subprocess.run([*command, "--database", "task_service", "--owner", "task_service_admin"], check=True)
        sides = Sides(told["laravel_dsn"], told["laravel_app_dsn"], told["task_service_dsn"], folder / "reports")
        sides.prepare()
        sides.copy()
        capture_there(sides)
        file = folder / "sync.json"
        configuration.write(file, configuration.Configuration(sides.both, ports, ""))
        for direction in ports:
            sync_switch(laravel_dsn=sides.laravel_dsn, name=f"sync_{direction}", state="on")
            command = core_command("sync", "--direction", direction, "--config", str(file))
            kept.install(Service(f"sync-{direction}", "carries changes", command, file))
        assert sides.verify().details["passed"]
        consistency.consistency(**sides.both, quarantine_signed_off=SIGNED_OFF, aws=Aws(AWS_REGION))
        yield Live(world, sides, ports)
    finally:
        for direction in ports:
            kept.remove(f"sync-{direction}")
        down(lab_directory=directory)


def until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_by_chance(lines, percent):
    hits = sum(side == "task_service" for side in lines)
    return binomial.as_expected(hits, len(lines), percent / 100, CHANCE)


# The weights


def test_each_weight_takes_its_share_and_neither_a_switch_nor_a_loss_of_aws_touches_a_request(live, tmp_path):
    book, before = tmp_path / "ledger", len(live.passed())
    spans = []
    with live.users(book, 200):
        for percent in (5, 25, 50, 100, 25, 0, 50):
            live.weigh(percent)
            began = time.time()
            time.sleep(2)
            spans.append((percent, began, time.time()))
        live.kill("gateway_metrics")
        time.sleep(1)
        live.kill("aws")
        time.sleep(2)
        spans.append((50, spans[-1][1], time.time()))
    lines = live.passed(before)
    up(lab_directory=str(live.world.directory))
    requests = list(ledger.read(book))
    for percent, began, ended in spans:
        within = [one.side for one in requests if began < one.sent and one.answered < ended]
        assert len(within) > 200
        assert is_by_chance(within, percent), (percent, Counter(within))
    # What the apps say themselves is what the gateway passed on, request for request.
    assert Counter(one.side for one in requests) == Counter(map(live.side, lines))
    found = accounting.account(
        laravel_dsn=live.sides.laravel_dsn, task_service_dsn=live.sides.task_service_dsn, ledger=book
    )
    print(accounting.table(found))
    assert found["failed requests"] == found["unknown"] == found["side unknown"] == 0
    assert (found["lost"], found["doubled"], found["resurrected"]) == (0, 0, 0)


# The figures are late


def test_errors_of_a_twentieth_are_found_within_an_interval_after_their_figures_are_there(live, tmp_path):
    """The worst case: the errors begin with a period, so that their first figures are the longest away."""
    live.publish(PERIOD, DELAY)
    live.weigh(25)
    often = {"canary_interval_seconds": PERIOD, "canary_bake_seconds": 3600}
    # The one takes a period as soon as it is published; the other leaves it another period in which to change.
    sources = {"at once": DELAY + 1, "with a margin": DELAY + PERIOD}
    judges = {name: partial(_fails, live.judging(PERIOD, delay) | often) for name, delay in sources.items()}
    sources["the watch, with a margin"] = DELAY + PERIOD
    often = {"canary_interval_seconds": PERIOD, "watch_interval_seconds": PERIOD}
    judges["the watch, with a margin"] = partial(_breaches, live.judging(PERIOD, DELAY + PERIOD) | live.gateway | often)
    lab = {"lab_directory": str(live.world.directory)}
    with live.users(tmp_path / "ledger", 200), ThreadPoolExecutor() as pool:
        looking = {name: pool.submit(judge) for name, judge in judges.items()}
        began = (time.time() // PERIOD + 2) * PERIOD
        time.sleep(began - time.time())
        fault(**lab, lab_fault="errors", lab_fault_percent=5)
        published = pool.submit(_first_errors, live, began)
        found = {name: one.result(DELAY + 5 * PERIOD + 30) for name, one in looking.items()}
        live.weigh(0)
        home = time.time()
        fault(**lab, lab_fault="none")
    there = published.result()
    print(f"\nseconds after the errors began: their figures {there - began:.1f}")
    for name, (at, said) in found.items():
        print(f"{name}, {sources[name]} s: {at - began:.1f}, {said}")
    print(f"from the last of these until all traffic was home: {home - max(at for at, _ in found.values()):.1f} s")
    for name, (at, said) in found.items():
        assert "error rate: " in said
        whole = max(there, began + PERIOD + sources[name])
        assert there - 1 < at < whole + PERIOD + LOOK_SECONDS, name


def _fails(options):
    """When the bake fails, and of what."""
    with pytest.raises(Failed) as failed:
        call(bake, **options, weight=25)
    return time.time(), str(failed.value)


def _breaches(options):
    """When the watch finds a breach, and which."""
    outcome = call(watch, **options)
    assert outcome.details["takes_back"] == "2.4"
    return time.time(), outcome.details["cause"]


def _first_errors(live, since):
    """When CloudWatch has errors of after that time."""
    client = live.aws.client("cloudwatch")
    target = {"TargetGroup": TARGET_GROUPS["task_service"], "LoadBalancer": LOAD_BALANCERS["task_service"]}
    asked = partial(
        client.get_metric_statistics,
        Namespace="AWS/ApplicationELB",
        MetricName="HTTPCode_Target_5XX_Count",
        Dimensions=[{"Name": name, "Value": value} for name, value in target.items()],
        StartTime=since,
        EndTime=since + PERIOD,
        Period=PERIOD,
        Statistics=["Sum"],
    )
    until(lambda: asked()["Datapoints"], DELAY + 3 * PERIOD + 30)
    return time.time()


class OutOfOrder:
    """A CloudWatch that one metric after the other reaches a turn later than the rest."""

    names = ("TargetResponseTime", "RequestCount", "Count")

    def __init__(self, client):
        self._client, self._late, self._held = client, cycle(self.names), []
        self.get_metric_statistics = client.get_metric_statistics

    def turn(self):
        self._name = next(self._late)
        held, self._held = self._held, []
        for one in held:
            self._client.put_metric_data(**one)

    def put_metric_data(self, Namespace, MetricData):
        for late in (False, True):
            some = [one for one in MetricData if (one["MetricName"] == self._name) is late]
            if some and late:
                self._held.append({"Namespace": Namespace, "MetricData": some})
            elif some:
                self._client.put_metric_data(Namespace=Namespace, MetricData=some)


@contextmanager
def published_out_of_order(live, period, delay):
    """While the block runs; in place of the lab's own figures."""
    live.publish(period, delay)
    usual = live.world.processes(live.told)["gateway_metrics"]
    usual.stop()
    client = OutOfOrder(live.aws.client("cloudwatch"))
    state = PublishedState.of(live.world.processes_directory / "gateway_metrics.state")
    sides = {live.told[f"{name}_upstream"]: name for name in ("laravel", "task_service")}
    publisher = GatewayMetricsPublisher(
        client, live.world.access_log, state, CpuMeter(live.world.task_service_server(0)), sides, period, delay
    )
    ending = threading.Event()

    def run():
        while not ending.wait(period - (time.time() - 0.3) % period + 0.01):
            client.turn()
            publisher.step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_figures_that_come_out_of_order_are_no_alarm(live, tmp_path):
    """None of them later than ``delay_seconds`` says."""
    period, delay = (PERIOD, DELAY) if LONG else (1, 1)
    with published_out_of_order(live, period, delay), live.users(tmp_path / "ledger", 60):
        live.weigh(25)
        shown = []
        outcome = call(
            bake,
            **live.judging(period, delay + period + 1),
            weight=25,
            canary_interval_seconds=period / 2,
            canary_bake_seconds=delay + 8 * period,
            listener=lambda one: shown.append(one.note),
        )
    print(*shown, outcome.message, sep="\n")
    assert outcome.details["verdict"] == "pass"
    assert sum(" failed, p95" in one for one in shown) >= 6
    assert not any("FAIL" in one for one in shown)


# Traffic is thin


def test_where_traffic_is_thin_probes_at_the_rate_that_is_offered_prove_the_weight_and_write_nothing(
    live, tmp_path, monkeypatch
):
    live.publish(1, 0)
    options = live.judging(1, 1) | {"canary_interval_seconds": 30, "weight": 5}
    book, before = tmp_path / "ledger", len(live.passed())
    own = 0
    with live.users(book, 2):
        live.weigh(5)
        time.sleep(1.1)  # figures are of whole seconds, and that of the shift is none
        with httpx.Client(base_url=live.told["gateway_url"], trust_env=False) as http:
            headers = dict([live.world.probe_headers_file.read_text().strip().split(": ")])
            while http.get("/api/tasks", headers=headers).headers["x-served-by"] == "laravel":
                own += 1
            own += 1
        time.sleep(3)
        said = _refused({**options, "canary_confidence_percent": 95})
        assert re.search(
            r"0 of \d requests failed, a proof needs 2,995 requests: \d+ (d|h|min).* more at \d+(\.\d+)? requests",
            said,
        )
        assert re.search(r"-e weight=5 -e canary_probe_rate=\d+ sends", said)
        # In seconds what takes half an hour, and at the lab's confidence.
        monkeypatch.setattr(traffic_findings, "PROOF_SECONDS", 10)
        rate = int(re.search(r"-e canary_probe_rate=(\d+)", _refused(options))[1])
        outcome = call(
            bake,
            **{**options, "canary_interval_seconds": 1, "canary_bake_seconds": 4, "canary_hold_seconds": 120},
            canary_probe_rate=rate,
            gateway_url=live.told["gateway_url"],
            gateway_probe_headers_file=live.told["gateway_probe_headers_file"],
        )
    lines, requests = live.passed(before), list(ledger.read(book))
    print(f"offered: {rate} a second;", outcome.message)
    assert outcome.details["verdict"] == "pass"
    assert outcome.details["probes_failed"] == 0
    # Every write was a user's, and the others' reads are the probes; a few are under way at the end.
    assert sum(one["method"] != "GET" for one in lines) == sum(one.writes for one in requests)
    others = len(lines) - len(requests) - own
    assert 0 <= others - outcome.details["probes"] < 20
    assert len(requests) < others / 4
    assert is_by_chance([live.side(one) for one in lines], 5)


def _refused(options):
    with pytest.raises(Refused) as refused:
        call(canary_gate, **options)
    return str(refused.value)
