"""Measures one run of a contender: wall time, CPU, memory."""

from __future__ import annotations

import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from benchmark.servers import BenchmarkServers

SAMPLE_SECONDS = 0.05
BURIAL_SECONDS = 0.2
"""How long a server needs to reap an ended session, and so to count its CPU."""


@dataclass(frozen=True)
class Measurement:
    """Seconds and megabytes. ``client`` is the contender's programs; ``steps`` are the parts of its time, if it reports
    them."""

    wall: float
    client_cpu: float
    laravel_cpu: float
    task_service_cpu: float
    client_memory: float
    steps: dict[str, float] = field(default_factory=dict)


@dataclass
class Measurements:
    """All measurements of one contender; ``problem`` is the reason if there are none."""

    name: str
    runs: list[Measurement] = field(default_factory=list)
    problem: str = ""

    @property
    def best(self) -> float:
        return min(run.wall for run in self.runs)

    @property
    def median(self) -> float:
        return statistics.median(run.wall for run in self.runs)

    @property
    def typical(self) -> Measurement:
        """Returns the measurement with the (lower) median wall time."""
        return sorted(self.runs, key=lambda run: run.wall)[(len(self.runs) - 1) // 2]

    @property
    def memory(self) -> float:
        return max(run.client_memory for run in self.runs)


def measure_run(bench: BenchmarkServers, act: Callable[[], dict[str, float]]) -> Measurement:
    """Measures ``act``, which runs the contender's programs and returns its steps in seconds.

    The step "memory" is not a time: it is the peak memory in megabytes that the contender reports itself, which may be
    more than was sampled.
    """
    bench.checkpoint()
    time.sleep(BURIAL_SECONDS)
    servers_before, own_before = bench.server_seconds(), _children_seconds()
    with _peak_memory() as peak:
        began = time.perf_counter()
        steps = act()
        wall = time.perf_counter() - began
    time.sleep(BURIAL_SECONDS)
    own, servers = _children_seconds() - own_before, bench.server_seconds()
    memory = max(steps.pop("memory", 0.0), peak[0])
    return Measurement(wall, own, servers[0] - servers_before[0], servers[1] - servers_before[1], memory, steps)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Samples the memory of our descendants, in megabytes, and yields the peak. Shared memory counts once.

    The servers are not descendants: they were detached when they started.
    """
    peak, ended, ourselves = [0.0], threading.Event(), psutil.Process()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            held = 0
            for child in ourselves.children(recursive=True):
                with suppress(psutil.Error):
                    held += child.memory_full_info().pss
            peak[0] = max(peak[0], held / 2**20)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
