"""Verify finds every difference, and only differences; reconcile mends these, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import psycopg
import pytest
from sides import SIGNED_OFF, Sides
from task_migration.compare import fingerprint
from task_migration.errors import Failed, Refused
from task_migration.mapping import table_mapping
from task_migration.postgres.database import connect, laravel, task_service
from task_migration.sync.converge import Flow, forward_flow

KEYS = {one.table: one.key for one in table_mapping.mappings()}
PLANTED = {("tasks", 50, "different"), ("task_images", 20, "missing"), ("group_tasks", 36, "extra")}


def test_one_character_one_image_and_one_foreign_row_are_named_and_mended_and_nothing_else(copied: Sides) -> None:
    assert copied.verify().details["passed"]
    _plant(copied)
    with pytest.raises(Failed) as red:
        copied.verify()
    assert red.value.measured == "tasks 50 different: title; group_tasks 36 extra; task_images 20 missing", (
        "exactly these three, with table, key and column"
    )
    assert "reconcile.yml" in red.value.next_step
    report = _report(copied)
    assert {(d["table"], d["key"], d["kind"]) for d in report["differences"]} == PLANTED
    assert [d["columns"] for d in report["differences"]] == [["title"], [], []]

    before = _versions(copied)
    predicted = copied.reconcile(check=True)
    assert (predicted.changed, predicted.details) == (True, {"differences": 3})
    assert _versions(copied) == before, "check mode mends nothing"
    assert copied.ours("SELECT count(*) FROM task_migration.change_log") == [(0,)]

    reconciled = copied.reconcile()
    assert reconciled.details == {"differences": 3, "reconciled": 3}
    after = _versions(copied)
    touched = {row for row in before.keys() | after.keys() if before.get(row) != after.get(row)}
    assert touched == {("tasks", 50), ("task_images", 20), ("group_tasks", 36)}
    assert copied.verify().details["differences"] == []
    again = copied.reconcile()
    assert not again.changed
    assert _versions(copied) == after


def test_a_row_that_is_nowhere_in_laravel_is_taken_away_with_its_children(copied: Sides) -> None:
    copied.target(
        "INSERT INTO tasks (id, user_id, title, created_at, updated_at) VALUES (7777, 'x', 'y', now(), now())"
    )
    copied.target(
        """INSERT INTO task_images (id, task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)
           VALUES (7777, 7777, 'k', 'u', 'x', now(), now())"""
    )
    with pytest.raises(Failed, match=r"tasks 7777 extra; task_images 7777 extra"):
        copied.verify()
    copied.reconcile()
    assert copied.task(7777, "id") is None
    assert copied.verify().details["passed"]


def test_equal_counts_with_corrupt_rows_are_red(copied: Sides) -> None:
    copied.target("UPDATE tasks SET created_at = created_at + interval '1 microsecond' WHERE id = 21")
    with pytest.raises(Failed, match="tasks 21 different: created_at"):
        copied.verify()
    counts = _report(copied)["comparisons"]["counts"]
    assert counts["equal"]
    assert counts["laravel"] == counts["task_service"] + counts["quarantined"]


def test_two_values_exchanged_between_two_rows_are_found_whatever_they_are(copied: Sides) -> None:
    copied.laravel(
        """UPDATE tasks SET approved_at = created_at + id * interval '1 minute', completed_at = created_at + id
           * interval '1 s', approved_by_user_id = 1 + id % 7, requires_approval = id = 60, requires_image = id <> 60,
           is_completed = true, group_task_id = md5(id::text)::uuid, reward = id, description = 'about ' || id,
           priority = CASE id WHEN 60 THEN 2 ELSE 4 END, updated_at = updated_at + id * interval '1 hour'
           WHERE id IN (45, 60)"""
    )
    copied.laravel("UPDATE tasks SET approved_at = NULL, assigned_by_user_id = 6 WHERE id = 75")
    copied.laravel("INSERT INTO task_tag (task_id, tag_id) VALUES (45, 1), (60, 2) ON CONFLICT DO NOTHING")
    copied.drain()
    exchanges = 0
    with _flow(copied) as flow:
        form = fingerprint.hash_form(flow.origin, flow.destination)
        assert form == "record"
        for shape in flow.shapes:
            key = shape.mapping.key
            keys = {"task_images": (15, 16), "tasks": (45, 60)}.get(shape.mapping.table, (45, 60))
            values = {
                row[0]: row[1:]
                for row in flow.destination.execute(
                    f"SELECT {key}, row_to_json(t) FROM {shape.mapping.table} t WHERE {key} = ANY (%s)", (list(keys),)
                )
            }
            assert set(values) == set(keys)
            columns = [column for column in shape.columns if column.name != key]
            for one, other in product(columns, repeat=2):
                (first,), (second,) = (values[keys[0]], values[keys[1]])
                alike = one.type == other.type or (one.is_text and other.is_text)
                if not alike or first[one.name] == second[other.name]:
                    continue
                exchanges += 1
                with flow.destination.transaction(force_rollback=True):
                    for row, column, value in ((keys[0], one, second[other.name]), (keys[1], other, first[one.name])):
                        flow.destination.execute(
                            f"""UPDATE {shape.mapping.table} SET {column.name} = (jsonb_populate_record(
                                    NULL::{shape.mapping.table}, jsonb_build_object('{column.name}', %s::jsonb))
                                ).{column.name} WHERE {key} = %s""",
                            (json.dumps(value), row),
                        )
                    for hashed in ("record", "text"):
                        found = fingerprint.compare_table(flow, shape, hashed)
                        assert found.differing == dict.fromkeys(keys, "different"), (one.name, other.name, hashed)
                    named = fingerprint.differing_columns(flow, shape, keys)
                    assert named == {keys[0]: [one.name], keys[1]: [other.name]}
    assert exchanges > 50


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE task_approvals SET approver_id = '' WHERE task_id = 21", "task_approvals 21 different: approver_id"),
        ("UPDATE task_approvals SET status = 'rejected' WHERE task_id = 21", "task_approvals 21 different: status"),
        ("DELETE FROM task_approvals WHERE task_id = 21", "task_approvals 21 missing"),
        ("UPDATE group_tasks SET reward = NULL WHERE task_id = 26", "group_tasks 26 different: reward"),
        ("DELETE FROM group_tasks WHERE task_id = 27", "group_tasks 27 missing"),
    ],
)  # fmt: skip
def test_a_changed_derived_table_is_found(once_copied: Sides, change: str, named: str) -> None:
    once_copied.target(change)
    with pytest.raises(Failed) as red:
        once_copied.verify()
    assert red.value.measured == named
    once_copied.reconcile()
    assert once_copied.verify().details["passed"]


def test_what_the_task_service_owns_is_no_difference(once_copied: Sides) -> None:
    once_copied.target("UPDATE tasks SET category_id = 3, reflection = 'hers' WHERE id = 21")
    once_copied.target("UPDATE task_approvals SET comment = 'well done' WHERE task_id = 21")
    assert once_copied.verify().details["passed"]


def test_a_verdict_is_kept_also_when_it_is_red(once_copied: Sides) -> None:
    verdicts = "SELECT passed FROM task_migration.verdict ORDER BY id DESC LIMIT 2"
    once_copied.verify()
    once_copied.target("UPDATE tasks SET title = title || '.' WHERE id = 1")
    with pytest.raises(Failed):
        once_copied.verify()
    assert once_copied.ours(verdicts) == [(False,), (True,)]
    once_copied.reconcile()


def test_the_report_is_written_for_people_and_for_machines_green_and_red(once_copied: Sides) -> None:
    green = once_copied.verify()
    once_copied.target("DELETE FROM task_images WHERE id = 20")
    with pytest.raises(Failed) as red:
        once_copied.verify()
    files = {path.suffix for path in once_copied.reports.iterdir()}
    assert {".md", ".json"} <= files
    assert green.details["report"] != red.value.next_step.split("the report: ")[1]
    for path in (green.details["report"], red.value.next_step.split("the report: ")[1]):
        assert "task_images" in Path(path).read_text(encoding="utf-8")
    assert _report(once_copied)["passed"] is False
    once_copied.reconcile()


def test_quarantine_that_nobody_signed_off_is_red_and_signed_off_it_is_green(once_copied: Sides) -> None:
    with pytest.raises(Failed, match=r"rows in quarantine as priority_out_of_range, not signed off") as red:
        once_copied.verify(quarantine_signed_off={})
    assert red.value.measured == "no difference in any row"
    assert '"owner_unmapped": "why"' in red.value.next_step
    almost = {kind: why for kind, why in SIGNED_OFF.items() if kind != "owner_unmapped"}
    with pytest.raises(Failed, match="owner_unmapped") as red:
        once_copied.verify(quarantine_signed_off=almost)
    assert "priority_out_of_range" not in str(red.value)
    green = once_copied.verify().details
    assert all(group["signed_off"] for group in green["quarantine"])
    for table in green["tables"].values():
        assert table["expected"] == table["copied"] + table["quarantined"] + table["in_flight"]


def test_rows_in_flight_are_no_differences(copied: Sides) -> None:
    stop = threading.Event()
    writer = threading.Thread(target=_write_until, args=(copied, stop))
    writer.start()
    try:
        for _ in range(3):
            assert copied.verify().details["passed"]
            assert copied.verify(check=True).message == "verify: would be green"
    finally:
        stop.set()
        writer.join()
    settled = copied.verify().details
    assert settled["change_log_length"] == 0
    assert all(table["in_flight"] == 0 for table in settled["tables"].values())


def test_check_mode_carries_keeps_and_writes_nothing(copied: Sides) -> None:
    copied.laravel("UPDATE tasks SET title = 'not carried yet' WHERE id = 20")
    copied.target("UPDATE tasks SET title = 'corrupt' WHERE id = 21")
    before = _versions(copied), copied.ours("SELECT * FROM task_migration.change_log")
    outcome = copied.verify(check=True)
    assert not outcome.changed
    assert outcome.message == "verify: would be red"
    assert [(d["table"], d["key"]) for d in outcome.details["differences"]] == [("tasks", 21)]
    assert (_versions(copied), copied.ours("SELECT * FROM task_migration.change_log")) == before
    assert copied.ours("SELECT to_regclass('task_migration.verdict')") == [(None,)]
    assert not copied.reports.exists()


def test_verify_refuses_before_the_copy_is_complete_and_without_capture(sides: Sides) -> None:
    with pytest.raises(Refused, match=r"copy is not complete.*phase-2.1-prepare.yml"):
        sides.verify()
    sides.copy()
    sides.target("UPDATE task_migration.copy_chunk SET state = 'planned' WHERE table_name = 'task_images'")
    with pytest.raises(Refused, match="copy is not complete"):
        sides.verify()
    sides.copy()
    sides.laravel("ALTER TABLE tags DISABLE TRIGGER task_migration_update")
    for refused in (sides.verify, sides.reconcile):
        with pytest.raises(Refused, match=r"not captured.*tags"):
            refused()
    assert sides.ours("SELECT to_regclass('task_migration.verdict')") == [(None,)]


def test_ten_planted_differences_are_named_with_table_key_and_column(copied: Sides) -> None:
    for change in (
        "UPDATE tasks SET description = '' WHERE id = 1",
        "UPDATE tasks SET status = 'completed' WHERE id = 2",
        'UPDATE tasks SET tags = \'["b", "a"]\' WHERE id = 36',
        "UPDATE tasks SET completed_at = NULL, difficulty = 5 WHERE id = 21",
        "UPDATE tasks SET user_id = user_id || ' ' WHERE id = 40",
        "DELETE FROM task_images WHERE id = 16",
        "UPDATE task_images SET s3_url = replace(s3_url, '%%20', ' ') WHERE id = 1",
        "DELETE FROM group_tasks WHERE task_id = 26",
        "UPDATE group_tasks SET requires_image = NOT coalesce(requires_image, false) WHERE task_id = 27",
        "UPDATE task_approvals SET approved_at = approved_at + interval '9 hours' WHERE task_id = 22",
    ):
        copied.target(change.replace("%%", "%"))
    with pytest.raises(Failed) as red:
        copied.verify()
    assert red.value.measured.split("; ") == [
        "tasks 1 different: description",
        "tasks 2 different: status",
        "tasks 21 different: difficulty, completed_at",
        "tasks 36 different: tags",
        "tasks 40 different: user_id",
        "group_tasks 26 missing",
        "group_tasks 27 different: requires_image",
        "task_approvals 22 different: approved_at",
        "task_images 1 different: s3_url",
        "task_images 16 missing",
    ]
    copied.reconcile()
    assert copied.verify().details["passed"]


def test_a_column_that_the_ledger_does_not_know_stops_verify(copied: Sides) -> None:
    copied.laravel("ALTER TABLE tasks ADD COLUMN colour text")
    with pytest.raises(Refused, match=r"tasks\.colour text is new"):
        copied.verify()


@pytest.fixture(scope="module")
def shared_databases(laravel_server, laravel_template, task_service_server) -> Iterator[tuple[str, str, str]]:
    laravel_server.add_database("verify_shared", "laravel", template=laravel_template(150))
    task_service_server.add_database("verify_shared", "task_service_admin")
    yield (
        laravel_server.dsn("verify_shared", "task_migrator"),
        laravel_server.dsn("verify_shared", "laravel"),
        task_service_server.dsn("verify_shared", "task_service_admin"),
    )
    laravel_server.drop_database("verify_shared")
    task_service_server.drop_database("verify_shared")


@pytest.fixture
def once_copied(shared_databases, tmp_path) -> Sides:
    """Copied by the first test that asks; each test leaves the sides equal, which the next one checks first."""
    shared = Sides(*shared_databases, tmp_path / "reports")
    if shared.target("SELECT to_regclass('tasks')") == [(None,)]:
        shared.prepare()
        shared.copy()
    assert not shared.reconcile(check=True).changed
    return shared


def _plant(sides: Sides) -> None:
    sides.target("UPDATE tasks SET title = overlay(title PLACING '?' FROM 3 FOR 1) WHERE id = 50")
    sides.target("DELETE FROM task_images WHERE id = 20")
    sides.target(
        "INSERT INTO group_tasks (group_id, task_id, created_at, updated_at)"
        " VALUES (gen_random_uuid(), 36, now(), now())"
    )


def _versions(sides: Sides) -> dict[tuple[str, int], str]:
    """Which version of each row is there: changes whenever the row is written, also with the same values."""
    return {
        (table, number): version
        for table, key in KEYS.items()
        for number, version in sides.target(f"SELECT {key}, xmin::text FROM {table}")
    }


def _report(sides: Sides) -> dict:
    """The newest report as a machine reads it."""
    newest = max(sides.reports.glob("consistency*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return json.loads(newest.read_text(encoding="utf-8"))


@contextmanager
def _flow(sides: Sides) -> Iterator[Flow]:
    origin_side = laravel(sides.laravel_dsn, timezone="Asia/Tokyo", s3_bucket="task-images")
    with connect(origin_side, "test") as origin, connect(task_service(sides.task_service_dsn), "test") as destination:
        yield forward_flow(origin, destination)


def _write_until(sides: Sides, stop: threading.Event) -> None:
    """Writes to the same few rows all the time, so that some are on their way at every look."""
    with psycopg.connect(sides.laravel_owner_dsn, autocommit=True) as connection:
        number = 0
        while not stop.is_set():
            number += 1
            key = {"key": 60 + number % 10}
            connection.execute("UPDATE tasks SET title = md5(random()::text) WHERE id = %(key)s", key)
            connection.execute(
                "UPDATE tasks SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id = %(key)s + 20", key
            )
            connection.execute("INSERT INTO task_images (task_id, file_path) VALUES (%(key)s, 'new.png')", key)
            connection.execute("DELETE FROM task_images WHERE id = (SELECT max(id) - 10 FROM task_images)")
