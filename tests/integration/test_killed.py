"""Killed at any point, run again: nothing is lost and nobody has to set a flag.

The moments are random; the seed is printed, and TASK_MIGRATION_SEED repeats them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer, free_port
from sides import Sides
from task_migration import progress
from task_migration.errors import Failed

KILLS = 20
TASKS = 200_000
USUAL_SECONDS = 4.0
"""From the start of a whole copy of so many tasks to its end."""
COPY = (
    "import json, sys; from task_migration.prepare.bulk_copy import bulk_copy; "
    "print(bulk_copy(**json.load(sys.stdin)).message)"
)


def test_a_copy_that_is_killed_anywhere_and_run_again_loses_nothing(
    large_laravel: tuple[str, str], task_service_database: Any, tmp_path: Path
) -> None:
    seed = int(os.environ.get("TASK_MIGRATION_SEED") or random.SystemRandom().randrange(10**9))
    print(f"TASK_MIGRATION_SEED={seed}")
    moments = random.Random(seed)
    sides = _anew(large_laravel, task_service_database, tmp_path)
    kills = 0
    while True:
        process = _started(sides)
        if kills < KILLS:
            # Early moments more often than late ones: what is left grows less from kill to kill.
            time_left = USUAL_SECONDS * moments.random() ** 1.5
            try:
                process.wait(time_left)
            except subprocess.TimeoutExpired:
                alone = moments.random() < 0.3  # whatever it started itself is left to find out that it is gone
                (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                print(f"kill {kills}{' alone' if alone else ''} after {time_left:.2f} s: {_state(sides)}")
                _goes_on(sides, moments)
                continue
        said, error = process.communicate(timeout=60)
        assert process.returncode == 0, f"{said}\n{error}"
        print(f"completed: {said.strip()}")
        assert sides.verify().details["differences"] == []
        assert sides.target("SELECT count(*) FROM task_migration.deferred_ddl") == [(0,)]
        assert not sides.copy().changed, "there is nothing left for another run"
        if kills == KILLS:
            break
        sides = _anew(large_laravel, task_service_database, tmp_path)


def test_a_server_that_stops_in_the_middle_is_told_in_one_line_and_the_same_command_goes_on(
    laravel_database: Any, own_server: PostgresServer, tmp_path: Path
) -> None:
    sides = _own_sides(laravel_database(20_000), own_server, tmp_path)
    for moment in ("rows", "building indexes"):
        stopped: list[str] = []

        def heard(seen: progress.Progress, moment: str = moment, stopped: list[str] = stopped) -> None:
            if not stopped and (seen.done > 3000 if moment == "rows" else seen.note.startswith(moment)):
                stopped.append(seen.note)
                own_server.stop("immediate")

        with pytest.raises(Failed) as failed:
            sides.copy(copy_chunk_keys=1000, listener=heard)
        assert stopped, moment
        assert "the Task Service's database" in str(failed.value)
        assert "run the same command again" in str(failed.value)
        assert "\n" not in str(failed.value)
        own_server.start()
    sides.copy(copy_chunk_keys=1000)
    assert sides.verify().details["passed"]


def test_a_drain_whose_server_stops_keeps_its_entries(
    laravel_database: Any, own_server: PostgresServer, tmp_path: Path
) -> None:
    sides = _own_sides(laravel_database(150), own_server, tmp_path)
    sides.copy()
    sides.laravel("UPDATE tasks SET title = 'while it is down' WHERE id = 20")
    own_server.stop("immediate")
    with pytest.raises(Exception, match=r"the Task Service's database .*cannot be reached"):
        sides.drain()
    assert sides.ours("SELECT part, key FROM task_migration.change_log") == [("tasks", 20)]
    own_server.start()
    sides.drain()
    assert sides.task(20, "title") == ("while it is down",)
    assert sides.verify().details["passed"]


@pytest.fixture(scope="module")
def large_laravel(laravel_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """The runbook's and the application's way into a Laravel database of 200,000 tasks, filled once."""
    name = "killed"
    laravel_server.add_database(name, laravel_tables.APPLICATION)
    laravel_tables.fill(laravel_server, name, TASKS)
    yield laravel_server.dsn(name, laravel_tables.MIGRATOR), laravel_server.dsn(name, laravel_tables.APPLICATION)
    laravel_server.drop_database(name)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "own_server", free_port())
    try:
        server.create()
        server.add_login("task_service_admin", "CREATEDB CREATEROLE")
        yield server
    finally:
        server.destroy()


def _own_sides(made: Any, server: PostgresServer, directory: Path) -> Sides:
    server.add_database("task_service", "task_service_admin")
    sides = Sides(made.dsn, made.owner_dsn, server.dsn("task_service", "task_service_admin"), directory / "reports")
    sides.prepare()
    return sides


def _anew(laravels: tuple[str, str], task_service_database: Any, directory: Path) -> Sides:
    """The same Laravel and a target made anew."""
    sides = Sides(*laravels, task_service_database().dsn, directory / "reports")
    sides.prepare()
    return sides


def _started(sides: Sides) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COPY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({**sides.both, "copy_chunk_keys": 5000}))
    process.stdin.close()
    process.stdin = None
    return process


def _goes_on(sides: Sides, moments: random.Random) -> None:
    """Laravel's users do not wait for the operator."""
    with psycopg.connect(sides.laravel_owner_dsn, autocommit=True) as application:
        key = {"key": moments.randrange(41, TASKS)}
        for statement in (
            "UPDATE tasks SET title = 'while nobody copies', updated_at = now() WHERE id = %(key)s",
            "UPDATE tasks SET deleted_at = now() WHERE id = %(key)s + 1",
            "DELETE FROM task_images WHERE task_id = %(key)s + 2",
            "INSERT INTO tasks (user_id, title) VALUES (1, 'new')",
            "INSERT INTO task_images (task_id, file_path) SELECT max(id), 'new.png' FROM tasks",
        ):
            application.execute(statement, key)


def _state(sides: Sides) -> str:
    """How far the killed run was, for whoever repeats it."""
    found = sides.target("SELECT state, count(*) FROM task_migration.copy_chunk GROUP BY state ORDER BY state")
    (deferred,) = sides.target("SELECT count(*) FROM task_migration.deferred_ddl")[0]
    return f"{', '.join(f'{count} chunks {state}' for state, count in found) or 'nothing planned'}; {deferred} deferred"
