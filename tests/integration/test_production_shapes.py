"""How production's tables may be made: rows are copied and synced both ways all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sides import Sides
from task_migration.control import sync_switch
from workers import Both, capture_there

ALWAYS = """
ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT;
DROP SEQUENCE IF EXISTS {table}_id_seq;
ALTER TABLE {table} ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (START 100000);
"""
PARTITIONED = """
ALTER TABLE group_tasks RENAME TO group_tasks_before;
CREATE TABLE group_tasks (LIKE group_tasks_before INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE group_tasks_0 PARTITION OF group_tasks FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE group_tasks_1 PARTITION OF group_tasks FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO group_tasks SELECT * FROM group_tasks_before;
ALTER SEQUENCE group_tasks_id_seq OWNED BY group_tasks.id;
DROP TABLE group_tasks_before;
"""
DEFERRED = """
ALTER TABLE task_images DROP CONSTRAINT IF EXISTS task_images_task_id_fkey;
ALTER TABLE task_images ADD CONSTRAINT task_images_task_id_fkey FOREIGN KEY (task_id) REFERENCES tasks (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
"""
# Which side, and what is done to it before phase 2.1's copy.
SHAPES = {
    "identity always in Laravel": ("laravel", ALWAYS.format(table="tasks") + ALWAYS.format(table="task_images")),
    "identity always in the Task Service": (
        "task_service",
        ALWAYS.format(table="tasks") + ALWAYS.format(table="task_images"),
    ),
    "a partitioned table in the Task Service": ("task_service", PARTITIONED),
    "a deferred foreign key in the Task Service": ("task_service", DEFERRED),
}


@pytest.mark.parametrize(("side", "statements"), SHAPES.values(), ids=SHAPES.keys())
def test_rows_cross_both_ways(sides: Sides, side: str, statements: str) -> None:
    run: Callable[..., object] = sides.laravel if side == "laravel" else sides.target
    for statement in filter(str.strip, statements.split(";")):
        run(statement)
    if side == "laravel":
        sides.prepare()
    sides.copy()
    sides.verify()
    capture_there(sides)
    for switch in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=switch, state="on")
    both = Both(sides)
    both.connect()
    try:
        sides.laravel("UPDATE tasks SET title = 'from Laravel', updated_at = now() WHERE id IN (4, 5)")
        sides.target("UPDATE tasks SET title = 'from the Task Service', updated_at = now() WHERE id = 6")
        (new,) = sides.target(
            "INSERT INTO tasks (user_id, title, status, created_at, updated_at) "
            "SELECT user_id, 'new there', 'pending', now(), now() FROM tasks WHERE id = 6 RETURNING id"
        )
        both.settle()
        assert sides.target("SELECT title FROM tasks WHERE id IN (4, 5)") == [("from Laravel",)] * 2
        assert sides.laravel("SELECT title FROM tasks WHERE id = 6") == [("from the Task Service",)]
        assert sides.laravel("SELECT title FROM tasks WHERE id = %s", new[0]) == [("new there",)]
    finally:
        both.close()
    sides.verify()


def test_a_status_that_the_mapping_does_not_have_is_held_back_and_stays(sides: Sides) -> None:
    sides.copy()
    capture_there(sides)
    for switch in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=switch, state="on")
    sides.target("ALTER TYPE enum_tasks_status ADD VALUE 'archived'")
    before = sides.laravel("SELECT is_completed, approved_at, updated_at FROM tasks WHERE id = 4")
    both = Both(sides)
    both.connect()
    try:
        sides.target("UPDATE tasks SET status = 'archived', updated_at = now() WHERE id = 4")
        sides.target("UPDATE tasks SET title = 'goes on', updated_at = now() WHERE id = 5")
        both.settle()
    finally:
        both.close()
    assert sides.target("SELECT status::text FROM tasks WHERE id = 4") == [("archived",)]
    assert sides.laravel("SELECT is_completed, approved_at, updated_at FROM tasks WHERE id = 4") == before
    assert sides.laravel("SELECT title FROM tasks WHERE id = 5") == [("goes on",)]
    assert sides.ours("SELECT kind FROM task_migration.quarantine WHERE key = 4 AND held_back") == [("status_unknown",)]
