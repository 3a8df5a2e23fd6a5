"""cognito_user_mapping follows users.cognito_sub, and is never in the application's way."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from catalog_dump import catalog_of
from sides import Sides
from task_migration.control import journal
from task_migration.errors import Refused
from task_migration.postgres.database import connect, laravel
from task_migration.prepare import user_mapping


def test_deleting_a_user_in_laravel_is_not_blocked_and_takes_the_mapping_along(mapped: Sides) -> None:
    mapped.laravel("DELETE FROM task_executions")
    assert 3 in _mapping(mapped)
    mapped.laravel("DELETE FROM users WHERE id = 3")
    assert mapped.laravel("SELECT count(*) FROM tasks WHERE user_id = 3") == [(0,)]
    assert 3 not in _mapping(mapped)


def test_it_follows_what_the_application_writes(mapped: Sides) -> None:
    mapped.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (60, 'n', 'e', 'sub-60')")
    mapped.laravel("INSERT INTO users (id, name, email) VALUES (61, 'n', 'e')")
    mapped.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (62, 'n', 'e', '')")
    assert {key: _mapping(mapped).get(key) for key in (60, 61, 62)} == {60: "sub-60", 61: None, 62: None}

    mapped.laravel("UPDATE users SET cognito_sub = 'sub-' || id WHERE id IN (60, 61, 62)")
    assert {key: _mapping(mapped).get(key) for key in (60, 61, 62)} == {60: "sub-60", 61: "sub-61", 62: "sub-62"}
    mapped.laravel("UPDATE users SET cognito_sub = 'another' WHERE id = 60")
    mapped.laravel("UPDATE users SET cognito_sub = NULL WHERE id = 61")
    mapped.laravel("UPDATE users SET cognito_sub = '' WHERE id = 62")
    assert {key: _mapping(mapped).get(key) for key in (60, 61, 62)} == {60: "another", 61: None, 62: None}

    mapped.laravel("UPDATE users SET cognito_sub = NULL WHERE id = 60")
    mapped.laravel("UPDATE users SET cognito_sub = 'another' WHERE id = 61")
    assert {key: _mapping(mapped).get(key) for key in (60, 61)} == {60: None, 61: "another"}, "a sub may change hands"

    before = mapped.ours("SELECT laravel_user_id, xmin::text FROM cognito_user_mapping ORDER BY 1")
    mapped.laravel("UPDATE users SET name = name || '!', cognito_sub = cognito_sub")
    assert mapped.ours("SELECT laravel_user_id, xmin::text FROM cognito_user_mapping ORDER BY 1") == before
    assert _mapping(mapped) == _users(mapped)


def test_a_sub_that_another_user_bears_never_fails_the_applications_write(mapped: Sides) -> None:
    (sub,) = mapped.laravel("SELECT cognito_sub FROM users WHERE id = 1")[0]
    mapped.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (63, 'n', 'e', %s)", sub)
    mapped.laravel("UPDATE users SET cognito_sub = %s WHERE id = 2", sub)
    mapped.laravel("UPDATE users SET cognito_sub = %s WHERE id = 8", sub)
    assert mapped.laravel("SELECT count(*) FROM users WHERE cognito_sub = %s", sub) == [(4,)]
    assert {key: _mapping(mapped).get(key) for key in (1, 2, 8, 63)} == {1: sub, 2: None, 8: None, 63: None}
    with pytest.raises(Refused, match=r"two users have the same Cognito sub.*users \[1, 2, 8, 63\].*cognito_sub"):
        user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=False)
    with pytest.raises(Refused, match="two users"):
        user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=True)
    mapped.laravel("UPDATE users SET cognito_sub = NULL WHERE id IN (1, 2, 8)")
    assert _mapping(mapped) == _users(mapped), "the only user who has it now is mapped"
    assert user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=False).details["registered"] == 0


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_users_may_exchange_their_subs_in_any_order(mapped: Sides, order: tuple[int, int]) -> None:
    subs = {key: _users(mapped)[key] for key in order}
    for one, other in (order, order[::-1]):
        mapped.laravel("UPDATE users SET cognito_sub = %s WHERE id = %s", subs[other], one)
    assert _mapping(mapped) == _users(mapped)
    assert {key: _mapping(mapped)[key] for key in order} == {order[0]: subs[order[1]], order[1]: subs[order[0]]}


@pytest.mark.parametrize("gone", ["DELETE FROM users WHERE id = 62", "UPDATE users SET cognito_sub = '' WHERE id = 62"])
def test_two_users_may_be_merged_before_the_other_is_gone(mapped: Sides, gone: str) -> None:
    mapped.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (62, 'n', 'e', 'kept')")
    mapped.laravel("UPDATE users SET cognito_sub = 'kept' WHERE id = 1")
    assert 1 not in _mapping(mapped)
    mapped.laravel(gone)
    assert _mapping(mapped)[1] == "kept"
    assert _mapping(mapped) == _users(mapped)


def test_a_user_with_a_sub_and_no_mapping_stops_verify(copied: Sides) -> None:
    copied.ours("DELETE FROM cognito_user_mapping WHERE laravel_user_id = 3")
    with pytest.raises(Refused, match=r"not in cognito_user_mapping.*\[3\]"):
        copied.verify()


def test_subs_of_two_users_at_once_in_two_sessions_fail_neither(mapped: Sides) -> None:
    with psycopg.connect(mapped.laravel_owner_dsn) as one, psycopg.connect(mapped.laravel_owner_dsn) as other:
        one.execute("UPDATE users SET cognito_sub = 'at once' WHERE id = 8")
        other.execute("SET statement_timeout = '10s'")
        other.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # waits for the first, as with any unique column
            other.execute("UPDATE users SET cognito_sub = 'at once' WHERE id = 9")
        other.rollback()
        one.commit()
        other.execute("UPDATE users SET cognito_sub = 'at once' WHERE id = 9")
        other.commit()
    assert _mapping(mapped)[8] == "at once"
    assert 9 not in _mapping(mapped)


def test_two_subs_for_one_user_are_refused_with_her_id(mapped: Sides) -> None:
    mapped.ours(
        "UPDATE cognito_user_mapping SET cognito_sub = 'old ' || laravel_user_id WHERE laravel_user_id IN (4, 5)"
    )
    before = _mapping(mapped)
    with pytest.raises(Refused, match=r"one Cognito sub in users and another in cognito_user_mapping.*\[4, 5\]") as no:
        user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=False)
    assert "delete the wrong rows" in no.value.next_step
    assert _mapping(mapped) == before
    mapped.ours("DELETE FROM cognito_user_mapping WHERE laravel_user_id IN (4, 5)")
    assert user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=False).details["registered"] == 2
    assert _mapping(mapped) == _users(mapped)


def test_a_second_run_changes_nothing_and_check_mode_predicts(fresh: Sides) -> None:
    before = catalog_of(fresh.laravel_dsn)
    predicted = user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, check=True)
    assert predicted.changed
    assert predicted.details == {"registered": 7, "users_with_sub": 7}
    assert catalog_of(fresh.laravel_dsn) == before

    done = user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, check=False)
    assert (done.changed, done.details) == (True, predicted.details)
    assert _mapping(fresh) == _users(fresh)
    made = catalog_of(fresh.laravel_dsn)
    for check in (False, True):
        assert not user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, check=check).changed
    assert catalog_of(fresh.laravel_dsn) == made

    assert user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, state="absent", check=True).changed
    assert catalog_of(fresh.laravel_dsn) == made
    assert user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, state="absent", check=False).changed
    assert catalog_of(fresh.laravel_dsn) == before, "absent restores the catalog"
    assert not user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, state="absent", check=False).changed


@pytest.mark.parametrize(
    "trigger", ["task_migration_follow_insert", "task_migration_follow_update", "task_migration_follow_delete"]
)
def test_a_follower_that_was_switched_off_is_put_back(mapped: Sides, trigger: str) -> None:
    mapped.laravel(f"ALTER TABLE users DISABLE TRIGGER {trigger}")
    assert user_mapping.user_mapping(laravel_dsn=mapped.laravel_dsn, check=False).changed
    mapped.laravel("UPDATE users SET cognito_sub = 'followed' WHERE id = 9")
    mapped.laravel("INSERT INTO users (id, name, email, cognito_sub) VALUES (64, 'n', 'e', 'sub-64')")
    assert _mapping(mapped) == _users(mapped)


def test_the_application_needs_no_right_on_the_schema_and_can_not_be_fooled(mapped: Sides) -> None:
    with psycopg.connect(mapped.laravel_owner_dsn, autocommit=True) as application:
        application.execute("CREATE TEMP TABLE cognito_user_mapping (laravel_user_id bigint, cognito_sub text)")
        application.execute("SET search_path = pg_temp, public")
        application.execute("UPDATE public.users SET cognito_sub = 'real' WHERE id = 9")
        assert application.execute("SELECT count(*) FROM pg_temp.cognito_user_mapping").fetchone() == (0,)
    assert _mapping(mapped)[9] == "real"


@pytest.fixture
def fresh(make_sides: Callable[..., Sides]) -> Sides:
    """Nothing of ours but the journal, which the phase begins with."""
    sides = make_sides()
    with connect(laravel(sides.laravel_dsn), "test") as connection:
        journal.ensure(connection)
    return sides


@pytest.fixture
def mapped(fresh: Sides) -> Sides:
    user_mapping.user_mapping(laravel_dsn=fresh.laravel_dsn, check=False)
    return fresh


def _mapping(sides: Sides) -> dict[int, str]:
    return dict(sides.ours("SELECT laravel_user_id, cognito_sub FROM public.cognito_user_mapping"))


def _users(sides: Sides) -> dict[int, str]:
    return dict(sides.ours("SELECT id, cognito_sub FROM users WHERE nullif(cognito_sub, '') IS NOT NULL"))
