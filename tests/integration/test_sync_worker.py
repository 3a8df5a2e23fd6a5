"""Both directions of the sync, worker by worker and batch by batch, on real databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sides import SIGNED_OFF, Sides
from task_migration.control import sync_switch
from task_migration.report import sync_report
from task_migration.runtime import latency
from task_migration.sync import capture
from task_migration.sync.sync_worker import SyncSettings, SyncWorker


class Running:
    """A worker of each direction, stepped by the test."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        settings = SyncSettings.from_dict(sides.both)
        self.forward, self.backward = SyncWorker(settings, "forward"), SyncWorker(settings, "backward")

    def connect(self) -> None:
        self.forward.connect()
        self.backward.connect()

    def settle(self, limit: int = 200) -> None:
        """Steps both until neither finds anything to do."""
        idle = 0
        for _ in range(limit):
            steps = [self.backward.step(), self.forward.step()]
            idle = idle + 1 if not any(step.entries for step in steps) else 0
            if idle == 3:
                return
        raise AssertionError("the two directions do not come to rest")


@pytest.fixture
def both_ways(copied: Sides) -> Iterator[Running]:
    """Copied, capture on both sides, both switches on, and a worker of each direction."""
    sides = copied
    capture.capture(laravel_dsn="", task_service_dsn=sides.task_service_dsn, side="task_service", check=False)
    for name in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=name, state="on")
    running = Running(sides)
    running.connect()
    yield running
    running.forward.close()
    running.backward.close()


def one(rows: list[Any]) -> Any:
    (row,) = rows
    return row


