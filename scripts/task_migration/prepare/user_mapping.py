"""cognito_user_mapping: which user of Laravel's is which Cognito user, kept in step with users.cognito_sub."""

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
    """Makes the mapping table, lets it follow users.cognito_sub from now on, and registers the users who have a sub.

    ``state=absent`` takes the table and the triggers away. Details: ``registered``, ``users_with_sub``. Raises Refused
    when one sub is borne by two users, or a user has one sub in ``users`` and another in the table.
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
    follows = _value(connection, "followers") == 2
    with_sub = _value(connection, "users with a sub")
    require_no_doubt(connection)
    to_register = _value(connection, "users to register") if exists else with_sub
    steps = [
        *([] if exists else ["table cognito_user_mapping"]),
        *([] if follows else ["triggers that follow users.cognito_sub"]),
        *([f"{to_register} users"] if to_register else []),
    ]
    if not check:
        if not exists:
            with_lock_retry(side, connection, lock_timeout, "creating cognito_user_mapping", _run("create table"))
        if not follows:
            with_lock_retry(
                side, connection, lock_timeout, "letting cognito_user_mapping follow", _run("create follower")
            )
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
    """Raises Refused if it can't be told which user a Cognito sub means, or which sub a user has."""
    shared = [row[0] for row in connection.execute(sql_files.statement(_FILE, "subs of two users"))]
    if shared:
        raise Refused(
            "one Cognito sub is borne by two users, so whose tasks they are can't be told",
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
            next_step="delete the wrong rows of cognito_user_mapping (the table is filled anew), then run again",
        )


def _absent(side: database.Side, connection: database.Connection, lock_timeout: float, check: bool) -> Outcome:
    exists = _value(connection, "table exists")
    follows = _value(connection, "followers") > 0
    if not check:
        if follows:
            with_lock_retry(side, connection, lock_timeout, "taking the triggers off users", _run("drop followers"))
        if exists:
            with_lock_retry(side, connection, lock_timeout, "dropping cognito_user_mapping", _run("drop table"))
    there = exists or follows
    return Outcome(
        changed=there,
        message="cognito_user_mapping: " + (f"{'would be ' if check else ''}taken away" if there else "is not there"),
    )


def _run(name: str) -> Any:
    def act(connection: database.Connection) -> None:
        connection.execute(sql_files.statement(_FILE, name))

    return act


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name)).fetchone()
    assert row is not None
    return row[0]
