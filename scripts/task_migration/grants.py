"""What each database role may do on the tables of a side, given as soon as the tables are there.

database_roles.yml says it. Whoever makes a table calls ``give`` afterwards, as the role that made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files

import yaml
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from task_migration import credentials, database, queries
from task_migration.mapping import captured_tables, mappings

FILE = "database_roles.sql"
OWNER = "owner"
_SCHEMA = "task_migration"

Grants = Mapping[str, Mapping[str, Sequence[str]]]


@cache
def declared() -> Mapping[str, Grants]:
    """Privileges by side, role and table, as database_roles.yml has them."""
    text = (files("task_migration") / "database_roles.yml").read_text(encoding="utf-8")
    found: Mapping[str, Grants] = yaml.safe_load(text)
    return found


def login_of(side: database.Side, role: str) -> str:
    """What a role is called on this side."""
    return str(conninfo_to_dict(credentials.for_role(side.dsn, role)).get("user", ""))


def tables_read(side: str) -> set[str]:
    """The application's tables that the runbook reads on a side."""
    return {*captured_tables(), "users"} if side == "laravel" else tables_of_tasks(side)


def tables_of_tasks(side: str) -> set[str]:
    """The application's tables that tasks are made of."""
    if side == "laravel":
        return {table for table in captured_tables() if table != "cognito_user_mapping"}
    return {mapping.table for mapping in mappings()}


def give(connection: database.Connection) -> None:
    """Grants what is declared on the tables that are there now; nothing where one login does everything.

    ``connection`` is a session of the owner's. What was granted already is left alone, so that two who come at once
    are not in each other's way.
    """
    side = connection.side
    if not credentials.is_by_role(side.dsn):
        return
    with connection.transaction():
        ours = [row[0] for row in connection.execute(queries.statement(FILE, "ours"))]
        wanted = list(_wanted(side, ours))
        logins, schemas, tables, privileges = zip(*wanted, strict=True)
        asked = {"logins": [*logins], "schemas": [*schemas], "tables": [*tables], "privileges": [*privileges]}
        for (login,) in connection.execute(queries.statement(FILE, "lacking schema"), asked).fetchall():
            connection.execute(queries.statement(FILE, "let into ours", role=sql.Identifier(login)))
        for login, schema, table, lacking in connection.execute(queries.statement(FILE, "lacking"), asked).fetchall():
            words = sql.SQL(", ").join(map(queries.as_sql, lacking))
            names = {"table": sql.Identifier(schema, table), "role": sql.Identifier(login)}
            connection.execute(queries.statement(FILE, "grant", privileges=words, **names))
        for login, schema, sequence in connection.execute(
            queries.statement(FILE, "lacking sequences"), asked
        ).fetchall():
            names = {"sequence": sql.Identifier(schema, sequence), "role": sql.Identifier(login)}
            connection.execute(queries.statement(FILE, "grant the sequence", **names))


def _wanted(side: database.Side, ours: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Login, schema, table and privilege: all that is declared. ``ours`` are the tables of schema task_migration."""
    groups = {
        "mapped": [("public", table) for table in sorted(tables_read(side.name))],
        "tasks_of": [("public", table) for table in sorted(tables_of_tasks(side.name))],
        "ours": [(_SCHEMA, table) for table in ours],
    }
    for role, grants in declared()[side.name].items():
        login = login_of(side, role)
        for words, privileges in grants.items():
            for schema, table in groups.get(words, [(_SCHEMA, words)]):
                yield from ((login, schema, table, privilege) for privilege in privileges)
