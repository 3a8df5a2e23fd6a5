"""The end: nothing temporary is left on either side, asked of the catalogs, and what stays says why."""

from __future__ import annotations

import os
from functools import partial

import psycopg
import pytest
from by_options import call
from catalog_dump import catalog_of
from lab.servers.postgres_server import free_port
from sides import Sides
from task_migration.control import journal, operator_lock, sync_switch
from task_migration.errors import Failed, Refused
from task_migration.finish import cleanup
from task_migration.runtime import services
from task_migration.sync import capture, fence
from workers import capture_there

OURS = "SELECT relname FROM pg_class WHERE relnamespace = 'task_migration'::regnamespace AND relkind = 'r' ORDER BY 1"
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'task\\_migration\\_%' ORDER BY 1"


class World:
    """Sides as after phase 2.4 at 100 %, with both syncs told of, and off."""

    def __init__(self, sides: Sides, folder) -> None:
        self.sides, self.folder = sides, folder
        self.ports = {"forward": free_port(), "backward": free_port()}
        sides.drain()
        capture_there(sides)
        sides.verify()
        fence.fence(laravel_dsn=sides.laravel_dsn, check=False)
        folder.mkdir()
        (folder / "sync.json").write_text("{}\n")
        for name in ("sync_forward", "sync_backward"):
            for state in ("on", "off"):
                self.switch(name, state)
        self.write("no_way_back")

    def switch(self, name, state):
        sync_switch.sync_switch(laravel_dsn=self.sides.laravel_dsn, name=name, state=state)

    def write(self, item, result="done"):
        journal.journal(laravel_dsn=self.sides.laravel_dsn, phase="2.5", item=item, result=result)

    def clean(self, check=False, **more):
        given = {
            "laravel_dsn": self.sides.laravel_dsn,
            "task_service_dsn": self.sides.task_service_dsn,
            "migration_environment": "test",
            "service_kind": "process",
            "service_directory": str(self.folder),
            "fence_until": "2099-12-31",
        }
        return cleanup.cleanup(**{**given, **more}, check=check)

    def state(self):
        both = [catalog_of(dsn) for dsn in (self.sides.laravel_dsn, self.sides.task_service_dsn)]
        return *both, sorted(os.listdir(self.folder))


@pytest.fixture
def world(copied, tmp_path):
    return World(copied, tmp_path / "services")


def test_nothing_temporary_is_left_and_again_nothing_changes(world):
    sides = world.sides
    done = world.clean()
    assert done.changed
    assert done.message.endswith("nothing temporary is left")
    assert sides.ours(OURS) == [("journal",), ("journal_end",), ("verdict",)]
    assert {name for (name,) in sides.ours(TRIGGERS)} == {"task_migration_fence", "task_migration_fence_truncate"}
    assert sides.target(OURS) == [("quarantine",)], "what was held back from the Task Service stays known"
    assert sides.target(TRIGGERS) == []
    assert os.listdir(world.folder) == []
    assert "table quarantine" in done.details["kept"]["task_service"]
    assert any("fenced, until 2099-12-31" in line for line in done.lines)
    before = world.state()
    again = world.clean()
    assert (again.changed, again.details["removed"]) == (False, {"laravel": [], "task_service": [], "machine": []})
    assert world.state() == before


def test_check_mode_predicts_exactly_and_touches_nothing(world):
    before = world.state()
    predicted = world.clean(check=True)
    assert world.state() == before
    done = world.clean()
    assert predicted.changed
    assert predicted.details == done.details
    assert not world.clean(check=True).changed


def test_both_applications_go_on_and_laravel_stays_fenced(world):
    world.clean()
    with pytest.raises(psycopg.Error, match="was refused"):
        world.sides.laravel("UPDATE tasks SET title = 'x' WHERE id = 60")
    world.sides.laravel("UPDATE users SET cognito_sub = 'another' WHERE id = 1")
    world.sides.laravel("DELETE FROM task_executions")
    world.sides.laravel("DELETE FROM users WHERE id = 2")
    world.sides.target("UPDATE tasks SET title = 'the Task Service goes on' WHERE id = 60")
    world.sides.target("DELETE FROM tasks WHERE id = 62")
    ((said,),) = world.sides.ours("SELECT obj_description('cognito_user_mapping'::regclass)")
    assert "no longer follows users.cognito_sub" in said


def test_without_rows_held_back_not_even_the_schema_is_left_there(world):
    world.sides.target("DELETE FROM task_migration.quarantine")
    world.clean()
    assert world.sides.target("SELECT FROM pg_namespace WHERE nspname = 'task_migration'") == []


