"""The documented commands, run as an operator types them, on one lab for the whole session."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from lab.locations import AWS_REGION, REST_API_ID, STAGE, VARIABLE, Locations
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.postgres_server import free_port
from task_migration.external.aws import Aws
from task_migration.runtime import health_endpoint

from .door import door

BIN = Path(sys.executable).parent
REQUESTS_PER_SECOND = 25
# Of the canary: no figure takes longer than it must, few users prove a weight, and a busy machine is no breach.
QUICK = (
    *("-e", "canary_bake_seconds=1", "-e", "canary_settle_seconds=0.5", "-e", "canary_interval_seconds=1"),
    *("-e", "canary_error_rate_percent=1.5", "-e", "canary_confidence_percent=1", "-e", "canary_p95_samples=1"),
    *("-e", "canary_quiet_seconds=0.5"),
    *("-e", "canary_sync_latency_ms=5000", "-e", "canary_p95_ms=5000", "-e", "canary_cpu_percent=99"),
)
FORCED = ("-e", "force=true", "-e", "reason='a test'")

# Whatever Laravel's database is made of, so that "touches nothing" can be compared. What the runbook's logins may do is
# left out: they are made before phase 2.1, and stay until database-roles.yml drops them.
CATALOG = r"""
SELECT array_agg(thing ORDER BY thing) FROM (
    SELECT 'relation ' || oid::regclass || ' ' || relkind::text || ' ' || (
        SELECT coalesce(string_agg(one::text, ',' ORDER BY one::text), '')
        FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) one
        WHERE one::text NOT LIKE 'task\_migration\_%'
    ) AS thing
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
        return [
            line.removeprefix(numbered[0]) if numbered else line
            for line in self.said.splitlines()
            if (numbered := re.match(r" *(?:\d+\. )?(?=failed: )", line)) or "[ERROR]" in line
        ]


