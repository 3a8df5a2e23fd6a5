"""Laravel's task tables behind the fence: nobody writes there but the sync, and a user can still be deleted."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from catalog_dump import catalog_of
from sides import Sides
from task_migration.control import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.finish import uninstall
from task_migration.postgres import lock_retry
from task_migration.postgres.database import connect, laravel
from task_migration.sync import capture, fence
from workers import Both, capture_there

TABLES = ["tasks", "task_tag", "tags", "task_images"]
WRITES = [
    "INSERT INTO tasks (user_id, title) VALUES (1, 'new')",
    "INSERT INTO tasks (id, user_id, title) VALUES (1, 1, 'x') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
    "UPDATE tasks SET title = 'x' WHERE id = 1",
    "UPDATE tasks SET title = title WHERE id = 1",
    "UPDATE tasks SET deleted_at = now() WHERE id = 1",
    "UPDATE tasks SET approved_by_user_id = NULL, assigned_by_user_id = NULL",
    "DELETE FROM tasks WHERE id = 1",
    "MERGE INTO tasks t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN DELETE",
    "TRUNCATE tasks CASCADE",
    "TRUNCATE tags CASCADE",
    "INSERT INTO task_images (task_id, file_path) VALUES (1, 'a.png')",
    "UPDATE task_images SET approved_at = now()",
    "DELETE FROM task_images",
    "TRUNCATE task_images",
    "INSERT INTO task_tag VALUES (1, 999), (1, 998)",
    "UPDATE task_tag SET tag_id = tag_id",
    "DELETE FROM task_tag",
    "INSERT INTO tags (name) VALUES ('new')",
    "UPDATE tags SET name = 'renamed' WHERE id = 2",
    "DELETE FROM tags WHERE id = 2",
]
ROWS = ("tasks", "task_images", "task_tag", "tags", "users", "task_proposals")


def test_every_write_of_the_application_is_refused_and_says_why(fenced: Sides) -> None:
    before = _rows(fenced)
    for statement in WRITES:
        with pytest.raises(psycopg.Error) as refused:
            fenced.laravel(statement)
        assert refused.value.sqlstate == "TM001", statement
        message = refused.value.diag.message_primary or ""
        assert message.startswith("tasks are written by the Task Service now (fenced since 20"), statement
    with (
        psycopg.connect(fenced.laravel_owner_dsn, autocommit=True) as connection,
        pytest.raises(psycopg.Error, match="INSERT on tasks was refused"),
        connection.cursor().copy("COPY tasks (user_id, title) FROM STDIN") as stream,
    ):
        stream.write(b"1\tby copy\n")
    assert _rows(fenced) == before
    assert fenced.ours("SELECT count(*) FROM task_migration.change_log") == [(0,)]


@pytest.mark.parametrize(
    "setting",
    ["task_migration.origin = 'anything else'", "application_name = 'task_migration'", "search_path = pg_temp"],
)
def test_no_setting_but_that_of_the_sync_opens_it(fenced: Sides, setting: str) -> None:
    with psycopg.connect(fenced.laravel_owner_dsn, autocommit=True) as connection:
        connection.execute(f"SET {setting}")
        connection.execute("CREATE TABLE pg_temp.users (id bigint)")
        for statement in ("UPDATE public.tasks SET title = 'x' WHERE id = 1", "DELETE FROM public.tasks WHERE id = 1"):
            with pytest.raises(psycopg.Error, match="was refused"):
                connection.execute(statement)
        connection.execute("SET task_migration.origin = 'sync'")
        connection.execute("UPDATE public.tasks SET title = 'of the sync' WHERE id = 1")


def test_the_mode_of_a_replica_opens_it_for_nobody(fenced: Sides, laravel_server) -> None:
    name = psycopg.conninfo.conninfo_to_dict(fenced.laravel_dsn)["dbname"]
    with psycopg.connect(laravel_server.dsn(name), autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.Error, match="was refused"):
            superuser.execute("UPDATE tasks SET title = 'x' WHERE id = 1")


def test_what_no_task_is_made_of_stays_free(fenced: Sides) -> None:
    fenced.laravel("UPDATE users SET name = 'x', cognito_sub = 'sub-of-8' WHERE id = 8")
    fenced.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (50, 'n', 'e', 'sub-of-50')")
    fenced.laravel("INSERT INTO task_proposals (id, user_id, original_task_text) VALUES (7001, 50, 'x')")
    fenced.laravel("INSERT INTO task_executions (task_id, proposal_id) VALUES (1, 7001)")
    fenced.laravel("DELETE FROM task_executions")
    fenced.laravel("SELECT FROM tasks WHERE id = 1 FOR UPDATE")
    fenced.laravel("DELETE FROM users WHERE id = 50")


def test_a_deleted_user_takes_along_what_is_hers_and_it_reaches_the_task_service(fenced: Sides) -> None:
    fenced.laravel("DELETE FROM task_executions")
    hers = [key for (key,) in fenced.ours("SELECT id FROM tasks WHERE user_id = 2")]
    forgotten = "SELECT id FROM tasks WHERE approved_by_user_id = 2 AND user_id <> 2 AND deleted_at IS NULL"
    approved = fenced.ours(forgotten)
    assert hers
    assert approved
    assert fenced.ours("SELECT 1 FROM task_images WHERE task_id = ANY (%s)", hers)
    assert fenced.ours("SELECT 1 FROM task_tag WHERE task_id = ANY (%s)", hers)
    assert fenced.target("SELECT 1 FROM tasks WHERE id = ANY (%s)", hers)

    fenced.laravel("DELETE FROM users WHERE id = 2")
    for table in ("task_images", "task_tag"):
        assert fenced.ours(f"SELECT 1 FROM {table} WHERE task_id = ANY (%s)", hers) == []
    assert fenced.ours("SELECT 1 FROM tasks WHERE user_id = 2 OR approved_by_user_id = 2") == []
    fenced.drain()
    assert fenced.target("SELECT 1 FROM tasks WHERE id = ANY (%s)", hers) == []
    assert fenced.task(approved[0][0], "approved_by") == (None,)
    assert fenced.verify().details["passed"]


def test_a_deleted_proposal_is_forgotten_and_the_task_stays(fenced: Sides) -> None:
    fenced.laravel("DELETE FROM task_executions")
    ((proposal, tasks),) = fenced.ours(
        "SELECT source_proposal_id, count(*) FROM tasks WHERE source_proposal_id IS NOT NULL GROUP BY 1 LIMIT 1"
    )
    number = fenced.ours("SELECT count(*) FROM tasks")
    assert tasks
    fenced.laravel("DELETE FROM task_proposals WHERE id = %s", proposal)
    assert fenced.ours("SELECT 1 FROM tasks WHERE source_proposal_id = %s", proposal) == []
    assert fenced.ours("SELECT count(*) FROM tasks") == number


def test_below_a_trigger_of_the_applications_nothing_else_passes(fenced: Sides) -> None:
    fenced.laravel("DELETE FROM task_executions")
    fenced.laravel(
        """CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               IF NEW.name = 'delete' THEN DELETE FROM tasks WHERE user_id = NEW.id; END IF;
               IF NEW.name = 'forget' THEN UPDATE tasks SET approved_by_user_id = NULL WHERE user_id = NEW.id; END IF;
               IF NEW.name = 'write' THEN UPDATE tasks SET title = 'x' WHERE user_id = NEW.id; END IF;
               RETURN NULL;
           END $$"""
    )
    fenced.laravel("CREATE TRIGGER meddle AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION meddle()")
    for name in ("delete", "forget", "write"):
        with pytest.raises(psycopg.Error, match="was refused"):
            fenced.laravel("UPDATE users SET name = %s WHERE id = 2", name)
    fenced.laravel("UPDATE users SET name = 'she' WHERE id = 2")


def test_one_who_deletes_the_tasks_herself_is_refused_even_if_the_user_goes_after(fenced: Sides) -> None:
    fenced.laravel("DELETE FROM task_executions")
    with psycopg.connect(fenced.laravel_owner_dsn) as connection:
        with pytest.raises(psycopg.Error, match="DELETE on tasks was refused"):
            connection.execute("DELETE FROM tasks WHERE user_id = 2")
        connection.rollback()


def test_the_way_back_writes_under_the_fence_tags_too(fenced: Sides) -> None:
    capture_there(fenced)
    (owner,) = fenced.ours("SELECT cognito_sub FROM users WHERE id = 3")[0]
    ((born,),) = fenced.target(
        "INSERT INTO tasks (user_id, title, difficulty, status, tags, created_at, updated_at)"
        " VALUES (%s, 'born there', 2, 'pending', '[\"a new tag\"]', now(), now()) RETURNING id",
        owner,
    )
    fenced.target(
        "INSERT INTO task_images (task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)"
        " VALUES (%s, 'a.png', 'https://x', %s, now(), now())",
        born,
        owner,
    )
    fenced.target("UPDATE tasks SET title = 'there', tags = '[]' WHERE id = 60")
    for table in ("task_images", "task_approvals", "group_tasks"):
        fenced.target(f"DELETE FROM {table} WHERE task_id = 57")
    fenced.target("DELETE FROM tasks WHERE id = 57")
    fenced.drain()
    names = "SELECT g.name FROM task_tag t JOIN tags g ON g.id = t.tag_id WHERE t.task_id = %s"
    assert fenced.ours(names, born) == [("a new tag",)]
    assert fenced.ours("SELECT file_path FROM task_images WHERE task_id = %s", born) == [("a.png",)]
    assert fenced.ours("SELECT title FROM tasks WHERE id = 60") == [("there",)]
    assert fenced.ours(names, 60) == []
    assert fenced.ours("SELECT deleted_at IS NOT NULL FROM tasks WHERE id = 57") == [(True,)]
    assert fenced.verify().details["passed"]


def test_both_syncs_go_on_while_it_is_put_on_and_taken_off(copied: Sides) -> None:
    capture_there(copied)
    for name in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=copied.laravel_dsn, name=name, state="on")
    both = Both(copied)
    try:
        both.connect()
        for state in ("present", "absent"):
            fence.fence(laravel_dsn=copied.laravel_dsn, state=state, check=False)
            copied.target("UPDATE tasks SET title = %s WHERE id = 60", state)
            both.settle()
            assert copied.ours("SELECT title FROM tasks WHERE id = 60") == [(state,)]
        copied.laravel("UPDATE tasks SET title = 'Laravel again' WHERE id = 60")
        both.settle()
        assert copied.task(60, "title") == ("Laravel again",)
    finally:
        both.close()


def test_a_second_run_changes_nothing_check_mode_predicts_and_absent_restores(copied: Sides) -> None:
    dsn, open_ = copied.laravel_dsn, catalog_of(copied.laravel_dsn)
    predicted = fence.fence(laravel_dsn=dsn, check=True)
    assert (predicted.changed, predicted.details["tables"], predicted.details["since"]) == (True, TABLES, None)
    assert not fence.fence(laravel_dsn=dsn, state="absent", check=False).changed
    assert catalog_of(dsn) == open_
    done = fence.fence(laravel_dsn=dsn, check=False)
    assert (done.changed, done.details["tables"]) == (True, TABLES)
    assert done.details["since"].endswith(" UTC")
    closed = catalog_of(dsn)
    for check in (True, False):
        again = fence.fence(laravel_dsn=dsn, check=check)
        assert (again.changed, again.details) == (False, {"tables": [], "since": done.details["since"]})
    assert fence.fence(laravel_dsn=dsn, state="absent", check=True).changed
    assert catalog_of(dsn) == closed
    off = fence.fence(laravel_dsn=dsn, state="absent", check=False)
    assert (off.changed, off.lines, set(off.details["tables"])) == (True, (), set(TABLES))
    assert catalog_of(dsn) == open_
    for check in (True, False):
        assert not fence.fence(laravel_dsn=dsn, state="absent", check=check).changed
    copied.laravel("UPDATE tasks SET title = 'Laravel again' WHERE id = 1")
    assert fence.fence(laravel_dsn=dsn, check=False).changed, "forward, back, forward"


@pytest.mark.parametrize(
    "break_it",
    [
        "ALTER TABLE tags DISABLE TRIGGER task_migration_fence",
        "ALTER TABLE tags ENABLE TRIGGER task_migration_fence_truncate",
        "DROP TRIGGER task_migration_fence ON tags",
        "COMMENT ON TRIGGER task_migration_fence ON tags IS 'another version'",
        "ALTER TABLE tags ADD COLUMN user_id bigint REFERENCES users (id) ON DELETE CASCADE",
    ],
)
def test_a_fence_with_a_hole_is_seen_and_made_whole(fenced: Sides, break_it: str) -> None:
    fenced.laravel(break_it)
    looked = fence.fence(laravel_dsn=fenced.laravel_dsn, check=True)
    assert (looked.changed, looked.details) == (True, {"tables": ["tags"], "since": None})
    assert fence.fence(laravel_dsn=fenced.laravel_dsn, check=False).changed
    assert not fence.fence(laravel_dsn=fenced.laravel_dsn, check=True).changed
    with pytest.raises(psycopg.Error, match="was refused"):
        fenced.laravel("UPDATE tags SET name = 'x' WHERE id = 2")


@pytest.mark.parametrize(
    "half_done",
    [
        "ALTER TABLE tasks DISABLE TRIGGER task_migration_fence",
        "DROP TRIGGER task_migration_fence ON tasks",
        """DO $$ DECLARE name text; BEGIN
               FOREACH name IN ARRAY ARRAY['tasks', 'task_tag', 'tags', 'task_images'] LOOP
                   EXECUTE format('DROP TRIGGER task_migration_fence ON %I', name);
                   EXECUTE format('DROP TRIGGER task_migration_fence_truncate ON %I', name);
               END LOOP;
           END $$""",
    ],
)
def test_it_is_taken_off_from_every_half_done_state(copied: Sides, half_done: str) -> None:
    before = catalog_of(copied.laravel_dsn)
    fence.fence(laravel_dsn=copied.laravel_dsn, check=False)
    copied.laravel(half_done)
    assert fence.fence(laravel_dsn=copied.laravel_dsn, state="absent", check=True).changed
    assert fence.fence(laravel_dsn=copied.laravel_dsn, state="absent", check=False).changed
    assert catalog_of(copied.laravel_dsn) == before


def test_without_complete_capture_it_is_refused(copied: Sides) -> None:
    copied.laravel("DROP TRIGGER task_migration_delete ON task_images")
    before = catalog_of(copied.laravel_dsn)
    for check in (True, False):
        with pytest.raises(Refused, match="no complete capture on task_images"):
            fence.fence(laravel_dsn=copied.laravel_dsn, check=check)
    assert catalog_of(copied.laravel_dsn) == before


def test_it_waits_for_the_writers_under_way_whose_writes_are_on_the_log(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.05)
    copied.ours("DELETE FROM task_migration.change_log")
    writer = psycopg.connect(copied.laravel_owner_dsn)
    writer.execute("INSERT INTO task_images (id, task_id, file_path) VALUES (9001, 1, 'under way.png')")
    ending = threading.Timer(0.6, writer.commit)
    ending.start()
    assert fence.fence(laravel_dsn=copied.laravel_dsn, lock_timeout_seconds=0.3, check=False).changed
    ending.join()
    assert copied.ours("SELECT part, key FROM task_migration.change_log") == [("task_images", 9001)]
    with pytest.raises(psycopg.Error, match="was refused"):
        writer.execute("UPDATE tasks SET title = 'x' WHERE id = 1")
    writer.close()


def test_a_transaction_in_its_way_is_never_ended_as_a_deadlock(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.1)
    outcome = []
    with psycopg.connect(copied.laravel_owner_dsn) as writer:
        writer.execute("DELETE FROM task_images WHERE id = (SELECT min(id) FROM task_images)")
        fencing = threading.Thread(
            target=lambda: outcome.append(fence.fence(laravel_dsn=copied.laravel_dsn, check=False))
        )
        fencing.start()
        time.sleep(0.3)
        writer.execute("UPDATE tasks SET title = 'after the lock on tasks was taken' WHERE id = 1")
        writer.commit()
        fencing.join()
    assert outcome[0].changed
    assert copied.ours("SELECT title FROM tasks WHERE id = 1") == [("after the lock on tasks was taken",)]


def test_a_long_writer_makes_it_fail_with_nothing_half_there(copied: Sides, monkeypatch) -> None:
    monkeypatch.setattr(lock_retry, "ATTEMPTS", 2)
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.05)
    before = catalog_of(copied.laravel_dsn)
    with psycopg.connect(copied.laravel_owner_dsn) as long:
        long.execute("UPDATE tags SET name = 'long' WHERE id = 2")
        with pytest.raises(Failed, match=r"installing the fence.*lock on Laravel's database.*pg_stat_activity"):
            fence.fence(laravel_dsn=copied.laravel_dsn, lock_timeout_seconds=0.2, check=False)
        long.rollback()
    assert catalog_of(copied.laravel_dsn) == before


def test_a_long_reader_does_not_keep_it_closed(fenced: Sides) -> None:
    with psycopg.connect(fenced.laravel_owner_dsn) as reader:
        reader.execute("SELECT FROM tags LIMIT 1")
        off = fence.fence(laravel_dsn=fenced.laravel_dsn, state="absent", lock_timeout_seconds=0.2, check=False)
        assert [line.split(":")[0] for line in off.lines] == ["tags"]
        fenced.laravel("UPDATE tags SET name = 'open' WHERE id = 2")
        fenced.laravel("UPDATE tasks SET title = 'open' WHERE id = 1")
        reader.rollback()
    assert fence.fence(laravel_dsn=fenced.laravel_dsn, state="absent", check=False).details["tables"] == ["tags"]
    assert not fence.fence(laravel_dsn=fenced.laravel_dsn, state="absent", check=True).changed


def test_the_gate_of_capture_knows_its_own_triggers_from_the_fences(fenced: Sides) -> None:
    with connect(laravel(fenced.laravel_dsn), "test") as connection:
        assert capture.missing(connection) == []
        assert fence.active_since(connection) is not None
        capture.capture(laravel_dsn=fenced.laravel_dsn, state="absent", check=False)
        assert not capture.capture(laravel_dsn=fenced.laravel_dsn, state="absent", check=True).changed
        assert fence.missing(connection) == []


def test_the_way_back_of_phase_2_1_takes_it_off(make_sides) -> None:
    sides = make_sides()
    before = catalog_of(sides.laravel_dsn)
    sides.prepare()
    fence.fence(laravel_dsn=sides.laravel_dsn, check=False)
    assert uninstall.uninstall(laravel_dsn=sides.laravel_dsn, report_directory=str(sides.reports)).changed
    assert catalog_of(sides.laravel_dsn) == before
    sides.laravel("UPDATE tasks SET title = 'Laravel goes on alone' WHERE id = 1")


@pytest.fixture
def fenced(copied: Sides) -> Sides:
    """Copied, and fenced, with nothing on the log."""
    copied.drain()
    fence.fence(laravel_dsn=copied.laravel_dsn, check=False)
    return copied


def _rows(sides: Sides) -> list[object]:
    return [sides.ours(f"SELECT t::text FROM {table} t ORDER BY 1") for table in ROWS]