@pytest.mark.parametrize("side", ["ours", "target"])
def test_a_write_that_gave_way_stays(world, side):
    getattr(world.sides, side)(
        "INSERT INTO task_migration.conflict (unit, key, task_key, winner, laravel_at, task_service_at, superseded)"
        " VALUES ('tasks', 1, 1, 'laravel', now(), now(), '[]')"
    )
    done = world.clean()
    assert "table conflict" in done.details["kept"]["laravel" if side == "ours" else "task_service"]
    assert getattr(world.sides, side)("SELECT count(*) FROM task_migration.conflict") == [(1,)]
    assert not world.clean().changed


def test_what_is_not_ours_is_named_and_left(world):
    world.sides.ours("CREATE TABLE task_migration.somebodys (id int)")
    with pytest.raises(Failed, match="temporary objects are left; measured: table somebodys in Laravel's database;"):
        world.clean()
    world.sides.ours("DROP TABLE task_migration.somebodys")
    assert not world.clean().changed


def test_a_wait_for_quiet_that_was_killed_leaves_nothing(world):
    world.sides.ours("CREATE SEQUENCE task_migration.written_tasks")
    world.clean()
    assert not world.clean().changed


@pytest.mark.parametrize("step", [1, 2, 5, 7])
def test_killed_anywhere_the_same_command_ends_right(world, monkeypatch, step):
    """After so many of its transactions, on either side."""
    true, count = cleanup.sql_files.statement, iter(range(1, 99))

    def statement(file, name, **names):
        if file == "finish/cleanup.sql" and name.startswith(("drop", "comment")) and next(count) == step:
            raise KeyboardInterrupt
        return true(file, name, **names)

    with monkeypatch.context() as patched:
        patched.setattr(cleanup.sql_files, "statement", statement)
        with pytest.raises(KeyboardInterrupt):
            world.clean()
    world.clean()
    assert not world.clean().changed
    assert len(world.sides.ours(OURS)) == 3


@pytest.mark.parametrize("name", ["sync_forward", "sync_backward"])
def test_while_a_sync_is_on_nothing_is_touched(world, name):
    world.switch(name, "on")
    before = world.state()
    with pytest.raises(
        Refused, match=rf"stop the sync before its change log is removed; measured: on or installed: switch {name};"
    ):
        world.clean()
    assert world.state() == before


def test_while_a_service_is_there_nothing_is_touched(world):
    run = partial(
        call,
        services.services,
        name="consistency",
        **world.sides.both,
        migration_environment="test",
        service_kind="process",
        service_directory=str(world.folder),
        sync_health_ports=world.ports,
        aws_region="ap-northeast-1",
    )
    run()
    try:
        with pytest.raises(Refused, match="measured: on or installed: task-migration-test-consistency;"):
            world.clean()
    finally:
        run(state="absent")
    assert capture.capture(laravel_dsn=world.sides.laravel_dsn, check=True).changed is False


def test_without_the_fence_nothing_is_touched(world):
    fence.fence(laravel_dsn=world.sides.laravel_dsn, state="absent", check=False)
    with pytest.raises(Refused, match="the fence is not active"):
        world.clean()
    assert capture.capture(laravel_dsn=world.sides.laravel_dsn, check=True).changed is False


@pytest.mark.parametrize("day", ["", "2020-01-01", "some day"])
def test_nobody_keeps_tables_for_ever_without_saying_so(world, day):
    with pytest.raises(Refused, match="fence_until is"):
        world.clean(fence_until=day)


def test_from_then_on_no_other_command_is_let_in(world):
    for command in ("phase-2.1-prepare", "phase-2.4-canary", "rollback-2.1", "rollback-2.4", "reconcile", "watch"):
        with pytest.raises(
            Refused, match=r"phase 2\.5 has started: rollback is no longer possible; .*phase-2\.5-cleanup"
        ):
            operator_lock.operator_lock(laravel_dsn=world.sides.laravel_dsn, command=command, check=True)
    operator_lock.operator_lock(laravel_dsn=world.sides.laravel_dsn, command="phase-2.5-cleanup", check=True)
    world.clean()
    world.write("phase")
    with pytest.raises(Refused, match=r"phase 2\.5 is done: rollback is no longer possible; .* next: .*status\.yml"):
        operator_lock.operator_lock(laravel_dsn=world.sides.laravel_dsn, command="rollback-2.4")
