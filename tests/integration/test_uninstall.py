"""From any half-done state back to a Laravel database with nothing of ours in it."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from catalog_dump import catalog_of
from sides import Sides
from task_migration.control import journal
from task_migration.errors import Failed
from task_migration.finish import uninstall
from task_migration.mapping import table_mapping
from task_migration.postgres import lock_retry
from task_migration.postgres.database import connect, laravel
from task_migration.prepare import user_mapping
from task_migration.sync import capture


def _mapping_table_only(sides: Sides) -> None:
    user_mapping.user_mapping(laravel_dsn=sides.laravel_dsn, check=False)


def _mapping_table_without_its_triggers(sides: Sides) -> None:
    _mapping_table_only(sides)
    sides.laravel("DROP TRIGGER task_migration_follow_insert ON users")


def _capture_on_some_tables(sides: Sides) -> None:
    _mapping_table_only(sides)
    capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    for table in ("tasks", "tags"):
        for event in ("insert", "update", "delete", "truncate"):
            sides.laravel(f"DROP TRIGGER task_migration_{event} ON {table}")


def _journal_only(sides: Sides) -> None:
    with connect(laravel(sides.laravel_dsn), "test") as connection:
        journal.ensure(connection)


def _change_log_without_triggers(sides: Sides) -> None:
    _capture_on_some_tables(sides)
    for table in table_mapping.captured_tables():
        for event in ("insert", "update", "delete", "truncate"):
            sides.ours(f"DROP TRIGGER IF EXISTS task_migration_{event} ON {table}")


def _all_and_copied(sides: Sides) -> None:
    sides.prepare()
    sides.copy()
    sides.verify()
    sides.laravel("UPDATE tasks SET title = 'still on the log' WHERE id = 20")


def _half_withdrawn(sides: Sides) -> None:
    _capture_on_some_tables(sides)
    capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)


@pytest.mark.parametrize(
    "half_done",
    [
        _mapping_table_only,
        _mapping_table_without_its_triggers,
        _capture_on_some_tables,
        _journal_only,
        _change_log_without_triggers,
        _all_and_copied,
        _half_withdrawn,
    ],
    ids=lambda made: made.__name__.strip("_"),
)
def test_every_half_done_state_leads_back_to_the_catalog_before(
    make_sides: Callable[..., Sides], half_done: Callable[[Sides], None]
) -> None:
    sides = make_sides()
    before = catalog_of(sides.laravel_dsn)
    rows = _rows(sides)
    half_done(sides)
    made = catalog_of(sides.laravel_dsn)
    assert made != before

    predicted = _withdraw(sides, check=True)
    assert predicted.changed
    assert catalog_of(sides.laravel_dsn) == made, "check mode takes nothing away"

    done = _withdraw(sides)
    assert done.changed
    assert catalog_of(sides.laravel_dsn) == before
    if half_done is not _all_and_copied:
        assert _rows(sides) == rows

    again = _withdraw(sides)
    assert (again.changed, again.message) == (False, "Laravel's database: no object of the runbook is there")
    assert not _withdraw(sides, check=True).changed
    sides.laravel("UPDATE tasks SET title = 'Laravel goes on alone' WHERE id = 1")
    sides.laravel("UPDATE users SET cognito_sub = 'new' WHERE id = 8")


def test_the_journal_is_kept_in_a_file_before_it_goes(make_sides: Callable[..., Sides]) -> None:
    sides = make_sides()
    for result in ("started", "failed"):
        journal.journal(
            laravel_dsn=sides.laravel_dsn, phase="2.1", item="phase", result=result, evidence={"rows": 7}, check=False
        )
    done = _withdraw(sides)
    lines = [json.loads(line) for line in open(done.details["journal"], encoding="utf-8")]  # noqa: SIM115
    assert [(line["phase"], line["result"], line["evidence"]) for line in lines] == [
        ("2.1", "started", {"rows": 7}),
        ("2.1", "failed", {"rows": 7}),
    ]
    assert done.details["journal"] in done.message


def test_a_journal_that_can_not_be_kept_stays_where_it_is(make_sides: Callable[..., Sides], tmp_path) -> None:
    sides = make_sides()
    _capture_on_some_tables(sides)
    _journal_only(sides)
    made = catalog_of(sides.laravel_dsn)
    (tmp_path / "a-file").touch()
    with pytest.raises(Failed, match=r"could not be written.*report_directory"):
        uninstall.uninstall(laravel_dsn=sides.laravel_dsn, report_directory=str(tmp_path / "a-file" / "in-it"))
    assert catalog_of(sides.laravel_dsn) == made


def test_it_works_while_the_task_services_database_is_gone_and_all_can_begin_anew(
    make_sides: Callable[..., Sides], task_service_server, task_service_database
) -> None:
    sides = make_sides()
    before = catalog_of(sides.laravel_dsn)
    _all_and_copied(sides)
    task_service_server.drop_database(psycopg.conninfo.conninfo_to_dict(sides.task_service_dsn)["dbname"])
    assert _withdraw(sides).changed
    assert catalog_of(sides.laravel_dsn) == before
    anew = Sides(sides.laravel_dsn, sides.laravel_owner_dsn, task_service_database().dsn, sides.reports)
    anew.prepare()
    anew.copy()
    assert anew.verify().details["passed"]


def test_a_long_transaction_stops_it_and_the_same_command_goes_on(
    make_sides: Callable[..., Sides], monkeypatch
) -> None:
    monkeypatch.setattr(lock_retry, "ATTEMPTS", 2)
    monkeypatch.setattr(lock_retry, "PAUSE_SECONDS", 0.05)
    sides = make_sides()
    before = catalog_of(sides.laravel_dsn)
    _mapping_table_only(sides)
    capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    with psycopg.connect(sides.laravel_owner_dsn) as long:
        long.execute("SELECT FROM tags LIMIT 1")
        with pytest.raises(Failed, match=r"removing capture from tags.*lock on Laravel.*run the same command"):
            uninstall.uninstall(
                laravel_dsn=sides.laravel_dsn, report_directory=str(sides.reports), lock_timeout_seconds=0.1
            )
        long.rollback()
    assert _withdraw(sides).changed
    assert catalog_of(sides.laravel_dsn) == before


def _withdraw(sides: Sides, check: bool = False):
    return uninstall.uninstall(laravel_dsn=sides.laravel_dsn, report_directory=str(sides.reports), check=check)


def _rows(sides: Sides) -> list[object]:
    return [
        sides.ours(f"SELECT xmin::text, t::text FROM {table} t ORDER BY 2")
        for table in ("users", "tasks", "task_images", "task_tag", "tags")
    ]
