"""Bad days of the sync: what stops, what is said, what goes on meanwhile; and nothing is lost on any of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from interrupted import Interruptions, Killed
from sides import Sides
from task_migration import sql_files
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.sync import capture, change_log, sync_worker
from task_migration.sync.sync_worker import SyncSettings, SyncWorker
from timed import fastest, seconds_of
from workers import Both, capture_there, standing

NAME = "of_the_bad_days"
CONFLICTS = "SELECT unit, key, winner FROM task_migration.conflict"
NEW_IMAGE = (
    "INSERT INTO task_images (task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)"
    " VALUES (%s, 'new.png', '', 'somebody', now(), now()) RETURNING id"
)


@pytest.fixture(scope="module")
def ground(laravel_server, laravel_template, task_service_server, tmp_path_factory) -> Iterator[Sides]:
    with standing(
        laravel_server, laravel_template(150), task_service_server, tmp_path_factory.mktemp("r"), NAME
    ) as made:
        capture_there(made)
        yield made


@pytest.fixture
def both(ground: Sides) -> Iterator[Both]:
    """Connected; afterwards both sides are equal again, whatever a test did."""
    running = Both(ground)
    running.connect()
    running.settle()
    yield running
    with suppress(MigrationError):
        running.settle()
        ground.ours("TRUNCATE task_migration.conflict")
        ground.target("TRUNCATE task_migration.conflict")
    running.close()


@pytest.fixture
def task(both: Both) -> int:
    """A fresh task, on both sides."""
    ((key,),) = both.sides.laravel("INSERT INTO tasks (user_id, title) VALUES (3, 'a day') RETURNING id")
    both.settle()
    return int(key)


def title(sides: Sides, side: str, key: int) -> Any:
    run = sides.laravel if side == "laravel" else sides.target
    found = run("SELECT title FROM tasks WHERE id = %s", key)
    return found[0][0] if found else None


def change_log_of(sides: Sides, side: str, task: int) -> int:
    run = sides.ours if side == "laravel" else sides.target
    return int(run("SELECT count(*) FROM task_migration.change_log WHERE root = %s", task)[0][0])


def names(sides: Sides, key: int) -> list[str]:
    found = sides.laravel("SELECT g.name FROM task_tag t JOIN tags g ON g.id = t.tag_id WHERE t.task_id = %s", key)
    return sorted(name for (name,) in found)


def write_later(sides: Sides, key: int) -> None:
    """A write that waits on Laravel's log."""
    sides.laravel("UPDATE tasks SET title = 'later' WHERE id = %s", key)


def carried_by(worker: SyncWorker) -> None:
    worker.connect()
    worker.step()


def equal(sides: Sides) -> None:
    assert sides.verify().details["passed"]


@contextmanager
def altered(dsn: str, do: str, undo: str) -> Iterator[None]:
    """Something that somebody did to a database by hand, and takes back."""
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(do)
        try:
            yield
        finally:
            session.execute(undo)


# servers that are not there


@pytest.mark.parametrize(
    ("gone", "mode"), [("task_service", "fast"), ("task_service", "immediate"), ("laravel", "fast")]
)
def test_a_server_that_goes_away_stops_the_sync_alone_and_it_catches_up(
    both: Both, task: int, gone: str, mode: str, laravel_server, task_service_server
) -> None:
    sides = both.sides
    other = "laravel" if gone == "task_service" else "task_service"
    write = sides.laravel if other == "laravel" else sides.target
    server = task_service_server if gone == "task_service" else laravel_server
    server.stop(mode)
    try:
        for number in range(5):
            write("UPDATE tasks SET title = %s, updated_at = now() WHERE id = %s", f"meanwhile {number}", task)
        for worker in (both.forward, both.backward):
            with pytest.raises(MigrationError):
                worker.step()
            with pytest.raises(MigrationError):
                worker.connect()
    finally:
        server.start()
    assert change_log_of(sides, other, task) == 5
    both.connect()
    both.settle()
    assert title(sides, gone, task) == "meanwhile 4"
    equal(sides)


