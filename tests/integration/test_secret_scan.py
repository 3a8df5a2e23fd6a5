"""The scan finds a secret in each place, and finds none in a clean lab."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.locations import Locations
from lab.rehearsal import secret_scan
from lab.rehearsal.secret_scan import SecretScan
from psycopg import sql

SECRET = "a-password-that-nobody-may-see"


class Servers(Locations):
    """A lab in a folder whose servers are the tests' own."""

    given: Any = None

    def laravel_server(self, port: int) -> Any:
        return self.given[0]

    def task_service_server(self, port: int) -> Any:
        return self.given[1]


@pytest.fixture
def scan(laravel_server: Any, task_service_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretScan:
    monkeypatch.setattr(secret_scan, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(Servers, "given", (laravel_server, task_service_server))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "service-token").write_text(f"{SECRET}\n")
    return SecretScan(Servers(tmp_path / "lab"), tmp_path / "reports")


def _file(scan: SecretScan, path: str) -> None:
    where = scan.locations.directory.parent / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(f'{{"token": "{SECRET}"}}')


def _printed(scan: SecretScan) -> None:
    scan.printed.append(f"Authorization: Bearer {SECRET}")


def _typed(scan: SecretScan) -> None:
    with scan, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)", SECRET]):
        pass


def _row(scan: SecretScan) -> None:
    server = scan.locations.laravel_server(0)
    server.add_database("scanned", "laravel")
    with server.connect("scanned") as session:
        session.execute("CREATE SCHEMA task_migration; CREATE TABLE task_migration.journal (evidence jsonb)")
        session.execute("INSERT INTO task_migration.journal VALUES (jsonb_build_object('x', %s::text))", [SECRET])


@pytest.mark.parametrize(
    ("put", "where"),
    [
        (_printed, "the output"),
        (_typed, "a command line"),
        (lambda scan: _file(scan, "reports/report.json"), "report.json"),
        (lambda scan: _file(scan, "lab/terraform/terraform.tfstate"), "terraform.tfstate"),
        (lambda scan: _file(scan, "lab/processes/gateway.log"), "gateway.log"),
        (_row, "task_migration.journal of scanned"),
    ],
)
def test_a_secret_is_found_where_it_is(scan: SecretScan, put: Any, where: str) -> None:
    try:
        assert scan.findings() == []
        put(scan)
        (found,) = scan.findings()
        assert found.startswith("the service token is in ")
        assert where in found
        assert SECRET not in found
    finally:
        scan.locations.laravel_server(0).drop_database("scanned")


def test_the_passwords_of_both_servers_are_scanned_for_and_earlier_ones_too(
    scan: SecretScan, laravel_server: Any
) -> None:
    scan.collect()
    assert {f"a password of {login}" for login in ("postgres", "laravel", "task_migrator", "dba")} <= set(
        scan.known.values()
    )
    before = laravel_server.passfile("laravel").read_text().strip().rsplit(":", 1)[-1]
    scan.locations.service_token_file.write_text("another-token-that-came-later\n")
    scan.printed += [f"x{before}y", SECRET]
    assert scan.findings() == [
        "a password of laravel is in the output",
        "the service token is in the output",
    ]


def test_the_file_that_stores_a_secret_is_not_a_finding(scan: SecretScan, laravel_server: Any) -> None:
    with laravel_server.connect() as session:
        session.execute(sql.SQL("SELECT 1"))
    assert scan.findings() == []
    assert "searched for " in scan.summary()