@dataclass(frozen=True)
class Lab:
    """A lab in a folder of its own, and the commands on it."""

    project: Path
    folder: Path
    health_ports: tuple[int, int]
    secret_scan: SecretScan | None = None

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
            env={**self._environment(), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        if self.secret_scan:
            self.secret_scan.printed.append(said)
            self.secret_scan.collect()
        return Ran(said, done.returncode)

    def _environment(self) -> dict[str, str]:
        found = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_FORCE_COLOR": "0"}
        return {**found, **(self.secret_scan.environment if self.secret_scan else {})}

    def must(self, *words: str) -> Ran:
        """As ``type``, for what has to succeed."""
        ran = self.type(*words)
        assert ran.code == 0, ran.said
        return ran

    def approved(self, *words: str) -> str:
        """Types a command that needs a second person, which is refused, then approves its plan as that second person;
        returns their name."""
        ran = self.type(*words, "-e", "approvals_required=1")
        assert ran.code != 0, ran.said
        assert len(ran.errors) == 1, ran.said
        asked = re.search(r"Next: .*(ansible-playbook approve\.yml) -e (plan=\w{12}), then you type: ", ran.said)
        assert asked, ran.said
        assert "you cannot approve your own plan" in self.type("approve.yml", "-e", asked[2]).errors[0]
        assert f"Next: {asked[1]} -e {asked[2]} (by another operator than " in self.must("status.yml").said
        done = self.type("approve.yml", "-e", asked[2], LOGNAME="second_person")
        assert done.code == 0, done.said
        return f"second_person@{socket.gethostname()}"

    def canary(self, weight: int, *words: str) -> tuple[str, ...]:
        """What is typed to send so much of the traffic to the Task Service, judged as quickly as can be."""
        return "phase-2.4-canary.yml", "-e", f"weight={weight}", *QUICK, *words

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """As ``type``, while it runs: its stdout is what it says."""
        with subprocess.Popen(
            [str(BIN / "ansible-playbook"), *words, *self.place],
            cwd=self.project / "playbooks",
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            yield process

    def listen(self, *words: str, at: str, act: Callable[[], None]) -> Ran:
        """As ``type``; ``act`` is done once, when a line has ``at`` in it."""
        with self.running(*words) as process:
            return _heard(process, at, act)

    def kill(self, *words: str, at: str) -> Ran:
        """As ``type``, ended by kill -9 with all that it started when a line has ``at`` in it."""
        with self.running(*words) as process:
            return _heard(process, at, lambda: _kill(process))

    def kill_at_call(self, *words: str, number: int) -> Ran:
        """As ``kill``, when that call of UpdateStage is on its way to AWS, where it never arrives."""
        doomed: list[subprocess.Popen[str]] = []
        with (
            door(self.endpoints()["aws_port"], number, lambda: _kill(doomed[0])) as url,
            self.running(*words, "-e", f"aws_endpoint_url={url}") as process,
        ):
            doomed.append(process)
            return _heard(process)

    def stage(self) -> dict[str, Any]:
        """The stage as API Gateway tells of it."""
        client = Aws(AWS_REGION, self.endpoints()["aws_endpoint_url"]).client("apigateway")
        told: dict[str, Any] = client.get_stage(restApiId=REST_API_ID, stageName=STAGE)
        return {name: told[name] for name in told if name not in ("ResponseMetadata", "lastUpdatedDate")}

    def traffic(self) -> tuple[str, float | None]:
        """Which side the stage's variable names, and the canary's percent, None without one."""
        stage, endpoints = self.stage(), self.endpoints()
        sides = {endpoints[f"{side}_upstream"]: side for side in ("laravel", "task_service")}
        return sides[stage["variables"][VARIABLE]], stage.get("canarySettings", {}).get("percentTraffic")

    def in_force(self) -> dict[str, Any]:
        """What the gateway does with requests now."""
        url = f"{self.endpoints()['gateway_url']}/lab/gateway"
        told: dict[str, Any] = httpx.get(url, trust_env=False, timeout=5).raise_for_status().json()
        return told

    def fail(self, share: float) -> None:
        """Lets that share of the Task Service's answers be errors."""
        url = f"{self.endpoints()['task_service_url']}/lab/faults"
        httpx.put(url, json={"error_rate": share} if share else {}, trust_env=False).raise_for_status()

    def world(self) -> Locations:
        return Locations((self.folder / "lab").resolve())

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

    def structure(self) -> list[str]:
        """What both databases are made of, without their rows: users may write meanwhile."""
        found = []
        for side in ("laravel", "task_service"):
            with psycopg.connect(self.endpoints()[f"{side}_dsn"]) as session:
                (things,) = session.execute(CATALOG).fetchone() or ([],)
            found += [f"{side} {thing}" for thing in things if not thing.startswith("rows ")]
        return found

    def untouched(self) -> tuple[object, ...]:
        """What a command that is refused, or run with --check, leaves as it is while users write."""
        running = [(health_endpoint.ask(port) or {}).get("pid") for port in self.health_ports]
        switches = self.rows("SELECT name, is_on FROM task_migration.switch ORDER BY name")
        return self.structure(), self.stage(), running, switches, self.entries()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the runbook's login reads in Laravel's database."""
        with psycopg.connect(self.endpoints()["laravel_dsn"]) as session:
            return session.execute(query).fetchall()

    def entries(self) -> list[tuple[str, str, str]]:
        """Phase, item and result of what the journal has of the canary, oldest first."""
        return self.rows("SELECT phase, item, result FROM task_migration.journal WHERE phase LIKE '%2.4' ORDER BY id")

    def reports(self) -> set[str]:
        """The names of the reports."""
        folder = self.folder / "reports"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


def _heard(process: subprocess.Popen[str], at: str = "", act: Callable[[], None] | None = None) -> Ran:
    """All that a command says, to its end."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if act is not None and at in line:
            act()
            act = None
    return Ran("".join(said), process.wait())


def _kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of ansible-playbook and of its workers, which have sessions of their own."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.fixture(scope="session")
def lab(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, up, with whatever earlier tests did to it; ask for ``fresh`` or ``prepared`` to know its state."""
    lab = Lab(project, tmp_path_factory.mktemp("playbooks"), (free_port(), free_port()))
    try:
        # As production is reached: by TLS, with a login for each purpose.
        lab.must("lab-up.yml", "-e", "lab_secure=yes")
        lab.must("database-roles.yml")
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


@pytest.fixture(scope="module")
def visited(lab: Lab) -> Iterator[Lab]:
    """The lab after phase 2.3, with users at the gateway. Afterwards they are gone, and the canary is back."""
    if not copied(lab):
        lab.must("phase-2.1-prepare.yml")
    lab.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
    lab.must("phase-2.3-dual-write.yml")
    (lab.world().processes_directory / "users.jsonl").unlink(missing_ok=True)
    lab.must("lab-users.yml", "-e", "lab_users=on", "-e", f"lab_users_requests={REQUESTS_PER_SECOND}")
    try:
        yield lab
    finally:
        lab.must("lab-up.yml")  # whatever a test ended and did not begin again
        lab.fail(0)
        if lab.traffic() != ("laravel", None):
            lab.must("rollback-2.4.yml", *QUICK)
        lab.must("lab-users.yml", "-e", "lab_users=off")
