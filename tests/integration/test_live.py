"""Live traffic over HTTP on both sides, while the sync is killed and both databases are restarted: nothing is lost.

TASK_MIGRATION_LIVE="60 500 50" is the long form: seconds, writes a second on Laravel's side, and on the Task Service's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.down import down
from lab.load import accounting
from lab.locations import Locations
from lab.servers.postgres_server import PostgresServer, free_port
from lab.up import up
from sides import Sides
from task_migration.control.sync_switch import sync_switch
from task_migration.postgres import database as databases
from task_migration.runtime import configuration, health_endpoint
from task_migration.runtime.configuration import Configuration
from task_migration.runtime.service import Service, core_command
from task_migration.runtime.service_host import host
from task_migration.sync import capture, change_log

SECONDS, LARAVEL_WRITES, TASK_SERVICE_WRITES = (
    int(word) for word in os.environ.get("TASK_MIGRATION_LIVE", "12 120 30").split()
)
KILL_SECONDS = 5 if SECONDS >= 60 else 2
DIRECTIONS = ("forward", "backward")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Locations]:
    """A lab with both apps; the Task Service's server is made as Terraform makes it."""
    directory = str(tmp_path / "lab")
    up(lab_directory=directory)
    made = Locations(tmp_path / "lab")
    try:
        command = [sys.executable, "-m", "lab.servers.postgres_server", "create"]
        place = ["--directory", str(made.task_service_directory), "--port", str(made.endpoints()["task_service_port"])]
        subprocess.run([*command, *place, "--database", "task_service", "--owner", "task_service_admin"], check=True)
        yield made
    finally:
        down(lab_directory=directory)


@pytest.fixture
def sides(world: Locations, tmp_path: Path) -> Sides:
    """Copied, with capture on both sides and both switches on."""
    told = world.endpoints()
    made = Sides(told["laravel_dsn"], told["laravel_app_dsn"], told["task_service_dsn"], tmp_path / "reports")
    made.prepare()
    made.copy()
    capture.capture(laravel_dsn="", task_service_dsn=made.task_service_dsn, side="task_service", check=False)
    for name in ("sync_forward", "sync_backward"):
        sync_switch(laravel_dsn=made.laravel_dsn, name=name, state="on")
    return made


@pytest.fixture
def ports(sides: Sides, tmp_path: Path) -> Iterator[dict[str, int]]:
    """A sync of each direction, kept alive by its supervisor; where each tells of its health."""
    free = {direction: free_port() for direction in DIRECTIONS}
    told = tmp_path / "sync.json"
    configuration.write(told, Configuration(sides.both, free, ""))
    kept = host("process", tmp_path / "run")
    for direction in DIRECTIONS:
        command = core_command("sync", "--direction", direction, "--config", str(told))
        kept.install(Service(f"sync-{direction}", "carries changes", command, told))
    yield free
    for direction in DIRECTIONS:
        kept.remove(f"sync-{direction}")


def test_nothing_is_lost_under_live_traffic_kills_and_restarts(
    world: Locations, sides: Sides, ports: dict[str, int], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    words = ["--endpoints", str(world.endpoints_file), "--ledger", str(ledger), "--seconds", str(SECONDS)]
    rates = ["--laravel-writes", str(LARAVEL_WRITES), "--task-service-writes", str(TASK_SERVICE_WRITES)]
    command = [sys.executable, "-m", "lab.load.traffic", *words, *rates]
    lags: dict[str, list[float]] = {direction: [] for direction in DIRECTIONS}
    kills = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as traffic:
        began = last_kill = time.monotonic()
        restarts = [(SECONDS / 3, world.laravel_server), (2 * SECONDS / 3, world.task_service_server)]
        while traffic.poll() is None:
            time.sleep(0.5)
            for direction, port in ports.items():
                said = health_endpoint.ask(port, 0.5) or {}
                if (said.get("lag_ms") or {}).get("p95") is not None:
                    lags[direction].append(said["lag_ms"]["p95"])
            if restarts and time.monotonic() - began > restarts[0][0]:
                restart(restarts.pop(0)[1](0))
            if time.monotonic() - last_kill > KILL_SECONDS:
                last_kill = time.monotonic()
                kills += kill(ports[DIRECTIONS[kills % 2]])
        assert traffic.stdout is not None
        summary: dict[str, Any] = json.loads(traffic.stdout.read())
    drained = drain(sides)
    found = accounting.account(laravel_dsn=sides.laravel_dsn, task_service_dsn=sides.task_service_dsn, ledger=ledger)
    print(json.dumps(summary), f"\n{kills} kills; drained in {drained:.1f} s; lag p95 in ms: {lags}")
    print(accounting.table(found))
    assert not restarts
    assert kills >= 2
    assert found["acknowledged"] > SECONDS * LARAVEL_WRITES / 4
    assert (found["lost"], found["doubled"], found["resurrected"]) == (0, 0, 0)
    assert sides.verify().details["passed"]


def restart(server: PostgresServer) -> None:
    """As after a crash, on the same port."""
    port = server.running_port()
    assert port is not None
    server.stop("immediate")
    PostgresServer(server.directory, port).start()


def kill(port: int) -> int:
    """Kills a sync where it stands; 1 if there was one."""
    said = health_endpoint.ask(port, 0.5)
    if said is None:
        return 0
    os.kill(said["pid"], signal.SIGKILL)
    return 1


def drain(sides: Sides) -> float:
    """Waits until neither log holds anything; seconds."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        with (
            databases.connect(databases.laravel(sides.laravel_dsn), "test") as laravel,
            databases.connect(databases.task_service(sides.task_service_dsn), "test") as task_service,
        ):
            if change_log.length(laravel) + change_log.length(task_service) == 0:
                return time.monotonic() - began
        time.sleep(0.2)
    raise AssertionError("the logs do not come to an end")
