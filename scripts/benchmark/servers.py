"""The benchmark's two servers, filled once, and the databases on them that the contenders read and fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from lab.locations import TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER
from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer, free_port
from psycopg import sql
from task_migration.postgres import database
from task_migration.prepare import schema, user_mapping
from task_migration.sync import capture
from task_migration.sync.converge import Flow, forward_flow

from benchmark.statements import statement

# The same for every contender and both servers. The memory is that of a small production server. Neither a checkpoint
# nor autovacuum runs during a measurement: each measurement starts after a checkpoint.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}
SHOWN = ("fsync", "wal_level", "work_mem", "maintenance_work_mem", "max_parallel_maintenance_workers")
S3_BUCKET = "benchmark"
SAMPLE, UNTRANSFORMED, EMPTY, CLONE, PLANTED = "sample", "untransformed", "empty", "clone", "planted"


@dataclass(frozen=True)
class BenchmarkServers:
    """Both servers, running and filled. ``tasks`` is the number of tasks in Laravel, ``sample_tasks`` that of its small
    copy.

    Laravel's server has the databases ``laravel``, ``sample`` (small) and ``untransformed`` (only the tables that the
    mapping reads). The Task Service's has ``empty`` (tables and indexes without rows) and those that contenders fill.
    """

    directory: Path
    tasks: int
    sample_tasks: int
    laravel_server: PostgresServer
    task_service_server: PostgresServer

    @property
    def laravel_dsn(self) -> str:
        return self.laravel_server.dsn(laravel_tables.APPLICATION, laravel_tables.MIGRATOR)

    @property
    def sample_dsn(self) -> str:
        return self.laravel_server.dsn(SAMPLE, laravel_tables.MIGRATOR)

    def task_service_dsn(self, name: str = TASK_SERVICE_DATABASE) -> str:
        return self.task_service_server.dsn(name, TASK_SERVICE_OWNER)

    def both(self, name: str = TASK_SERVICE_DATABASE) -> dict[str, str]:
        """Returns the arguments of every core function."""
        return {
            "laravel_dsn": self.laravel_dsn,
            "task_service_dsn": self.task_service_dsn(name),
            "laravel_timezone": laravel_tables.TIMEZONE,
            "s3_bucket": S3_BUCKET,
        }

    @contextmanager
    def flow(self, name: str = TASK_SERVICE_DATABASE) -> Iterator[Flow]:
        """Opens sessions like the runbook's on both sides."""
        side = database.laravel(self.laravel_dsn, timezone=laravel_tables.TIMEZONE, s3_bucket=S3_BUCKET)
        other = database.task_service(self.task_service_dsn(name))
        with database.connect(side, "benchmark") as origin, database.connect(other, "benchmark") as destination:
            yield forward_flow(origin, destination)

    def fresh(self, name: str = TASK_SERVICE_DATABASE, template: str = EMPTY) -> None:
        """Recreates a database of the Task Service's server as a copy of another one."""
        copy_database(self.task_service_server, template, name, TASK_SERVICE_OWNER)

    def checkpoint(self) -> None:
        """Runs a checkpoint on both servers, so that none runs during a measurement."""
        for server in (self.laravel_server, self.task_service_server):
            with server.connect() as session:
                session.execute(statement("checkpoint"))

    def vacuum(self, name: str) -> None:
        """Does what autovacuum would have done in a filled database of the Task Service's server."""
        with self.task_service_server.connect(name) as session:
            session.execute(statement("vacuum analyze"))

    def settings(self) -> dict[str, str]:
        """Returns the servers' settings, which are the same on both."""
        with self.laravel_server.connect() as session:
            version = session.execute(statement("version")).fetchone()
            names = [*self.laravel_server.settings, *SHOWN]
            found = session.execute(statement("settings"), {"names": names}).fetchall()
        known = dict(found)
        return {"PostgreSQL": version[0] if version else "", **known}

    def server_seconds(self) -> tuple[float, float]:
        """Returns the CPU seconds of Laravel's server and the Task Service's so far, including ended sessions."""
        return _cpu_seconds(self.laravel_server), _cpu_seconds(self.task_service_server)


@contextmanager
def running_servers(
    directory: Path, tasks: int, sample_tasks: int, settings: Mapping[str, str] = SETTINGS
) -> Iterator[BenchmarkServers]:
    """Runs both servers for the duration of the block, and removes them afterwards."""
    made = BenchmarkServers(
        directory,
        tasks,
        sample_tasks,
        PostgresServer(directory / "laravel", free_port(), settings=settings),
        PostgresServer(directory / "task_service", free_port(), settings=settings),
    )
    servers = (made.laravel_server, made.task_service_server)
    try:
        for server in servers:
            server.create()
        _fill_laravel(made)
        _prepare_task_service(made)
        yield made
    finally:
        for server in servers:
            server.destroy()


def copy_database(server: PostgresServer, template: str, name: str, owner: str) -> None:
    """Recreates database ``name`` as a copy of ``template``."""
    with server.connect() as session:
        session.execute(statement("drop database", database=sql.Identifier(name)))
        names = {"database": name, "owner": owner, "template": template}
        session.execute(statement("copy database", **{word: sql.Identifier(meant) for word, meant in names.items()}))


def _fill_laravel(bench: BenchmarkServers) -> None:
    server = bench.laravel_server
    laravel_tables.add_roles(server)
    for name, tasks in ((laravel_tables.APPLICATION, bench.tasks), (SAMPLE, bench.sample_tasks)):
        server.add_database(name, laravel_tables.APPLICATION)
        laravel_tables.fill(server, name, tasks)
    copy_database(server, laravel_tables.APPLICATION, UNTRANSFORMED, laravel_tables.APPLICATION)
    with server.connect(UNTRANSFORMED) as session:
        session.execute(statement("keep what the mapping reads"))
    for dsn in (bench.laravel_dsn, bench.sample_dsn):
        user_mapping.user_mapping(laravel_dsn=dsn, check=False)
        capture.capture(laravel_dsn=dsn, check=False)
    for name in (laravel_tables.APPLICATION, SAMPLE, UNTRANSFORMED):
        with server.connect(name) as session:  # autovacuum would do this within a minute
            session.execute(statement("vacuum analyze"))


def _prepare_task_service(bench: BenchmarkServers) -> None:
    server = bench.task_service_server
    server.add_login(TASK_SERVICE_OWNER, "CREATEDB CREATEROLE")
    server.add_database(EMPTY, TASK_SERVICE_OWNER)
    schema.schema(
        task_service_dsn=bench.task_service_dsn(EMPTY),
        schema_runner="sql",
        sequelize_directory="",
        title_policy="widen",
        id_policy="refuse",
        check=False,
    )


def _cpu_seconds(server: PostgresServer) -> float:
    """Returns the CPU seconds of the postmaster, its ended children and its running ones."""
    pid = server.pid()
    if pid is None:
        return 0.0
    postmaster = psutil.Process(pid)
    times = postmaster.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children():
        with suppress(psutil.Error):
            own = child.cpu_times()
            seconds += own.user + own.system
    return float(seconds)


def described(bench: BenchmarkServers) -> str:
    """Returns the settings in one line."""
    return ", ".join(f"{name}={value}" for name, value in bench.settings().items())
