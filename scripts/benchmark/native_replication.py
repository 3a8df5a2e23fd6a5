"""PostgreSQL's logical replication of the untransformed tasks table, for comparison: no mapping, one direction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer, write_as_owner
from psycopg import Connection, sql

from benchmark import other_tools
from benchmark.latency import Latency
from benchmark.programs import NotMeasured
from benchmark.servers import CLONE, UNTRANSFORMED, BenchmarkServers
from benchmark.statements import statement
from benchmark.writers import Writer, keys_of, writing

CATCH_UP_SECONDS = 60
Session = Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Replication:
    """Laravel's untransformed tables on its server, and a subscriber on the Task Service's server."""

    bench: BenchmarkServers

    def latency(self, rate: int, stamp: int, seconds: int, warm: int) -> Latency:
        """Measures the latency of ``rate`` writes per second, after ``warm`` seconds."""
        bench = self.bench
        dsn = bench.laravel_server.dsn(UNTRANSFORMED, laravel_tables.APPLICATION)
        scripts = {"laravel_update": 4, "laravel_insert": 1}
        with bench.task_service_server.connect(CLONE) as there, bench.laravel_server.connect(UNTRANSFORMED) as here:
            since = _position(there)
            began = time.time()
            with writing(Writer(dsn, scripts, stamp, keys_of(bench), seconds + warm, rate)) as reached:
                pass
            parameters = {"stamp": f"bench {stamp} %", "since": since}
            _wait_until_applied(here, there, parameters)
            there.execute(statement("flush log"))
            written = dict(here.execute(statement("commit times"), parameters).fetchall())
            commits = dict(there.execute(statement("commits"), parameters).fetchall())
            rows = there.execute(statement("applied rows"), parameters).fetchall()
            applied = {key: commits[by] for key, by in rows if by in commits}
        return Latency.between(written, applied, (began + warm, began + warm + seconds), reached[0])


@contextmanager
def replication(bench: BenchmarkServers) -> Iterator[Replication]:
    """Creates the publication and the subscription for the duration of the block."""
    other_tools.clone_untransformed(bench)
    publisher = _publisher(bench.laravel_server, bench.task_service_server)
    with bench.laravel_server.connect(UNTRANSFORMED) as here, bench.task_service_server.connect(CLONE) as there:
        here.execute(statement("publish"))
        there.execute(statement("log inspection"))
        there.execute(statement("subscribe", publisher=sql.Literal(publisher)))
    try:
        yield Replication(bench)
    finally:
        with bench.task_service_server.connect(CLONE) as there:
            there.execute(statement("unsubscribe"))


def _publisher(of: PostgresServer, reader: PostgresServer) -> str:
    """Returns the connection string for the subscriber. Its server runs as another user, so it gets its own
    passfile."""
    passfile = reader.home / "publisher-passfile"
    write_as_owner(passfile, of.passfile("postgres").read_text())
    return of.dsn(UNTRANSFORMED).replace(str(of.passfile("postgres")), str(passfile))


def _position(session: Session) -> str:
    row = session.execute(statement("end of log")).fetchone()
    assert row is not None
    return str(row[0])


def _wait_until_applied(here: Session, there: Session, parameters: dict[str, str]) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    written = here.execute(statement("written rows"), parameters).fetchone()
    while there.execute(statement("written rows"), parameters).fetchone() != written:
        if time.monotonic() > deadline:
            raise NotMeasured("the subscription does not catch up")
        time.sleep(0.1)
