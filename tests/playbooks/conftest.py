"""The documented commands, run as an operator types them, on one lab for the whole session."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lab.postgres_server import free_port

BIN = Path(sys.executable).parent

# Whatever Laravel's database is made of, so that "touches nothing" can be compared.
CATALOG = """
SELECT array_agg(thing ORDER BY thing) FROM (
    SELECT 'relation ' || oid::regclass || ' ' || relkind::text || ' ' || coalesce(relacl::text, '') AS thing
    FROM pg_class
    WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast|temp)')
    UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc
    UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass || ' ' || tgenabled::text FROM pg_trigger
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT 'rows of tasks ' || md5(string_agg(tasks::text, '' ORDER BY id)) FROM tasks
) things
"""


@dataclass(frozen=True)
class Ran:
    """How one command went. ``changed`` is what its recap counted, None if there was none."""

    said: str
    code: int

    @property
    def changed(self) -> int | None:
        counted = re.search(r"\bchanged=(\d+)", self.said)
        return int(counted[1]) if counted else None

    @property
    def errors(self) -> list[str]:
        """The lines that tell of an error."""
        return [line for line in self.said.splitlines() if line.startswith("failed: ") or "[ERROR]" in line]


@dataclass(frozen=True)
class Lab:
    """A lab in a folder of its own, and the commands on it."""

    project: Path
    folder: Path
    health_ports: tuple[int, int]

    @property
    def place(self) -> list[str]:
        """The extra words that send a command to this lab and not to the developer's."""
        forward, backward = self.health_ports
        return [
            *("-e", f"lab_directory={self.folder / 'lab'}", "-e", f"report_directory={self.folder / 'reports'}"),
            *("-e", json.dumps({"sync_health_ports": {"forward": forward, "backward": backward}})),
        ]

    def endpoints(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "lab/endpoints.json").read_text())
        return found

    def type(self, *words: str, cwd: str = "playbooks", place: bool = True, **environment: str) -> Ran:
        """Types ``ansible-playbook words...`` in a folder of the project."""
        done = subprocess.run(
            [str(BIN / "ansible-playbook"), *words, *(self.place if place else ())],
            cwd=self.project / cwd,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_FORCE_COLOR": "0", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.stdout + done.stderr, done.returncode)

    def must(self, *words: str) -> Ran:
        """As ``type``, for what has to succeed."""
        ran = self.type(*words)
        assert ran.code == 0, ran.said
        return ran

    def catalog(self) -> list[str]:
        """Everything there is in Laravel's database, and the files of Terraform and of the Task Service's server."""
        with psycopg.connect(self.endpoints()["laravel_app_dsn"]) as session:
            (things,) = session.execute(CATALOG).fetchone() or ([],)
        own = self.folder / "lab"
        files = [
            str(path.relative_to(self.folder))
            for part in (own / "terraform", own / "task_service")
            for path in sorted(part.rglob("*"))
        ]
        return [*things, *files]

    def reports(self) -> set[str]:
        """The names of the reports."""
        folder = self.folder / "reports"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture(scope="session")
def lab(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, up, with whatever earlier tests did to it; ask for ``fresh`` or ``prepared`` to know its state."""
    lab = Lab(project, tmp_path_factory.mktemp("playbooks"), (free_port(), free_port()))
    try:
        lab.must("lab-up.yml")
        yield lab
    finally:
        lab.must("lab-down.yml")


def copied(lab: Lab) -> bool | None:
    """Whether phase 2.1 was run on the lab: True or False, and None for anything between."""
    with psycopg.connect(lab.endpoints()["laravel_dsn"]) as session:
        (ours,) = session.execute("SELECT to_regclass('task_migration.change_log') IS NOT NULL").fetchone() or (None,)
    try:
        with psycopg.connect(lab.endpoints()["task_service_dsn"]) as session:
            there = session.execute("SELECT FROM tasks LIMIT 1").fetchone() is not None
    except psycopg.OperationalError:
        return None if ours else False
    return True if ours and there else None


@pytest.fixture
def fresh(lab: Lab) -> Lab:
    """The lab as after lab-up: nothing of ours in Laravel's database, no database of the Task Service."""
    if copied(lab) is not False:
        lab.must("rollback-2.1.yml")
    return lab


@pytest.fixture
def prepared(lab: Lab) -> Lab:
    """The lab after phase 2.1."""
    if not copied(lab):
        lab.must("phase-2.1-prepare.yml")
    return lab
