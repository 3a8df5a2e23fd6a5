"""The runtime switch: off until it is turned on, and in force for whoever asks next."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from catalog_dump import catalog_of
from task_migration.control.sync_switch import is_on, position, sync_switch
from task_migration.errors import Failed
from task_migration.finish.uninstall import uninstall
from task_migration.postgres import lock_retry
from task_migration.postgres.database import connect, laravel

FORWARD, BACKWARD = "sync_forward", "sync_backward"


@pytest.fixture
def dsn(laravel_database):
    return laravel_database().dsn


@pytest.fixture
def stands(dsn):
    """How a switch stands, for a session that was open before it was turned."""
    with connect(laravel(dsn), "test") as connection:
        yield lambda name: is_on(connection, name)


def test_a_switch_that_was_never_turned_is_off(dsn, stands):
    assert not stands(FORWARD)
    off = sync_switch(laravel_dsn=dsn, name=FORWARD, state="off")
    assert (off.changed, off.message) == (False, "sync_forward: already off: it was never turned on")


def test_turning_it_off_brings_nothing_back_that_a_rollback_took_away(dsn, tmp_path):
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on")
    uninstall(laravel_dsn=dsn, report_directory=str(tmp_path))
    clean = catalog_of(dsn)
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="off")
    assert catalog_of(dsn) == clean
    assert not uninstall(laravel_dsn=dsn, report_directory=str(tmp_path)).changed


def test_on_off_on_each_twice_changes_each_time_once(dsn, stands):
    for state in ("on", "off", "on"):
        turned = sync_switch(laravel_dsn=dsn, name=FORWARD, state=state)
        assert turned.changed
        assert turned.details == {"name": FORWARD, "is_on": state == "on", "was_on": state != "on"}
        assert stands(FORWARD) is (state == "on")
        again = sync_switch(laravel_dsn=dsn, name=FORWARD, state=state, reason="another one")
        assert not again.changed
        assert again.details == {"name": FORWARD, "is_on": state == "on", "was_on": state == "on"}


def test_one_direction_says_nothing_of_the_other(dsn, stands):
    sync_switch(laravel_dsn=dsn, name=BACKWARD, state="on")
    assert (stands(FORWARD), stands(BACKWARD)) == (False, True)


def test_whoever_finds_it_so_is_told_since_when_by_whom_and_why(dsn):
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on", reason="phase 2.3")
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="off", reason="error rate 7 %")
    found = sync_switch(laravel_dsn=dsn, name=FORWARD, state="off", reason="not this one")
    assert "UTC by " in found.message
    assert found.message.endswith("(error rate 7 %)")
    with connect(laravel(dsn), "test") as connection:
        stands = position(connection, FORWARD)
    assert stands.changed_at is not None
    assert stands.changed_at.tzinfo is not None
    assert "@" in stands.changed_by


def test_check_mode_predicts_and_touches_nothing(dsn, stands):
    before = catalog_of(dsn)
    predicted = sync_switch(laravel_dsn=dsn, name=FORWARD, state="on", check=True)
    assert (predicted.changed, predicted.message) == (True, "sync_forward: would be turned on")
    assert predicted.details["is_on"] is False
    assert catalog_of(dsn) == before
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on")
    assert sync_switch(laravel_dsn=dsn, name=FORWARD, state="off", check=True).changed
    assert stands(FORWARD)
    assert not sync_switch(laravel_dsn=dsn, name=FORWARD, state="on", check=True).changed


def test_two_who_turn_it_at_once_change_it_once(dsn):
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on")
    changed = []
    both = threading.Barrier(2)

    def off():
        both.wait()
        changed.append(sync_switch(laravel_dsn=dsn, name=FORWARD, state="off").changed)

    threads = [threading.Thread(target=off) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changed) == [False, True]


def test_it_is_off_when_the_batch_that_saw_it_on_has_ended(dsn, stands):
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on")
    with psycopg.connect(dsn) as batch:
        batch.execute("SELECT is_on FROM task_migration.switch WHERE name = %s FOR SHARE", (FORWARD,))
        turning = threading.Thread(target=lambda: sync_switch(laravel_dsn=dsn, name=FORWARD, state="off"))
        turning.start()
        time.sleep(0.3)
        assert turning.is_alive()
        assert stands(FORWARD)
        batch.commit()
        turning.join(5)
    assert not stands(FORWARD)


def test_a_batch_that_never_ends_is_named_and_the_switch_stays(dsn, stands, monkeypatch):
    sync_switch(laravel_dsn=dsn, name=FORWARD, state="on")
    monkeypatch.setattr(lock_retry, "ATTEMPTS", 1)
    monkeypatch.setattr("task_migration.control.sync_switch.LOCK_TIMEOUT_SECONDS", 0.2)
    with psycopg.connect(dsn) as batch:
        batch.execute("SELECT is_on FROM task_migration.switch WHERE name = %s FOR SHARE", (FORWARD,))
        with pytest.raises(Failed, match="turning sync_forward off: the lock on Laravel's database was not free"):
            sync_switch(laravel_dsn=dsn, name=FORWARD, state="off")
    assert stands(FORWARD)
