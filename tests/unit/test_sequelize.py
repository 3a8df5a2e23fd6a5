"""What is read of a checkout, and what is told of sequelize-cli, without a database."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from task_migration.prepare import sequelize
from task_migration.prepare.schema import _MAKES_TABLE, _bundled

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on PATH")


def session(*, encrypted: bool, **parameters: str) -> Any:
    info = SimpleNamespace(
        host="db.example",
        port=5432,
        dbname="task_service",
        user="admin",
        password="secret",
        get_parameters=lambda: parameters,
    )
    return cast(Any, SimpleNamespace(info=info, pgconn=SimpleNamespace(ssl_in_use=encrypted)))


def test_each_bundled_migration_makes_one_table_of_its_name() -> None:
    for name, text in _bundled().items():
        (table,) = _MAKES_TABLE.findall(text)
        assert name.endswith(f"-create-{table.replace('_', '-')}.js")


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("npm warn old\nERROR: relation exists\n    at node:1\n", "ERROR: relation exists"),
        ("/x/.sequelizerc:1\nthrow\n^\n\nError: broken\n    at Object\nNode.js v24\n", "Error: broken"),
        ("npm warn old\nsomething odd\n", "something odd"),
        ("npm warn old\n", "exit code 3, no error message"),
    ],
)
def test_the_telling_line_is_told(errors: str, said: str) -> None:
    assert sequelize._complaint(errors, "", 3) == said


def test_a_program_that_does_not_hear_that_it_should_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequelize, "STOP_SECONDS", 0.2)
    deaf = ["sh", "-c", "trap '' TERM; echo ready; sleep 600"]
    with subprocess.Popen(deaf, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sequelize._end(process)
        assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("encrypted", "mode", "checked", "any_host_name"),
    [
        (False, "prefer", None, False),
        (True, "require", False, False),
        (True, "verify-ca", True, True),
        (True, "verify-full", True, False),
    ],
)
def test_node_checks_the_server_as_libpq_does(
    encrypted: bool, mode: str, checked: bool | None, any_host_name: bool, tmp_path: Path
) -> None:
    root = tmp_path / "root.crt"
    root.write_text("certificate")
    given = sequelize._connection(session(encrypted=encrypted, sslmode=mode, sslrootcert=str(root)))
    assert json.loads(json.dumps(given)) == given
    ssl = given["dialectOptions"]["ssl"]
    assert given["anyHostName"] is any_host_name
    if checked is None:
        assert ssl is False
    else:
        assert ssl == {"rejectUnauthorized": checked, **({"ca": "certificate"} if checked else {})}


def test_what_leads_node_elsewhere_is_kept_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPASSWORD", "DEBUG"):
        monkeypatch.setenv(name, "x")
    assert not {"PGHOST", "PGPASSWORD", "DEBUG"} & sequelize._environment().keys()


@needs_node
def test_migrations_are_found_where_sequelizerc_says(tmp_path: Path) -> None:
    folder = tmp_path / "db" / "changes"
    folder.mkdir(parents=True)
    for name in ("2-b.cjs", "1-a.js", "types.d.ts", "README.md"):
        (folder / name).touch()
    (tmp_path / ".sequelizerc").write_text("module.exports = { 'migrations-path': 'db/changes' };\n")
    assert sequelize.migrations_in(str(tmp_path)) == ["1-a.js", "2-b.cjs"]
