"""cognito_user_mapping: maps Laravel's users to Cognito users, and is updated when users.cognito_sub changes."""

from __future__ import annotations

from typing import Any, Literal

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants
from task_migration.postgres.lock_retry import with_lock_retry

_FILE = "prepare/user_mapping.sql"
_SAMPLE = 10


def user_mapping(
    *, laravel_dsn: str, state: Literal["present", "absent"] = "present", lock_timeout_seconds: float = 2, check: bool
) -> Outcome:
    """Creates the mapping table and the triggers that update it, and registers the users who have a Cognito sub.

    ``state=absent`` removes the table and the triggers. Details: ``registered``, ``users_with_sub``. Raises Refused if
    two users have the same sub, or if a user has one sub in ``users`` and another in the table.
    """
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "user_mapping") as connection:
        return (
            _present(side, connection, lock_timeout_seconds, check)
            if state == "present"
            else _absent(side, connection, lock_timeout_seconds, check)
        )


def _present(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    exists = _value(connection, "table exists")
    follows = _value(connection, "followers") == 3
    with_sub = _value(connection, "users with a sub")
    require_no_doubt(connection)
    to_register = _value(connection, "users to register") if exists else with_sub
    steps = [
        *([] if exists else ["table cognito_user_mapping"]),
        *([] if follows else ["triggers on users.cognito_sub"]),
        *([f"{to_register} users"] if to_register else []),
    ]
    if not check:
        if not exists:
            with_lock_retry(side, connection, lock_timeout, "creating cognito_user_mapping", _run("create table"))
        if not follows:
            with_lock_retry(side, connection, lock_timeout, "creating the triggers on users", _run("create follower"))
        grants.give(connection)
        if to_register:
            connection.execute(sql_files.statement(_FILE, "register users"))
            connection.execute(sql_files.statement(_FILE, "analyze"))
    verb = "would add" if check else "added"
    return Outcome(
        changed=bool(steps),
        message=f"cognito_user_mapping: {with_sub} users with a Cognito sub; {verb} {', '.join(steps) or 'nothing'}",
        details={"registered": to_register, "users_with_sub": with_sub},
    )


def require_no_doubt(connection: database.Connection) -> None:
    """Raises Refused if the user of a Cognito sub, or the sub of a user, is ambiguous."""
    shared = [row[0] for row in connection.execute(sql_files.statement(_FILE, "subs of two users"))]
    if shared:
        raise Refused(
            "two users have the same Cognito sub, so the owner of their tasks is ambiguous",
            measured=f"{len(shared)} subs; users {'; '.join(str(ids) for ids in shared[:_SAMPLE])}",
            allowed="0",
            next_step="correct users.cognito_sub of these users in Laravel, then run the same command again",
        )
    if not _value(connection, "table exists"):
        return
    differing = [row[0] for row in connection.execute(sql_files.statement(_FILE, "users with two subs"))]
    if differing:
        raise Refused(
            "users have one Cognito sub in users and another in cognito_user_mapping",
            measured=f"{len(differing)} users: {differing[:_SAMPLE]}",
            allowed="0",
            next_step="delete the wrong rows of cognito_user_mapping, then run the same command again to add them",
        )


def require_complete(connection: database.Connection) -> None:
    """Raises Refused if a user has a Cognito sub and is not mapped: their tasks would be missing on the other side."""
    unmapped = [row[0] for row in connection.execute(sql_files.statement(_FILE, "users with a sub and no mapping"))]
    if unmapped:
        raise Refused(
            "users have a Cognito sub and are not in cognito_user_mapping, so their tasks are not migrated",
            measured=f"{len(unmapped)} users: {unmapped[:_SAMPLE]}",
            allowed="0",
            next_step="correct users.cognito_sub where two users have the same; then ansible-playbook "
            "phase-2.1-prepare.yml maps the others",
        )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    exists = _value(connection, "table exists")
    follows = _value(connection, "followers") > 0
    if not check:
        if follows:
            with_lock_retry(side, connection, lock_timeout, "dropping the triggers on users", _run("drop followers"))
        if exists:
            with_lock_retry(side, connection, lock_timeout, "dropping cognito_user_mapping", _run("drop table"))
    there = exists or follows
    return Outcome(
        changed=there,
        message="cognito_user_mapping: " + (f"{'would be ' if check else ''}removed" if there else "does not exist"),
    )


def _run(name: str) -> Any:
    def act(connection: database.Connection) -> None:
        connection.execute(sql_files.statement(_FILE, name))

    return act


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name)).fetchone()
    assert row is not None
    return row[0]
