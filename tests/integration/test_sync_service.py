"""The real engine in its real service: configuration file, supervisor, health, kill and switch, all at once."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest
from lab.servers.postgres_server import free_port
from task_migration.control.sync_switch import sync_switch
from task_migration.postgres import database as databases
from task_migration.runtime import configuration, health_endpoint
from task_migration.runtime.configuration import Configuration
from task_migration.runtime.service import Service, core_command
from task_migration.runtime.service_host import host
from task_migration.sync import sync_tables
from timed import fastest, seconds_of


@pytest.fixture
def forward(copied, tmp_path):
    """A forward sync between two copied sides, kept alive by a supervisor; the switch is on."""
    for side in (databases.laravel(copied.laravel_dsn), databases.task_service(copied.task_service_dsn)):
        with databases.connect(side, "test") as connection:
            sync_tables.make(connection)
    port, told = free_port(), tmp_path / "sync.json"
    configuration.write(told, Configuration(copied.both, {"forward": port}, str(tmp_path / "history")))
    sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_forward", state="on", check=False)
    kept = host("process", tmp_path / "run")
    command = core_command("sync", "--direction", "forward", "--config", str(told))
    kept.install(Service("sync-forward", "carries changes", command, told, writes=(tmp_path / "history",)))
    yield port
    assert kept.remove("sync-forward")


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def state(port):
    return (health_endpoint.ask(port) or {}).get("state")


def test_the_service_carries_through_a_kill_and_a_lost_session_and_honours_the_switch(copied, forward, tmp_path):
    key = copied.target("SELECT min(id) FROM tasks")[0][0]

    def retitled(title):
        copied.laravel("UPDATE tasks SET title = %s WHERE id = %s", title, key)
        until(lambda: copied.task(key, "title") == (title,))

    until(lambda: state(forward) == "running")
    retitled("first")
    os.kill(health_endpoint.ask(forward)["pid"], signal.SIGKILL)
    retitled("after the kill")
    ended = copied.ours(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'task_migration sync%%'"
    )
    assert ended
    retitled("after the session was ended")
    said = health_endpoint.ask(forward)
    assert said["lag_ms"]["p95"] < 5000
    assert said["entries_total"] >= 1
    assert "lost" in said["last_error"]

    def seconds_to_pause():
        sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_forward", state="on", check=False)
        until(lambda: state(forward) == "running")
        sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_forward", state="off", check=False)
        return seconds_of(lambda: until(lambda: state(forward) == "paused"))

    assert fastest(seconds_to_pause, 1) < 1
    assert (tmp_path / "history" / "lag-forward.jsonl").exists()


def test_a_column_that_laravel_adds_blocks_the_service_by_its_name_until_it_is_gone(copied, forward):
    until(lambda: state(forward) == "running")
    with psycopg.connect(copied.laravel_owner_dsn, autocommit=True) as application:
        application.execute("ALTER TABLE tasks ADD COLUMN colour text")
        until(lambda: state(forward) == "blocked")
        assert "colour" in health_endpoint.ask(forward)["last_error"]
        application.execute("ALTER TABLE tasks DROP COLUMN colour")
    until(lambda: state(forward) == "running", seconds=8)