def test_a_write_in_laravel_is_carried_forward(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.laravel("UPDATE tasks SET title = 'new', priority = 5 WHERE id = 60")
    step = both_ways.forward.step()
    assert step.entries == 1
    assert len(step.latencies) == 1
    assert sides.task(60, "title, difficulty") == ("new", 5)
    assert sides.verify().details["passed"]


def test_a_write_in_the_task_service_is_carried_back(both_ways: Running) -> None:
    sides = both_ways.sides
    kept = one(sides.laravel("SELECT due_date, span, assigned_by_user_id FROM tasks WHERE id = 60"))
    sides.target("UPDATE tasks SET title = 'there', difficulty = 4, updated_at = now() WHERE id = 60")
    both_ways.settle()
    assert one(sides.laravel("SELECT title, priority FROM tasks WHERE id = 60")) == ("there", 4)
    assert one(sides.laravel("SELECT due_date, span, assigned_by_user_id FROM tasks WHERE id = 60")) == kept
    assert sides.verify().details["passed"]


def test_a_deletion_is_the_others_meaning_both_ways(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.laravel("UPDATE tasks SET deleted_at = now() WHERE id = 59")
    for table in ("task_images", "task_approvals", "group_tasks"):
        sides.target(f"DELETE FROM {table} WHERE task_id = 57")
    sides.target("DELETE FROM tasks WHERE id = 57")
    images = sides.laravel("SELECT count(*) FROM task_images WHERE task_id = 57")
    both_ways.settle()
    assert sides.task(59, "id") is None
    assert one(sides.laravel("SELECT deleted_at IS NOT NULL FROM tasks WHERE id = 57")) == (True,)
    assert sides.laravel("SELECT count(*) FROM task_images WHERE task_id = 57") == images
    sides.laravel("UPDATE tasks SET deleted_at = NULL WHERE id = 57")
    both_ways.settle()
    assert sides.task(57, "id") == (57,)
    assert sides.verify().details["passed"]


def test_a_task_that_is_born_in_the_task_service_crosses_with_tags_group_and_images(both_ways: Running) -> None:
    sides = both_ways.sides
    (owner,) = one(sides.laravel("SELECT cognito_sub FROM users WHERE id = 3"))
    (key,) = one(
        sides.target(
            "INSERT INTO tasks (user_id, title, difficulty, status, tags, created_at, updated_at)"
            " VALUES (%s, 'born there', 2, 'in_progress', '[\"b\", \"a\", \"b\"]', now(), now()) RETURNING id",
            owner,
        )
    )
    sides.target(
        "INSERT INTO group_tasks (group_id, task_id, reward, created_at, updated_at)"
        " VALUES (gen_random_uuid(), %s, 500, now(), now())",
        key,
    )
    (image,) = one(
        sides.target(
            "INSERT INTO task_images (task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)"
            " VALUES (%s, 'a b.png', 'https://elsewhere', %s, now(), now()) RETURNING id",
            key,
            owner,
        )
    )
    both_ways.settle()
    assert key >= 1_000_000_000
    assert one(sides.laravel("SELECT user_id, title, priority, reward FROM tasks WHERE id = %s", key)) == (
        3, "born there", 2, 500,
    )  # fmt: skip
    names = "SELECT g.name FROM task_tag t JOIN tags g ON g.id = t.tag_id WHERE t.task_id = %s ORDER BY 1"
    assert sides.laravel(names, key) == [("a",), ("b",)]
    assert one(sides.laravel("SELECT file_path FROM task_images WHERE id = %s", image)) == ("a b.png",)
    assert sides.task(key, "status::text, tags") == ("in_progress", ["a", "b"])
    assert sides.verify().details["passed"]
    sides.target('UPDATE tasks SET tags = \'["a", "c"]\' WHERE id = %s', key)
    sides.target("DELETE FROM task_images WHERE id = %s", image)
    both_ways.settle()
    assert sides.laravel(names, key) == [("a",), ("c",)]
    assert sides.laravel("SELECT 1 FROM task_images WHERE id = %s", image) == []
    assert sides.verify().details["passed"]


def test_the_newer_of_two_writes_wins_and_the_other_is_kept(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.laravel("UPDATE tasks SET title = 'older, of Laravel' WHERE id = 60")
    sides.target("UPDATE tasks SET title = 'newer, of the Task Service' WHERE id = 60")
    sides.target("UPDATE tasks SET title = 'older, of the Task Service' WHERE id = 62")
    sides.laravel("UPDATE tasks SET title = 'newer, of Laravel' WHERE id = 62")
    both_ways.settle()
    for key, side in ((60, "the Task Service"), (62, "Laravel")):
        assert sides.task(key, "title") == (f"newer, of {side}",)
        assert one(sides.laravel("SELECT title FROM tasks WHERE id = %s", key)) == (f"newer, of {side}",)
    titles = "winner_image #>> '{tasks,title}', loser_image #>> '{tasks,title}'"
    kept = f"SELECT key, winner, {titles} FROM task_migration.conflict"
    found = {key: rest for key, *rest in sides.ours(kept) + sides.target(kept)}
    assert found == {
        60: ["task_service", "newer, of the Task Service", "older, of Laravel"],
        62: ["laravel", "newer, of Laravel", "older, of the Task Service"],
    }
    assert sides.verify().details["passed"]


def test_laravels_silence_never_degrades_what_only_the_task_service_can_say(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.target("UPDATE tasks SET status = 'in_progress' WHERE id = 58")
    both_ways.settle()
    sides.laravel("UPDATE tasks SET title = 'another' WHERE id = 58")
    both_ways.settle()
    assert sides.task(58, "status::text, title") == ("in_progress", "another")
    sides.laravel("UPDATE tasks SET is_completed = true, completed_at = now() WHERE id = 58")
    both_ways.settle()
    assert sides.task(58, "status::text") == ("completed",)
    assert sides.verify().details["passed"]


def test_a_row_that_laravel_refuses_is_held_back_and_the_others_pass(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.target("UPDATE tasks SET difficulty = 9 WHERE id = 58")
    sides.target("UPDATE task_images SET s3_key = repeat('x', 300) WHERE id = (SELECT max(id) FROM task_images)")
    sides.target("UPDATE tasks SET title = 'passes' WHERE id = 62")
    both_ways.settle()
    held = sides.ours("SELECT table_name, kind FROM task_migration.quarantine ORDER BY 1")
    assert held == [("task_images", "refused_by_database"), ("tasks", "difficulty_out_of_range")]
    assert one(sides.laravel("SELECT title FROM tasks WHERE id = 62")) == ("passes",)
    sides.target("UPDATE tasks SET difficulty = 5 WHERE id = 58")
    both_ways.settle()
    assert sides.ours("SELECT table_name FROM task_migration.quarantine") == [("task_images",)]


def test_the_switch_is_honoured(both_ways: Running) -> None:
    sides = both_ways.sides
    sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="off", reason="a test")
    sides.laravel("UPDATE tasks SET title = 'waits' WHERE id = 60")
    assert both_ways.forward.step().paused
    assert sides.task(60, "title") != ("waits",)
    sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="on")
    assert both_ways.forward.step().entries == 1
    assert sides.task(60, "title") == ("waits",)


def test_what_is_held_back_is_counted_right_after_the_task_service_has_changed_it(both_ways: Running) -> None:
    sides = both_ways.sides
    sides.laravel(
        "UPDATE tasks SET requires_approval = true, is_completed = true, assigned_by_user_id = NULL WHERE id = 62"
    )
    both_ways.settle()
    assert ("task_approvals", 62) in sides.held_back("approval_without_approver")
    sides.target("UPDATE tasks SET status = 'pending', completed_at = NULL WHERE id = 62")
    both_ways.settle()
    assert ("task_approvals", 62) not in sides.held_back("approval_without_approver")
    assert sides.verify().details["passed"]


def test_the_report_tells_lag_conflicts_and_dead_letters_and_no_rows_content(
    both_ways: Running, tmp_path: Path
) -> None:
    sides = both_ways.sides
    sides.laravel("UPDATE tasks SET title = 'a secret title' WHERE id = 60")
    sides.target("UPDATE tasks SET title = 'another secret title' WHERE id = 60")
    sides.target("UPDATE tasks SET difficulty = 9 WHERE id = 58")
    both_ways.settle()
    for number in range(100):
        lags = {"p50": 5.0 + number / 100, "p95": 12.0, "p99": None if number % 2 else 20.0}
        if number % 2:
            lags = dict.fromkeys(lags)  # ten seconds in which nobody wrote
        sample = {"at": f"2026-01-01T00:{number // 6:02}:{number % 6}0+00:00", "state": "running", "pending": number}
        rate = {"entries_per_second": 100.0, "oldest_seconds": None, "direction": "forward", "lag_ms": lags}
        latency.append_sample(tmp_path / "history" / "lag-forward.jsonl", sample | rate)
    made = sync_report.sync_report(
        laravel_dsn=sides.laravel_dsn,
        task_service_dsn=sides.task_service_dsn,
        service_directory=str(tmp_path),
        quarantine_signed_off=SIGNED_OFF,
        report_directory=str(sides.reports),
    )
    details = made.details
    assert details["latency"]["forward"]["p95"] == {"median": 12.0, "worst": 12.0}
    assert len(details["over_time"]["forward"]) <= sync_report.TIMES_SHOWN
    (conflict,) = details["conflicts"]["newest"]
    assert (conflict["key"], conflict["winner"]) == (60, "task_service")
    assert "tasks.title" in conflict["differing"]
    assert conflict["winner_hash"] != conflict["loser_hash"]
    assert [(one["side"], one["kind"], one["sample"]) for one in details["dead_letters"]] == [
        ("laravel", "difficulty_out_of_range", ["tasks 58"])
    ]
    told = [file.read_text() for file in sides.reports.iterdir() if file.name.startswith("sync-")]
    assert len(told) == 4
    assert not [text for text in told if "secret" in text]
