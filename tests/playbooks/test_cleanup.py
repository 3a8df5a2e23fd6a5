"""Phase 2.5 on a real lab whose users are all at the Task Service: one journey, the last one of its lab."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest
from lab.load.ledger import read
from lab.locations import Locations
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.postgres_server import free_port
from task_migration.finish.laravel_code import BRANCH
from task_migration.runtime import health_endpoint

from .conftest import FORCED, QUICK, REQUESTS_PER_SECOND, Lab

CLEANUP = "phase-2.5-cleanup.yml"
SIGNED = (CLEANUP, "-e", "approve=yes")
WEB = "<?php\n\nRoute::get('/', 'Home');\nRoute::get('/tasks', 'Tasks');\n"


@pytest.fixture(scope="module")
def promoted(project, tmp_path_factory):
    """A lab of its own at 100 %, with users: what this ends has no way back, and other tests need theirs."""
    folder = tmp_path_factory.mktemp("cleanup")
    scan = SecretScan(Locations((folder / "lab").resolve()), folder / "reports")
    lab = Lab(project, folder, (free_port(), free_port()), scan)
    try:
        with scan:
            lab.must("lab-up.yml", "-e", "lab_secure=yes")
            lab.must("database-roles.yml")
            lab.must("phase-2.1-prepare.yml")
            lab.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
            lab.must("phase-2.3-dual-write.yml")
            lab.must("lab-users.yml", "-e", "lab_users=on", "-e", f"lab_users_requests={REQUESTS_PER_SECOND}")
            lab.must(*lab.canary(100, *FORCED))
            yield lab
    finally:
        lab.must("lab-down.yml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Laravel's code, small."""
    folder = tmp_path_factory.mktemp("laravel")
    for name, text in {"routes/web.php": WEB, "app/Services/Task/TaskService.php": "<?php\n"}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "the application"]):
        git(folder, "-c", "user.email=a@example.com", "-c", "user.name=A", *words)
    git(folder, "config", "user.email", "a@example.com")
    return folder


def git(folder, *words):
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()


def done(lab):
    rows = lab.rows("SELECT item FROM task_migration.journal WHERE phase = '2.5' AND result = 'done' ORDER BY id")
    return [item for (item,) in rows]


def refused(lab, *words):
    before = lab.untouched()
    ran = lab.type(*words)
    assert ran.code != 0, ran.said
    assert len(ran.errors) == 1, ran.said
    assert "Refused, nothing was changed" in ran.errors[0]
    assert lab.untouched() == before
    return ran


def test_unsigned_it_shows_the_report_to_read_and_touches_nothing(promoted):
    ran = refused(promoted, CLEANUP)
    assert "the report is not signed; next: read " in ran.errors[0]
    path = ran.errors[0].partition("next: read ")[2].partition(",")[0]
    assert path.endswith(".html")
    assert path.rpartition("/")[2] in promoted.reports()
    assert "is removed from Laravel's database: trigger task_migration_delete on cognito_user_mapping, " in ran.said
    assert "remains in Laravel's database: tasks, task_tag, tags, task_images, fenced, until 2099-12-31" in ran.said


def test_check_says_what_would_happen_and_touches_nothing(promoted, checkout):
    before = promoted.untouched(), promoted.reports(), git(checkout, "for-each-ref")
    ran = promoted.must(*SIGNED, "-e", f"laravel_checkout={checkout}", "--check")
    assert (promoted.untouched(), promoted.reports(), git(checkout, "for-each-ref")) == before
    assert "clean-up: would remove" in ran.said


def test_it_takes_two_people(promoted, checkout):
    before = promoted.untouched()
    promoted.approved(*SIGNED, "-e", f"laravel_checkout={checkout}")
    assert promoted.untouched() == before
    assert (
        "Next: ansible-playbook phase-2.5-cleanup.yml -e approve=yes (approved by " in promoted.must("status.yml").said
    )


def test_killed_past_the_point_of_no_return_the_way_back_is_closed_and_the_same_command_goes_on(promoted, checkout):
    both = (*SIGNED, "-e", "approvals_required=1")
    promoted.kill(*both, "-e", f"laravel_checkout={checkout}", at="Drain the change log")
    promoted.kill(*both, "-e", f"laravel_checkout={checkout}", at="sync_backward: turned off")
    assert "phase 2.5 has started: rollback is no longer possible" in refused(promoted, "rollback-2.4.yml").errors[0]
    promoted.kill(*SIGNED, "-e", f"laravel_checkout={checkout}", at="clean-up: removed")
    ran = promoted.must(*SIGNED, "-e", f"laravel_checkout={checkout}")
    assert done(promoted)[-6:] == [
        *("last_writes", "cleanup", "laravel_code", "monitoring", "completion_report", "phase")
    ]
    assert "Next: ansible-playbook phase-2.5-cleanup.yml -e confirm=documents" in ran.said
    assert git(checkout, "show", f"{BRANCH}:routes/web.php") == "<?php\n\nRoute::get('/', 'Home');"
    assert [health_endpoint.ask(port) for port in promoted.health_ports] == [None, None]


