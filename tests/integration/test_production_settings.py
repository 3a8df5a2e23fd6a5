"""What a production database may be set to: nothing of it changes what is copied, synced or reported."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from lab.servers.postgres_server import PostgresServer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sides import Sides
from task_migration.control import sync_switch
from task_migration.errors import MigrationError, Refused
from task_migration.postgres import database
from workers import Both, capture_there, standing

# A setting that changes what a statement means, how long it may take, or what a commit promises: as an administrator
# may have set it for the database, and the application's own sessions rely on it.
SETTINGS = {
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "escape_string_warning": "off",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "xmloption": "document",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "TimeZone": "America/St_Johns",
    "timezone_abbreviations": "India",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "lc_monetary": "C.UTF-8",
    "lc_numeric": "C.UTF-8",
    "lc_time": "C.UTF-8",
    "client_encoding": "LATIN1",
    "search_path": "pg_catalog",
    "transform_null_equals": "on",
    "gin_fuzzy_search_limit": "1",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "statement_timeout": "20ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "50ms",
    "idle_session_timeout": "50ms",
    "transaction_timeout": "20ms",
    "check_function_bodies": "off",
    "password_encryption": "md5",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_custom_plan",
    "work_mem": "64kB",
    "jit": "on",
    "jit_above_cost": "0",
    "constraint_exclusion": "on",
    "client_min_messages": "debug5",
}
TABLES = ("tasks", "task_images", "task_approvals", "group_tasks")
# A session that none of these settings reaches, for the application's writes and for what the test reads.
PINNED = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "search_path": "public",
        "standard_conforming_strings": "on",
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read\\ committed",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "transaction_timeout": "0",
        "client_min_messages": "warning",
        "client_encoding": "UTF8",
        "extra_float_digits": "1",
        "bytea_output": "hex",
    }.items()
)


def run(dsn: str, statement: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True, options=PINNED) as session:
        cursor = session.execute(statement, parameters or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def copied_rows(sides: Sides) -> list[Any]:
    """A digest of each table of the Task Service."""
    one = "SELECT md5(string_agg(row::text, '|' ORDER BY row.id)) FROM {} row"
    return [run(sides.task_service_dsn, one.format(table)) for table in TABLES]


@pytest.fixture(scope="module")
def expected(
    laravel_server: PostgresServer,
    laravel_template: Callable[[int], str],
    task_service_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Any]:
    """What a copy makes of the same rows where nothing is set."""
    reports = tmp_path_factory.mktemp("plain")
    with standing(laravel_server, laravel_template(150), task_service_server, reports, "plain") as sides:
        return copied_rows(sides)


def set_by_an_administrator(server: PostgresServer, dsn: str, name: str, value: str) -> None:
    database = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as session:
        session.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(name), sql.Literal(value))
        )


@pytest.mark.parametrize(("name", "value"), SETTINGS.items())
def test_a_setting_of_the_database_changes_nothing(
    name: str,
    value: str,
    make_sides: Callable[..., Sides],
    laravel_server: PostgresServer,
    task_service_server: PostgresServer,
    expected: list[Any],
) -> None:
    sides = make_sides()
    set_by_an_administrator(laravel_server, sides.laravel_dsn, name, value)
    set_by_an_administrator(task_service_server, sides.task_service_dsn, name, value)
    sides.prepare()
    sides.copy()
    assert copied_rows(sides) == expected
    capture_there(sides)
    for switch in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=switch, state="on")
    both = Both(sides)
    try:
        both.connect()
        image = r"tasks/1/a\b.png"
        run(sides.laravel_owner_dsn, "UPDATE tasks SET title = %s, updated_at = now() WHERE id = 1", "Laravel's")
        run(sides.laravel_owner_dsn, "UPDATE task_images SET file_path = %s WHERE task_id = 2", image)
        run(sides.task_service_dsn, "UPDATE tasks SET title = 'the other', updated_at = now() WHERE id = 3")
        both.settle()
        assert run(sides.task_service_dsn, "SELECT title FROM tasks WHERE id = 1") == [("Laravel's",)]
        assert run(sides.laravel_owner_dsn, "SELECT title FROM tasks WHERE id = 3") == [("the other",)]
        run(sides.laravel_owner_dsn, "UPDATE tasks SET title = 'first', updated_at = now() WHERE id = 4")
        run(
            sides.task_service_dsn,
            "UPDATE tasks SET title = 'second', updated_at = now() + interval '1 minute' WHERE id = 4",
        )
        both.settle()
        assert run(sides.laravel_owner_dsn, "SELECT title FROM tasks WHERE id = 4") == [("second",)]
    finally:
        both.close()
    sides.verify()


@pytest.mark.parametrize(
    ("variable", "value"),
    {
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "no_such_user",
        "PGDATABASE": "no_such_database",
        "PGSERVICE": "no_such_service",
        "PGSERVICEFILE": "/no/such/file",
        "PGOPTIONS": "-c search_path=pg_temp -c statement_timeout=1",
        "PGCLIENTENCODING": "EUC_JP",
        "PGDATESTYLE": "German",
        "PGTZ": "America/St_Johns",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/no/such/file",
        "PGREQUIREPEER": "no_such_user",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGGSSENCMODE": "require",
        "PGCONNECT_TIMEOUT": "x",
    }.items(),
)
def test_a_variable_of_the_shell_is_not_part_of_a_connection(
    variable: str, value: str, make_sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    side = database.laravel(make_sides().laravel_dsn)
    monkeypatch.setenv(variable, value)
    with database.connect(side, "status") as session:
        found = session.execute("SELECT current_setting('search_path'), (SELECT count(*) FROM tasks)").fetchone()
    assert found == ("public", 150)


def test_triggers_that_do_not_fire_are_refused_with_the_setting_and_the_way_out(
    make_sides: Callable[..., Sides], laravel_server: PostgresServer
) -> None:
    sides = make_sides()
    set_by_an_administrator(laravel_server, sides.laravel_dsn, "session_replication_role", "replica")
    with pytest.raises(Refused) as refused:
        sides.copy()
    assert "session_replication_role is replica" in str(refused.value)
    assert "SET session_replication_role = 'origin'" in str(refused.value)


def test_a_login_without_a_free_connection_is_reported_as_that_and_not_as_a_database_that_is_missing(
    make_sides: Callable[..., Sides], task_service_server: PostgresServer
) -> None:
    sides = make_sides()
    task_service_server.add_login("crowded")
    with psycopg.connect(task_service_server.dsn("postgres"), autocommit=True) as session:
        session.execute("ALTER ROLE crowded CONNECTION LIMIT 0")
    name = str(conninfo_to_dict(sides.task_service_dsn)["dbname"])
    side = database.task_service(task_service_server.dsn(name, "crowded"))
    with pytest.raises(Refused, match="has no free connection for crowded") as refused:
        database.connect_if_there(side, "preflight")
    assert not isinstance(refused.value, database.Unreachable)
    assert "CONNECTION LIMIT" in str(refused.value)


def test_a_database_that_is_missing_is_known_by_the_catalog_and_not_by_words(
    make_sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides()
    missing = database.task_service(make_conninfo(sides.task_service_dsn, dbname="no_such_database"))
    assert database.connect_if_there(missing, "preflight") is None
    there = database.task_service(sides.task_service_dsn)
    refusal = psycopg.OperationalError('致命的エラー:  データベース"x"は現在接続を受け付けていません')
    monkeypatch.setattr(database.Connection, "connect", lambda *_, **__: (_ for _ in ()).throw(refusal))
    with pytest.raises(Refused, match="answers, but does not let") as refused:
        database.connect_if_there(there, "preflight")
    assert "現在接続を受け付けていません" in str(refused.value)


@pytest.mark.parametrize(
    ("sqlstate", "said"),
    {
        "40001": "another session changed the same rows",
        "40P01": "another session changed the same rows",
        "57014": "was cancelled from outside",
        "53300": "has no free connection",
        "53100": "has no disk space left",
        "55P03": "a lock on",
        "42501": "has no permission",
        "57P01": "was lost",
        "57P02": "was lost",
        "57P05": "was lost",
        "08006": "was lost",
        "23505": "reported an error",
        "P0001": "reported an error",
        "XX000": "reported an error",
    }.items(),
)
def test_an_error_is_known_by_its_sqlstate_in_any_language(sqlstate: str, said: str, make_sides: Any) -> None:
    side = database.laravel(make_sides().laravel_dsn)
    statement = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'エラー'; END $$"
    with (
        pytest.raises(MigrationError, match=said) as raised,
        database.translated_errors(side),
        database.connect(side, "status") as session,
    ):
        session.execute(statement.format(sqlstate))
    assert "エラー" in str(raised.value)


REFUSING = """
import socketserver, sys
class Refuse(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1024)
        self.request.sendall(bytes.fromhex(sys.argv[1]))
