"""Phase 2.3 on a real lab: on, again, back, on again; and what happens by itself on a bad day."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from lab.locations import AWS_REGION
from task_migration.external.aws import Aws
from task_migration.runtime import health_endpoint

from .conftest import copied

DUAL, BACK, WATCH = "phase-2.3-dual-write.yml", "rollback-2.3.yml", "watch.yml"
QUICK = ("-e", "watch_interval_seconds=3")


def one(dsn, query, *parameters):
    with psycopg.connect(dsn, autocommit=True) as session:
        return session.execute(query, parameters).fetchone()[0]


def write(lab, statement, *parameters):
    """As Laravel's application."""
    with psycopg.connect(lab.endpoints()["laravel_app_dsn"], autocommit=True) as session:
        session.execute(statement, parameters)


def is_on(lab):
    dsn = lab.endpoints()["laravel_dsn"]
    if not one(dsn, "SELECT to_regclass('task_migration.switch') IS NOT NULL"):
        return False
    return one(dsn, "SELECT coalesce(bool_or(is_on), false) FROM task_migration.switch WHERE name = 'sync_forward'")


def said(lab):
    return health_endpoint.ask(lab.health_ports[0])


def title(lab, key):
    return one(lab.endpoints()["task_service_dsn"], "SELECT title FROM tasks WHERE id = %s", key)


def published(lab):
    """The metrics that the lab's CloudWatch has of this runbook."""
    client = Aws(AWS_REGION, lab.endpoints()["aws_endpoint_url"]).client("cloudwatch")
    told = [{"Name": "Environment", "Value": "local"}]
    listed = client.list_metrics(Namespace="TaskMigration", Dimensions=told)["Metrics"]
    return {one["MetricName"] for one in listed}


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def verified(lab):
    """The lab with a green verdict, the dual write off, and a Task Service that is well."""
    httpx.put(f"{lab.endpoints()['task_service_url']}/lab/faults", json={}, trust_env=False).raise_for_status()
    if not copied(lab):
        lab.must("phase-2.1-prepare.yml")
    if is_on(lab) or said(lab) is not None:
        lab.must(BACK)
    if not has_green_verdict(lab):
        lab.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
    return lab


def has_green_verdict(lab):
    dsn = lab.endpoints()["laravel_dsn"]
    newest = "SELECT passed AND at > now() - interval '1 hour' FROM task_migration.verdict ORDER BY id DESC LIMIT 1"
    return one(dsn, "SELECT to_regclass('task_migration.verdict') IS NOT NULL") and one(dsn, f"SELECT ({newest})")


@pytest.fixture
def dual(lab, request):
    """The lab after phase 2.3."""
    if not (is_on(lab) and (said(lab) or {}).get("state") == "running"):
        request.getfixturevalue("verified").must(DUAL)
    return lab


def test_phase_2_3_carries_changes_and_the_second_run_changes_nothing(verified):
    before = verified.catalog(), verified.reports()
    assert verified.must(DUAL, "--check").changed == 3  # the switch, the sync, the hourly check
    assert (verified.catalog(), verified.reports()) == before
    assert said(verified) is None
    assert verified.must(DUAL).changed == 3
    assert verified.must(DUAL).changed == 0
    write(verified, "UPDATE tasks SET title = 'carried' WHERE id = 60")
    until(lambda: title(verified, 60) == "carried")
    watched = verified.must(WATCH, *QUICK, "-e", "watch_seconds=3")
    assert "nothing was breached" in watched.said
    assert "sync running" in watched.said
    # The sync, the check and the watch: one of each one's own.
    assert {"SyncHealthy", "ConsistencyVerdict", "ConsistencyAge"} <= published(verified)


def test_a_sync_that_is_killed_comes_back_and_nothing_is_lost(dual):
    os.kill(said(dual)["pid"], signal.SIGKILL)
    write(dual, "UPDATE tasks SET title = 'after the kill' WHERE id = 60")
    until(lambda: title(dual, 60) == "after the kill")


def test_phase_2_2_under_the_sync_proves_and_destroys_nothing(dual):
    again = dual.must("phase-2.2-verify.yml")
    assert "so the rollback test is left out" in again.said
    assert again.changed == 0
    refused = dual.type("phase-2.2-verify.yml", "-e", "rollback_test=true")
    assert refused.code != 0
    assert len(refused.errors) == 1
    assert "sync_forward is on" in refused.errors[0]


