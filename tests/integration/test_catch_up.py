"""Catching up: the sync runs, nothing is old on its log, and the way back has proven that it carries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sides import Sides
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.runtime import catch_up, health_endpoint
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_status import SyncStatus
from task_migration.sync.sync_worker import SyncSettings, SyncWorker
from workers import capture_there


def test_the_way_back_is_proven_by_a_task_that_goes_it_and_changes_no_row(copied: Sides) -> None:
    capture_there(copied)
    oldest = copied.target("SELECT min(id) FROM tasks")[0][0]
    asked = "SELECT xmin::text, t::text FROM tasks t WHERE id = %s"
    here, there = copied.ours(asked.replace("xmin::text, ", ""), oldest), copied.target(asked, oldest)
    with carrying_back(copied) as port:
        for _ in range(2):
            caught = catching_up(copied, port)
            assert not caught.changed
            assert caught.details["proof"] == oldest
            assert (caught.details["state"], caught.details["pending"]) == ("running", 0)
            assert f"task {oldest} was synced as a proof" in caught.message
    assert copied.ours(asked.replace("xmin::text, ", ""), oldest) == here
    assert copied.target(asked, oldest) == there
    assert copied.verify().details["passed"]


def test_a_sync_that_says_it_runs_and_carries_nothing_is_no_proof(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(catch_up, "LONGEST_SECONDS", 1.5)
    capture_there(copied)
    vitals = SyncStatus("backward", Stop())
    vitals.become("running")
    with (
        health_endpoint.answering(vitals, 0) as port,
        pytest.raises(Failed, match=r"running, 1 entries pending, including the task that was put there as a proof"),
    ):
        catching_up(copied, port)
    assert copied.target("SELECT part, key, isfinite(changed_at) FROM task_migration.change_log") == [
        ("tasks", copied.target("SELECT min(id) FROM tasks")[0][0], False)
    ], "it is no write of anybody's"


def test_while_the_way_back_is_switched_off_it_fails_and_says_who_did(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(catch_up, "LONGEST_SECONDS", 1.5)
    capture_there(copied)
    with carrying_back(copied) as port:
        sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_backward", state="off", reason="a test")
        with pytest.raises(Failed, match=r"paused, 1 entries pending.*the switch is off, by .+@"):
            catching_up(copied, port)


def test_without_a_task_there_it_says_that_nothing_was_proven(sides: Sides) -> None:
    capture_there(sides)
    with carrying_back(sides) as port:
        caught = catching_up(sides, port)
    assert caught.details["proof"] is None
    assert "no task to prove it with" in caught.message


def test_the_way_back_without_capture_is_refused_and_check_mode_puts_nothing_there(copied: Sides) -> None:
    with pytest.raises(Refused, match="the Task Service's task tables would be lost"):
        catching_up(copied, 1)
    assert catching_up(copied, 1, check=True).details == {"pending": 0}
    capture_there(copied)
    copied.target("UPDATE tasks SET title = 'waits' WHERE id = 60")
    assert catching_up(copied, 1, check=True).details == {"pending": 1}
    assert copied.target("SELECT count(*) FROM task_migration.change_log") == [(1,)]


def catching_up(sides: Sides, port: int, check: bool = False) -> Any:
    return catch_up.catch_up(
        laravel_dsn=sides.laravel_dsn,
        task_service_dsn=sides.task_service_dsn,
        sync_health_ports={"forward": 1, "backward": port},
        direction="backward",
        check=check,
    )


@contextmanager
def carrying_back(sides: Sides) -> Iterator[int]:
    """The sync of the way back while the block runs; gives its health port."""
    sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_backward", state="on")
    stop = threading.Event()
    vitals = SyncStatus("backward", Stop())
    worker = SyncWorker(SyncSettings.from_dict(sides.both), "backward")
    worker.connect()

    def carry() -> None:
        while not stop.is_set():
            step = worker.step()
            vitals.record_step(step)
            vitals.become("paused" if step.paused else "running")
            stop.wait(0.01)

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        with health_endpoint.answering(vitals, 0) as port:
            yield port
    finally:
        stop.set()
        thread.join()
        worker.close()
