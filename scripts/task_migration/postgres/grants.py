"""Grants the privileges of database_roles.yml on the tables of a side as soon as the tables exist.

Code that creates a table calls ``give`` afterwards, as the role that created it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from task_migration import sql_files, yaml_files
from task_migration.mapping.table_mapping import captured_tables, mappings
from task_migration.postgres import credentials, database

FILE = "postgres/database_roles.sql"
OWNER = "owner"
_SCHEMA = "task_migration"

Grants = Mapping[str, Mapping[str, Sequence[str]]]


@cache
def declared() -> Mapping[str, Grants]:
    """Returns the privileges by side, role and table, from database_roles.yml."""
    found: Mapping[str, Grants] = yaml_files.read("postgres/database_roles.yml")
    return found


def login_of(side: database.Side, role: str) -> str:
    """Returns the login name of a role on this side."""
    return str(conninfo_to_dict(credentials.for_role(side.dsn, role)).get("user", ""))


def tables_read(side: str) -> set[str]:
    """Returns the application's tables that the runbook reads on a side."""
    return {*captured_tables(), "users"} if side == "laravel" else tables_of_tasks(side)


def tables_of_tasks(side: str) -> set[str]:
    """Returns the application's tables that tasks consist of."""
    if side == "laravel":
        return {table for table in captured_tables() if table != "cognito_user_mapping"}
    return {mapping.table for mapping in mappings()}


def give(connection: database.Connection) -> int:
    """Grants the missing privileges on the tables that exist now; returns how many grants were needed.

    Does nothing if one login does everything. ``connection`` must be a session of the owner. Existing grants are not
    repeated, so that two sessions at the same time do not wait for each other.
    """
    if not credentials.is_by_role(connection.side.dsn):
        return 0
    with connection.transaction():
        statements = lacking(connection)
        for statement in statements:
            connection.execute(statement)
    return len(statements)


def lacking(connection: database.Connection) -> list[sql.Composed]:
    """Returns the declared grants that are missing, for the logins and tables that exist."""
    ours = [row[0] for row in connection.execute(sql_files.statement(FILE, "ours"))]
    logins, schemas, tables, privileges = zip(*_wanted(connection.side, ours), strict=True)
    asked = {"logins": [*logins], "schemas": [*schemas], "tables": [*tables], "privileges": [*privileges]}
    found = [
        sql_files.statement(FILE, "let into ours", role=sql.Identifier(login))
        for (login,) in connection.execute(sql_files.statement(FILE, "lacking schema"), asked)
    ]
    for login, schema, table, words in connection.execute(sql_files.statement(FILE, "lacking"), asked):
        names = {"table": sql.Identifier(schema, table), "role": sql.Identifier(login)}
        joined = sql.SQL(", ").join(map(sql_files.as_sql, words))
        found.append(sql_files.statement(FILE, "grant", privileges=joined, **names))
    for login, schema, sequence in connection.execute(sql_files.statement(FILE, "lacking sequences"), asked):
        names = {"sequence": sql.Identifier(schema, sequence), "role": sql.Identifier(login)}
        found.append(sql_files.statement(FILE, "grant the sequence", **names))
    return found


def _wanted(side: database.Side, ours: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yields login, schema, table and privilege of every declaration. ``ours``: the tables of schema task_migration."""
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
