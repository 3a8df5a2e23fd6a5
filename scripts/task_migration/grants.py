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

    ``connection`` is a session of the owner's. What was granted already stays as it is.
    """
    side = connection.side
    if not credentials.is_by_role(side.dsn):
        return
    with connection.transaction():
        known = _known(connection, side)
        there = _tables(connection, side.name)
        row = connection.execute(queries.statement(FILE, "schema exists")).fetchone()
        is_ours_there = bool(row and row[0])
        for role, grants in declared()[side.name].items():
            login = login_of(side, role)
            if login not in known:
                continue
            name = sql.Identifier(login)
            if is_ours_there:
                connection.execute(queries.statement(FILE, "let into ours", role=name))
            for schema, table, privileges in _wanted(side.name, grants, there):
                words = sql.SQL(", ").join(map(queries.as_sql, privileges))
                on = sql.Identifier(schema, table)
                connection.execute(queries.statement(FILE, "grant", privileges=words, table=on, role=name))
                if "INSERT" in privileges and schema == "public":
                    for sequence in there[schema, table]:
                        of = sql.Identifier(schema, sequence)
                        connection.execute(queries.statement(FILE, "grant the sequence", sequence=of, role=name))


def _known(connection: database.Connection, side: database.Side) -> set[str]:
    names = [login_of(side, role) for role in declared()[side.name]]
    return {row[0] for row in connection.execute(queries.statement(FILE, "roles that exist"), {"names": names})}


def _tables(connection: database.Connection, side: str) -> dict[tuple[str, str], list[str]]:
    """The tables that are there, by schema and name, each with its sequences."""
    asked = {"tables": sorted(tables_read(side))}
    found = connection.execute(queries.statement(FILE, "tables that exist"), asked)
    return {(schema, table): sequences for schema, table, sequences in found}


def _wanted(
    side: str, grants: Mapping[str, Sequence[str]], there: Mapping[tuple[str, str], Sequence[str]]
) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Schema, table and privileges, of the tables that are there."""
    for words, privileges in grants.items():
        if words == "ours":
            meant = {(schema, table) for schema, table in there if schema == _SCHEMA}
        elif words in ("mapped", "tasks_of"):
            tables = tables_read(side) if words == "mapped" else tables_of_tasks(side)
            meant = {("public", table) for table in tables}
        else:
            meant = {(_SCHEMA, words)}
        yield from ((schema, table, privileges) for schema, table in sorted(meant & there.keys()))
