"""The sync as in production: processes of ``python -m task_migration sync``."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from lab.servers.postgres_server import free_port
from task_migration.runtime import configuration, health_endpoint
from task_migration.runtime.configuration import Configuration
from task_migration.runtime.service import core_command
from task_migration.sync.batch import Direction

from benchmark.programs import NotMeasured
from benchmark.servers import BenchmarkServers

START_SECONDS = 30
STOP_SECONDS = 30


class BenchmarkWorker:
    """One worker of one direction."""

    def __init__(self, config: Path, direction: Direction, log: Path) -> None:
        self._port = free_port()
        self._log = log
        command = core_command(
            "sync", "--direction", direction, "--config", str(config), "--health-port", str(self._port)
        )
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def wait_for(self, state: str) -> None:
        """Waits for this state. Raises NotMeasured if the worker does not reach it."""
        deadline = time.monotonic() + START_SECONDS
        while (health_endpoint.ask(self._port) or {}).get("state") != state:
            if self.process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
                raise NotMeasured(f"the sync is not {state}: {' | '.join(last)}")
            time.sleep(0.02)

    def seconds(self) -> float:
        """Returns the CPU seconds used so far."""
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def working(
    bench: BenchmarkServers, directory: Path, directions: Sequence[Direction], state: str = "running"
) -> Iterator[list[BenchmarkWorker]]:
    """Runs a worker for each direction in the list. All of them are in ``state`` when the block starts."""
    config = directory / "sync.json"
    configuration.write(config, Configuration(bench.both(), {}, ""))
    started: list[BenchmarkWorker] = []
    try:
        for number, direction in enumerate(directions):
            started.append(BenchmarkWorker(config, direction, directory / f"sync-{direction}-{number}.log"))
        for worker in started:
            worker.wait_for(state)
        yield started
    finally:
        for worker in started:
            worker.stop()
