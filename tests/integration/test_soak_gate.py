"""The soak: counted from when the Task Service serves alone, and no more where anybody touched the fence."""

from __future__ import annotations

import psycopg
import pytest
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from sides import Sides
from stages import LARAVEL, TASKS, EmulatedStage
from task_migration.canary.soak_gate import soak_gate, soak_seconds
from task_migration.control import journal
from task_migration.errors import Refused
from task_migration.postgres import database
from task_migration.sync import fence
from workers import capture_there


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


class World:
    """Sides at 100 %: copied, fenced, promoted."""

    def __init__(self, sides: Sides, stage: EmulatedStage) -> None:
        self.sides, self.stage = sides, stage
        sides.drain()
        capture_there(sides)
        self.fence()
        stage.set(TASKS, None)
        self.write("promotion")

    def fence(self, state="present"):
        return fence.fence(laravel_dsn=self.sides.laravel_dsn, state=state, check=False)

    def write(self, item, phase="2.4", result="done"):
        journal.journal(laravel_dsn=self.sides.laravel_dsn, phase=phase, item=item, result=result)

    def soak(self, hours=0.0, **more):
        return call(
            soak_gate,
            laravel_dsn=self.sides.laravel_dsn,
            task_service_dsn=self.sides.task_service_dsn,
            **self.stage.arguments,
            soak_hours=hours,
            **more,
        )


@pytest.fixture
def world(copied, emulator):
    return World(copied, EmulatedStage(emulator))


def test_it_is_over_after_so_many_hours_and_not_before(world):
    done = world.soak()
    assert not done.changed
    assert done.details["pending"] == {"laravel": 0, "task_service": 0}
    assert done.details["since"] == done.details["promoted_at"] >= done.details["fenced_since"]
    with pytest.raises(Refused, match=r"not served alone for long enough; measured: \d+ s, since 20.*; allowed: 48 h"):
        world.soak(hours=48)


def test_how_long_it_has_lasted_is_told_by_laravel_s_database_alone(world):
    with database.connect(database.laravel(world.sides.laravel_dsn), "test") as connection:
        assert 0 <= soak_seconds(connection) < 60
        world.fence("absent")
        assert soak_seconds(connection) is None
        world.fence()
        world.write("phase", "rollback-2.4", "started")
        assert soak_seconds(connection) is None


def test_without_a_promotion_or_after_it_was_taken_back_there_is_none(world):
    world.write("phase", "rollback-2.4", "started")
    with pytest.raises(Refused, match="it was not promoted, or the promotion was rolled back"):
        world.soak()


@pytest.mark.parametrize(("value", "percent"), [(LARAVEL, None), (LARAVEL, 50), (TASKS, 0)])
def test_a_stage_that_is_not_promoted_any_more_is_refused(world, value, percent):
    world.stage.set(value, percent)
    with pytest.raises(Refused, match="the Task Service does not serve every user"):
        world.soak()


def test_a_fence_that_is_gone_is_refused_and_one_put_on_later_begins_it_anew(world):
    before = world.soak().details["fenced_since"]
    world.fence("absent")
    with pytest.raises(Refused, match="the fence is not active; measured: no active fence on tasks, "):
        world.soak()
    world.sides.ours("SELECT pg_sleep(1.1)")
    world.fence()
    again = world.soak().details
    assert again["since"] == again["fenced_since"] > again["promoted_at"] > before


def test_who_switches_the_fence_off_and_on_again_is_seen(world):
    table = psycopg.sql.SQL("ALTER TABLE task_images {} TRIGGER task_migration_fence")
    world.sides.laravel(table.format(psycopg.sql.SQL("DISABLE")))
    with pytest.raises(Refused, match="no active fence on task_images"):
        world.soak()
    world.sides.laravel(table.format(psycopg.sql.SQL("ENABLE ALWAYS")))
    with pytest.raises(
        Refused, match=r"altered after phase 2\.4 created it; measured: the triggers on task_images were disabled"
    ):
        world.soak()
    world.fence("absent")
    world.fence()
    world.soak()


def test_a_change_of_the_tables_and_vacuum_are_no_change_of_the_fence(world, laravel_server):
    world.sides.laravel("CREATE INDEX looked_for ON tasks (due_date)")
    world.sides.laravel("ALTER TABLE tasks ADD COLUMN mood text")
    name = psycopg.conninfo.conninfo_to_dict(world.sides.laravel_dsn)["dbname"]
    with psycopg.connect(laravel_server.dsn(name), autocommit=True) as superuser:
        superuser.execute("VACUUM (FREEZE, FULL) pg_trigger")
        superuser.execute("VACUUM (FREEZE) pg_description")
    world.soak()


def test_a_write_that_waits_for_long_is_refused_and_a_young_one_is_on_its_way(world):
    world.sides.target("UPDATE tasks SET title = 'written now' WHERE id = 60")
    assert world.soak().details["pending"]["task_service"] > 0
    world.sides.target("UPDATE task_migration.change_log SET changed_at = now() - interval '5 minutes'")
    with pytest.raises(Refused, match=r"wait on the change log of the Task Service's database; measured: .* 5 min ago"):
        world.soak()


def test_a_deleted_user_is_no_write_of_laravels(world):
    world.sides.laravel("DELETE FROM task_executions")
    world.sides.laravel("DELETE FROM users WHERE id = 2")
    assert world.soak().details["pending"]["laravel"] > 0
    with pytest.raises(psycopg.Error, match="was refused"):
        world.sides.laravel("INSERT INTO tasks (user_id, title) VALUES (1, 'new')")
