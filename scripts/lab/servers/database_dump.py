"""A dump of somebody's Laravel database, loaded into the lab's server in place of the lab's own rows."""

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
_TAKEN = "pg_dump --format=custom --no-owner --no-privileges --file=FILE DATABASE"


def digest(dump: str) -> str:
    """Which dump it is: the beginning of its SHA-256. Raises Refused if it is no file that can be read."""
    try:
        with open(dump, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise Refused(
            "the dump can't be read",
            measured=f"{dump}: {error.strerror}",
            allowed="a file of pg_dump's, custom format or SQL",
            next_step=_TAKEN,
        ) from error


def load(server: PostgresServer, database: str, dump: str) -> int:
    """Loads it into an empty database as the application's, in one transaction. How many tasks there are then.

    Raises Failed with PostgreSQL's words, Refused for a database of which nobody could come as a user.
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
            f"the dump did not go into the lab: {words[0]} ended with {done.returncode}",
            measured=" | ".join(done.stderr.strip().splitlines()[-2:]),
            next_step=f"take it anew: {_TAKEN}",
        )
    return _tasks(server, database, dump)


def _tasks(server: PostgresServer, database: str, dump: str) -> int:
    with server.connect(database) as session:
        found = session.execute(as_sql(blocks("servers/laravel_data.sql")["what a dump holds"])).fetchone()
        assert found is not None
        if not found[0]:
            raise Refused(
                "the dump holds no database of Laravel's",
                measured=f"{dump}: no table users or tasks in the schema public",
                allowed="the whole database of the application",
                next_step=_TAKEN,
            )
        tasks, users = session.execute(as_sql(blocks("servers/laravel_data.sql")["of a dump"])).fetchone() or (0, 0)
    if not users:
        raise Refused(
            "nobody could use the lab: no user of the dump has a Cognito sub",
            measured=f"{dump}: {tasks:,} tasks",
            allowed="one user or more with cognito_sub",
            next_step="finish moving the users to Cognito, then take the dump anew",
        )
    return int(tasks)