def test_sessions_that_somebody_ends_are_opened_again(both: Both, task: int, ground: Sides, laravel_server) -> None:
    write_later(ground, task)
    with laravel_server.connect() as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'task_migration sync%'"
        )
    with pytest.raises(Failed, match="was lost"):
        both.forward.step()
    both.connect()
    both.settle()
    assert title(ground, "task_service", task) == "later"


def test_a_cancelled_statement_stops_a_batch_and_changes_nothing(both: Both, task: int, ground: Sides) -> None:
    write_later(ground, task)
    blocker = psycopg.connect(ground.task_service_dsn)
    blocker.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")

    def cancel() -> None:
        waiting = (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'tasks'"
        )
        with psycopg.connect(ground.task_service_dsn, autocommit=True) as session:
            until = time.monotonic() + 20
            while not session.execute(waiting).fetchall() and time.monotonic() < until:
                time.sleep(0.01)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        with pytest.raises(MigrationError, match="was cancelled from outside"):
            carried_by(both.forward)
    finally:
        canceller.join()
        blocker.close()
    assert change_log_of(ground, "laravel", task) == 1
    both.connect()
    both.settle()
    assert title(ground, "task_service", task) == "later"


# rows and disks


@pytest.mark.parametrize("side", ["task_service", "laravel"])
def test_a_row_that_is_refused_is_held_back_and_crosses_by_itself_when_it_may(
    both: Both, task: int, side: str, laravel_server, task_service_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = both.sides
    write, worker = (sides.laravel, both.forward) if side == "task_service" else (sides.target, both.backward)
    server = task_service_server if side == "task_service" else laravel_server
    constraint = "ALTER TABLE tasks ADD CONSTRAINT of_a_hand CHECK (title <> 'poison') NOT VALID"
    with altered(server.dsn(NAME), constraint, "ALTER TABLE tasks DROP CONSTRAINT of_a_hand"):
        write("UPDATE tasks SET title = 'poison', updated_at = now() WHERE id = %s", task)
        write("UPDATE tasks SET title = 'passes', updated_at = now() WHERE id IN (60, 62)")
        assert worker.step().held_back == 1
        assert [title(sides, side, key) for key in (task, 60, 62)] == ["a day", "passes", "passes"]
        assert worker.snapshot().held_back >= 1
        kept = (sides.target if side == "task_service" else sides.ours)(
            "SELECT kind, reason FROM task_migration.quarantine WHERE key = %s", task
        )
        assert kept == [("refused_by_database", "23514 CheckViolation")]
    monkeypatch.setattr(sync_worker, "RETRY_HELD_BACK_SECONDS", -1.0)
    worker.snapshot()
    both.settle()
    assert title(sides, side, task) == "poison"
    equal(sides)


@pytest.mark.parametrize("side", ["task_service", "laravel"])
def test_a_disk_that_is_full_stops_the_sync_which_says_so_and_goes_on(
    both: Both, task: int, side: str, laravel_server, task_service_server
) -> None:
    sides = both.sides
    write, worker = (sides.laravel, both.forward) if side == "task_service" else (sides.target, both.backward)
    server = task_service_server if side == "task_service" else laravel_server
    full = (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW"
        " WHEN (current_setting('task_migration.origin', true) = 'sync') EXECUTE FUNCTION full_disk()"
    )
    with altered(server.dsn(NAME), full, "DROP FUNCTION full_disk CASCADE"):
        write("UPDATE tasks SET title = 'waits', updated_at = now() WHERE id = %s", task)
        with pytest.raises(Failed, match="no disk space left"):
            worker.step()
        assert change_log_of(sides, "laravel" if side == "task_service" else "task_service", task) == 1
    worker.connect()
    both.settle()
    assert title(sides, side, task) == "waits"
    equal(sides)


# clocks


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
@pytest.mark.parametrize("last", ["laravel", "task_service"])
def test_with_an_hour_between_the_clocks_the_later_write_still_wins(
    both: Both, task: int, ahead: float, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = both.sides
    clock = change_log.clock
    monkeypatch.setattr(
        change_log, "clock", lambda connection: clock(connection) + (ahead if connection.side.name == "laravel" else 0)
    )
    both.connect()
    for side in ("task_service", "laravel") if last == "laravel" else ("laravel", "task_service"):
        run = sides.laravel if side == "laravel" else sides.target
        run("UPDATE tasks SET title = %s, updated_at = now() WHERE id = %s", side, task)
    sides.ours("UPDATE task_migration.change_log SET changed_at = changed_at + make_interval(secs => %s)", ahead)
    both.settle()
    assert title(sides, "laravel", task) == title(sides, "task_service", task) == last
    assert len(sides.ours(CONFLICTS) + sides.target(CONFLICTS)) == 1


# tables that change, capture that goes


def test_a_column_that_nobody_mapped_blocks_the_worker_by_its_name(both: Both, ground: Sides) -> None:
    with altered(ground.laravel_owner_dsn, "ALTER TABLE tasks ADD surprise text", "ALTER TABLE tasks DROP surprise"):
        assert "surprise" in both.forward.snapshot().problem
        assert "surprise" in both.backward.snapshot().problem
        with pytest.raises(Refused, match="surprise"):
            both.connect()
    both.connect()
    assert both.forward.snapshot().problem == ""


def test_a_mapped_column_that_goes_away_is_named_and_nothing_is_lost(both: Both, task: int, ground: Sides) -> None:
    gone, back = "ALTER TABLE tasks RENAME description TO story", "ALTER TABLE tasks RENAME story TO description"
    write_later(ground, task)
    with altered(ground.laravel_owner_dsn, gone, back):
        with pytest.raises(Refused, match="description"):
            both.forward.step()
        assert change_log_of(ground, "laravel", task) == 1
    both.connect()
    both.settle()
    assert title(ground, "task_service", task) == "later"
    equal(ground)


def test_a_column_that_goes_away_in_the_task_service_is_named(both: Both, task: int, ground: Sides) -> None:
    gone, back = "ALTER TABLE tasks RENAME description TO story", "ALTER TABLE tasks RENAME story TO description"
    write_later(ground, task)
    with altered(ground.task_service_dsn, gone, back):
        with pytest.raises(Refused, match="description"):
            both.forward.step()
        with pytest.raises(Refused, match="description"):
            both.forward.connect()
    both.connect()
    both.settle()
    assert title(ground, "task_service", task) == "later"


@pytest.mark.parametrize(
    "how", ["DROP TRIGGER task_migration_update ON tasks", "ALTER TABLE tasks DISABLE TRIGGER task_migration_update"]
)
@pytest.mark.parametrize("side", ["laravel", "task_service"])
def test_a_capture_that_somebody_took_off_is_seen_and_said(both: Both, side: str, how: str) -> None:
    sides = both.sides
    worker = both.forward if side == "laravel" else both.backward
    (sides.laravel if side == "laravel" else sides.target)(how)
    try:
        assert "tasks" in worker.snapshot().problem
        with pytest.raises(Refused, match="not captured"):
            worker.connect()
    finally:
        if how.startswith("ALTER"):
            (sides.laravel if side == "laravel" else sides.target)(how.replace("DISABLE", "ENABLE"))
        capture.capture(laravel_dsn=sides.laravel_dsn, task_service_dsn=sides.task_service_dsn, side=side, check=False)
    worker.connect()
    assert worker.snapshot().problem == ""


# much at once


def test_two_workers_never_carry_one_task_out_of_order(both: Both, task: int, ground: Sides) -> None:
    over = threading.Event()
    failures: list[BaseException] = []
    seen: list[int] = []

    def carry() -> None:
        worker = SyncWorker(SyncSettings.from_dict(ground.both), "forward")
        try:
            worker.connect()
            while not over.is_set():
                worker.step()
        except BaseException as error:
            failures.append(error)
        finally:
            worker.close()

    def watch() -> None:
        with psycopg.connect(ground.task_service_dsn, autocommit=True) as session:
            while not over.is_set():
                ((text,),) = session.execute("SELECT title FROM tasks WHERE id = %s", (task,)).fetchall()
                seen.append(int(text) if text.isdecimal() else -1)

    threads = [threading.Thread(target=one) for one in (carry, carry, watch)]
    for thread in threads:
        thread.start()
    last = 0
    with psycopg.connect(ground.laravel_owner_dsn, autocommit=True) as session:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            last += 1
            session.execute("UPDATE tasks SET title = %s, updated_at = now() WHERE id = %s", (str(last), task))
    time.sleep(0.2)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen == sorted(seen)
    assert len(set(seen)) > 20
    both.settle()
    assert title(ground, "task_service", task) == str(last)


def test_a_plan_that_was_made_while_the_log_was_empty_takes_a_batch_of_a_full_one_and_no_more(ground):
    """A session keeps its plans; a log that was empty when one was made may hold a night's writes the next time."""
    take = sql_files.statement("sync/change_log.sql", "take")
    asked = {"lanes": list(range(8)), "newest": 2**62, "entries": 100}
    with psycopg.connect(ground.laravel_dsn, autocommit=True) as session:
        session.execute("SET plan_cache_mode = force_generic_plan")
        session.execute("SET statement_timeout = '20s'")
        session.execute("TRUNCATE task_migration.change_log")
        session.execute("VACUUM ANALYZE task_migration.change_log")
        session.execute(take, asked, prepare=True)
        session.execute(
            "INSERT INTO task_migration.change_log (part, key, root, changed_at)"
            " SELECT 'tasks', -n, -n, now() FROM generate_series(1, 50000) n"
        )
        try:
            assert len(session.execute(take, asked, prepare=True).fetchall()) == 100
        finally:
            session.execute("TRUNCATE task_migration.change_log")


def test_a_huge_change_log_is_carried_as_fast_as_a_small_one(both: Both, ground: Sides) -> None:
    ground.ours(
        "INSERT INTO task_migration.change_log (part, key, root, changed_at)"
        " SELECT 'tasks', 1 + n % 150, 1 + n % 150, now() FROM generate_series(1, 200000) n"
    )
    try:
        entries = []

        def five_steps() -> None:
            entries.extend(step.entries for step in (both.forward.step() for _ in range(5)))

        assert fastest(lambda: seconds_of(five_steps), 2.5) < 2.5
        assert min(entries) == 1000
        assert both.forward.snapshot().pending == 200_000 - sum(entries)
    finally:
        ground.ours("TRUNCATE task_migration.change_log")


# interleavings that once lost something


@pytest.mark.parametrize("first", ["forward", "backward"])
def test_a_tag_that_is_renamed_before_a_task_comes_back_stays_renamed(both: Both, task: int, first: str) -> None:
    sides = both.sides
    ((tag,),) = sides.laravel("INSERT INTO tags (name) VALUES ('old name') RETURNING id")
    sides.laravel("INSERT INTO task_tag VALUES (%s, %s)", task, tag)
    both.settle()
    sides.target("UPDATE tasks SET title = 'another' WHERE id = %s", task)
    sides.laravel("UPDATE tags SET name = 'new name' WHERE id = %s", tag)
    getattr(both, first).step()
    both.settle()
    assert names(sides, task) == ["new name"]
    assert sides.task(task, "tags") == (["new name"],)
    equal(sides)


def test_a_tag_that_is_renamed_while_a_task_that_gets_it_comes_back_reaches_that_task(
    both: Both, task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = both.sides
    ((tag,),) = sides.laravel("INSERT INTO tags (name) VALUES ('as it was') RETURNING id")
    both.settle()
    sides.target("UPDATE tasks SET tags = '[\"as it was\"]' WHERE id = %s", task)

    def rename_and_carry() -> None:
        sides.laravel("UPDATE tags SET name = 'as it is' WHERE id = %s", tag)
        both.forward.step()

    with Interruptions(monkeypatch).at("before the commits", rename_and_carry):
        both.backward.step()
    both.settle()
    assert names(sides, task) == ["as it is"]
    assert sides.task(task, "tags") == (["as it is"],)


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("deleted", ["before", "after"])
def test_an_image_of_a_task_that_laravel_deleted_is_kept_somewhere(
    both: Both, task: int, first: str, deleted: str
) -> None:
    sides = both.sides
    if deleted == "before":
        sides.laravel("UPDATE tasks SET deleted_at = now() WHERE id = %s", task)
    ((image,),) = sides.target(NEW_IMAGE, task)
    if deleted == "after":
        sides.laravel("UPDATE tasks SET deleted_at = now() WHERE id = %s", task)
    getattr(both, first).step()
    both.settle()
    there = sides.laravel("SELECT id FROM task_images WHERE id = %s", image)
    lost = sides.target(
        "SELECT loser_image #>> '{task_images,s3_key}' FROM task_migration.conflict"
        " WHERE (unit, key) = ('task_images', %s)",
        image,
    )
    assert len(there) + len(lost) == 1
    assert sides.task(task, "id") is None


@pytest.mark.parametrize("first", ["forward", "backward"])
def test_a_task_whose_deletion_lost_keeps_its_images(both: Both, task: int, first: str) -> None:
    sides = both.sides
    ((image,),) = sides.laravel("INSERT INTO task_images (task_id, file_path) VALUES (%s, 'a.png') RETURNING id", task)
    both.settle()
    sides.target("DELETE FROM task_images WHERE task_id = %s", task)
    sides.target("DELETE FROM tasks WHERE id = %s", task)
    sides.laravel("UPDATE tasks SET title = 'written later' WHERE id = %s", task)
    getattr(both, first).step()
    both.settle()
    assert title(sides, "task_service", task) == title(sides, "laravel", task) == "written later"
    for run in (sides.laravel, sides.target):
        assert run("SELECT id FROM task_images WHERE task_id = %s", task) == [(image,)]
    equal(sides)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("moment", ["before the commits", "between the commits", "after the commits"])
def test_a_worker_that_dies_at_its_commits_carries_the_batch_once(
    both: Both, task: int, direction: str, moment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = both.sides
    write, there = (sides.laravel, "task_service") if direction == "forward" else (sides.target, "laravel")
    write("UPDATE tasks SET title = 'once', updated_at = now() WHERE id = %s", task)
    worker = both.forward if direction == "forward" else both.backward

    def die() -> None:
        worker.close()
        raise Killed

    with Interruptions(monkeypatch).at(moment, die), suppress(Killed):
        worker.step()
    assert title(sides, there, task) == ("a day" if moment == "before the commits" else "once")
    both.connect()
    both.settle()
    assert title(sides, there, task) == "once"
    assert sides.ours(CONFLICTS) + sides.target(CONFLICTS) == []
    equal(sides)


@pytest.mark.parametrize("first", ["forward", "backward"])
def test_a_task_that_laravel_deleted_and_the_task_service_wrote_later_keeps_its_images_on_both_sides(
    both: Both, task: int, first: str
) -> None:
    sides = both.sides
    ((old,),) = sides.laravel("INSERT INTO task_images (task_id, file_path) VALUES (%s, 'old.png') RETURNING id", task)
    both.settle()
    ((new,),) = sides.laravel("INSERT INTO task_images (task_id, file_path) VALUES (%s, 'new.png') RETURNING id", task)
    sides.laravel("UPDATE tasks SET deleted_at = now() WHERE id = %s", task)
    sides.target("UPDATE tasks SET title = 'written later' WHERE id = %s", task)
    getattr(both, first).step()
    both.settle()
    for run in (sides.laravel, sides.target):
        assert run("SELECT id FROM task_images WHERE task_id = %s ORDER BY id", task) == [(old,), (new,)]
    equal(sides)
