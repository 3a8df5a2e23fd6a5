"""The phases on a real lab: do, again, back; from the root, from playbooks/, under ansible-runner."""

from __future__ import annotations

import json
import os
import re
import subprocess

import psycopg
import pytest

from .conftest import BIN


def one(dsn, query):
    with psycopg.connect(dsn) as session:
        return session.execute(query).fetchone()[0]


def test_lab_up_again_changes_nothing(lab):
    assert lab.must("lab-up.yml").changed == 0


def test_check_on_a_fresh_lab_says_what_would_happen_and_touches_nothing(fresh):
    before = fresh.catalog(), fresh.reports()
    ran = fresh.must("phase-2.1-prepare.yml", "--check")
    assert (fresh.catalog(), fresh.reports()) == before
    for what in ("Task Service's database", "tables", "users", "every write", "ids of both sides", "Copy the tasks"):
        assert any("would change: " in line and what in line for line in ran.said.splitlines()), what


def test_phase_2_1_without_its_rehearsals_is_refused_and_forced_it_is_written_down(fresh, tmp_path):
    asked = ("-e", "rehearsals_required=3", "-e", f"rehearsal_directory={tmp_path}")
    before = fresh.catalog(), fresh.reports() - {"runs.jsonl"}
    ran = fresh.type("phase-2.1-prepare.yml", *asked)
    assert ran.code != 0
    assert len(ran.errors) == 1
    assert "0 green in a row" in ran.errors[0]
    assert "next: ansible-playbook rehearse.yml -e times=3" in ran.errors[0]
    assert (fresh.catalog(), fresh.reports() - {"runs.jsonl"}) == before
    assert "force needs a reason" in fresh.type("phase-2.1-prepare.yml", *asked, "-e", "force=true").errors[0]
    fresh.must("phase-2.1-prepare.yml", *asked, "-e", "force=true", "-e", "reason='no time'")
    assert fresh.must("phase-2.1-prepare.yml", *asked).changed == 0
    query = "SELECT array_agg(evidence->>'reason') FROM task_migration.journal WHERE item = 'rehearsals'"
    assert one(fresh.endpoints()["laravel_dsn"], query) == ["no time"]


def test_phase_2_1_twice_changes_something_and_then_nothing(fresh):
    first = fresh.must("phase-2.1-prepare.yml")
    assert first.changed
    assert "phase-2.2-verify.yml" in first.said  # what to type next
    second = fresh.must("phase-2.1-prepare.yml")
    assert second.changed == 0
    assert not [line for line in second.said.splitlines() if re.search(r"\d+\. (changed|would change): ", line)]


def test_check_after_phase_2_1_predicts_that_nothing_is_left(prepared):
    before = prepared.catalog(), prepared.reports()
    assert prepared.must("phase-2.1-prepare.yml", "--check").changed == 0
    assert (prepared.catalog(), prepared.reports()) == before


def test_phase_2_2_proves_both_sides_equal_and_makes_the_database_again(prepared):
    target = prepared.endpoints()["task_service_dsn"]
    born = one(target, "SELECT pg_postmaster_start_time()")
    ran = prepared.must("phase-2.2-verify.yml")
    assert one(target, "SELECT pg_postmaster_start_time()") > born
    assert one(target, "SELECT count(*) FROM tasks") > 100
    assert "0 differences" in ran.said or "green" in ran.said
    kinds = {name.rpartition(".")[2] for name in prepared.reports() if name.startswith("consistency")}
    assert kinds == {"md", "json"}


def test_phase_2_2_without_the_rollback_test_keeps_the_database(prepared):
    target = prepared.endpoints()["task_service_dsn"]
    born = one(target, "SELECT pg_postmaster_start_time()")
    prepared.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
    assert one(target, "SELECT pg_postmaster_start_time()") == born


def test_phase_2_2_before_phase_2_1_is_refused_with_what_to_type(fresh):
    before = fresh.catalog()
    ran = fresh.type("phase-2.2-verify.yml")
    assert ran.code != 0
    assert len(ran.errors) == 1
    assert "Refused, nothing was changed" in ran.errors[0]
    assert "phase-2.1-prepare.yml" in ran.errors[0]
    assert fresh.catalog() == before


def test_the_rollback_test_is_refused_where_nothing_may_be_destroyed(prepared):
    target = prepared.endpoints()["task_service_dsn"]
    born = one(target, "SELECT pg_postmaster_start_time()")
    ran = prepared.type("phase-2.2-verify.yml", "-e", "allow_destroy=false", "-e", "rollback_test=true")
    assert ran.code != 0
    assert "must not be destroyed" in ran.errors[0]
    assert one(target, "SELECT pg_postmaster_start_time()") == born
    last = prepared.type("phase-2.2-verify.yml", "-e", "allow_destroy=false")
    assert last.code == 0, last.said


def test_rollback_leaves_laravel_as_it_was_and_again_changes_nothing(fresh):
    before = [thing for thing in fresh.catalog() if not thing.startswith("lab/")]
    fresh.must("phase-2.1-prepare.yml")
    fresh.must("rollback-2.1.yml")
    assert [thing for thing in fresh.catalog() if not thing.startswith("lab/")] == before
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(fresh.endpoints()["task_service_dsn"], connect_timeout=2)
    assert fresh.must("rollback-2.1.yml").changed == 0


def test_a_difference_is_named_then_mended_then_gone(prepared):
    target = prepared.endpoints()["task_service_dsn"]
    with psycopg.connect(target) as session:
        session.execute("UPDATE tasks SET title = title || '!' WHERE id = 60")
    red = prepared.type("phase-2.2-verify.yml", "-e", "rollback_test=false")
    assert red.code != 0
    assert "reconcile.yml" in red.said
    assert any("tasks" in line and "60" in line and "title" in line for line in red.said.splitlines()), red.said
    assert prepared.must("reconcile.yml").changed
    assert prepared.must("reconcile.yml").changed == 0
    prepared.must("phase-2.2-verify.yml", "-e", "rollback_test=false")


def test_status_shows_the_checklist_and_changes_nothing(prepared):
    ran = prepared.must("status.yml")
    assert ran.changed == 0
    assert "ansible-playbook" in ran.said


def test_the_same_command_works_from_the_root(prepared):
    assert prepared.type("playbooks/phase-2.1-prepare.yml", cwd=".").changed == 0


def test_it_works_under_ansible_runner(prepared, tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env/extravars").write_text(
        json.dumps({"lab_directory": f"{prepared.folder}/lab", "report_directory": f"{prepared.folder}/reports"})
    )
    command = [BIN / "ansible-runner", "run", tmp_path, "--project-dir", prepared.project, "-p", "playbooks/status.yml"]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(file.read_text()) for file in tmp_path.glob("artifacts/*/job_events/*.json")]
    ran = [e["event_data"].get("task_action") for e in events if e["event"] == "runner_on_ok"]
    assert "task_service.migration.status" in ran
