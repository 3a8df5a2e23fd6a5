"""pgbench as the application of either side: small transactions, at a fixed rate or at full speed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

from benchmark.programs import NotMeasured, postgres_program
from benchmark.servers import BenchmarkServers

CLIENTS = 4
_KEYS_APART = 4
_FIXED_KEYS = 20
"""The number of each side's keys that are left out, among them the lab's fixed rows."""


@dataclass(frozen=True)
class Writer:
    """``dsn`` names the database, ``scripts`` the workloads with their weights. ``rate`` is writes per second, None for
    full speed. ``stamp`` marks the writes of one measurement."""

    dsn: str
    scripts: Mapping[str, int]
    stamp: int
    keys: int
    seconds: int
    rate: int | None = None
    clients: int = CLIENTS

    def command(self) -> list[str]:
        variables = {"n": 0, "clients": self.clients, "keys": self.keys, "seed": self.stamp, "stamp": self.stamp}
        words = [postgres_program("pgbench"), "-n", "-M", "prepared", "-T", str(self.seconds), "-c", str(self.clients)]
        words += [word for name, value in variables.items() for word in ("-D", f"{name}={value}")]
        for script, weight in self.scripts.items():
            words += ["-f", f"{files('benchmark') / 'workloads' / f'{script}.sql'}@{weight}"]
        return [*words, *(["-R", str(self.rate)] if self.rate else []), self.dsn]


def keys_of(bench: BenchmarkServers) -> int:
    """Returns how many tasks the writers of one side have."""
    return bench.tasks // _KEYS_APART - _FIXED_KEYS


@contextmanager
def writing(*writers: Writer) -> Iterator[list[float]]:
    """Starts the writers now. The yielded list gets each writer's writes per second when the block has ended.

    Raises NotMeasured with pgbench's last lines if one fails.
    """
    started = [
        subprocess.Popen(writer.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for writer in writers
    ]
    reached: list[float] = []
    try:
        yield reached
        for one in started:
            out, errors = one.communicate()
            found = re.search(r"^tps = ([\d.]+)", out, re.MULTILINE)
            if one.returncode != 0 or found is None:
                raise NotMeasured(f"pgbench exited with code {one.returncode}: {' | '.join(errors.splitlines()[-3:])}")
            reached.append(float(found[1]))
    finally:
        for one in started:
            if one.poll() is None:
                one.kill()
                one.wait()
