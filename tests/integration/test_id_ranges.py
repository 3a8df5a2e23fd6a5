"""Ids of the two sides never meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from task_migration.errors import Refused
from task_migration.prepare.id_ranges import id_ranges
from task_migration.prepare.schema import schema

if TYPE_CHECKING:
    from tests.conftest import Database

OFFSET = 1_000_000_000
TABLES = ("tasks", "task_images", "task_approvals", "group_tasks")


@pytest.fixture
def sides(
    laravel_database: Callable[..., Database], task_service_database: Callable[[], Database]
) -> tuple[Database, Database]:
    laravel, target = laravel_database(), task_service_database()
    schema(task_service_dsn=target.dsn)
    return laravel, target


def asked(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as session:
        cursor = session.execute(statement)
        return cursor.fetchall() if cursor.description else []


def stands(database: Database) -> list[tuple[Any, ...]]:
    return [asked(database.dsn, f"SELECT last_value, is_called FROM {table}_id_seq")[0] for table in TABLES]


def test_the_task_services_ids_begin_at_the_offset(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert done.changed
    for table in TABLES:
        assert asked(target.dsn, f"SELECT nextval('{table}_id_seq')") == [(OFFSET,)]
        assert done.details["task_service"][table] == {"next_id": OFFSET, "left": 2**31 - OFFSET}


def test_a_second_run_changes_nothing_and_check_mode_predicts(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    before = stands(target)
    predicted = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, check=True)
    assert stands(target) == before
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert (predicted.changed, predicted.lines, predicted.details) == (True, done.lines, done.details)
    after = stands(target)
    for check in (False, True):
        assert not id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, check=check).changed
    assert stands(target) == after


def test_check_mode_predicts_a_target_that_does_not_exist_yet(
    laravel_database: Callable[..., Database], task_service_database: Callable[[], Database]
) -> None:
    laravel, empty = laravel_database(), task_service_database()
    absent = make_conninfo(empty.dsn, dbname="nobody_made_it")
    predicted = [
        id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=dsn, check=True) for dsn in (absent, empty.dsn, "")
    ]
    schema(task_service_dsn=empty.dsn)
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=empty.dsn)
    assert all((one.changed, one.lines, one.details) == (True, done.lines, done.details) for one in predicted)


def test_sequences_never_go_backwards(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    asked(target.dsn, f"SELECT setval('tasks_id_seq', {OFFSET + 500})")
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert done.details["task_service"]["tasks"]["next_id"] == OFFSET + 501
    assert not id_ranges(
        laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, task_service_id_offset=OFFSET // 2
    ).changed
    assert stands(target)[0] == (OFFSET + 500, True)


def test_a_sequence_behind_its_own_rows_is_moved_past_them(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    row = (
        f"INSERT INTO tasks (id, user_id, title, created_at, updated_at) VALUES ({OFFSET + 9}, 's', 't', now(), now())"
    )
    asked(target.dsn, row)
    id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert asked(target.dsn, "SELECT nextval('tasks_id_seq')") == [(OFFSET + 10,)]


def test_the_headroom_is_measured_from_ids_and_sequences_alike(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    highest = asked(laravel.owner_dsn, "SELECT max(id) FROM tasks")[0][0]
    asked(laravel.owner_dsn, f"SELECT setval('tasks_id_seq', {highest})")
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert done.details["laravel"]["tasks"] == {"next_id": highest + 1, "left": OFFSET - highest - 1}
    asked(laravel.owner_dsn, f"SELECT setval('tasks_id_seq', {highest + 1000})")
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert done.details["laravel"]["tasks"]["next_id"] == highest + 1001
    assert str(OFFSET - highest - 1001) in done.message


@pytest.mark.parametrize("table", ["tasks", "task_images"])
@pytest.mark.parametrize("check", [True, False])
def test_laravels_ids_at_the_offset_are_refused_and_nothing_moves(
    table: str, check: bool, sides: tuple[Database, Database]
) -> None:
    laravel, target = sides
    before = stands(target)
    asked(laravel.owner_dsn, f"SELECT setval('{table}_id_seq', {OFFSET - 1})")
    with pytest.raises(Refused, match=f"next id of {table}: {OFFSET}.*allowed: below {OFFSET}"):
        id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, check=check)
    assert stands(target) == before


def test_what_was_carried_back_to_laravel_is_no_id_of_laravels_and_is_never_given_again(
    sides: tuple[Database, Database],
) -> None:
    laravel, target = sides
    asked(laravel.owner_dsn, f"INSERT INTO tasks (id, user_id, title) VALUES ({OFFSET + 40}, 1, 'born there')")
    done = id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn)
    assert done.details["laravel"]["tasks"]["next_id"] < 10_000
    assert asked(target.dsn, "SELECT nextval('tasks_id_seq')") == [(OFFSET + 41,)]


def test_an_offset_beyond_integer_needs_bigint_ids(sides: tuple[Database, Database]) -> None:
    laravel, target = sides
    before = stands(target)
    with pytest.raises(Refused, match="tasks up to 2147483647"):
        id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, task_service_id_offset=2**31)
    assert stands(target) == before
    schema(task_service_dsn=target.dsn, id_policy="bigint")
    assert id_ranges(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, task_service_id_offset=2**31).changed


def test_a_target_without_tables_is_refused(
    laravel_database: Callable[..., Database], task_service_database: Callable[[], Database]
) -> None:
    with pytest.raises(Refused, match=r"no table tasks, .*phase-2\.1-prepare"):
        id_ranges(laravel_dsn=laravel_database().dsn, task_service_dsn=task_service_database().dsn)
