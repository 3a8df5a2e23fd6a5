"""The hunt finds a secret wherever it is put, and none where none was put: else its silence would mean nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.locations import Locations
from lab.rehearsal import secret_scan as hunting
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
def hunt(laravel_server: Any, task_service_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretScan:
    monkeypatch.setattr(hunting, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(Servers, "given", (laravel_server, task_service_server))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "service-token").write_text(f"{SECRET}\n")
    return SecretScan(Servers(tmp_path / "lab"), tmp_path / "reports")


def _file(hunt: SecretScan, path: str) -> None:
    where = hunt.world.directory.parent / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(f'{{"token": "{SECRET}"}}')


def _printed(hunt: SecretScan) -> None:
    hunt.printed.append(f"Authorization: Bearer {SECRET}")


def _typed(hunt: SecretScan) -> None:
    with hunt, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)", SECRET]):
        pass


def _row(hunt: SecretScan) -> None:
    server = hunt.world.laravel_server(0)
    server.add_database("hunted", "laravel")
    with server.connect("hunted") as session:
        session.execute("CREATE SCHEMA task_migration; CREATE TABLE task_migration.journal (evidence jsonb)")
        session.execute("INSERT INTO task_migration.journal VALUES (jsonb_build_object('x', %s::text))", [SECRET])


@pytest.mark.parametrize(
    ("put", "where"),
    [
        (_printed, "what was printed"),
        (_typed, "a command line"),
        (lambda hunt: _file(hunt, "reports/report.json"), "report.json"),
        (lambda hunt: _file(hunt, "lab/terraform/terraform.tfstate"), "terraform.tfstate"),
        (lambda hunt: _file(hunt, "lab/processes/gateway.log"), "gateway.log"),
        (_row, "task_migration.journal of hunted"),
    ],
)
def test_a_secret_is_found_where_it_is(hunt: SecretScan, put: Any, where: str) -> None:
    try:
        assert hunt.found() == []
        put(hunt)
        (found,) = hunt.found()
        assert found.startswith("the service's token is in ")
        assert where in found
        assert SECRET not in found
    finally:
        hunt.world.laravel_server(0).drop_database("hunted")


def test_every_login_of_both_servers_is_hunted_for_and_what_was_one_before(
    hunt: SecretScan, laravel_server: Any
) -> None:
    hunt.learn()
    assert {f"a password of {login}" for login in ("postgres", "laravel", "task_migrator", "dba")} <= set(
        hunt.known.values()
    )
    before = laravel_server.passfile("laravel").read_text().strip().rsplit(":", 1)[-1]
    hunt.world.service_token_file.write_text("another-token-that-came-later\n")
    hunt.printed += [f"x{before}y", SECRET]
    assert hunt.found() == [
        "a password of laravel is in what was printed",
        "the service's token is in what was printed",
    ]


def test_what_keeps_a_secret_is_no_find(hunt: SecretScan, laravel_server: Any) -> None:
    with laravel_server.connect() as session:
        session.execute(sql.SQL("SELECT 1"))
    assert hunt.found() == []
    assert "secrets looked for in" in hunt.looked_at()
