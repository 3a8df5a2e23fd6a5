"""Laravel's side of the lab: its roles, and its database with the tables of the plan and their rows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg import sql
from task_migration import progress
from task_migration.sql_files import as_sql

from lab.servers.postgres_server import PostgresServer
from lab.sql_files import blocks, statement

APPLICATION = "laravel"
MIGRATOR = "task_migrator"
ADMIN = "dba"
TIMEZONE = "Asia/Tokyo"
FEWEST_TASKS = 150

_LOAD = (
    ("servers/laravel_schema.sql", "tables"),
    ("servers/laravel_data.sql", "users"),
    ("servers/laravel_data.sql", "tags"),
    ("servers/laravel_data.sql", "proposals"),
    ("servers/laravel_data.sql", "hostile tasks"),
    ("servers/laravel_data.sql", "tasks"),
    ("servers/laravel_data.sql", "images"),
    ("servers/laravel_data.sql", "tags of tasks"),
    ("servers/laravel_data.sql", "executions"),
    ("servers/laravel_data.sql", "sequences"),
    ("servers/laravel_schema.sql", "foreign keys and indexes"),
)


def add_roles(server: PostgresServer) -> None:
    """Creates the logins of the application, the runbook and an administrator, with their privileges on the server."""
    server.add_login(APPLICATION)
    server.add_login(MIGRATOR)
    server.add_login(ADMIN, "CREATEROLE")
    with server.connect() as session:
        session.execute(as_sql(blocks("servers/laravel_roles.sql")["settings"]))


@dataclass(frozen=True)
class LaravelContents:
    """What Laravel's database was filled with: the number of tasks, and the start of the dump's SHA-256 ("" without
    one)."""

    tasks: int
    dump: str = ""

    def __str__(self) -> str:
        of_dump = f"the dump {self.dump}"
        if not self.tasks:
            return of_dump
        return f"{self.tasks:,} tasks" + (f" of {of_dump}" if self.dump else "")


def filled(server: PostgresServer, database: str) -> LaravelContents | None:
    """Returns what the database was filled with; None if it does not exist or was not filled completely."""
    with server.connect() as session:
        found = session.execute(
            as_sql(blocks("servers/laravel_data.sql")["complete"]), {"database": database}
        ).fetchone()
    mark = str(found[0] or "").split() if found else []
    return LaravelContents(int(mark[1]), "".join(mark[5:6])) if mark[:1] == ["lab:"] else None


def mark_contents(server: PostgresServer, database: str, what: LaravelContents) -> None:
    """Records the contents in a comment on the database. This is the last step of filling it."""
    mark = f"lab: {what.tasks} tasks" + (f" of dump {what.dump}" if what.dump else "")
    with server.connect(database) as session:
        session.execute(
            statement(
                "servers/laravel_data.sql", "mark complete", database=sql.Identifier(database), mark=sql.Literal(mark)
            )
        )
        session.execute(as_sql(blocks("servers/laravel_data.sql")["analyze"]))


def fill(server: PostgresServer, database: str, tasks: int, listener: progress.Listener = progress.no_listener) -> None:
    """Creates Laravel's tables and rows in an empty database, in one transaction."""
    began = time.monotonic()
    with server.connect(database) as session, session.transaction():
        session.execute(as_sql(blocks("servers/laravel_data.sql")["begin"]), {"tasks": str(tasks)})
        session.execute(as_sql(blocks("servers/laravel_roles.sql")["become the application"]))
        for number, (file, name) in enumerate(_LOAD):
            listener(progress.Progress(f"lab: {name}", number, len(_LOAD), "step", time.monotonic() - began))
            session.execute(as_sql(blocks(file)[name]))
        session.execute(as_sql(blocks("servers/laravel_roles.sql")["leave the application"]))
    mark_contents(server, database, LaravelContents(tasks))
    listener(progress.Progress("lab: Laravel's rows", len(_LOAD), len(_LOAD), "step", time.monotonic() - began))
