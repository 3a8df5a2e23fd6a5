"""One operator at a time: laws of the lock, with a sleeping process in the place of ansible-playbook."""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from away import away
from task_migration.control import operator_lock
from task_migration.control.operator_lock import hold, mutating
from task_migration.errors import Refused
from task_migration.postgres import database
from timed import fastest, seconds_of


@pytest.fixture
def playbook(monkeypatch):
    """Starts processes that stand for ansible-playbook; lock() takes the last one for its parent."""
    started = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        started.append(process)
        monkeypatch.setattr(os, "getppid", lambda: process.pid)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def is_free(dsn):
    try:
        operator_lock.operator_lock(laravel_dsn=dsn, command="look", check=True)
    except Refused:
        return False
    return True


def test_a_second_operator_is_told_who_works_and_since_when(laravel_database, playbook):
    dsn = laravel_database().dsn
    playbook()
    operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare")
    playbook()
    for check in (False, True):
        with pytest.raises(Refused) as refused:
            operator_lock.operator_lock(laravel_dsn=dsn, command="rollback-2.1", check=check)
        assert f"phase-2.1-prepare {getpass.getuser()}@" in refused.value.measured
        assert re.search(r"UTC \(\d+ s ago\)", refused.value.measured)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_lock_is_free_within_a_second_of_the_playbooks_end(laravel_database, playbook, end):
    dsn = laravel_database().dsn

    def seconds_until_it_is_free():
        process = playbook()
        operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare")
        assert not is_free(dsn)
        process.send_signal(end)  # not waited for: it stays a zombie, as under a busy parent
        return seconds_of(lambda: until(lambda: is_free(dsn), 30))

    assert fastest(seconds_until_it_is_free, 1) < 1


def test_the_lock_does_not_outlive_a_playbook_that_ends_while_it_is_taken(laravel_database):
    dsn = laravel_database().dsn
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    hold(dsn, "phase-2.1-prepare", operator_lock.watching(gone.pid), lambda: None)
    assert is_free(dsn)


def test_a_database_that_is_away_is_waited_for_as_another_operator_is(laravel_database, laravel_server, playbook):
    dsn = laravel_database().dsn
    playbook()
    shown = []
    options = {"laravel_dsn": dsn, "command": "watch", "listener": lambda one: shown.append(one.note)}
    with ThreadPoolExecutor() as pool:
        with away(laravel_server, dsn):
            with pytest.raises(database.Unreachable, match="cannot be reached"):
                operator_lock.operator_lock(**options)
            waiting = pool.submit(operator_lock.operator_lock, **options, lock_wait_seconds=30)
            assert until(lambda: any(shown), 10)
        waiting.result()
    assert not is_free(dsn)


def test_check_mode_takes_no_lock(laravel_database, playbook):
    dsn = laravel_database().dsn
    playbook()
    operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare", check=True)
    assert is_free(dsn)


def test_the_connection_string_is_in_no_process_list(laravel_database, playbook):
    dsn = laravel_database().dsn
    playbook()
    pid = operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare").details["holder_pid"]
    assert "passfile" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_the_next_operator_waits_for_an_engine_that_was_left_behind(laravel_database):
    dsn = laravel_database().dsn
    taken = []
    with mutating(database.laravel(dsn), "copy"):
        polls = iter([True, True, False])
        hold(dsn, "phase-2.1-prepare", lambda _: next(polls), lambda: taken.append(True))
    assert not taken
    polls = iter([False])
    hold(dsn, "phase-2.1-prepare", lambda _: next(polls), lambda: taken.append(True))
    assert taken


def test_the_wait_for_an_engine_has_a_bound_and_names_it(laravel_database):
    dsn = laravel_database().dsn
    with (
        mutating(database.laravel(dsn), "copy"),
        mutating(database.laravel(dsn), "drain"),
        pytest.raises(Refused) as refused,
    ):
        hold(dsn, "phase-2.1-prepare", lambda _: True, lambda: None, engine_wait_seconds=0)
    assert "engine copy " in refused.value.measured
    assert "pg_terminate_backend(" in refused.value.next_step
    assert is_free(dsn)


def test_engines_do_not_wait_for_each_other_or_for_the_operator(laravel_database, playbook):
    dsn = laravel_database().dsn
    playbook()
    operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare")
    with mutating(database.laravel(dsn), "copy"), mutating(database.laravel(dsn), "copy"):
        pass


def test_an_error_under_the_engines_lock_keeps_its_own_words(laravel_database):
    with pytest.raises(psycopg.ProgrammingError), mutating(database.laravel(laravel_database().dsn), "copy"):
        raise psycopg.ProgrammingError("the other side's")


def test_a_wrong_password_is_said_as_such(laravel_database, playbook, tmp_path):
    playbook()
    (tmp_path / "wrong").write_text("*:*:*:*:wrong\n")
    (tmp_path / "wrong").chmod(0o600)
    dsn = psycopg.conninfo.make_conninfo(laravel_database().dsn, passfile=str(tmp_path / "wrong"))
    with pytest.raises(Refused, match="does not accept the password of task_migrator"):
        operator_lock.operator_lock(laravel_dsn=dsn, command="phase-2.1-prepare")
