"""Quiet is when the application of a side writes no task any more: exactly that, whatever the sync does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from carrying import carrying
from catalog_dump import catalog_of
from sides import Sides
from task_migration.errors import Failed, Refused
from task_migration.postgres.database import connect, laravel
from task_migration.sync import change_log, quiesce
from workers import capture_there

QUIET = 0.6


def test_it_is_quiet_where_nobody_writes_and_nothing_of_it_stays(copied: Sides) -> None:
    before = catalog_of(copied.laravel_dsn)
    copied.laravel("UPDATE tasks SET title = 'before' WHERE id = 1")
    done = _quiet(copied)
    assert (done.changed, done.details["entries"]) == (False, 0)
    assert QUIET <= done.details["seconds"] < QUIET + 2
    assert catalog_of(copied.laravel_dsn) == before


def test_every_write_begins_the_wait_anew_though_it_is_carried_at_once(copied: Sides) -> None:
    def write() -> None:
        for number in range(4):
            copied.laravel("UPDATE tasks SET title = %s WHERE id IN (60, 62)", str(number))
            time.sleep(0.3)

    with carrying(copied), _meanwhile(write):
        done = _quiet(copied)
    assert done.details["seconds"] >= 3 * 0.3 + QUIET
    assert 2 < done.details["entries"] <= 8


def test_what_is_not_committed_yet_counts(copied: Sides) -> None:
    def write() -> None:
        with psycopg.connect(copied.laravel_owner_dsn) as writer:
            time.sleep(0.3)
            writer.execute("INSERT INTO task_tag SELECT 1, id FROM tags LIMIT 1 ON CONFLICT DO NOTHING")
            writer.execute("UPDATE tasks SET title = 'rolled back in the end' WHERE id = 1")
            time.sleep(QUIET + 0.2)
            writer.rollback()

    with _meanwhile(write):
        done = _quiet(copied)
    assert done.details["entries"] >= 1


def test_what_the_sync_writes_and_puts_back_and_who_is_who_do_not_count(copied: Sides) -> None:
    capture_there(copied)

    def write() -> None:
        with connect(laravel(copied.laravel_dsn), "test") as ours:
            for number in range(10):
                ours.execute("UPDATE tasks SET title = %s WHERE id = 60", (str(number),))
                change_log.put(ours, "tasks", {60: 60})
                change_log.put_back(ours, "tasks", {62: (62, time.time())})
                change_log.spread(ours)
                copied.laravel("UPDATE users SET cognito_sub = %s WHERE id = 8", f"sub-{number}")
                time.sleep(0.05)

    with _meanwhile(write):
        done = _quiet(copied)
    assert done.details["entries"] == 0
    assert done.details["seconds"] < QUIET + 2


def test_who_goes_on_writing_is_named(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(quiesce, "LONGEST_SECONDS", -3 * QUIET)
    before = catalog_of(copied.laravel_dsn)
    stop = threading.Event()

    def write() -> None:
        copied.laravel("UPDATE tags SET name = name || 'x' WHERE id = 2")
        while not stop.is_set():
            copied.laravel("UPDATE tasks SET title = title || 'x' WHERE id = 60")
            stop.wait(0.05)

    with _meanwhile(write):
        try:
            with pytest.raises(
                Failed, match=r"Laravel's application did not stop.* in tasks.*; the last in tasks;.*queue"
            ):
                _quiet(copied)
        finally:
            stop.set()
    assert catalog_of(copied.laravel_dsn) == before


def test_check_mode_looks_once_and_touches_nothing(copied: Sides) -> None:
    copied.drain()
    copied.laravel("UPDATE tasks SET title = 'written' WHERE id = 60")
    with connect(laravel(copied.laravel_dsn), "test") as ours:
        change_log.put(ours, "tasks", {62: 62})
    before = catalog_of(copied.laravel_dsn)
    looked = _quiet(copied, check=True)
    assert (looked.changed, looked.details) == (False, {"seconds": 0.0, "entries": 1})
    assert catalog_of(copied.laravel_dsn) == before


def test_without_complete_capture_nothing_can_be_said(copied: Sides) -> None:
    copied.laravel("ALTER TABLE task_images DISABLE TRIGGER task_migration_insert")
    with pytest.raises(Refused, match="no complete capture on task_images"):
        _quiet(copied)


def test_the_task_services_writes_count_on_its_side(copied: Sides) -> None:
    there = {"side": "task_service", "task_service_dsn": copied.task_service_dsn}
    assert "took no traffic" in _quiet(copied, **there).message
    capture_there(copied)
    before = catalog_of(copied.task_service_dsn)

    def write() -> None:
        time.sleep(0.3)
        copied.target("UPDATE tasks SET title = 'there' WHERE id = 60")
        copied.target("DELETE FROM task_approvals WHERE task_id = 60")
        copied.laravel("UPDATE tasks SET title = 'here' WHERE id = 62")

    with _meanwhile(write):
        done = _quiet(copied, **there)
    assert done.details["entries"] in (1, 2)
    assert done.details["seconds"] > 0.3 + QUIET - 0.2
    assert catalog_of(copied.task_service_dsn) == before


def test_what_a_run_left_that_lost_its_session_is_no_hindrance(copied: Sides) -> None:
    before = catalog_of(copied.laravel_dsn)

    def end_its_session() -> None:
        time.sleep(0.3)
        copied.ours(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'task\\_migration quiet%' AND datname = current_database()"
        )

    with _meanwhile(end_its_session), pytest.raises(Failed, match="connection to Laravel's database"):
        _quiet(copied)
    copied.laravel("UPDATE tasks SET title = 'counted by nobody' WHERE id = 60")
    assert _quiet(copied).details["entries"] == 0
    assert catalog_of(copied.laravel_dsn) == before


def _quiet(sides: Sides, check: bool = False, **more):
    return quiesce.quiesce(laravel_dsn=sides.laravel_dsn, canary_quiet_seconds=QUIET, check=check, **more)


@contextmanager
def _meanwhile(write: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()
