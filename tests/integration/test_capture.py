"""Every write to Laravel's task tables reaches the change log, and putting it on keeps nobody waiting."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from catalog_dump import catalog_of
from sides import Sides
from task_migration.control import journal
from task_migration.errors import Failed, Refused
from task_migration.postgres import lock_retry
from task_migration.postgres.database import connect, laravel
from task_migration.prepare import user_mapping
from task_migration.sync import capture

TABLES = {"tasks", "task_images", "task_tag", "tags", "cognito_user_mapping"}


def test_every_kind_of_write_is_on_the_log(prepared: Sides) -> None:
    written = _written_by(prepared)
    t, i, tt, tg, m = "tasks", "task_images", "task_tag", "tags", "cognito_user_mapping"

    assert written("INSERT INTO tasks (id, user_id, title) VALUES (5001, 1, 'one')") == {(t, 5001)}
    assert written("INSERT INTO tasks (id, user_id, title) SELECT n, 1, 'bulk' FROM generate_series(5002, 5500) n") == {
        (t, key) for key in range(5002, 5501)
    }
    assert written("UPDATE tasks SET title = 'x' WHERE id = 5001") == {(t, 5001)}
    assert written("UPDATE tasks SET title = title || 'x' WHERE id BETWEEN 5002 AND 5100") == {
        (t, key) for key in range(5002, 5101)
    }
    assert written("UPDATE tasks SET title = 'x' WHERE false") == set()
    assert written("UPDATE tasks SET id = 6001 WHERE id = 5500") == {(t, 5500), (t, 6001)}, "both keys of a moved row"
    assert written("UPDATE tasks SET deleted_at = now() WHERE id = 5002") == {(t, 5002)}, "soft delete"
    assert written("UPDATE tasks SET deleted_at = NULL WHERE id = 5002") == {(t, 5002)}, "restore"
    assert written("DELETE FROM tasks WHERE id = 5003") == {(t, 5003)}
    assert written("DELETE FROM tasks WHERE id BETWEEN 5100 AND 5200") == {(t, key) for key in range(5100, 5201)}
    assert written(
        """INSERT INTO tasks (id, user_id, title) VALUES (5004, 1, 'known'), (7001, 1, 'new')
           ON CONFLICT (id) DO UPDATE SET title = excluded.title"""
    ) == {(t, 5004), (t, 7001)}
    assert (
        written("INSERT INTO tasks (id, user_id, title) VALUES (5004, 1, 'known') ON CONFLICT (id) DO NOTHING") == set()
    )
    assert written(
        """WITH gone AS (DELETE FROM tasks WHERE id = 5005 RETURNING id)
           INSERT INTO task_images (id, task_id, file_path) SELECT 9001, 5006, 'a.png' FROM gone"""
    ) == {(t, 5005), (i, 9001)}
    assert written("UPDATE task_images SET file_path = 'b.png' WHERE id = 9001") == {(i, 9001)}
    assert written(
        """MERGE INTO task_images i USING (VALUES (9001), (9002)) v (id) ON i.id = v.id
           WHEN MATCHED THEN UPDATE SET file_path = 'c.png'
           WHEN NOT MATCHED THEN INSERT (id, task_id, file_path) VALUES (v.id, 5006, 'd.png')"""
    ) == {(i, 9001), (i, 9002)}

    assert written("INSERT INTO task_tag VALUES (5006, 1), (5007, 1)") == {(tt, 5006), (tt, 5007)}, "attach"
    assert written("DELETE FROM task_tag WHERE task_id = 5007") == {(tt, 5007)}, "detach"
    assert written("UPDATE task_tag SET task_id = 5008 WHERE task_id = 5006") == {(tt, 5006), (tt, 5008)}
    assert written("UPDATE task_tag SET tag_id = 2 WHERE task_id = 5008") == {(tt, 5008)}

    assert written("UPDATE tags SET name = 'renamed' WHERE id = 2") == {(tg, 2)}
    assert written("UPDATE tags SET updated_at = now() WHERE id = 2") == set(), "a touch changes no task"
    assert written("UPDATE tags SET name = name, updated_at = now()") == set()
    swapped = """UPDATE tags t SET name = other.name FROM tags other
                 WHERE t.id IN (12, 13) AND other.id IN (12, 13) AND other.id <> t.id"""
    assert written(swapped) == {(tg, 12), (tg, 13)}, "two names exchanged in one statement"
    bearing = {(tt, key) for (key,) in prepared.ours("SELECT task_id FROM task_tag WHERE tag_id = 2")}
    assert (tt, 5008) in bearing
    assert written("DELETE FROM tags WHERE id = 2") == {(tg, 2)} | bearing, "the cascade, too"

    assert written("UPDATE users SET cognito_sub = 'sub-of-8' WHERE id = 8") == {(m, 8)}
    assert written("UPDATE users SET cognito_sub = NULL WHERE id = 8") == {(m, 8)}
    assert written("UPDATE users SET name = 'x', updated_at = now()") == set()
    assert written("INSERT INTO users (id, name, email, cognito_sub) VALUES (50, 'n', 'e', 'sub-of-50')") == {(m, 50)}

    with psycopg.connect(prepared.laravel_owner_dsn) as connection:
        connection.execute("UPDATE tasks SET title = 'never' WHERE id = 5010")
        connection.rollback()
    assert _log(prepared) == set(), "what was rolled back was not written"

    assert written("COPY tasks (id, user_id, title) FROM STDIN", copied=b"8001\t1\tby copy\n") == {(t, 8001)}


def test_the_cascade_of_a_deleted_user_is_on_the_log(prepared: Sides) -> None:
    prepared.laravel("DELETE FROM task_executions")
    tasks = {key for (key,) in prepared.ours("SELECT id FROM tasks WHERE user_id = 2")}
    approved = {key for (key,) in prepared.ours("SELECT id FROM tasks WHERE approved_by_user_id = 2")}
    of_her_tasks = "JOIN tasks t ON t.id = task_id WHERE t.user_id = 2"
    images = {key for (key,) in prepared.ours(f"SELECT i.id FROM task_images i {of_her_tasks}")}
    tagged = {key for (key,) in prepared.ours(f"SELECT task_id FROM task_tag {of_her_tasks}")}
    found = _written_by(prepared)("DELETE FROM users WHERE id = 2")
    assert tasks
    assert images
    assert tagged
    assert {key for part, key in found if part == "tasks"} >= tasks | approved
    assert {key for part, key in found if part == "task_images"} == images
    assert {key for part, key in found if part == "task_tag"} == tagged
    assert ("cognito_user_mapping", 2) in found


def test_truncate_cascade_is_on_the_log_and_is_carried(copied: Sides) -> None:
    expected = {
        (table, key)
        for table, column in (("tasks", "id"), ("task_images", "id"), ("task_tag", "task_id"))
        for (key,) in copied.ours(f"SELECT {column} FROM {table}")
    }
    copied.laravel("TRUNCATE tasks CASCADE")
    assert _log(copied) == expected
    copied.drain()
    for table in ("tasks", "task_images", "task_approvals", "group_tasks"):
        assert copied.target(f"SELECT count(*) FROM {table}") == [(0,)]
    assert copied.verify().details["passed"]


def test_sessions_of_the_sync_are_not_on_the_log(prepared: Sides) -> None:
    with psycopg.connect(prepared.laravel_owner_dsn, autocommit=True) as connection:
        connection.execute("SET task_migration.origin = 'sync'")
        connection.execute("UPDATE tasks SET title = 'ours' WHERE id = 1")
        connection.execute("INSERT INTO task_tag VALUES (1, 1)")
        assert _log(prepared) == set()
        connection.execute("SET task_migration.origin = 'anything else'")
        connection.execute("UPDATE tasks SET title = 'hers' WHERE id = 1")
        assert _log(prepared) == {("tasks", 1)}
        connection.execute("RESET task_migration.origin")
        connection.execute("UPDATE tasks SET title = 'hers' WHERE id = 3")
    assert _log(prepared) == {("tasks", 1), ("tasks", 3)}
    prepared.ours("UPDATE tasks SET title = 'by hand' WHERE id = 4")
    assert ("tasks", 4) in _log(prepared), "a login of ours is no reason to pass over its writes"


def test_the_application_needs_no_right_on_the_change_log(prepared: Sides) -> None:
    with psycopg.connect(prepared.laravel_owner_dsn, autocommit=True) as application:
        for statement in ("SELECT FROM task_migration.change_log", "DELETE FROM task_migration.change_log"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute(statement)
        application.execute("SET search_path = pg_temp")
        application.execute("CREATE TABLE pg_temp.change_log (part text, key bigint)")
        application.execute("UPDATE public.tasks SET title = 'x' WHERE id = 1")
    assert _log(prepared) == {("tasks", 1)}


def test_a_second_run_changes_nothing_and_check_mode_predicts(sides: Sides) -> None:
    capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)
    bare = catalog_of(sides.laravel_dsn)
    predicted = capture.capture(laravel_dsn=sides.laravel_dsn, check=True)
    assert predicted.changed
    assert set(predicted.details["tables"]) == TABLES
    assert catalog_of(sides.laravel_dsn) == bare

    done = capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    assert done.changed
    assert done.details["tables"] == predicted.details["tables"]
    put_on = catalog_of(sides.laravel_dsn)
    assert put_on != bare
    for check in (True, False):
        again = capture.capture(laravel_dsn=sides.laravel_dsn, check=check)
        assert not again.changed
        assert again.details["tables"] == []
    assert catalog_of(sides.laravel_dsn) == put_on

    off = capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=True)
    assert off.changed
    assert catalog_of(sides.laravel_dsn) == put_on
    assert set(capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False).details["tables"]) == TABLES
    assert catalog_of(sides.laravel_dsn) == bare, "absent restores the catalog exactly"
    assert not capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False).changed


def test_the_task_services_writes_are_noted_under_way_and_a_second_run_changes_nothing(copied: Sides) -> None:
    there = {"laravel_dsn": "", "task_service_dsn": copied.task_service_dsn, "side": "task_service"}
    before = catalog_of(copied.task_service_dsn)
    predicted = capture.capture(**there, check=True)
    assert catalog_of(copied.task_service_dsn) == before
    done = capture.capture(**there, check=False)
    assert (done.changed, done.details["tables"]) == (True, predicted.details["tables"])
    assert set(done.details["tables"]) == {"tasks", "task_images", "task_approvals", "group_tasks"}
    assert not capture.capture(**there, check=False).changed
    copied.target("UPDATE tasks SET title = 'there' WHERE id = 60")
    copied.target("DELETE FROM task_images WHERE id = (SELECT min(id) FROM task_images)")
    written = copied.target("SELECT part, root IS NOT NULL FROM task_migration.change_log ORDER BY id")
    assert written == [("tasks", True), ("task_images", True)]


def test_the_change_log_of_a_fresh_laravel_leaves_no_trace(make_sides) -> None:
    sides = make_sides()
    user_mapping.user_mapping(laravel_dsn=sides.laravel_dsn, check=False)
    with connect(laravel(sides.laravel_dsn), "test") as connection:
        journal.ensure(connection)
    before = catalog_of(sides.laravel_dsn)
    capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)
    assert catalog_of(sides.laravel_dsn) == before


@pytest.mark.parametrize(
    "break_it",
    [
        "ALTER TABLE tasks DISABLE TRIGGER task_migration_update",
        "ALTER TABLE tasks ENABLE REPLICA TRIGGER task_migration_delete",
        "ALTER TABLE tasks DISABLE TRIGGER USER",
        "DROP TRIGGER task_migration_truncate ON tasks",
        "COMMENT ON TRIGGER task_migration_insert ON tasks IS 'another version'",
    ],
)
def test_a_trigger_that_was_dropped_or_switched_off_is_seen_and_put_back(prepared: Sides, break_it: str) -> None:
    before = catalog_of(prepared.laravel_dsn)
    prepared.laravel(break_it)
    with connect(laravel(prepared.laravel_dsn), "test") as connection:
        assert capture.missing(connection) == ["tasks"]
        with pytest.raises(Refused, match=r"no complete capture on tasks"):
            capture.require(connection)
        outcome = capture.capture(laravel_dsn=prepared.laravel_dsn, check=False)
        assert (outcome.changed, outcome.details["tables"]) == (True, ["tasks"])
        assert capture.missing(connection) == []
    assert catalog_of(prepared.laravel_dsn) == before
    assert _written_by(prepared)("UPDATE tasks SET title = 'seen' WHERE id = 1") == {("tasks", 1)}


def test_an_older_form_with_a_function_for_each_event_is_replaced_and_leaves_nothing(prepared: Sides) -> None:
    before = catalog_of(prepared.laravel_dsn)
    with connect(laravel(prepared.laravel_dsn), "test") as connection:
        for event in ("insert", "update"):
            connection.execute(
                f"""
                CREATE FUNCTION task_migration.log_tasks_{event}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = pg_catalog, pg_temp AS $function$
                BEGIN
                    INSERT INTO task_migration.change_log (part, key, root) SELECT 'tasks', id, id FROM new_rows;
                    RETURN NULL;
                END
                $function$;
                CREATE OR REPLACE TRIGGER task_migration_{event} AFTER {event} ON tasks
                REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
                WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
                EXECUTE FUNCTION task_migration.log_tasks_{event}();
                COMMENT ON TRIGGER task_migration_{event} ON tasks IS 'task_migration capture 0123456789abcdef'
                """
            )
        connection.execute("DROP FUNCTION task_migration.log_tasks_write()")
        assert capture.missing(connection) == ["tasks"]
    with psycopg.connect(prepared.laravel_owner_dsn, autocommit=True) as application:
        application.execute("UPDATE tasks SET title = 'by the older form' WHERE id = 1")
    assert capture.capture(laravel_dsn=prepared.laravel_dsn, check=False).details["tables"] == ["tasks"]
    assert catalog_of(prepared.laravel_dsn) == before
    assert _log(prepared) == {("tasks", 1)}
    assert _written_by(prepared)("UPDATE tasks SET title = 'by the newer form' WHERE id = 3") == {("tasks", 3)}


def test_a_long_transaction_makes_it_fail_naming_the_lock_and_other_writers_go_on(sides: Sides, monkeypatch) -> None:
    monkeypatch.setattr(lock_retry, "ATTEMPTS", 4)
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.2)
    capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)
    writer = _Writer(sides)
    with psycopg.connect(sides.laravel_owner_dsn) as long:
        long.execute("UPDATE tasks SET title = 'a long transaction' WHERE id = 1")
        writer.start()
        with pytest.raises(Failed, match=r"installing capture on tasks.*lock.*Laravel's database.*pg_stat_activity"):
            capture.capture(laravel_dsn=sides.laravel_dsn, lock_timeout_seconds=0.3, check=False)
        slowest = writer.stop()
        long.rollback()
    assert writer.writes > 20
    assert slowest < 0.3 + 0.5, "nobody waits longer than the lock's time limit, give or take a busy machine"
    with connect(laravel(sides.laravel_dsn), "test") as connection:
        assert "tasks" in capture.missing(connection)
    assert capture.capture(laravel_dsn=sides.laravel_dsn, check=False).changed, "the same command, once it is free"


def test_it_succeeds_by_itself_once_the_long_transaction_has_ended(sides: Sides, monkeypatch) -> None:
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.1)
    capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)
    long = psycopg.connect(sides.laravel_owner_dsn)
    long.execute("UPDATE tasks SET title = 'a long transaction' WHERE id = 1")
    ending = threading.Timer(0.8, long.rollback)
    ending.start()
    began = time.monotonic()
    assert capture.capture(laravel_dsn=sides.laravel_dsn, lock_timeout_seconds=0.2, check=False).changed
    assert time.monotonic() - began > 0.5
    ending.join()
    long.close()
    with connect(laravel(sides.laravel_dsn), "test") as connection:
        assert capture.missing(connection) == []


def test_capture_refuses_without_the_mapping_table_and_where_laravel_is_not(make_sides) -> None:
    sides = make_sides()
    before = catalog_of(sides.laravel_dsn)
    with pytest.raises(Refused, match="cognito_user_mapping does not exist yet"):
        capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    assert catalog_of(sides.laravel_dsn) == before
    with pytest.raises(Refused, match=r"has no table .*tasks.*laravel_dsn"):
        capture.capture(laravel_dsn=sides.task_service_dsn, check=False)


@pytest.fixture
def prepared(sides: Sides) -> Sides:
    """Prepared, and nothing on the log."""
    sides.ours("DELETE FROM task_migration.change_log")
    return sides


class _Writer(threading.Thread):
    """Writes to tasks all the time, and remembers how long the slowest write took, in seconds."""

    def __init__(self, sides: Sides) -> None:
        super().__init__()
        self._dsn = sides.laravel_owner_dsn
        self._stopping = threading.Event()
        self.writes = 0
        self.slowest = 0.0

    def run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stopping.is_set():
                began = time.monotonic()
                connection.execute("UPDATE tasks SET title = 'short' WHERE id = 2")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.writes += 1
                time.sleep(0.01)

    def stop(self) -> float:
        self._stopping.set()
        self.join()
        return self.slowest


def _log(sides: Sides) -> set[tuple[str, int]]:
    return set(sides.ours("SELECT part, key FROM task_migration.change_log"))


def _written_by(sides: Sides):
    """``written(statement)``: what Laravel's application puts on the log by it."""

    def written(statement: str, copied: bytes | None = None) -> set[tuple[str, int]]:
        sides.ours("DELETE FROM task_migration.change_log")
        with psycopg.connect(sides.laravel_owner_dsn, autocommit=True) as connection:
            if copied is None:
                connection.execute(statement)
            else:
                with connection.cursor().copy(statement) as stream:
                    stream.write(copied)
        found = _log(sides)
        sides.ours("DELETE FROM task_migration.change_log")
        return found

    return written
