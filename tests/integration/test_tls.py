"""TLS as it is off this machine: a server's certificate is checked against its CA, or nobody logs in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from lab.servers import tls_proxy
from lab.servers.postgres_server import HOST, free_port
from lab.servers.processes import is_listening
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from task_migration.errors import Refused
from task_migration.postgres import database

RDS_NAME = "task-service.abcdefghijkl.ap-northeast-1.rds.amazonaws.com"


@pytest.fixture(scope="module")
def front(laravel_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """libpq's parameters that lead to Laravel's server by TLS."""
    directory, port = tmp_path_factory.mktemp("tls"), free_port()
    tls_proxy.make_certificates(directory)
    words = [sys.executable, "-m", "lab.servers.tls_proxy", "--port", str(port), "--to", str(laravel_server.port)]
    process = subprocess.Popen([*words, "--directory", str(directory)])
    try:
        until = time.monotonic() + 15
        while not is_listening(port):
            assert time.monotonic() < until
            time.sleep(0.05)
        yield {"port": port, "sslmode": "verify-full", "sslrootcert": str(directory / tls_proxy.CA)}
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def dsn(laravel_database: Callable[..., Any], front: dict[str, Any]) -> str:
    return make_conninfo(laravel_database().dsn, **front)


def _asks(dsn: str) -> Any:
    side = database.laravel(dsn)
    with database.connect(side, "gate") as connection:
        return connection.pgconn.ssl_in_use, connection.execute("SELECT count(*) FROM tasks").fetchone()


def test_a_session_is_encrypted_and_the_server_is_who_it_says_it_is(dsn: str) -> None:
    assert _asks(dsn) == (True, (150,))


def test_much_goes_through(dsn: str) -> None:
    with psycopg.connect(dsn) as session:
        row = session.execute("SELECT repeat('x', 20000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 20_000_000
        session.execute("CREATE TEMPORARY TABLE heap (line text)")
        with session.cursor().copy("COPY heap FROM STDIN") as copy:
            for _ in range(200_000):
                copy.write_row(("y" * 50,))
        assert session.execute("SELECT count(*) FROM heap").fetchone() == (200_000,)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"sslrootcert": "another"}, "certificate verify failed"),
        ({"sslrootcert": "/nowhere/ca.pem"}, "does not exist"),
        ({"host": RDS_NAME, "hostaddr": HOST}, "does not match host name"),
    ],
    ids=["no TLS", "the CA of somebody else", "no CA", "another's name"],
)
def test_without_tls_or_with_the_wrong_ca_nobody_logs_in(
    dsn: str, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    if changed.get("sslrootcert") == "another":
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        changed = {"sslrootcert": str(tmp_path / "ca.pem")}
    with pytest.raises(
        Refused, match=r"^Refused, nothing was changed: no TLS connection to Laravel's database .*next: "
    ) as refused:
        _asks(make_conninfo(dsn, **changed))
    assert said in str(refused.value)
    assert "allowed: sslmode=verify-full" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_off_this_machine_a_connection_string_that_says_nothing_of_tls_means_verify_full(
    laravel_database: Callable[..., Any], front: dict[str, Any]
) -> None:
    """And on RDS the certificates are Amazon's, which this server's is not."""
    silent = conninfo_to_dict(laravel_database().dsn)
    del silent["sslmode"]
    rds = make_conninfo("", **silent | {"host": RDS_NAME, "hostaddr": HOST, "port": front["port"]})
    with pytest.raises(Refused, match=r"no TLS connection to .*certificate verify failed"):
        _asks(rds)


def test_a_server_that_is_away_behind_its_front_can_not_be_reached(front: dict[str, Any], tmp_path: Path) -> None:
    directory, port = tmp_path / "tls", free_port()
    tls_proxy.make_certificates(directory)
    words = [
        sys.executable,
        "-m",
        "lab.servers.tls_proxy",
        "--port",
        str(port),
        "--to",
        "1",
        "--directory",
        str(directory),
    ]
    with subprocess.Popen(words) as process:
        until = time.monotonic() + 15
        while not is_listening(port):
            assert time.monotonic() < until
            time.sleep(0.05)
        try:
            with pytest.raises(database.Unreachable, match="cannot be reached"):
                _asks(f"host={HOST} port={port} dbname=laravel user=nobody sslmode=require")
        finally:
            process.terminate()
