"""The copy, against the ways in which the plan's own script loses or bends rows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sides import Sides
from task_migration import progress
from task_migration.compare import fingerprint
from task_migration.errors import Failed, Refused
from task_migration.mapping import selector, table_mapping
from task_migration.postgres.database import connect, laravel, task_service
from task_migration.sync.converge import Flow, converge, forward_flow

TABLES = [one.table for one in table_mapping.mappings()]


def test_every_expected_row_is_copied_or_quarantined(sides: Sides) -> None:
    outcome = sides.copy()
    assert outcome.changed
    for account in outcome.details["tables"].values():
        assert account["expected"] == account["copied"] + account["quarantined"]
        assert account["in_flight"] == 0
    assert outcome.details["tables"]["tasks"]["copied"] == sides.target("SELECT count(*) FROM tasks")[0][0] > 0


def test_second_run_changes_nothing(copied: Sides) -> None:
    before = _everything(copied)
    outcome = copied.copy()
    assert not outcome.changed
    assert _everything(copied) == before


def test_group_tasks_are_not_doubled_by_a_second_converge(copied: Sides) -> None:
    with _flow(copied) as flow:
        for shape in flow.shapes:
            done = converge(flow, shape, selector.KeyRange(1, 10_000))
            assert done.changed == 0
    assert copied.target("SELECT count(*) - count(DISTINCT task_id) FROM group_tasks") == [(0,)]


def test_copy_refuses_without_capture(sides: Sides) -> None:
    sides.laravel("ALTER TABLE task_tag DISABLE TRIGGER task_migration_insert")
    with pytest.raises(Refused, match=r"not captured.*task_tag"):
        sides.copy()
    assert sides.target("SELECT count(*) FROM tasks") == [(0,)]


def test_what_is_written_after_its_chunk_was_read_is_carried_later(copied: Sides) -> None:
    copied.laravel("UPDATE tasks SET title = 'written after the copy' WHERE id = 20")
    copied.laravel("INSERT INTO tasks (id, user_id, title) VALUES (9001, 1, 'born after the copy')")
    copied.laravel("UPDATE tasks SET deleted_at = now() WHERE id = 21")
    copied.drain()
    assert copied.task(20, "title") == ("written after the copy",)
    assert copied.task(9001, "title") == ("born after the copy",)
    assert copied.task(21, "id") is None
    copied.verify()


def test_nothing_is_lost_of_what_is_written_during_the_copy(make_sides) -> None:
    sides = make_sides(20_000)
    sides.prepare()
    stop = threading.Event()
    writer = threading.Thread(target=_write_until, args=(sides, stop))
    writer.start()
    try:
        sides.copy(copy_chunk_keys=500)
    finally:
        stop.set()
        writer.join()
    outcome = sides.verify()
    assert outcome.details["passed"]


def _write_until(sides: Sides, stop: threading.Event) -> None:
    with psycopg.connect(sides.laravel_owner_dsn, autocommit=True) as connection:
        number = 0
        while not stop.is_set():
            number += 1
            key = 41 + (number * 7919) % 19_900
            for statement in (
                "UPDATE tasks SET title = title || '!', updated_at = now() WHERE id = %(key)s AND length(title) < 250",
                "UPDATE tasks SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id = %(key)s + 1",
                "DELETE FROM tasks t WHERE id = %(key)s + 2"
                " AND NOT EXISTS (SELECT FROM task_executions e WHERE e.task_id = t.id)",
                "INSERT INTO tasks (user_id, title) VALUES (1 + %(key)s %% 7, 'new')",
                "INSERT INTO task_images (task_id, file_path) SELECT max(id), 'new.png' FROM tasks",
                "DELETE FROM task_tag WHERE task_id = %(key)s",
                "UPDATE tags SET name = name || '.' WHERE id = 12 + %(key)s %% 10 AND length(name) < 250",
            ):
                connection.execute(statement, {"key": key})


def test_a_child_whose_parent_is_missing_waits_and_never_fails_the_run(copied: Sides) -> None:
    image, task = copied.target("SELECT id, task_id FROM task_images ORDER BY id DESC LIMIT 1")[0]
    for table in ("task_images", "task_approvals", "group_tasks"):
        copied.target(f"DELETE FROM {table} WHERE task_id = %s", task)
    copied.target("DELETE FROM tasks WHERE id = %s", task)
    copied.ours("INSERT INTO task_migration.change_log (part, key, root) VALUES ('task_images', %s, %s)", image, task)
    first = copied.drain()
    assert first.details["waiting"] == 1
    assert first.details["left"] == 1
    copied.laravel("UPDATE tasks SET updated_at = updated_at WHERE id = %s", task)
    copied.drain()
    copied.drain()
    assert copied.target("SELECT id FROM task_images WHERE id = %s", image) == [(image,)]


def test_a_chunk_is_there_whole_with_its_ledger_row_or_not_at_all(sides: Sides) -> None:
    sides.target(
        """CREATE FUNCTION stop_at_100() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF NEW.id = 100 THEN RAISE 'the server stops' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"""
    )
    sides.target("CREATE TRIGGER stop BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION stop_at_100()")
    with pytest.raises(Failed, match=r"the Task Service's database .*no disk space.*run the same command again"):
        sides.copy(copy_chunk_keys=20, copy_workers=1)
    ids = {key for (key,) in sides.target("SELECT id FROM tasks")}
    copied = sides.target("SELECT low, high FROM task_migration.copy_chunk WHERE table_name='tasks' AND state='copied'")
    assert ids
    assert all(any(low <= key <= high for low, high in copied) for key in ids)
    assert not any(80 <= key < 120 for key in ids if key >= 100)
    sides.target("DROP TRIGGER stop ON tasks")
    sides.copy(copy_chunk_keys=20)
    assert sides.verify().details["passed"]


def test_indexes_and_foreign_keys_are_put_back_as_they_were(make_sides) -> None:
    made = make_sides()
    made.prepare()
    asked = (
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
        "SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    )
    before = [made.target(statement) for statement in asked]
    made.copy()
    assert [made.target(statement) for statement in asked] == before
    assert made.target("SELECT count(*) FROM task_migration.deferred_ddl") == [(0,)]


def test_an_unmapped_approver_becomes_null_and_is_written_down(copied: Sides) -> None:
    assert copied.task(18, "approved_by, status") == (None, "approved")
    assert ("tasks", 18) in copied.held_back("approver_unmapped")


def test_tasks_of_an_unmapped_owner_are_quarantined_and_cross_when_she_gets_a_sub(copied: Sides) -> None:
    assert copied.task(16, "id") is None
    assert ("tasks", 16) in copied.held_back("owner_unmapped")
    copied.laravel("UPDATE users SET cognito_sub = 'sub-of-8' WHERE id = 8")
    copied.drain()
    assert copied.task(16, "user_id") == ("sub-of-8",)
    assert copied.held_back("owner_unmapped") == set()
    images = copied.laravel("SELECT count(*) FROM task_images WHERE task_id = 16")[0][0]
    assert copied.target("SELECT count(*) FROM task_images WHERE task_id = 16") == [(images,)]
    copied.verify()


def test_a_title_of_255_characters_crosses_whole(copied: Sides) -> None:
    assert copied.task(3, "title") == ("あ" * 255,)


def test_a_row_that_the_target_refuses_is_quarantined_and_the_others_go_on(copied: Sides) -> None:
    copied.target("ALTER TABLE tasks ADD CONSTRAINT no_such_word CHECK (title <> 'refuse me')")
    copied.laravel("UPDATE tasks SET title = 'refuse me' WHERE id = 30")
    copied.laravel("UPDATE tasks SET title = 'take me' WHERE id IN (22, 23, 24, 25)")
    copied.drain()
    assert copied.held_back("refused_by_database") == {("tasks", 30)}
    (reason,) = copied.target("SELECT reason FROM task_migration.quarantine WHERE kind = 'refused_by_database'")[0]
    assert reason.startswith("23514 CheckViolation")
    assert "refuse me" not in reason
    assert copied.target("SELECT count(*) FROM tasks WHERE title = 'take me'") == [(4,)]
    copied.laravel("UPDATE tasks SET title = 'take me too' WHERE id = 30")
    copied.drain()
    assert copied.held_back("refused_by_database") == set()
    assert copied.task(30, "title") == ("take me too",)


def test_a_refused_row_in_the_bulk_copy_is_found_and_the_others_go_on(sides: Sides) -> None:
    sides.target("ALTER TABLE tasks ADD CONSTRAINT not_this CHECK (id <> 50)")
    outcome = sides.copy()
    assert ("tasks", 50) in sides.held_back("refused_by_database")
    account = outcome.details["tables"]["tasks"]
    assert account["expected"] == account["copied"] + account["quarantined"]


def test_an_id_beyond_integer_is_quarantined_and_not_an_end_of_the_run(copied: Sides) -> None:
    copied.laravel("INSERT INTO tasks (id, user_id, title) VALUES (3000000000, 1, 'a long way')")
    copied.laravel("INSERT INTO tasks (id, user_id, title) VALUES (9002, 1, 'near')")
    copied.drain()
    assert copied.held_back("refused_by_database") == {("tasks", 3_000_000_000)}
    assert copied.task(9002, "title") == ("near",)


@pytest.mark.parametrize("runner_zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_naive_times_do_not_depend_on_the_runners_time_zone(sides: Sides, monkeypatch, runner_zone: str) -> None:
    monkeypatch.setenv("TZ", runner_zone)
    monkeypatch.setenv("PGTZ", runner_zone)
    time.tzset()
    try:
        sides.laravel("UPDATE tasks SET created_at = '2025-03-30 02:30:00.123456' WHERE id = 20")
        sides.copy()
    finally:
        os.environ.pop("TZ")
        time.tzset()
    expected = datetime(2025, 3, 30, 2, 30, 0, 123456, tzinfo=ZoneInfo("Asia/Tokyo"))
    (found,) = sides.task(20, "created_at")
    assert found == expected
    assert found.utcoffset() == timedelta(0)


def test_priority_0_is_not_made_3_and_null_is(copied: Sides) -> None:
    priorities = dict(copied.laravel("SELECT id, priority FROM tasks WHERE id IN (12, 13)"))
    assert set(priorities.values()) <= {0, 9}
    assert {("tasks", key) for key in priorities} == copied.held_back("priority_out_of_range")
    (key,) = copied.laravel("SELECT min(id) FROM tasks WHERE priority IS NULL AND deleted_at IS NULL")[0]
    assert copied.task(key, "difficulty") == (3,)


def test_tags_are_a_sorted_array_of_distinct_names_and_a_rename_is_carried(copied: Sides) -> None:
    copied.laravel("DELETE FROM task_tag WHERE task_id = 20")
    copied.laravel("INSERT INTO task_tag (task_id, tag_id) VALUES (20, 9), (20, 4), (20, 3), (20, 1)")
    copied.drain()
    assert copied.task(20, "tags") == (["Home", "home", "仕事"],)
    copied.laravel("UPDATE tags SET name = 'zuhause' WHERE id = 3")
    copied.drain()
    assert copied.task(20, "tags") == (["Home", "home", "zuhause", "仕事"],)


def test_an_objects_address_is_percent_encoded(copied: Sides) -> None:
    copied.laravel(
        "UPDATE task_images SET file_path = 'a b/写真+1%#?.png' WHERE id = (SELECT min(id) FROM task_images)"
    )
    copied.drain()
    url, key = copied.target("SELECT s3_url, s3_key FROM task_images ORDER BY id LIMIT 1")[0]
    assert key == "a b/写真+1%#?.png"
    assert url == "https://task-images.s3.amazonaws.com/a%20b/%E5%86%99%E7%9C%9F%2B1%25%23%3F.png"


@pytest.mark.parametrize(
    ("is_completed", "approved", "requires_approval", "status", "approval"),
    [
        (False, False, False, "pending", None),
        (False, False, True, "pending", None),
        (True, False, False, "completed", None),
        (True, False, True, "completed", "pending"),
        (True, True, True, "approved", "approved"),
        (True, True, False, "approved", "approved"),
        (False, True, True, "approved", "approved"),
        (None, False, None, "pending", None),
    ],
)
def test_the_status_truth_table_is_total(
    copied: Sides, is_completed, approved, requires_approval, status, approval
) -> None:
    copied.laravel(
        """INSERT INTO tasks (id, user_id, title, is_completed, requires_approval, approved_at, approved_by_user_id,
                              assigned_by_user_id) VALUES (9003, 1, 't', %s, %s, %s, %s, 2)""",
        is_completed, requires_approval, datetime(2025, 1, 1) if approved else None, 3 if approved else None,
    )  # fmt: skip
    copied.drain()
    assert copied.task(9003, "status::text") == (status,)
    found = copied.target("SELECT status::text FROM task_approvals WHERE task_id = 9003")
    assert found == ([(approval,)] if approval else [])


def test_what_the_task_service_owns_is_never_overwritten(copied: Sides) -> None:
    copied.target("UPDATE tasks SET category_id = 7, reflection = 'hers' WHERE id = 20")
    copied.laravel("UPDATE tasks SET title = 'again' WHERE id = 20")
    copied.drain()
    assert copied.task(20, "title, category_id, reflection") == ("again", 7, "hers")


def test_a_busy_laravel_pauses_the_copy_before_the_next_chunk(sides: Sides) -> None:
    notes: list[str] = []
    busy = psycopg.connect(sides.laravel_owner_dsn, autocommit=True)
    sleeping = threading.Thread(target=lambda: busy.execute("SELECT pg_sleep(2)"))

    def heard(seen: progress.Progress) -> None:
        notes.append(seen.note)

    second = psycopg.connect(sides.laravel_owner_dsn, autocommit=True)
    also = threading.Thread(target=lambda: second.execute("SELECT pg_sleep(2)"))
    sleeping.start()
    also.start()
    time.sleep(0.2)
    sides.copy(copy_max_laravel_load=1, listener=heard)
    sleeping.join()
    also.join()
    busy.close()
    second.close()
    assert any("paused: 2 active sessions on Laravel's database, allowed: 1" in note for note in notes)


def test_a_chunk_that_would_take_too_long_is_cut(make_sides) -> None:
    sides = make_sides(20_000)
    sides.prepare()
    sides.copy(copy_chunk_keys=2000, copy_chunk_seconds=0.01, copy_workers=1)
    (chunks,) = sides.target("SELECT count(*) FROM task_migration.copy_chunk WHERE table_name = 'tasks'")[0]
    assert chunks > 10
    assert sides.target(
        """SELECT count(*) FROM (SELECT low, lag(high) OVER (PARTITION BY table_name ORDER BY low) AS before
           FROM task_migration.copy_chunk) c WHERE before IS NOT NULL AND low <> before + 1"""
    ) == [(0,)]
    assert sides.verify().details["passed"]


def test_check_mode_predicts_and_touches_nothing(sides: Sides) -> None:
    before = _everything(sides)
    outcome = sides.copy(check=True)
    assert outcome.changed
    predicted = {table: account["expected"] for table, account in outcome.details["tables"].items()}
    assert _everything(sides) == before
    done = sides.copy()
    assert predicted == {table: account["expected"] for table, account in done.details["tables"].items()}
    assert not sides.copy(check=True).changed


def test_rows_that_no_copy_of_ours_put_there_are_refused(sides: Sides) -> None:
    sides.target("INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('somebody', 'x', now(), now())")
    with pytest.raises(Refused, match="rows that the runbook did not copy"):
        sides.copy()
    assert sides.target("SELECT count(*) FROM tasks") == [(1,)]


def test_the_record_hash_and_the_text_hash_name_the_same_rows(copied: Sides) -> None:
    copied.target("UPDATE tasks SET title = title || '?' WHERE id IN (20, 30)")
    with _flow(copied) as flow:
        shape = next(shape for shape in flow.shapes if shape.mapping.table == "tasks")
        found = [fingerprint.compare_table(flow, shape, form).differing for form in ("record", "text")]
    assert found[0] == found[1] == {20: "different", 30: "different"}


@contextmanager
def _flow(sides: Sides) -> Iterator[Flow]:
    origin_side = laravel(sides.laravel_dsn, timezone="Asia/Tokyo", s3_bucket="task-images")
    with connect(origin_side, "test") as origin, connect(task_service(sides.task_service_dsn), "test") as destination:
        yield forward_flow(origin, destination)


def _everything(sides: Sides) -> list[object]:
    """All rows of the target, with where and when they were written."""
    seen: list[object] = [
        sides.target(f"SELECT xmin::text, ctid::text, * FROM {table} ORDER BY id") for table in TABLES
    ]
    seen.append(sides.target("SELECT * FROM task_migration.copy_chunk ORDER BY 1, 2"))
    seen.append(sides.target("SELECT * FROM task_migration.quarantine ORDER BY 1, 2, 3"))
    return seen