with socketserver.TCPServer(("127.0.0.1", 0), Refuse) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@contextmanager
def refusing_server(sqlstate: str, message: str) -> Iterator[int]:
    """A server that answers every session with this error, as PostgreSQL sends it; yields its port. A process of its
    own, because libpq's ping does not let other threads run."""
    fields = (("S", "致命的エラー"), ("V", "FATAL"), ("C", sqlstate), ("M", message))
    body = "".join(f"{kind}{text}\0" for kind, text in fields).encode() + b"\0"
    answer = b"E" + struct.pack("!I", len(body) + 4) + body
    with subprocess.Popen([sys.executable, "-c", REFUSING, answer.hex()], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("sqlstate", "message", "is_waited_for"),
    [
        ("57P03", "データベースシステムは起動処理中です", True),
        ("28P01", 'ユーザー"x"のパスワード認証に失敗しました', False),
        ("53300", "接続数が多すぎます", False),
    ],
)
def test_only_a_server_that_starts_or_shuts_down_is_waited_for_in_any_language(
    sqlstate: str, message: str, is_waited_for: bool
) -> None:
    with refusing_server(sqlstate, message) as port:
        side = database.laravel(f"host=127.0.0.1 port={port} dbname=x user=x sslmode=disable gssencmode=disable")
        with pytest.raises(Refused, match=message) as refused:
            database.connect(side, "status")
    assert isinstance(refused.value, database.Unreachable) == is_waited_for