def test_rollback_2_3_needs_laravel_alone_and_phase_2_3_catches_up(dual):
    """Without its configuration, and without a Task Service: whatever is broken, the way back is open."""
    (dual.folder / "lab/services/sync.json").unlink()
    nowhere = "host=127.0.0.1 port=1 dbname=task_service user=task_service_admin"
    back = dual.must(BACK, "-e", f'{{"task_service_dsn": "{nowhere}"}}')
    assert back.changed == 3
    assert "every write in Laravel is still logged" in back.said
    assert (said(dual), is_on(dual)) == (None, False)
    write(dual, "UPDATE tasks SET title = 'while nobody carried' WHERE id BETWEEN 60 AND 70")
    again = dual.must(BACK)
    assert again.changed == 0
    assert "11 to sync" in again.said
    assert f"next: ansible-playbook {DUAL}" in again.said
    refused = dual.type(WATCH)
    assert refused.code != 0
    assert "there is nothing to watch" in refused.errors[0]
    dual.must(DUAL)
    assert title(dual, 65) == "while nobody carried"
    dual.must("phase-2.2-verify.yml")


def test_a_task_service_that_fails_makes_the_watch_take_it_back_within_a_minute_and_laravel_goes_on(dual):
    with users_of_laravel(dual) as written:
        dual.must("lab-fault.yml", "-e", "lab_fault=errors")
        began = time.monotonic()
        ran = dual.type(WATCH, *QUICK)
        assert time.monotonic() - began < 60
        assert ran.code != 0
        assert "The dual write was rolled back: only Laravel is written" in ran.errors[-1]
        assert "error rate of the Task Service's API" in ran.errors[-1]
        assert (said(dual), is_on(dual)) == (None, False)
        so_far = written()
        until(lambda: written() > so_far)
    assert "automatic, because of error rate of the Task Service's API" in dual.must("status.yml").said
    stopped = dual.type(DUAL)  # it fails still: what this run turned on goes off again
    assert stopped.code != 0
    assert "Phase 2.3 stopped" in stopped.errors[-1]
    assert (said(dual), is_on(dual)) == (None, False)


def test_a_verdict_that_is_too_old_is_refused_in_one_line(verified):
    before = verified.catalog()
    with psycopg.connect(verified.endpoints()["laravel_dsn"]) as session:
        session.execute("ALTER TABLE task_migration.verdict DISABLE TRIGGER only_grows")
        session.execute("UPDATE task_migration.verdict SET at = at - interval '25 hours'")
        session.execute("ALTER TABLE task_migration.verdict ENABLE ALWAYS TRIGGER only_grows")
    ran = verified.type(DUAL)
    assert ran.code != 0
    assert len(ran.errors) == 1
    assert "old; allowed: 24 h" in ran.errors[0]
    assert ran.errors[0].endswith("next: ansible-playbook phase-2.2-verify.yml")
    assert verified.catalog() == before
    assert not is_on(verified)


def test_capture_that_was_dropped_by_hand_is_seen_and_said(dual):
    with psycopg.connect(dual.endpoints()["laravel_dsn"], autocommit=True) as session:
        session.execute("DROP TRIGGER task_migration_update ON tasks")
    until(lambda: (said(dual) or {}).get("state") == "blocked")
    (line,) = (line for line in dual.must("status.yml").said.splitlines() if "Sync forward: " in line)
    assert "blocked" in line
    assert "not captured" in line
    refused = dual.type(DUAL)
    assert refused.code != 0
    assert "phase-2.1-prepare.yml" in refused.errors[0]
    dual.must("phase-2.1-prepare.yml")  # puts it on again; what was written meanwhile is for verify to find
    until(lambda: said(dual)["state"] == "running")


@contextmanager
def users_of_laravel(lab):
    """Somebody who goes on writing through Laravel's application; ``written()`` counts what was acknowledged."""
    stop, count = threading.Event(), [0]
    url = f"{lab.endpoints()['laravel_url']}/api/tasks"

    def go_on():
        with httpx.Client(trust_env=False, headers={"X-User": "1"}) as client:
            while not stop.wait(0.05):
                count[0] += client.post(url, json={"title": "written on"}).status_code == 201

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield lambda: count[0]
    finally:
        stop.set()
        thread.join()
