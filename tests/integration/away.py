"""A database that can't be reached for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.servers.postgres_server import PostgresServer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


@contextmanager
def away(server: PostgresServer, dsn: str) -> Iterator[None]:
    """While the block runs the database ends every session and takes no new one."""
    name = str(conninfo_to_dict(dsn)["dbname"])
    allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    with server.connect() as session:
        session.autocommit = True
        session.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            session.execute(allow.format(sql.Identifier(name), sql.Literal(True)))
