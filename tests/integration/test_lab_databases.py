"""The lab's servers and Laravel's data: laws that everything else stands on."""

from __future__ import annotations

import psycopg
import pytest

COUNTS = {"users": 9, "tasks": 150, "task_images": 80, "task_tag": 200, "task_executions": 100, "task_proposals": 50}


def value(dsn, query, *parameters):
    with psycopg.connect(dsn) as session:
        return session.execute(query, parameters or None).fetchone()[0]


@pytest.mark.parametrize("table", COUNTS)
def test_the_lab_has_the_plans_counts(laravel_database, table):
    assert value(laravel_database().owner_dsn, f"SELECT count(*) FROM {table}") == COUNTS[table]


@pytest.mark.parametrize("table", [*sorted(set(COUNTS) - {"users"}), "tags"])
def test_a_larger_lab_has_the_same_proportions_and_the_same_hostile_rows(laravel_database, table):
    small, large = laravel_database(), laravel_database(tasks=3000)
    if table in COUNTS:
        assert value(large.owner_dsn, f"SELECT count(*) FROM {table}") == COUNTS[table] * 20
    if table in ("tasks", "task_images", "task_tag"):
        key = {"tasks": "id", "task_images": "task_id", "task_tag": "task_id"}[table]
        rows = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t WHERE {key} IN (1,12,34,35,37,39)"
        assert value(small.owner_dsn, rows) == value(large.owner_dsn, rows)


def test_sequences_go_on_after_the_rows(laravel_database):
    dsn = laravel_database().owner_dsn
    assert value(dsn, "INSERT INTO tasks (user_id, title) VALUES (1, 'new') RETURNING id") == 151


def test_the_migrator_may_do_what_the_owner_may(laravel_database):
    """Only an owner may drop a trigger, so the runbook's login is a member of the application's role."""
    dsn = laravel_database().dsn
    assert value(dsn, "SELECT count(*) FROM tasks") == 150
    assert value(dsn, "SELECT pg_has_role('laravel', 'USAGE')") is True


def test_no_application_login_is_a_superuser(laravel_database, task_service_database):
    for database in (laravel_database(), task_service_database()):
        for dsn in (database.dsn, database.owner_dsn):
            assert value(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_each_database_is_fresh(laravel_database):
    first = laravel_database()
    with psycopg.connect(first.owner_dsn) as session:
        session.execute("DELETE FROM task_images")
    assert value(laravel_database().owner_dsn, "SELECT count(*) FROM task_images") == 80
