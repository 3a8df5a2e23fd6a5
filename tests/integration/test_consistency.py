"""The hourly check: it sees what is wrong, is not fooled by what is on its way, and tells it once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from by_options import call
from carrying import carrying
from sides import SIGNED_OFF
from task_migration.compare.consistency import Inconsistent, consistency
from task_migration.control import consistency_history
from task_migration.errors import Refused
from task_migration.postgres import database
from task_migration.runtime import configuration
from task_migration.runtime.configuration import Configuration

TELLS = "open(sys.argv[1], 'a').write(os.environ['ALERT_SUBJECT'] + '\\n')"


@pytest.fixture
def told(tmp_path):
    """Where alerts go: a file with a line for each; ``told()`` gives the subjects."""
    file = tmp_path / "alerts"

    def subjects():
        return file.read_text().splitlines() if file.exists() else []

    subjects.command = [sys.executable, "-c", f"import os, sys; {TELLS}", str(file)]
    return subjects


@pytest.fixture
def look(copied, told):
    """One check."""

    def go(**more):
        ways = {"aws_region": "ap-northeast-1", "alert_command": told.command}
        return call(consistency, **{**copied.both, **ways, "quarantine_signed_off": SIGNED_OFF, **more})

    return go


def rows(copied):
    return copied.ours("SELECT passed, differences, keys, alerted FROM task_migration.consistency ORDER BY id")


def test_equal_sides_pass_leave_a_row_and_alert_nobody(copied, look, told):
    outcome = look()
    assert not outcome.changed
    assert "0 differences" in outcome.message
    assert rows(copied) == [(True, 0, [], False)]
    assert told() == []


def test_a_difference_fails_by_its_key_and_is_told_once_until_it_is_mended(copied, look, told):
    copied.target("UPDATE tasks SET title = title || '!' WHERE id = 60")
    for _ in range(2):
        with pytest.raises(Inconsistent, match="tasks 60 different"):
            look()
    assert told() == ["Task migration: the consistency check failed"]
    copied.reconcile()
    look()
    look()
    assert told() == ["Task migration: the consistency check failed", "Task migration: consistent again"]
    assert rows(copied) == [
        (False, 1, ["tasks 60 different"], True),
        (False, 1, ["tasks 60 different"], False),
        (True, 0, [], True),
        (True, 0, [], False),
    ]


def test_an_hour_later_it_is_told_again(copied, look, told):
    copied.target("UPDATE tasks SET title = title || '!' WHERE id = 60")
    with pytest.raises(Inconsistent):
        look()
    with psycopg.connect(copied.laravel_dsn) as session:
        session.execute("ALTER TABLE task_migration.consistency DISABLE TRIGGER only_grows")
        session.execute("UPDATE task_migration.consistency SET at = at - interval '1 hour'")
    with pytest.raises(Inconsistent):
        look()
    assert len(told()) == 2


def test_an_alert_that_could_not_be_sent_is_sent_by_the_next_check(copied, look, told):
    copied.target("UPDATE tasks SET title = title || '!' WHERE id = 60")
    with pytest.raises(Inconsistent):
        look(alert_command=["false"])
    assert told() == []
    with pytest.raises(Inconsistent):
        look()
    assert len(told()) == 1


def test_check_mode_looks_and_leaves_nothing(copied, look, told):
    look(check=True)
    copied.target("UPDATE tasks SET title = title || '!' WHERE id = 60")
    with pytest.raises(Inconsistent):
        look(check=True)
    assert copied.ours("SELECT to_regclass('task_migration.consistency')") == [(None,)]
    assert told() == []


def test_the_history_only_grows(copied, look):
    look()
    for statement in ("UPDATE task_migration.consistency SET passed = true", "DELETE FROM task_migration.consistency"):
        with pytest.raises(psycopg.errors.RaiseException, match="only ever grows"):
            copied.ours(statement)


def test_what_is_on_the_change_log_is_no_difference(copied, look):
    copied.laravel("UPDATE tasks SET title = 'written' WHERE id IN (60, 61)")
    copied.laravel("UPDATE tasks SET deleted_at = now() WHERE id = 62")
    assert look().details["tables"]["tasks"]["different"] == 0


def test_a_row_that_could_not_be_carried_fails_until_it_is_signed_off(copied, look, told):
    copied.target(
        "INSERT INTO task_migration.quarantine VALUES ('tasks', 60, 'refused_by_database', true, 'too long', now())"
    )
    with pytest.raises(Inconsistent, match=r"1 rows could not be synced .*refused_by_database: tasks 60"):
        look()
    assert len(told()) == 1
    assert look(quarantine_signed_off={**SIGNED_OFF, "refused_by_database": "known"}).details["passed"]


def test_who_can_not_look_says_so_and_alerts(copied, look, told):
    with pytest.raises(Refused, match="cannot be reached"):
        look(task_service_dsn="host=127.0.0.1 port=1 dbname=task_service")
    assert rows(copied) == [(None, 0, [], True)]
    with pytest.raises(Refused, match="cannot be reached"):
        look(laravel_dsn="host=127.0.0.1 port=1 dbname=laravel")
    assert told() == ["Task migration: the consistency check could not run"] * 2


def test_capture_that_was_dropped_by_hand_is_seen(copied, look):
    copied.ours("DROP TRIGGER task_migration_update ON tasks")
    with pytest.raises(Refused, match=r"not captured.*measured: no complete capture on tasks"):
        look()


@contextmanager
def writers(copied, number=3):
    """Application sessions that write as fast as they can: new tasks, changed ones, deleted ones, the same one."""
    stop = threading.Event()

    def write(seed):
        dice = random.Random(seed)
        with psycopg.connect(copied.laravel_owner_dsn, autocommit=True) as session:
            while not stop.is_set():
                what, key = dice.randrange(4), dice.randrange(40, 140)
                if what == 0:
                    session.execute(
                        "INSERT INTO tasks (user_id, title, created_at, updated_at) SELECT user_id, 'new', now(), now()"
                        " FROM tasks WHERE id = 60"
                    )
                elif what == 1:
                    session.execute("UPDATE tasks SET deleted_at = now() WHERE id = %s", (key,))
                elif what == 2:
                    session.execute("UPDATE tasks SET title = %s WHERE id = 60", (str(dice.random()),))
                else:
                    session.execute(
                        "UPDATE tasks SET title = %s, deleted_at = NULL WHERE id = %s", (str(dice.random()), key)
                    )
                time.sleep(0.002)

    threads = [threading.Thread(target=write, args=(seed,), daemon=True) for seed in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)


def test_neither_the_check_nor_verify_is_fooled_by_a_sync_that_carries_meanwhile(copied, look):
    with carrying(copied), writers(copied):
        time.sleep(0.3)
        for _ in range(6):
            look()
        for _ in range(2):
            copied.verify()
        copied.target("UPDATE tasks SET title = 'wrong' WHERE id = 20")
        with pytest.raises(Inconsistent, match="tasks 20 different"):
            look()


def command(file):
    words = [sys.executable, "-m", "task_migration", "consistency", "--config", str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_command_ends_with_0_1_or_2_and_one_line(copied, told, tmp_path):
    file = tmp_path / "sync.json"
    ways = {"aws_region": "ap-northeast-1", "alert_command": told.command, "quarantine_signed_off": SIGNED_OFF}

    def configure(**more):
        configuration.write(file, Configuration({**copied.both, **more}, {}, "", ways))

    configure()
    passed = command(file)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert "0 differences" in passed.stdout
    copied.target("DELETE FROM task_images WHERE id = 60")
    failed = command(file)
    assert failed.returncode == 1
    assert "task_images: 1 missing" in failed.stdout
    assert len(failed.stdout.splitlines()) == 1
    configure(task_service_dsn="host=127.0.0.1 port=1 dbname=task_service")
    assert command(file).returncode == 2
    assert command(tmp_path / "none.json").returncode == 2
    assert told() == [
        "Task migration: the consistency check failed",
        "Task migration: the consistency check could not run",
    ]


def test_the_newest_check_is_what_others_lean_on(copied, look):
    with database.connect(database.laravel(copied.laravel_dsn), "test") as connection:
        assert consistency_history.newest(connection) is None
        look()
        found = consistency_history.newest(connection)
    assert (found.passed, found.word, found.reasons) == (True, "passed", "")
    assert found.age_seconds < 60
