"""Loads a dump of a Laravel database into the lab's server, in place of the lab's own rows."""

from __future__ import annotations

import hashlib
import os
import subprocess

from task_migration.errors import Failed, Refused
from task_migration.sql_files import as_sql

from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer, wheel_binaries
from lab.sql_files import blocks

_MAGIC = b"PGDMP"
_DUMP_COMMAND = "pg_dump --format=custom --no-owner --no-privileges --file=FILE DATABASE"


def digest(dump: str) -> str:
    """Returns the first 12 digits of the dump's SHA-256. Raises Refused if the file cannot be read."""
    try:
        with open(dump, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise Refused(
            "cannot read the dump",
            measured=f"{dump}: {error.strerror}",
            allowed="a file written by pg_dump, in custom format or as SQL",
            next_step=_DUMP_COMMAND,
        ) from error


def load(server: PostgresServer, database: str, dump: str) -> int:
    """Loads the dump into an empty database in one transaction, as the application's login.

    Returns the number of tasks. Raises Failed with PostgreSQL's message, and Refused if no user in the dump has a
    Cognito sub.
    """
    target = server.dsn(database)
    with open(dump, "rb") as file:
        is_archive = file.read(len(_MAGIC)) == _MAGIC
    if is_archive:
        words = ["pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        words += [f"--role={laravel_tables.APPLICATION}", f"--dbname={target}", dump]
    else:
        words = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        words += ["--output=/dev/null", f"--file={dump}", f"--dbname={target}"]
    done = subprocess.run(
        [str(wheel_binaries() / "bin" / words[0]), *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "PGOPTIONS": f"-c role={laravel_tables.APPLICATION}",
        },
        check=False,
    )
    if done.returncode:
        raise Failed(
            f"cannot load the dump into the lab: {words[0]} exited with code {done.returncode}",
            measured=" | ".join(done.stderr.strip().splitlines()[-2:]),
            next_step=f"create the dump again: {_DUMP_COMMAND}",
        )
    return _tasks(server, database, dump)


def _tasks(server: PostgresServer, database: str, dump: str) -> int:
    with server.connect(database) as session:
        found = session.execute(as_sql(blocks("servers/laravel_data.sql")["has laravel tables"])).fetchone()
        assert found is not None
        if not found[0]:
            raise Refused(
                "the dump does not contain Laravel's database",
                measured=f"{dump}: no table users or tasks in the schema public",
                allowed="the whole database of the application",
                next_step=_DUMP_COMMAND,
            )
        tasks, users = session.execute(as_sql(blocks("servers/laravel_data.sql")["tasks and users"])).fetchone() or (
            0,
            0,
        )
    if not users:
        raise Refused(
            "no user in the dump has a Cognito sub, so there would be no traffic",
            measured=f"{dump}: {tasks:,} tasks",
            allowed="one user or more with cognito_sub",
            next_step="move the users to Cognito, then create the dump again",
        )
    return int(tasks)
