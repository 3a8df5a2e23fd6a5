"""One run of a contender: wall time, CPU, memory."""

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
"""How long a server takes to reap a session that has ended, and so to count its CPU as its own."""


@dataclass(frozen=True)
class Measurement:
    """Seconds and megabytes. ``client`` is the contender's programs; ``steps`` where its time went, if it says so."""

    wall: float
    client_cpu: float
    laravel_cpu: float
    task_service_cpu: float
    client_memory: float
    steps: dict[str, float] = field(default_factory=dict)


@dataclass
class Measurements:
    """All runs of one contender; ``problem`` says why there are none."""

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
        """The run whose wall time is (the lower) median."""
        return sorted(self.runs, key=lambda run: run.wall)[(len(self.runs) - 1) // 2]

    @property
    def memory(self) -> float:
        return max(run.client_memory for run in self.runs)


def measure_run(bench: BenchmarkServers, act: Callable[[], dict[str, float]]) -> Measurement:
    """Runs ``act``, which starts the contender's programs and waits for them; what it gives are its steps in seconds.

    A step called "memory" is none: it is what a contender says itself of its peak memory, in megabytes, which may be
    more than was seen from here.
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
    """The most megabytes that our descendants held at once, what they share counted once.

    The servers are no descendants: they have left whoever started them.
    """
    peak, ended, ourselves = [0.0], threading.Event(), psutil.Process()

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            held = 0
            for child in ourselves.children(recursive=True):
                with suppress(psutil.Error):
                    held += child.memory_full_info().pss
            peak[0] = max(peak[0], held / 2**20)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