def test_again_nothing_changes(promoted, checkout):
    before = promoted.structure(), promoted.stage(), done(promoted), promoted.reports() - {"runs.jsonl"}
    assert promoted.must(*SIGNED, "-e", f"laravel_checkout={checkout}").changed == 0
    assert (promoted.structure(), promoted.stage(), done(promoted), promoted.reports() - {"runs.jsonl"}) == before


def test_users_noticed_nothing(promoted):
    assert promoted.traffic() == ("task_service", None)
    requests = list(read(promoted.world().processes_directory / "users.jsonl"))
    (ended,) = promoted.rows("SELECT extract(epoch FROM max(at)) FROM task_migration.journal WHERE item = 'cleanup'")
    assert [request for request in requests if request.failed] == []
    assert any(request.writes and request.sent > ended[0] for request in requests)
    with psycopg.connect(promoted.endpoints()["task_service_dsn"]) as session:
        triggers = session.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'task_migration%'").fetchone()
    assert triggers == (0,)


@pytest.mark.parametrize(
    "command",
    [
        ("rollback-2.1.yml",),
        ("phase-2.1-prepare.yml",),
        ("phase-2.4-canary.yml", "-e", "weight=0", *QUICK),
        ("break-glass.yml",),
    ],
    ids=lambda words: words[0],
)
def test_there_is_no_way_back_and_nothing_begins_anew(promoted, command):
    before = promoted.structure(), promoted.stage()
    ran = promoted.type(*command)
    assert ran.code != 0
    assert len(ran.errors) == 1, ran.said
    asks_no_database = command == ("break-glass.yml",)
    why = "Laravel refuses every write" if asks_no_database else "phase 2.5 is done: rollback is no longer possible"
    assert why in ran.errors[0]
    assert (promoted.structure(), promoted.stage()) == before


def test_what_no_machine_can_know_is_confirmed_by_name_and_the_checklist_says_by_whom(promoted):
    promoted.must(CLEANUP, "-e", "confirm=documents")
    evidence = promoted.rows("SELECT item, evidence FROM task_migration.journal ORDER BY id DESC LIMIT 1")
    assert evidence == [("documents", {"confirmed": True})]
    promoted.must("report.yml")
    page = json.loads((promoted.folder / "reports/migration-latest.json").read_text())
    (phase,) = (one for one in page["status"]["phases"] if one["phase"] == "2.5")
    assert (phase["state"], [item["done"] for item in phase["items"]]) == ("done", [True] * 4)


def test_the_runners_way_in_ends_last_and_only_where_there_is_one(promoted):
    endpoints = promoted.endpoints()
    ran = promoted.type(CLEANUP, "-e", "confirm=runner_access")
    assert ran.code != 0
    assert "the runner has no access to end" in ran.errors[0]
    given = {
        "python": sys.executable,
        "directory": endpoints["task_service_directory"],
        "port": endpoints["task_service_port"],
    }
    runner = ("-e", json.dumps({"terraform_variables": given | {"runner_access": True}}))
    assert (
        "Next: ansible-playbook phase-2.5-cleanup.yml -e confirm=runner_access" in promoted.must(*SIGNED, *runner).said
    )
    ran = promoted.must(CLEANUP, "-e", "confirm=runner_access", *runner)
    assert "Terraform: the Task Service's database exists already" in ran.said
    assert "set runner_access to false in the inventory" in ran.said.splitlines()[-2]
    assert promoted.rows("SELECT item, result FROM task_migration.journal ORDER BY id DESC LIMIT 1") == [
        ("runner_access", "started")
    ]


def test_only_the_login_that_reads_the_journal_is_left(promoted):
    for side in ("laravel", "task_service"):
        with psycopg.connect(promoted.endpoints()[f"{side}_dsn"]) as session:
            found = session.execute(
                "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'task_migration%'"
            ).fetchall()
        assert found == [("task_migration_reader",)]


def test_nothing_secret_stands_where_others_can_read_it(promoted):
    assert len(promoted.secret_scan.known) > 10
    assert promoted.secret_scan.findings() == []
