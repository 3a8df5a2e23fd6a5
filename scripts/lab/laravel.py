"""Laravel's side of the lab: its roles, its database with the plan's tables, and the rows in them."""

from __future__ import annotations

import time

from psycopg import sql
from task_migration import progress
from task_migration.queries import as_sql

from lab.postgres_server import PostgresServer
from lab.statements import blocks, statement

APPLICATION = "laravel"
MIGRATOR = "task_migrator"
TIMEZONE = "Asia/Tokyo"
FEWEST_TASKS = 150

_LOAD = (
    ("laravel_schema.sql", "tables"),
    ("laravel_data.sql", "users"),
    ("laravel_data.sql", "tags"),
    ("laravel_data.sql", "proposals"),
    ("laravel_data.sql", "hostile tasks"),
    ("laravel_data.sql", "tasks"),
    ("laravel_data.sql", "images"),
    ("laravel_data.sql", "tags of tasks"),
    ("laravel_data.sql", "executions"),
    ("laravel_data.sql", "sequences"),
    ("laravel_schema.sql", "foreign keys and indexes"),
)


def add_roles(server: PostgresServer) -> None:
    """The application's login and the runbook's, with what they may do on the server as a whole."""
    server.add_login(APPLICATION)
    server.add_login(MIGRATOR)
    with server.connect() as session:
        session.execute(as_sql(blocks("laravel_roles.sql")["settings"]))


def tasks_in(server: PostgresServer, database: str) -> int | None:
    """How many tasks the database was filled with; None if it is not there, or was never filled to the end."""
    with server.connect() as session:
        found = session.execute(as_sql(blocks("laravel_data.sql")["complete"]), {"database": database}).fetchone()
    mark = str(found[0]) if found and found[0] else ""
    return int(mark.split()[1]) if mark.startswith("lab: ") else None


def fill(server: PostgresServer, database: str, tasks: int, listener: progress.Listener = progress.nobody) -> None:
    """Laravel's tables and rows in an empty database, in one transaction: all of it or nothing."""
    began = time.monotonic()
    with server.connect(database) as session:
        with session.transaction():
            session.execute(as_sql(blocks("laravel_data.sql")["begin"]), {"tasks": str(tasks)})
            session.execute(as_sql(blocks("laravel_roles.sql")["become the application"]))
            for number, (file, name) in enumerate(_LOAD):
                listener(progress.Progress(f"lab: {name}", number, len(_LOAD), "step", time.monotonic() - began))
                session.execute(as_sql(blocks(file)[name]))
            session.execute(as_sql(blocks("laravel_roles.sql")["leave the application"]))
            mark = statement(
                "laravel_data.sql",
                "mark complete",
                database=sql.Identifier(database),
                mark=sql.Literal(f"lab: {tasks} tasks"),
            )
            session.execute(mark)
        session.execute(as_sql(blocks("laravel_data.sql")["analyze"]))
    listener(progress.Progress("lab: Laravel's rows", len(_LOAD), len(_LOAD), "step", time.monotonic() - began))
