"""A row that a database refuses is held back alone, whatever the error and whenever it comes; the others are synced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sides import Sides
from task_migration.control import sync_switch
from workers import Both, capture_there

# Raised by a trigger of the application for one title: PostgreSQL's own codes, and codes that it does not know.
CODES = ["P0001", "22023", "23514", "21000", "27000", "38000", "44000", "54000", "45000", "TM999", "ZZ999"]
REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.title = 'refused' THEN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'ルール違反'; END IF;
    RETURN NEW;
END $$;
"""
AT_ONCE = "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION refuse()"
AT_COMMIT = """
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON tasks
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture
def both(copied: Sides) -> Both:
    capture_there(copied)
    for switch in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=copied.laravel_dsn, name=switch, state="on")
    return Both(copied)


def synced_without(run: Callable[..., object], other: Callable[..., list[object]], both: Both) -> None:
    """Of three tasks written in one transaction, the middle one is refused: the two others are on the other side."""
    both.connect()
    try:
        run(
            "UPDATE tasks SET title = CASE id WHEN 5 THEN 'refused' ELSE 'new' END, updated_at = now() "
            "WHERE id IN (4, 5, 6)"
        )
        both.settle()
    finally:
        both.close()
    found = other("SELECT id, title IN ('new', 'refused') FROM tasks WHERE id IN (4, 5, 6) ORDER BY id")
    assert found == [(4, True), (5, False), (6, True)]


@pytest.mark.parametrize("when", [AT_ONCE, AT_COMMIT], ids=["at once", "at the commit"])
@pytest.mark.parametrize("code", CODES)
def test_a_row_that_the_task_service_refuses_waits_alone(copied: Sides, both: Both, code: str, when: str) -> None:
    copied.target(REFUSES.format(code=code))
    copied.target(when)
    synced_without(copied.laravel, copied.target, both)
    ((reason,),) = copied.target("SELECT reason FROM task_migration.quarantine WHERE key = 5 AND held_back")
    assert code in reason


@pytest.mark.parametrize("when", [AT_ONCE, AT_COMMIT], ids=["at once", "at the commit"])
@pytest.mark.parametrize("code", CODES)
def test_a_row_that_laravel_refuses_waits_alone(copied: Sides, both: Both, code: str, when: str) -> None:
    copied.laravel(REFUSES.format(code=code))
    copied.laravel(when)
    synced_without(copied.target, copied.laravel, both)
    ((reason,),) = copied.ours("SELECT reason FROM task_migration.quarantine WHERE key = 5 AND held_back")
    assert code in reason


def test_a_copy_holds_back_what_is_refused_at_the_commit(sides: Sides) -> None:
    sides.laravel("UPDATE tasks SET title = 'refused' WHERE id = 5")
    sides.target(REFUSES.format(code="P0001"))
    sides.target(AT_COMMIT)
    sides.copy()
    assert sides.held_back("refused_by_database") == {("tasks", 5)}
    assert sides.target("SELECT count(*) FROM tasks WHERE id IN (4, 5, 6)") == [(2,)]
